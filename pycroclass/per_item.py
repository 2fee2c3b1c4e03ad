"""What is known of each item of a stack: its label, its file, its plate, who scored it.

Such values stand in the metadata of a dataset as lists with one value for each position of its first axis. ``labels`` (numbers of
classes, -1 for none), ``files``, ``event_ids`` and ``photon_energies`` stand there by themselves; columns of any other name stand in
``metadata["items"]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.geometry import MODULE, PanelGeometry
from pycroclass.provenance import Provenance
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.source import Source, source_of
from pycroclass.spec import Axis

PER_ITEM: Final = ("labels", "files", "event_ids", "photon_energies")
"""Metadata that hold one value for each item."""
ITEMS: Final = "items"
"""Metadata that hold a dictionary of further such lists by name."""


def column(dataset: sidpy.Dataset, name: str) -> npt.NDArray[Any]:
    """One value for each item of a dataset.

    Parameters
    ----------
    dataset : sidpy.Dataset
    name : str
        ``labels``, ``files``, or what the table of the images, or the records, call it: ``plate``, ``site``, ``split``.

    Returns
    -------
    array, shape (n_items,)

    Raises
    ------
    ParameterError
        If there is no such column; the message names those that there are.
    DataError
        If it has not one value for each item.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> drops = sidpy.Dataset.from_array(np.zeros((3, 4, 4)))
    >>> drops.metadata = {"labels": [0, 1, -1], "items": {"plate": ["A", "A", "B"]}}
    >>> column(drops, "plate").tolist()
    ['A', 'A', 'B']
    """
    known = columns(dataset)
    if name not in known:
        raise ParameterError(f"{dataset.title!r} has no column {name!r} of its items; it has {', '.join(known) or 'none'}")
    values = np.asarray(known[name])
    if values.shape[:1] != dataset.shape[:1]:
        raise DataError(f"column {name!r} has {len(known[name])} values, wanted {dataset.shape[0]}: one for each item of {dataset.title!r}")
    return values


def columns(dataset: sidpy.Dataset) -> dict[str, Sequence[Any]]:
    """All that is known of the items, by name."""
    return _columns(dataset.metadata)


def take(dataset: sidpy.Dataset, index: npt.ArrayLike) -> sidpy.Dataset:
    """Some items of a dataset, lazily, with all that is known of them.

    Parameters
    ----------
    dataset : sidpy.Dataset
    index : array of int, or of bool, shape (n_items,)
        Numbers of items along the first axis, in the order wanted; or True for those wanted.

    Returns
    -------
    sidpy.Dataset
        Its first axis keeps the positions of the items. Files of items that are not taken are never read.

    Raises
    ------
    ParameterError
        If no item is left, or a number lies outside.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> drops = sidpy.Dataset.from_array(np.zeros((3, 4, 4)))
    >>> drops.metadata = {"labels": [0, 1, -1]}
    >>> some = take(drops, [2, 0])
    >>> some.shape, some.metadata["labels"]
    ((2, 4, 4), [-1, 0])
    """
    array, spec = unwrap(dataset)
    if not spec.axes:
        raise AxisError("a dataset without axes has no items")
    numbers = _numbers(index, spec.shape[0])
    chosen = ArrayValue(numbers)
    first = spec.axes[0]
    geometry = spec.geometry
    if isinstance(geometry, PanelGeometry) and first.name == MODULE:
        geometry = geometry.of_modules(numbers.tolist())
    along = Axis.from_values(first.name, first.values[numbers], kind=first.kind, quantity=first.quantity, units=first.units)
    return wrap(
        _taken(array, numbers),
        replace(spec, axes=(along, *spec.axes[1:]), geometry=geometry),
        provenance=Provenance("take", {"index": chosen.digest}, (provenance_of(dataset),), arrays={chosen.digest: chosen}),
        metadata=without_items(dataset.metadata) | cut_items(dataset.metadata, numbers.tolist(), first.size),
        original_metadata=dataset.original_metadata,
        modality=dataset.modality,
        source=dataset.source,
    )


def without_items(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the whole alone, for results that have not the items of the dataset."""
    of_items = {*PER_ITEM, *([ITEMS] if isinstance(metadata.get(ITEMS), Mapping) else [])}
    return {name: value for name, value in metadata.items() if name not in of_items}


def cut_items(metadata: Mapping[str, Any], kept: Sequence[int], n_items: int) -> dict[str, Any]:
    """Metadata of the kept items alone; a list that had not ``n_items`` values is left out.

    Examples
    --------
    >>> cut_items({"title": "drops", "labels": [0, 1, 1], "items": {"plate": ["A", "B", "B"]}}, [2, 0], 3)
    {'labels': [1, 0], 'items': {'plate': ['B', 'A']}}
    """
    fitting = {name: values for name, values in _columns(metadata).items() if len(values) == n_items}
    return _as_metadata({name: [values[i] for i in kept] for name, values in fitting.items()})


def join_items(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The lists of items of several datasets, one behind the other; those that one dataset has not are left out.

    Examples
    --------
    >>> join_items([{"labels": [0], "files": ["a"]}, {"labels": [1]}])
    {'labels': [0, 1]}
    """
    tables = [_columns(one) for one in metadata]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return _as_metadata({name: [value for table in tables for value in table[name]] for name in shared})


def _columns(metadata: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    further = metadata.get(ITEMS)
    own = {name: metadata[name] for name in PER_ITEM if metadata.get(name) is not None}
    return {**(further if isinstance(further, Mapping) else {}), **own}


def _as_metadata(table: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: values for name, values in table.items() if name in PER_ITEM}
    further = {name: values for name, values in table.items() if name not in PER_ITEM}
    return {**own, ITEMS: further} if further else own


def _numbers(index: npt.ArrayLike, n_items: int) -> npt.NDArray[np.int64]:
    """The items wanted, each by a number from 0."""
    given = np.asarray(index)
    if given.dtype.kind == "b" and given.shape == (n_items,):
        given = np.flatnonzero(given)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        raise ParameterError(
            f"wanted the numbers of some items, or {n_items} values True or False of which one is True; "
            f"got shape {given.shape}, dtype {given.dtype}"
        )
    if given.min() < 0 or given.max() >= n_items:
        raise ParameterError(f"items have the numbers 0 to {n_items - 1}, got {given.min()} to {given.max()}")
    return given.astype(np.int64)


def _taken(array: da.Array, numbers: npt.NDArray[np.int64]) -> da.Array:
    """The items of a lazy array; a source that can read single items becomes one that reads these alone."""
    source = source_of(array)
    taken = getattr(source.load, "taken", None) if source else None
    if source is None or taken is None:
        return array[numbers]
    step = max(array.chunks[0])
    along = tuple(min(step, len(numbers) - start) for start in range(0, len(numbers), step))
    return Source(taken(numbers), (len(numbers), *source.shape[1:]), source.dtype, source.stamps).lazy((along, *array.chunks[1:]))
