"""The tag tree of a DigitalMicrograph file (DM3, DM4), without the data of its large arrays.

A file is a header and a tree of tags. Numbers that describe the tree are big-endian, values have the byte order that the header names.
DM4 has 64-bit lengths where DM3 has 32-bit ones, and puts before each tag its length in bytes. After the description by G. Jefferis
(https://imagej.net/ij/plugins/DM3Format.gj.html) and B. Schaffer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO, Final, TypeAlias

from pycroclass.errors import ReadError

Tags: TypeAlias = dict[str, Any]

_CODES: Final = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "b", 11: "q", 12: "Q"}
_LONGEST: Final = 1024
_DEEPEST: Final = 64


class _Kind(IntEnum):
    GROUP = 20
    VALUE = 21


class _Code(IntEnum):
    STRUCT = 15
    STRING = 18
    ARRAY = 20


@dataclass(frozen=True)
class TagArray:
    """A large array in the file: where it lies, and how its elements are coded.

    Parameters
    ----------
    offset, size : int
        In bytes.
    """

    offset: int
    size: int


def read_tags(file: BinaryIO) -> tuple[Tags, bool]:
    """The tree, and whether its values are little-endian. Groups are dictionaries, unnamed members are named by their number.

    Arrays named ``Data`` or of more than a kilobyte stay in the file and are represented by a `TagArray`.

    Raises
    ------
    ReadError
        If the file is no DM3 or DM4 file, is damaged, or ends too early.
    """
    head = file.read(12)
    version = int.from_bytes(head[:4], "big")
    if version not in (3, 4):
        raise ReadError(f"{file.name}: wanted a DM3 or DM4 file, which begins with 00 00 00 03 or 04, found {head[:4].hex(' ')}")
    if version == 4:
        head += file.read(4)
    if head[-4:] not in (b"\0\0\0\0", b"\0\0\0\1"):
        raise ReadError(f"{file.name}: its header names the byte order {head[-4:].hex(' ')}, wanted 0 or 1")
    little = head[-1] == 1
    size = file.seek(0, 2)
    file.seek(len(head))
    tree = _TagReader(file, "<" if little else ">", "q" if version == 4 else "i", size)
    try:
        return tree.group(0), little
    except (struct.error, KeyError, UnicodeDecodeError, IndexError) as error:
        raise ReadError(f"{file.name}: its tags are damaged near byte {file.tell()} of {size} ({error!r})") from error


@dataclass(frozen=True)
class _TagReader:
    file: BinaryIO
    order: str
    length: str  # code of a length: 32 bits in DM3, 64 in DM4
    size: int

    def group(self, depth: int) -> Tags:
        if depth > _DEEPEST:
            raise ReadError(f"{self.file.name}: its tags are nested deeper than {_DEEPEST}; the file is damaged")
        self.file.read(2)  # whether sorted, whether open
        (n_tags,) = self._big(self.length)
        tags: Tags = {}
        for _ in range(n_tags):
            kind, n_name = self._big("BH")
            name = self.file.read(n_name).decode("latin-1") or str(len(tags))
            if self.length == "q":
                self._big("q")
            match kind:
                case _Kind.GROUP:
                    tags[name] = self.group(depth + 1)
                case _Kind.VALUE:
                    tags[name] = self._value(name)
                case _:
                    raise ReadError(f"{self.file.name}: tag {name!r} has the unknown kind {kind} near byte {self.file.tell()}")
        return tags

    def _value(self, name: str) -> Any:
        if (mark := self.file.read(4)) != b"%%%%":
            raise ReadError(f"{self.file.name}: wanted %%%% before a value near byte {self.file.tell()}, found {mark!r}")
        (n_info,) = self._big(self.length)
        if not 0 < n_info <= _LONGEST:
            raise ReadError(f"{self.file.name}: a value is described by {n_info} numbers near byte {self.file.tell()}")
        info = self._big(self.length * n_info)
        match info[0]:
            case _Code.STRUCT:
                return list(self._little(_fields(info)))
            case _Code.STRING:
                return self._text(info[1])
            case _Code.ARRAY:
                return self._array(name, info[1:])
            case code:
                return self._little(_CODES[code])[0]

    def _array(self, name: str, info: tuple[int, ...]) -> Any:
        codes = _fields(info) if info[0] == _Code.STRUCT else _CODES[info[0]]
        n_bytes = struct.calcsize("<" + codes) * info[-1]
        start = self.file.tell()
        if not 0 <= n_bytes <= self.size - start:
            raise ReadError(f"{self.file.name} is truncated: {n_bytes} bytes wanted from byte {start} on, the file has {self.size}")
        if n_bytes > _LONGEST or name == "Data":
            self.file.seek(n_bytes, 1)
            return TagArray(start, n_bytes)
        if codes == "H":  # a short array of 16-bit numbers is a text
            return self._text(n_bytes)
        values = self._little(codes * info[-1])
        n = len(codes)
        return list(values) if n == 1 else [list(values[i : i + n]) for i in range(0, len(values), n)]

    def _text(self, n_bytes: int) -> str:
        return self.file.read(n_bytes).decode("utf-16-le" if self.order == "<" else "utf-16-be", errors="replace").rstrip("\0")

    def _big(self, codes: str) -> tuple[Any, ...]:
        return self._unpack(">" + codes)

    def _little(self, codes: str) -> tuple[Any, ...]:
        return self._unpack(self.order + codes)

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.file.read(struct.calcsize(form)))


def _fields(info: tuple[int, ...]) -> str:
    """Codes of the fields of a struct: (15, length of its name, number of fields, (length of name, type) of each)."""
    return "".join(_CODES[code] for code in info[4 : 4 + 2 * info[2] : 2])
