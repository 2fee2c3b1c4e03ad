"""CRC-32C: the values of RFC 3720, and the plain definition bit by bit."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycroclass.readers.crc32c import crc32c, masked_crc32c


def bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_values_of_the_standard(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@given(st.binary(max_size=700))
def test_many_bytes_at_a_time_as_bit_by_bit(data: bytes) -> None:
    assert crc32c(data) == crc32c(memoryview(data)) == bit_by_bit(data)


@pytest.mark.parametrize("n", [63, 64, 65, 66, 67, 68, 127, 128, 129, 5001])
def test_every_length_modulo_four(n: int) -> None:
    data = bytes(i * i % 251 for i in range(n))
    assert crc32c(data) == bit_by_bit(data)


def test_masked_as_at_the_beginning_of_every_file_of_tensorboard() -> None:
    assert struct.pack("<I", masked_crc32c(struct.pack("<Q", 24))) == b"\xa3\x7fK\x22"
