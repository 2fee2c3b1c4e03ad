"""Bytes and names on a disk, so that a crash or a power cut leaves the old or the new."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from pycroclass.errors import WriteError

_LOCAL: Final = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "squashfs", "tmpfs", "xfs", "zfs"}
_MOUNTS: Final = "/proc/self/mountinfo"


def refuse_existing(path: Path, *, overwrite: bool, option: str = "overwrite=True") -> None:
    """To be called before hours are spent on what is to be written.

    Raises
    ------
    WriteError
        If there is a file and it is not to be overwritten; it names the option that would allow it.
    """
    if path.exists() and not overwrite:
        raise WriteError(f"{path} exists already. Choose another name, or replace it: {option}")


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


def is_local(path: str | Path) -> bool:
    """Whether a file lies on a disk or in the memory of this machine, as far as the system tells.

    Raises
    ------
    OSError
        If there is no such file.
    """
    return _is_local(os.stat(path).st_dev)


@lru_cache(maxsize=64)
def _is_local(device: int) -> bool:
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError), open(_MOUNTS) as mounts:
        for line in mounts:  # 29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
            place, _, kind = line.partition(" - ")
            if place.split()[2] == number:
                return kind.split()[0] in _LOCAL
    return False
