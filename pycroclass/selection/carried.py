"""The rest of HDF5 files, for some of their frames: what stands beside the frames, in the same places of another file.

Geometry, masks and settings are copied; what has one row for each frame (energies, names, peak lists, a second detector) keeps the rows of
the chosen frames, large rows as a view into the sources. So every program that reads the sources reads the other file in the same way.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from pycroclass.errors import WriteError
from pycroclass.readers.hdf5_file import open_hdf5
from pycroclass.readers.hdf5_links import escaped, linked_file
from pycroclass.selection.frame_selection import Integers

log = logging.getLogger(__name__)

_OF_DETECTOR: Final = (
    *("mask", "pixel_mask", "corner_position", "basis_vectors", "module_identifier", "translation", "orientation"),
    *("distance", "detector_distance", "x_pixel_size", "y_pixel_size", "beam_center_x", "beam_center_y"),
)
"""What all sources must agree on, for frames would lie elsewhere otherwise."""
_NEVER_ROWS: Final = ("corner_position", "basis_vectors", "module_identifier", "translation", "orientation", "x_pixel_size", "y_pixel_size")
"""What counts modules or directions along its first axis, even where they are as many as frames."""
_VIEW_BYTES: Final = 16 << 10
"""From so many bytes on a row is not copied."""
_PIECE_BYTES: Final = 64 << 20
_MOST_RUNS: Final = 512
"""In one view: what HDF5 does with them grows with the square of their number."""

Runs = list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Part:
    """Some frames of one dataset of a file, in ascending order.

    Parameters
    ----------
    file : str
        Absolute path.
    dataset : str
        HDF5 path.
    index : array of int64
    """

    file: str
    dataset: str
    index: Integers


def carry(parts: Sequence[Part], target: h5py.File, folder: Path) -> None:
    """Fill an empty file with what the sources hold, for these frames.

    Parameters
    ----------
    parts : sequence of Part
        Their frames follow one another; all datasets have the same HDF5 path.
    target : h5py.File
    folder : Path
        Where the file is going to lie: sources are named from there on.

    Raises
    ------
    WriteError
        If frames differ in shape or type, or the sources in geometry or mask.
    ReadError
        If a source cannot be read.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(open_hdf5(Path(part.file))) for part in parts]
        frames = [_frames(source, part) for source, part in zip(sources, parts, strict=True)]
        for one, part in zip(frames, parts, strict=True):
            if (one.shape[1:], one.dtype) != (frames[0].shape[1:], frames[0].dtype):
                raise WriteError(
                    f"{part.file} holds frames of {one.shape[1:]} {one.dtype}, {parts[0].file} of {frames[0].shape[1:]} {frames[0].dtype}: "
                    "they do not make one dataset. Write a file for each kind."
                )
            if part.index[-1] >= one.shape[0]:
                raise WriteError(f"{part.file} holds {one.shape[0]} frames, and frame {part.index[-1]} was chosen. It was changed since.")
        _Carried(parts, sources, frames, target, folder).group(sources[0], target, "")


def _frames(source: h5py.File, part: Part) -> h5py.Dataset:
    item = source.get(part.dataset)
    if not isinstance(item, h5py.Dataset) or item.ndim < 3:
        found = "nothing" if item is None else f"{item!r}"
        raise WriteError(f"{part.file} has {found} at {part.dataset!r}, wanted a stack of frames. Was the file changed?")
    if item.file.filename != source.filename:
        raise WriteError(f"{part.dataset!r} of {part.file} is a link to {item.file.filename}; select frames of that file")
    return item


