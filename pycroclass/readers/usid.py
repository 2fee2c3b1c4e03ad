"""USID files of pyUSID: main datasets of (position, spectroscopic value), lazily with all their axes.

Position and spectroscopic axes, their values and units come from the ancillary datasets, the slowest axis first; keys are HDF5 paths
without the first ``/``. A measurement that was stopped early, or was not taken on a full grid, keeps its two axes ``position`` and
``spectroscopic``.

Reference: https://pycroscopy.github.io/USID/usid_model.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import FileStamp
from pycroclass.readers.building import n_core
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_axes import distinct
from pycroclass.readers.hdf5_file import Hdf5Array, attributes, open_hdf5, plain, text, walk
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import safe_name, wrap
from pycroclass.source import lazy_array, plan_chunks
from pycroclass.spec import Axis, AxisKind, Spec


@dataclass(frozen=True)
class UsidArray:
    """Reads a part of the N-dimensional array that a main dataset of two axes stands for.

    Parameters
    ----------
    stored : Hdf5Array
        The main dataset.
    shape : tuple of int
        Position axes, then spectroscopic axes, the slowest first.
    n_position : int
        How many of them are position axes.
    """

    stored: Hdf5Array
    shape: tuple[int, ...]
    n_position: int

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part; of the rows and columns between its ends nothing else is kept."""
        n = self.n_position
        rows, columns = _flat(self.shape[:n], slices[:n]), _flat(self.shape[n:], slices[n:])
        block = self.stored((_around(rows), _around(columns)))
        part: npt.NDArray[Any] = block[np.ix_(rows - rows[0], columns - columns[0])]
        return part.reshape([part_slice.stop - part_slice.start for part_slice in slices])


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Every main dataset of a USID file by its HDF5 path.

    Raises
    ------
    ReadError
        If the file is damaged, or an ancillary dataset does not fit.
    """
    with open_hdf5(path) as file:
        mains = {name: dataset for name, dataset in walk(file).items() if "Position_Indices" in dataset.attrs}
        return {name: _open(path, file, dataset, name, options) for name, dataset in mains.items()}


def _open(path: Path, file: h5py.File, main: h5py.Dataset, key: str, options: ReadOptions) -> sidpy.Dataset:
    positions = _axes(path, file, main, "Position", AxisKind.SPATIAL)
    spectra = _axes(path, file, main, "Spectroscopic", AxisKind.SPECTRAL)
    axes = distinct((*positions, *spectra))
    spec = Spec(
        axes, main.dtype, quantity=text(main, "quantity", "generic"), units=text(main, "units", "generic"), title=key.rpartition("/")[2]
    )
    load = UsidArray(Hdf5Array(str(path.absolute()), main.name), spec.shape, len(positions))
    chunks = plan_chunks(spec.shape, spec.dtype, max(n_core(spec), len(spectra)))
    return wrap(
        lazy_array(load, spec.shape, spec.dtype, chunks, [FileStamp.of(path)]),
        spec,
        provenance=provenance(key, path, options),
        metadata=_inherited(main.parent),
        original_metadata=attributes(main),
    )


def _axes(path: Path, file: h5py.File, main: h5py.Dataset, side: str, kind: AxisKind) -> tuple[Axis, ...]:
    """The axes of one side, the slowest first; one axis through all points where they make no full grid."""
    indices, values = (_ancillary(path, file, main, f"{side}_{what}") for what in ("Indices", "Values"))
    n_points = main.shape[0 if side == "Position" else 1]
    if side == "Position":
        table, positions = indices[()].T, values[()].T
    else:
        table, positions = indices[()], values[()]
    if table.ndim != 2 or table.shape != positions.shape or table.shape[1] != n_points:
        raise failure(
            path, f"{indices.name} of shape {indices.shape} does not fit {main.name} of shape {main.shape}", "The file is damaged."
        )
    labels, units = (_labels(indices, name, len(table)) for name in ("labels", "units"))
    sizes = [len(np.unique(row)) for row in table]
    order = sorted(range(len(table)), key=lambda i: np.count_nonzero(np.diff(table[i])))  # the slowest changes least
    if not _is_grid(table[order], [sizes[i] for i in order]):
        return (Axis(side.lower(), n_points),)
    return tuple(
        Axis.from_values(safe_name(labels[i]), _first_values(table[i], positions[i]), kind=kind, quantity=labels[i], units=units[i])
        for i in order
    )


def _ancillary(path: Path, file: h5py.File, main: h5py.Dataset, name: str) -> h5py.Dataset:
    reference = main.attrs.get(name)
    found = file[reference] if isinstance(reference, h5py.Reference) and reference else main.parent.get(name)
    if not isinstance(found, h5py.Dataset):
        raise failure(path, f"{main.name} has no {name}", "A USID dataset needs it; read the bare array with format='HDF5'.")
    return found


def _labels(ancillary: h5py.Dataset, name: str, n: int) -> list[str]:
    found = plain(ancillary.attrs.get(name, []))
    found = [found] if isinstance(found, str) else list(found)
    return [str(found[i]) if i < len(found) and str(found[i]) else "generic" for i in range(n)]


def _is_grid(table: npt.NDArray[Any], sizes: list[int]) -> bool:
    """Whether the points, in the order in which they were taken, are a full grid with the last axis the fastest."""
    if math.prod(sizes) != table.shape[1]:
        return False
    ranks = np.stack([np.unique(row, return_inverse=True)[1].ravel() for row in table])
    return bool(np.array_equal(np.ravel_multi_index(tuple(ranks), tuple(sizes)), np.arange(table.shape[1])))


def _first_values(indices: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    first: npt.NDArray[Any] = values[np.unique(indices, return_index=True)[1]]
    return first


def _inherited(group: h5py.Group) -> dict[str, Any]:
    """Attributes of the groups around a dataset; those nearer to it count."""
    found: dict[str, Any] = {}
    while True:
        found = attributes(group) | found
        if group.name == "/":
            return found
        group = group.parent


def _flat(shape: tuple[int, ...], slices: tuple[slice, ...]) -> npt.NDArray[np.intp]:
    """Flat indices, in order, of a part of an array."""
    ranges = np.ix_(*(np.arange(part.start, part.stop) for part in slices))
    return np.ravel_multi_index(ranges, shape).ravel()


def _around(indices: npt.NDArray[np.intp]) -> slice:
    return slice(int(indices[0]), int(indices[-1]) + 1)
