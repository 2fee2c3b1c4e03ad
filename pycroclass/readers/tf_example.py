"""``tf.train.Example``: the few kinds of protocol buffer messages that TFRecord files of images hold, without TensorFlow.

An example is a map from names to lists of bytes, of floats or of integers. On the wire (protobuf.dev, "Encoding") a message is a run of
fields, each a tag ``number << 3 | type`` and its content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

Value = bytes | memoryview | int | float
Features = dict[str, list[Value]]
"""Lists of values by name; bytes are views of what was parsed."""

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT_LIST = 1, 2, 3
_MOST: Final = 10
"""Bytes in the longest varint."""


def parse_example(data: bytes | memoryview) -> Features:
    """The features of a serialised example.

    Raises
    ------
    ValueError
        If the bytes are no example.

    Examples
    --------
    >>> parse_example(serialize_example({"id": [-7], "score": [0.5]}))
    {'id': [-7], 'score': [0.5]}
    """
    features: Features = {}
    for _, message in _messages(memoryview(data), 1):
        for _, entry in _messages(message, 1):
            parts = dict(_messages(entry, 1, 2))
            features[str(parts.get(1, b""), "utf-8")] = _values(parts.get(2, memoryview(b"")))
    return features


def serialize_example(features: Mapping[str, Sequence[Value]]) -> bytes:
    """The bytes of an example.

    Parameters
    ----------
    features : mapping of str to sequence
        Of bytes, of int, or of float.
    """
    entries = (_field(1, name.encode()) + _field(2, _feature(values)) for name, values in sorted(features.items()))
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _values(feature: memoryview) -> list[Value]:
    found: list[Value] = []
    for kind, content in _messages(feature, _BYTES_LIST, _FLOAT_LIST, _INT_LIST):
        for number, value in _fields(content):
            if number != 1:
                continue
            if kind == _BYTES_LIST:
                found.append(_view(value))
            elif kind == _FLOAT_LIST:
                found += struct.unpack(f"<{len(_view(value)) // 4}f", _view(value))
            elif isinstance(value, int):
                found.append(_signed(value))
            else:
                found += [_signed(item) for item in _varints(value)]
    return found


def _messages(data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
    """The fields of these numbers, each a message or a text; others are of later versions and are left out."""
    for number, value in _fields(data):
        if number in numbers:
            yield number, _view(value)


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is wanted")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind not in (_EIGHT, _BYTES, _FOUR):
            raise ValueError(f"a field of unknown type {kind}")
        size, at = _varint(data, at) if kind == _BYTES else (8 if kind == _EIGHT else 4, at)
        if at + size > len(data):
            raise ValueError(f"a field of {size} bytes where {len(data) - at} are left")
        yield tag >> 3, data[at : at + size]
        at += size


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and where it ends."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1  # nearly always
    value = 0
    for i in range(_MOST):
        if at + i >= len(data):
            raise ValueError("a number that does not end")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise ValueError(f"a number of more than {_MOST} bytes")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _feature(values: Sequence[Value]) -> bytes:
    if all(isinstance(value, bytes | memoryview) for value in values):
        return _field(_BYTES_LIST, b"".join(_field(1, bytes(value)) for value in values if not isinstance(value, int | float)))
    if all(isinstance(value, int) for value in values):
        return _field(_INT_LIST, _field(1, b"".join(_to_varint(int(value)) for value in values)))
    return _field(_FLOAT_LIST, _field(1, struct.pack(f"<{len(values)}f", *values)))


def _field(number: int, content: bytes) -> bytes:
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(content)) + content


def _to_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