class _Carried:
    """Walks through the first source, and looks into the others for the same."""

    def __init__(
        self, parts: Sequence[Part], sources: Sequence[h5py.File], frames: Sequence[h5py.Dataset], target: h5py.File, folder: Path
    ) -> None:
        self.parts, self.sources, self.frames, self.target, self.folder = parts, sources, frames, target, folder
        self.n_kept = sum(len(part.index) for part in parts)
        self.done: dict[Any, str] = {}

    def group(self, source: h5py.Group, target: h5py.Group, path: str) -> None:
        """All that a group holds; links stay links."""
        _copy_attributes(source, target)
        for name in source:
            link, place = source.get(name, getlink=True), f"{path}/{name}"
            if isinstance(link, h5py.SoftLink):
                target[name] = h5py.SoftLink(link.path)
            elif isinstance(link, h5py.ExternalLink):
                self._linked(link, target, name)
            elif (known := self.done.setdefault(h5py.h5o.get_info(source[name].id).addr, place)) != place:
                if known in self.target:
                    target[name] = self.target[known]
            elif isinstance(source[name], h5py.Group):
                self.group(source[name], target.create_group(name), place)
            elif isinstance(source[name], h5py.Dataset):
                self._dataset(source[name], target, name, place)

    def _linked(self, link: h5py.ExternalLink, target: h5py.Group, name: str) -> None:
        try:
            other = linked_file(Path(self.parts[0].file), link.filename)
        except OSError:  # ReadError is one: it was broken before
            return
        target[name] = h5py.ExternalLink(os.path.relpath(other, self.folder), link.path)

    def _dataset(self, first: h5py.Dataset, target: h5py.Group, name: str, place: str) -> None:
        all_of_it = [source.get(place) for source in self.sources]
        if not all(isinstance(one, h5py.Dataset) for one in all_of_it):
            log.info("%s is not in all sources, and is left out", place)
        elif self._has_rows(all_of_it, name):
            self._rows(all_of_it, target, name, place)
        elif len(self.sources) == 1 or _are_equal(all_of_it):
            self.sources[0].copy(first, target, name)
        elif name in _OF_DETECTOR:
            raise WriteError(
                f"{place} is not the same in {self.parts[0].file} and in other sources: their frames do not lie on one detector. "
                "Write a file for each source."
            )
        elif first.shape == () and first.dtype.kind in "biuf":
            each = np.array([one[()] for one in all_of_it]).repeat([len(part.index) for part in self.parts])
            _copy_attributes(first, target.create_dataset(name, data=each))
        else:
            log.info("%s is not the same in all sources, and is left out", place)

    def _has_rows(self, datasets: Sequence[h5py.Dataset], name: str) -> bool:
        """Whether there is one row for each frame, alike in all sources."""
        if name in _NEVER_ROWS or (name in ("mask", "pixel_mask") and datasets[0].ndim < 3):
            return False
        if any(one.shape in ((), self.frames[0].shape[1:]) for one in datasets):  # one value, or one for each pixel
            return False
        alike = {(one.shape[1:], one.dtype) for one in datasets}
        return len(alike) == 1 and all(len(one) == len(frames) for one, frames in zip(datasets, self.frames, strict=True))

    def _rows(self, datasets: Sequence[h5py.Dataset], target: h5py.Group, name: str, place: str) -> None:
        first = datasets[0]
        shape = (self.n_kept, *first.shape[1:])
        is_large = first.dtype.kind in "biufc" and math.prod(first.shape[1:]) * first.dtype.itemsize >= _VIEW_BYTES
        if is_large or first == self.frames[0]:
            made = target.create_virtual_dataset(name, self._layout(datasets, shape, place), fillvalue=missing_value(first.dtype))
        else:
            made = target.create_dataset(name, shape, first.dtype)
            start = 0
            for dataset, part in zip(datasets, self.parts, strict=True):
                for rows in _taken(dataset, part.index):
                    made[start : start + len(rows)] = rows
                    start += len(rows)
        _copy_attributes(first, made)

    def _layout(self, datasets: Sequence[h5py.Dataset], shape: tuple[int, ...], place: str) -> h5py.VirtualLayout:
        """Few views for each source: HDF5 goes through all of them for whatever it reads, and through all runs of one to read it."""
        layout = h5py.VirtualLayout(shape, datasets[0].dtype)
        start = 0
        pieces = ((dataset, part.file, runs) for dataset, part in zip(datasets, self.parts, strict=True) for runs in _in_pieces(part.index))
        for dataset, source, runs in pieces:
            n = sum(count for _, count in runs)
            whole, chosen = (h5py.h5s.create_simple(some) for some in (shape, dataset.shape))
            whole.select_hyperslab((start, *[0] * (len(shape) - 1)), (n, *shape[1:]))
            _select_rows(chosen, runs, dataset.shape)
            file = os.path.relpath(source, self.folder)
            layout.dcpl.set_virtual(whole, os.fsencode(escaped(file)), escaped(place).encode(), chosen)
            start += n
        return layout


def missing_value(dtype: npt.DTypeLike) -> Any:
    """What HDF5 gives for frames whose source is missing: nothing that could be taken for a blank frame."""
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        return np.array(np.nan, kind)
    if kind.kind == "b":
        return np.array(True)
    bounds = np.iinfo(kind)
    return np.array(bounds.min if bounds.min < 0 else bounds.max, kind)


def _select_rows(space: h5py.h5s.SpaceID, runs: Runs, shape: tuple[int, ...]) -> None:
    space.select_none()
    for start, count in runs:
        space.select_hyperslab((start, *[0] * (len(shape) - 1)), (count, *shape[1:]), op=h5py.h5s.SELECT_OR)


def _in_pieces(index: Integers) -> Iterator[Runs]:
    """First row and number of rows of runs of neighbours, not too many at a time."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(index) != 1) + 1, [len(index)]])
    runs = list(zip(index[starts[:-1]].tolist(), np.diff(starts).tolist(), strict=True))
    yield from (runs[i : i + _MOST_RUNS] for i in range(0, len(runs), _MOST_RUNS))


def _taken(dataset: h5py.Dataset, index: Integers) -> Iterator[npt.NDArray[Any]]:
    """Rows of a dataset, read in pieces."""
    row_bytes = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    step = max(1, _PIECE_BYTES // row_bytes)
    for start in range(0, dataset.shape[0], step):
        inside = index[(index >= start) & (index < start + step)]
        if len(inside):
            yield dataset[start : start + step][inside - start]


def _are_equal(datasets: Sequence[h5py.Dataset]) -> bool:
    first = datasets[0]
    if any((one.shape, one.dtype) != (first.shape, first.dtype) for one in datasets[1:]):
        return False
    values = first[()]
    return all(np.array_equal(values, one[()], equal_nan=first.dtype.kind == "f") for one in datasets[1:])


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    """All but references, which would lead into another file."""
    for name in source.attrs:
        if h5py.check_ref_dtype(source.attrs.get_id(name).dtype) is None and name not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS"):
            target.attrs[name] = source.attrs[name]
