"""Metadata as the HDF5 attributes that every NSID reader sees: nested dictionaries are groups."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from pycroclass.metadata_json import encode

_MAX_BYTES: Final = 60_000  # one HDF5 attribute holds 64 KiB with its header


def write_attributes(group: h5py.Group, metadata: Mapping[Any, Any]) -> None:
    """Write a dictionary into a group; a dictionary in it, or a list of them, becomes a group.

    What HDF5 attributes cannot hold stands there as JSON text, and if that is long, as a note.
    """
    for key, value in metadata.items():
        name = _free_name(group, str(key))
        if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            value = dict(enumerate(value))
        if isinstance(value, Mapping):
            write_attributes(group.create_group(name), value)
        else:
            group.attrs[name] = _storable(value)


def _free_name(group: h5py.Group, key: str) -> str:
    name = _clean(key).replace("/", "_").replace("\0", "_")
    if name.strip(".") == "":
        name = f"{name}_"
    while name in group or name in group.attrs:
        name = f"{name}_"
    return name


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _storable(value: Any) -> Any:
    match value:
        case Enum():
            return value.name
        case str() if is_plain(value):
            return str(value)
        case bool() | float() | complex() | np.number() | np.bool_():
            return value
        case int() if -(2**63) <= value < 2**64:
            return value
        case np.ndarray():
            return _storable_array(value, value)
        case list() | tuple() | range() if (array := _uniform(value)) is not None:
            return _storable_array(array, value)
        case bytes() if (text := _text(value)) is not None:
            return text
    return _as_text(value)


def _storable_array(array: npt.NDArray[Any], value: Any) -> Any:
    if array.dtype.kind in "biufc" and 0 < array.nbytes <= _MAX_BYTES:
        return array
    if array.dtype.kind == "U" and 0 < array.size * 16 <= _MAX_BYTES and all(is_plain(item) for item in array.ravel()):
        return array.astype(h5py.string_dtype())
    return _as_text(value)


def _uniform(values: list[Any] | tuple[Any, ...] | range) -> npt.NDArray[Any] | None:
    """The values as an array if they are all numbers, or all strings, of a regular shape."""
    try:
        array = np.array(values)
    except (ValueError, TypeError):  # ragged
        return None
    if array.dtype.kind == "U" and not all(isinstance(leaf, str) for leaf in _leaves(values)):
        return None
    return array


def _leaves(values: Any) -> list[Any]:
    return [leaf for item in values for leaf in _leaves(item)] if isinstance(values, list | tuple) else [values]


def is_plain(text: str) -> bool:
    """Whether HDF5 can hold the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and _clean(text) == text


def _text(value: bytes) -> str | None:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if is_plain(text) else None


def _as_text(value: Any) -> str:
    text = encode(value)
    return text if len(text) <= _MAX_BYTES else f"{type(value).__name__} too large for an attribute; whole in the hidden JSON"
