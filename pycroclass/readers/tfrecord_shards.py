"""TFRecord files: records behind one another, each with its length before it and checksums of both.

::

    8 bytes  length of the record, little-endian
    4 bytes  masked CRC-32C of these eight bytes
    n bytes  the record
    4 bytes  masked CRC-32C of the record

The whole file may be compressed with zlib or gzip; each process then unpacks it once and keeps the last few.
"""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pycroclass.provenance import FileStamp
from pycroclass.readers.cache import LoadedFiles
from pycroclass.readers.crc32c import masked_crc32c
from pycroclass.readers.failure import failure

HEAD: Final = struct.Struct("<QI")
TAIL: Final = struct.Struct("<I")
_ZLIB_OR_GZIP: Final = zlib.MAX_WBITS | 32
_UNPACKED: Final[LoadedFiles[bytes]] = LoadedFiles(len)
_COPY_AGAIN: Final = "Copy it again from where it came from."


def records(path: Path) -> Iterator[tuple[int, memoryview]]:
    """Where each record of a file begins, and a view of it; checksums of the lengths are compared, those of the records are not.

    Raises
    ------
    ReadError
        If the file is no TFRecord file, truncated or damaged.
    """
    content = _unpacked(path) if _is_packed(path) else _mapped(path)
    at = number = 0
    while at < len(content):
        size = _record_size(path, content[at : at + HEAD.size], number)
        start = at + HEAD.size
        at = start + size + TAIL.size
        if at > len(content):
            problem = f"is truncated: record {number} needs {at - len(content)} more bytes than there are"
            raise failure(path, problem, _COPY_AGAIN)
        yield start, content[start : start + size]
        number += 1


@contextmanager
def opened_shard(path: str) -> Iterator[IO[bytes]]:
    """The file, unpacked where it is compressed."""
    if _is_packed(Path(path)):
        yield io.BytesIO(_unpacked(Path(path)))
    else:
        with open(path, "rb") as file:
            yield file


def read_record(file: IO[bytes], path: str, number: int, start: int, size: int) -> bytes:
    """One record, as its checksum says that it was written.

    Raises
    ------
    ReadError
        If it was not.
    """
    file.seek(start)
    content = file.read(size + TAIL.size)
    if len(content) < size + TAIL.size:
        raise failure(path, f"ends within record {number}: it was changed after it was opened", _COPY_AGAIN)
    record = content[:size]
    if masked_crc32c(record) != TAIL.unpack(content[size:])[0]:
        raise failure(path, f"is damaged: record {number} at byte {start} does not have its checksum", _COPY_AGAIN)
    return record


def framed(record: bytes) -> bytes:
    """A record as it stands in a file.

    Examples
    --------
    >>> framed(b"abc").hex()
    '0300000000000000b099490e6162636e57f121'
    """
    length = struct.pack("<Q", len(record))
    return length + TAIL.pack(masked_crc32c(length)) + record + TAIL.pack(masked_crc32c(record))


def _record_size(path: Path, head: memoryview, number: int) -> int:
    if len(head) < HEAD.size:
        raise failure(path, f"is truncated: {len(head)} bytes after record {number - 1} are no record", _COPY_AGAIN)
    size, crc = HEAD.unpack(head)
    if masked_crc32c(head[:8]) != crc:
        problem = (
            f"is damaged: the length of record {number} does not have its checksum" if number else "is no TFRecord file, or a damaged one"
        )
        raise failure(path, problem, _COPY_AGAIN)
    return int(size)


def _is_packed(path: Path) -> bool:
    """Whether the first record is compressed: its length has not its checksum, but there is a header of zlib or gzip."""
    with path.open("rb") as file:
        head = file.read(HEAD.size)
    if len(head) == HEAD.size and masked_crc32c(head[:8]) == HEAD.unpack(head)[1]:
        return False
    is_zlib = len(head) > 1 and head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0
    return is_zlib or head.startswith(b"\x1f\x8b")


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _unpacked(path: Path) -> memoryview:
    return memoryview(_UNPACKED.get(FileStamp.of(path), lambda: _unpack(path)))


def _unpack(path: Path) -> bytes:
    packed = path.read_bytes()
    parts = []
    while packed:  # gzip may have several members
        unpacker = zlib.decompressobj(_ZLIB_OR_GZIP)
        try:
            parts.append(unpacker.decompress(packed))
        except zlib.error as error:
            raise failure(path, f"cannot be unpacked: {error}", _COPY_AGAIN) from error
        if not unpacker.eof:
            raise failure(path, "is truncated: its compressed content does not end", _COPY_AGAIN)
        packed = unpacker.unused_data
    return b"".join(parts)
