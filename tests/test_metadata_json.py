"""Metadata round trip: whatever goes in comes out, of the same type."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.errors import DataError
from pycroclass.metadata_json import decode, encode


class Colour(Enum):
    RED = 1


def same(a: Any, b: Any) -> bool:
    """Equal in type and content, NaN equal to NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            return a.shape == b.shape and same(a.ravel().tolist(), b.ravel().tolist())
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return repr(a) == repr(b)


EXACT: dict[Any, Any] = {
    "none": None,
    "bool": True,
    "int": 2**70,
    "negative": -(2**200),
    "float": 0.1 + 0.2,
    "nan": float("nan"),
    "inf": -float("inf"),
    "minus zero": -0.0,
    "complex": complex(-0.0, float("nan")),
    "str": "µm\0\ud800",
    "bytes": b"\0\xff",
    "bytearray": bytearray(b"abc"),
    "list": [1, [2, "a", None], []],
    "tuple": (1, (None, ()), [2]),
    "set": {"a", "b"},
    "frozenset": frozenset({(1, 2)}),
    "datetime": datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC),
    "far": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    "date": date(2026, 2, 3),
    "time": time(1, 2, 3, 4),
    "timedelta": timedelta(days=-3, microseconds=1),
    "path": Path("/a b/ü"),
    "range": range(3, 30, 4),
    "slice": slice(None, 3),
    "numpy scalars": [np.float32(0.1), np.int8(-3), np.bool_(True), np.complex64(1j), np.datetime64("2026-02-03T04")],
    "longdouble": np.longdouble(1) / 3,
    "text": np.str_("µ"),
    "array": np.arange(12.0).reshape(3, 4)[:, ::2],
    "big endian": np.arange(3, dtype=">i2"),
    "empty": np.empty((0, 3), "u2"),
    "0-d": np.array(1.5),
    "strings": np.array(["a", "µm"]),
    "bytes array": np.array([b"a", b"bc"]),
    "objects": np.array([[None, "a"], [{"x": 1}, 2**70]], dtype=object),
    "structured": np.array([(1, 2.0, [1, 2])], dtype=[("a", "<i4"), ("b", ">f8"), ("c", "u1", (2,))]),
    "nested dtype": np.zeros(2, dtype=[("a", [("b", "<i4"), ("c", "S3")])]),
    "": {"": {}},
    1: {2: 3, None: 4, (1, 2): 5},
    "$tuple": {"$set": 1},
    "one tag": {"$tuple": [1]},
    "a/b": {"c/d": 1},
}


@pytest.mark.parametrize("key", list(EXACT), ids=str)
def test_round_trip_is_exact(key: Any) -> None:
    back = decode(encode({key: EXACT[key]}))
    assert same(back, {key: EXACT[key]})


def test_all_at_once_and_ascii() -> None:
    text = encode(EXACT)
    assert text.isascii()
    assert "NaN" not in json.dumps(json.loads(text))
    assert same(decode(text), EXACT)
    assert same(decode(text.encode()), EXACT)


def test_text_does_not_depend_on_hashing() -> None:
    assert encode({"a": {"x", "y", 3}}) == '{"a": {"$set": ["x", "y", 3]}}'


def test_objects_become_text_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert decode(encode({"enum": Colour.RED})) == {"enum": "RED"}
    assert not caplog.records
    assert decode(encode({"f": EXACT.get})) == {"f": repr(EXACT.get)}
    assert "kept as text" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"a": {"$unknown": 1}}', '{"a": {"$array": ["|O", [1], ""]}}', '{"a": {"$array": ["<f8", [2], "AA=="]}}']
)
def test_damage_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match=r"stored metadata|dictionary"):
        decode(text)


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes().map(lambda t: t.replace(fold=0))
    | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), JSONISH))
def test_any_nested_metadata(metadata: dict[str, Any]) -> None:
    assert same(decode(encode(metadata)), metadata)
