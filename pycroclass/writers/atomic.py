"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pycroclass.errors import WriteError
from pycroclass.files import sync_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

_COPY_BYTES: Final = 16 << 20

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

    @property
    def journal(self) -> Path:
        """Its journal, if it can be gone on with after a failure."""
        return journal_of(self.path)

    def discard(self) -> None:
        """Make sure that nothing of it is kept: what is in it is not to be trusted."""
        self.journal.unlink(missing_ok=True)


class TakenError(WriteError):
    """The file exists; ``problem`` is the message without what to do about it, which a command says otherwise."""

    def __init__(self, path: Path, differences: Sequence[str] = ()) -> None:
        made = f", made by a run that is not this one. Not the same: {'; '.join(differences)}" if differences else ""
        self.problem = f"{path} exists already{made}"
        super().__init__(f"{self.problem}. Choose another name, or pass overwrite=True to replace it.")


class BegunError(WriteError):
    """What an unfinished run has left is in the way; ``problem`` as that of `TakenError`, ``way_on`` is how to keep it."""

    def __init__(self, partial: Path, problem: str, way_on: str = "") -> None:
        self.problem, self.way_on = f"{partial} {problem}", way_on
        begin_anew = f"emove {partial} and {journal_of(partial)} to begin anew."
        super().__init__(f"{self.problem}. {f'{way_on}, or r' if way_on else 'R'}{begin_anew}")


@contextmanager
def whole_or_nothing(path: Path, *, overwrite: bool, remove_rest: Callable[[], None] | None = None) -> Iterator[PartialFile]:
    """Give ``PATH.partial`` to work on; it becomes ``PATH`` when the block ends, and is removed when the block fails.

    The partial file is locked meanwhile. One that a killed run left behind is replaced, unless it has a journal. ``remove_rest`` is
    called when it is given up, to remove the other files that belong to it.

    Raises
    ------
    WriteError
        If ``path`` exists and ``overwrite`` is false (now, or when the block ends), the folder cannot be written, another run
        is writing the same file, or one that can be gone on with was begun.
    """
    with _locked(path, overwrite=overwrite, is_kept=_refuse_begun) as file:
        try:
            yield file
            _publish(file, path, overwrite=overwrite)
        except BaseException as error:
            _give_up(file, path, remove_rest)
            if isinstance(error, OSError | RuntimeError):
                file.check()  # the cause of what HDF5 stumbled over
            raise


@contextmanager
def whole_or_resumable(path: Path, *, overwrite: bool, remove_rest: Callable[[], None] | None = None) -> Iterator[PartialFile]:
    """As `whole_or_nothing`, but a partial file with a journal is kept when the block fails, and given as it is the next time.

    Raises
    ------
    WriteError
        If ``path`` exists and ``overwrite`` is false, the folder cannot be written, or another run is writing the same file.
    """
    with _locked(path, overwrite=overwrite, is_kept=_is_begun) as file:
        try:
            yield file
            _publish(file, path, overwrite=overwrite)
        except BaseException as error:
            if not file.journal.exists():
                _give_up(file, path, remove_rest)
            if isinstance(error, OSError | RuntimeError):
                file.check()
            raise


def _locked(path: Path, *, overwrite: bool, is_kept: Callable[[Path], bool]) -> PartialFile:
    refuse_taken(path, overwrite=overwrite)
    partial = partial_of(path)
    return PartialFile(_take(partial, is_kept), partial)


def partial_of(path: Path) -> Path:
    """Where a file lies while it is not finished."""
    return path.with_name(f"{path.name}.partial")


def journal_of(partial: Path) -> Path:
    """The journal of an unfinished file."""
    return partial.with_name(f"{partial.name}.journal")


def _is_begun(partial: Path) -> bool:
    return journal_of(partial).exists()


def _refuse_begun(partial: Path) -> bool:
    if _is_begun(partial):
        raise BegunError(partial, "is an unfinished run that can be gone on with", "Write the same datasets with resume=True")
    return False


def refuse_taken(path: Path, *, overwrite: bool, differences: Sequence[str] = ()) -> None:
    """Raise `WriteError` if ``path`` cannot be written: it exists, it is a folder, or its folder is missing.

    ``differences`` say in what the run that made it was another one.
    """
    if not path.parent.is_dir():
        raise WriteError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise WriteError(f"{path} is a folder; wanted the path of a file")
    if not overwrite and os.path.lexists(path):
        raise TakenError(path, differences)


def _take(partial: Path, is_kept: Callable[[Path], bool]) -> int:
    """A locked handle of a partial file: of a new, empty one unless the one that is there is to be kept."""
    while True:
        try:
            handle = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise WriteError(f"{partial} cannot be written: {error.strerror}") from error
        try:
            if not try_lock(handle, fcntl.LOCK_EX):
                raise WriteError(f"{partial} is being written by another run. Wait for it, or choose another name.")
            mine = os.fstat(handle)
            if _is_at(partial, mine):
                if mine.st_size == 0:
                    journal_of(partial).unlink(missing_ok=True)  # of a file that is gone
                    return handle
                if is_kept(partial):
                    return handle
                partial.unlink()  # never emptied in place: it may be a second name of a file that was finished
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def copied(source: Path, partial: PartialFile) -> None:
    """Begin a partial file as a copy of another file, which nothing may be writing.

    Raises
    ------
    WriteError
        If it is being written, or the copy fails.
    """
    with open(source, "rb") as original:
        if not try_lock(original.fileno(), fcntl.LOCK_SH):
            raise WriteError(f"{source} is open for writing elsewhere, or in this process. Close it first.")
        shutil.copyfileobj(original, partial, _COPY_BYTES)
    partial.check()
    shutil.copymode(source, partial.path)


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


def _publish(file: PartialFile, path: Path, *, overwrite: bool) -> None:
    """Give the finished file its name."""
    file.sync()
    if overwrite:
        os.replace(file.path, path)
    else:
        _name(file.path, path)
    sync_folder(path.parent)  # before that, a power cut could take the journal and leave the old name
    file.journal.unlink(missing_ok=True)


def _give_up(file: PartialFile, path: Path, remove_rest: Callable[[], None] | None) -> None:
    """Remove a file that failed. One that has its name already is whole: what failed came after that."""
    file.path.unlink(missing_ok=True)
    if remove_rest is not None and not _is_at(path, os.fstat(file.fileno())):
        remove_rest()


def _name(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise WriteError(f"{path} was made by someone else meanwhile and is left as it is; nothing was written") from error
    except OSError:  # no hard links here: an empty file holds the name, then gives way
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        os.replace(partial, path)
    else:
        partial.unlink()
