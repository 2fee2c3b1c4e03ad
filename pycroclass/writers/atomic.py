"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pycroclass.errors import WriteError

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)


class PartialFile(io.FileIO):
    """A file that HDF5 can always write to.

    The first failure (a full disk) is kept, and all that follows is thrown away: HDF5 crashes the process if it cannot flush what it
    has when a file is closed. Call `check` wherever a failure matters.
    """

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "r+b")
        self.path = path
        self.failure: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Write all of it, or keep the failure."""
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        while rest and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return n_bytes

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size, or keep the failure."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return self.tell()

    def sync(self) -> None:
        """Wait until the disk has it all.

        Raises
        ------
        WriteError
            As `check`.
        """
        try:
            os.fsync(self.fileno())
        except OSError as error:
            self.failure = self.failure or error
        self.check()

    def check(self) -> None:
        """Raise `WriteError` if anything was not written."""
        if self.failure is not None:
            raise WriteError(f"{self.path} cannot be written: {self.failure.strerror}") from self.failure


@contextmanager
def whole_or_nothing(path: Path, *, overwrite: bool) -> Iterator[PartialFile]:
    """Give ``PATH.partial`` to work on; it becomes ``PATH`` when the block ends, and is removed when the block fails.

    The partial file is locked meanwhile. One that a killed run left behind is replaced.

    Raises
    ------
    WriteError
        If ``path`` exists and ``overwrite`` is false (now, or when the block ends), the folder cannot be written, or another run
        is writing the same file.
    """
    refuse_taken(path, overwrite=overwrite)
    partial = path.with_name(f"{path.name}.partial")
    with PartialFile(_take(partial), partial) as file:
        try:
            yield file
            file.sync()
            _publish(partial, path, overwrite=overwrite)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError | RuntimeError):
                file.check()  # the cause of what HDF5 stumbled over
            raise
    _sync_folder(path.parent)


def refuse_taken(path: Path, *, overwrite: bool) -> None:
    """Raise `WriteError` if ``path`` cannot be written: it exists, it is a folder, or its folder is missing."""
    if not path.parent.is_dir():
        raise WriteError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise WriteError(f"{path} is a folder; wanted the path of a file")
    if not overwrite and os.path.lexists(path):
        raise WriteError(f"{path} exists already. Choose another name, or pass overwrite=True to replace it.")


def _take(partial: Path) -> int:
    """A locked handle of a new, empty partial file."""
    while True:
        try:
            handle = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise WriteError(f"{partial} cannot be written: {error.strerror}") from error
        if not try_lock(handle, fcntl.LOCK_EX):
            os.close(handle)
            raise WriteError(f"{partial} is being written by another run. Wait for it, or choose another name.")
        mine = os.fstat(handle)
        if _is_at(partial, mine):
            if mine.st_size == 0:
                return handle
            partial.unlink()  # never emptied in place: it may be a second name of a file that was finished
        os.close(handle)


def try_lock(handle: int, kind: int) -> bool:
    """Lock an open file (``fcntl.LOCK_EX`` or ``LOCK_SH``); false if another holds it, true with a warning where there are no locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        log.warning("this file system has no locks (%s): do not write the same file from two processes", error.strerror)
    return True


def _is_at(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except FileNotFoundError:
        return False


def _publish(partial: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(partial, path)
        return
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise WriteError(f"{path} was made by someone else meanwhile and is left as it is; nothing was written") from error
    except OSError:  # no hard links here: an empty file holds the name, then gives way
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        os.replace(partial, path)
    else:
        partial.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
