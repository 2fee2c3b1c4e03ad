"""Metadata as JSON text and back, exactly: what HDF5 attributes cannot hold is tagged, not lost.

In a file that pycroclass wrote, the group of each main dataset holds a hidden group `HIDDEN` with one string dataset for each of its
dictionaries, named by `member`. A tag is a dictionary with one key that begins with ``$``.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError

log = logging.getLogger(__name__)

HIDDEN: Final = "_pycroclass"
"""Group beside a main dataset that other NSID readers skip."""


def member(attribute: str) -> str:
    """Name of the string dataset in `HIDDEN` that holds a dictionary of the Dataset.

    Examples
    --------
    >>> member("original_metadata")
    'original_metadata_json'
    """
    return f"{attribute}_json"


def encode(metadata: object) -> str:
    """A dictionary, or any value of one, as JSON text that `decode` restores exactly.

    Beside JSON's own: tuple, set, frozenset, bytes, complex, NaN and infinity, date and time, Path, range, slice, NumPy scalars and
    arrays of any dtype, keys that are no strings. Two things are kept as text only, because a file must not name code to be run: a
    member of an Enum becomes its name, and any other object its ``repr``, with a warning in the log.

    Examples
    --------
    >>> encode({"size": (2, 3), "dark": None})
    '{"size": {"$tuple": [2, 3]}, "dark": null}'
    """
    return json.dumps(_encode(metadata), allow_nan=False)


def decode(text: str | bytes) -> dict[Any, Any]:
    """The dictionary of a JSON text made by `encode`.

    Raises
    ------
    DataError
        If the text is damaged, or holds a tag that this version does not know.

    Examples
    --------
    >>> decode(encode({1: {2j}, "path": None}))
    {1: {2j}, 'path': None}
    """
    try:
        metadata = _decode(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"stored metadata cannot be understood ({error}); the file is damaged or from a newer version") from error
    if not isinstance(metadata, dict):
        raise DataError(f"stored metadata must be a dictionary, got {type(metadata).__name__}; the file is damaged")
    return metadata


def _encode(value: Any) -> Any:
    match value:
        case Enum():
            return {"$enum": value.name}
        case np.ndarray() | np.generic():
            return _encode_numpy(value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": repr(value)}
        case list():
            return [_encode(item) for item in value]
        case Mapping():
            return _encode_mapping(value)
    for tag, (cls, to_json, _) in _TAGS.items():
        if isinstance(value, cls):
            return {tag: to_json(value)}
    log.warning("metadata of type %s are kept as text: %.80r", type(value).__qualname__, value)
    return {"$text": repr(value)}


def _encode_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item) for key, item in value.items()}
    return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}


def _encode_numpy(value: npt.NDArray[Any] | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        return {"$objects": [list(array.shape), [_encode(item) for item in array.ravel().tolist()]]}
    tag = "$array" if isinstance(value, np.ndarray) else "$scalar"
    return {tag: [np.lib.format.dtype_to_descr(array.dtype), list(array.shape), _to_base64(array.tobytes())]}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag.startswith("$"):
            return _decode_tag(tag, content)
    return {key: _decode(item) for key, item in value.items()}


def _decode_tag(tag: str, content: Any) -> Any:
    match tag:
        case "$float":
            return float(content)
        case "$text" | "$enum":
            return str(content)
        case "$dict":
            return {_decode(key): _decode(item) for key, item in content}
        case "$array":
            return _numpy(*content)
        case "$scalar":
            return _numpy(*content)[()]
        case "$objects":
            array = np.empty(content[0], dtype=object)
            array.ravel()[:] = [_decode(item) for item in content[1]]
            return array
    return _TAGS[tag][2](content)


def _numpy(descr: Any, shape: list[int], data: str) -> npt.NDArray[Any]:
    dtype = np.lib.format.descr_to_dtype(_descr(descr))
    return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()


def _descr(descr: Any) -> Any:
    """The description of a dtype with its fields as tuples, which JSON made lists."""
    if isinstance(descr, str):
        return descr
    return [tuple(_descr(part) if i == 1 else _plain(part) for i, part in enumerate(entry)) for entry in descr]


def _plain(part: Any) -> Any:
    return tuple(part) if isinstance(part, list) else part


def _to_base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _sorted(values: set[Any] | frozenset[Any]) -> list[Any]:
    return sorted((_encode(item) for item in values), key=json.dumps)


_TAGS: Final[Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "$tuple": (tuple, lambda value: [_encode(item) for item in value], lambda items: tuple(_decode(item) for item in items)),
    "$set": (set, _sorted, lambda items: {_decode(item) for item in items}),
    "$frozenset": (frozenset, _sorted, lambda items: frozenset(_decode(item) for item in items)),
    "$bytes": (bytes, _to_base64, base64.b64decode),
    "$bytearray": (bytearray, _to_base64, lambda text: bytearray(base64.b64decode(text))),
    "$complex": (complex, repr, complex),
    "$datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$date": (date, date.isoformat, date.fromisoformat),
    "$time": (time, time.isoformat, time.fromisoformat),
    "$timedelta": (timedelta, lambda t: [t.days, t.seconds, t.microseconds], lambda parts: timedelta(*parts)),
    "$path": (PurePath, str, Path),
    "$range": (range, lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    "$slice": (slice, lambda s: [_encode(p) for p in (s.start, s.stop, s.step)], lambda parts: slice(*map(_decode, parts))),
}
