"""CRC-32C (Castagnoli, RFC 3720), the checksum of TFRecord files, of many bytes at a time with NumPy.

A CRC is linear over bits: that of two pieces follows from theirs, after the first is shifted by the length of the second. So the data,
as 32-bit words, are halved in number until one is left: neighbours are joined, all at once.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
_POLYNOMIAL: Final = 0x82F63B78
_ALL: Final = 0xFFFFFFFF
_FEW: Final = 64
_MASK: Final = 0xA282EAD8


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of some bytes.

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    content = np.frombuffer(data, np.uint8)
    if len(content) < _FEW:
        return _crc_of_few(content.tolist())
    words = np.zeros(-(-len(content) // 4), "<u4")
    place = words.view(np.uint8)[words.nbytes - len(content) :]  # zeros in front of a message change nothing
    place[:] = content
    place[:4] ^= 0xFF  # a register of ones to begin with is the same as turning the first bits round
    level = 0
    while len(words) > 1:
        if len(words) % 2:
            words = np.concatenate([np.zeros(1, "<u4"), words])
        words = _shift(words[::2], level) ^ words[1::2]
        level += 1
    return int(_shift(words, 0)[0]) ^ _ALL


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C as TFRecord files store it: rotated by 15 bits, and a constant added.

    Examples
    --------
    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & _ALL


def _crc_of_few(content: list[int]) -> int:
    table = _byte_table()
    crc = _ALL
    for byte in content:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ _ALL


@cache
def _byte_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


def _shift(words: Words, level: int) -> Words:
    """CRC registers after ``4 * 2**level`` zero bytes."""
    tables = _shift_tables(level)
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(-1, 4)
    shifted: Words = tables[0][octets[:, 0]] ^ tables[1][octets[:, 1]] ^ tables[2][octets[:, 2]] ^ tables[3][octets[:, 3]]
    return shifted


@cache
def _shift_tables(level: int) -> Words:
    """What becomes of each value of each byte of a register, shape (4, 256)."""
    if level:
        half = _shift_tables(level - 1)
        return _shift(half.ravel(), level - 1).reshape(4, 256)
    table = np.array(_byte_table(), "<u4")
    words: Words = (np.arange(256, dtype="<u4") << (8 * np.arange(4, dtype="<u4"))[:, None]).ravel()
    for _ in range(4):
        words = words >> 8 ^ table[words & 0xFF]
    tables: Words = words.reshape(4, 256)
    return tables
