"""Bytes and names on a disk, so that a crash or a power cut leaves the old or the new."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pycroclass.errors import WriteError


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, flush to the disk, then rename: nobody ever sees a part of it.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {error.strerror}") from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of the files in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
