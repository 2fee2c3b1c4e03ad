"""Protocol buffers of examples: bytes by hand, both kinds of lists, and anything damaged."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycroclass.readers.tf_example import parse_example, serialize_example

INT64 = st.integers(-(2**63), 2**63 - 1)
FEATURES = st.dictionaries(
    st.text(max_size=8),
    st.one_of(
        st.lists(INT64, min_size=1, max_size=4),
        st.lists(st.binary(max_size=200), min_size=1, max_size=3),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
    ),
    max_size=5,
)


def plain(features: dict) -> dict:
    return {name: [bytes(v) if isinstance(v, memoryview) else v for v in values] for name, values in features.items()}


def test_bytes_by_hand() -> None:
    """The encoding of 150 is the example of protobuf.dev: 96 01."""
    packed = bytes.fromhex("0a0e 0a0c 0a026964 1206 1a04 0a029601".replace(" ", ""))
    assert parse_example(packed) == {"id": [150]}
    assert serialize_example({"id": [150]}) == packed
    one_by_one = bytes.fromhex("0a10 0a0e 0a026964 1208 1a06 089601 089601".replace(" ", ""))
    assert parse_example(one_by_one) == {"id": [150, 150]}


@given(FEATURES)
def test_round_trip(features: dict) -> None:
    assert plain(parse_example(serialize_example(features))) == features


def test_fields_of_later_versions_are_left_out() -> None:
    later = bytes([0x78, 0x07, 0x7D, 1, 2, 3, 4, 0x79, *range(8), 0x7A, 2, 0, 0])  # fields 15: varint, 4 bytes, 8 bytes, 2 bytes
    assert parse_example(later + serialize_example({"id": [1]}) + later) == {"id": [1]}


@given(FEATURES, st.data())
def test_damage_is_a_value_error_or_another_example(features: dict, data: st.DataObject) -> None:
    content = bytearray(serialize_example(features))
    for _ in range(3):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        parse_example(bytes(content[: data.draw(st.integers(0, len(content)))]))


@pytest.mark.parametrize("content", [b"\x0a\x05\x00", b"\xff" * 11, b"\x80", b"\x08\x01", b"\x0b"])
def test_what_is_no_example(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        parse_example(content)
