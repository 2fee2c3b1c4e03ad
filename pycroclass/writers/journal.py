"""The journal of an unfinished file: which blocks the disk holds for certain.

Each line is the CRC-32 of its text and the text, which is JSON. The first says what is computed and where it lies; each other one names a
finished block and the CRC-32 of its bytes. A line is written only after the disk has the data it speaks of; one that does not match
its checksum was torn and counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final

from pycroclass.errors import WriteError
from pycroclass.files import sync_folder
from pycroclass.writers.places import writing

FORMAT: Final = "pycroclass journal 1"
_SECONDS: Final = 1.0

Blocks = dict[tuple[str, int], int]
"""CRC-32 of each finished block, by the dataset's name and the block's number in C order."""


class Journal:
    """Takes down finished blocks: once a second it waits until the disk has their data, then adds their lines.

    Parameters
    ----------
    path : Path
        Of a journal that has its header.
    sync_data : callable
        Waits until the disk has all that was written.
    """

    def __init__(self, path: Path, sync_data: Callable[[], None]) -> None:
        self._path = path
        self._sync_data = sync_data
        self._pending = [] if _is_whole(path) else ["\n"]  # the next line must not be part of a torn one
        self._failure: WriteError | None = None
        self._noting, self._flushing, self._closed = Lock(), Lock(), Event()
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._thread = Thread(target=self._flush_now_and_then, name="pycroclass-journal", daemon=True)
        self._thread.start()

    def add(self, name: str, number: int, checksum: int) -> None:
        """Note a block whose data were handed to the system.

        Raises
        ------
        WriteError
            If this or an earlier one cannot be kept: nothing more is noted then, because a disk that failed once is not asked again.
        """
        if self._failure is not None:
            raise self._failure
        with self._noting:
            self._pending.append(_line([name, number, checksum]))

    def close(self) -> None:
        """Write what is noted, and let go of the file.

        Raises
        ------
        WriteError
            If that fails.
        """
        self._closed.set()
        self._thread.join()
        try:
            self._flush()
        finally:
            os.close(self._handle)
        if self._failure is not None:
            raise self._failure

    def _flush_now_and_then(self) -> None:
        while not self._closed.wait(_SECONDS):
            with contextlib.suppress(WriteError):  # kept, and raised by the next call
                self._flush()

    def _flush(self) -> None:
        with self._flushing:
            with self._noting:
                lines, self._pending = self._pending, []
            if not lines or self._failure is not None:
                return
            try:
                with writing(self._path):
                    self._sync_data()
                    _append(self._handle, lines)
            except WriteError as error:
                self._failure = error
                raise


def begin_journal(path: Path, header: Mapping[str, Any]) -> None:
    """Make a journal; what its header speaks of must be on disk already.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with writing(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _append(handle, [_line({"format": FORMAT, **header})])
        except BaseException:
            path.unlink()  # nothing is lost yet
            raise
        finally:
            os.close(handle)
        sync_folder(path.parent)


def read_journal(path: Path) -> tuple[dict[str, Any], Blocks] | None:
    """Header and finished blocks; ``None`` where there is no journal, or it was torn before it had its header.

    Raises
    ------
    WriteError
        If the file is no journal, or one of another version.
    """
    try:
        first, *rest = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteError(f"{path} cannot be read: {error.strerror}") from error
    header = _text(first)
    if header is None and not any(rest):
        return None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise WriteError(f"{path} is damaged, or was written by another version of pycroclass. Remove it to begin anew.")
    blocks: Blocks = {}
    for entry in map(_text, rest):
        if entry is not None:
            name, number, checksum = entry
            blocks[name, number] = checksum
    return header, blocks


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _line(content: object) -> str:
    text = json.dumps(content, allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _text(line: bytes) -> Any:
    """What a line says; ``None`` if it was torn."""
    checksum, _, text = line.partition(b" ")
    return json.loads(text) if checksum == f"{zlib.crc32(text):08x}".encode() else None


def _append(handle: int, lines: Iterable[str]) -> None:
    rest = "".join(lines).encode()
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)
