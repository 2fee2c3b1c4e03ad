"""Regions of HDF5 datasets, read from the bytes of the file: HDF5's lock is taken once per dataset, to learn where its chunks lie."""

from __future__ import annotations

import io
import itertools
import math
import os
import struct
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
import numpy.typing as npt

from pycroclass.profile import timed
from pycroclass.readers.hdf5_filters import Pipeline, Wanted, unshuffle
from pycroclass.readers.hdf5_links import virtual_sources
from pycroclass.readers.regions import Bounds, Bytes, Read, Scratch, bounds_of, fetch, gather, strides_of

SMALLEST: Final = 16 << 10
"""Bytes of a chunk below which HDF5 itself is faster."""
_KEPT: Final = 64 << 20  # bytes of decoded chunks that may be kept for the next region
_SETTLED: Final = 2.0  # seconds after which a file that is written anew has another time of change
_LOCKS: Final = tuple(threading.Lock() for _ in range(64))  # a file whose chunks are listed stops no reader of another


@dataclass(frozen=True, eq=False)
class Chunks:
    """Where the chunks lie that were ever written; those of a grid, the last axis running fastest.

    Parameters
    ----------
    numbers : array of int64
        Places in the grid, ascending.
    offsets, sizes, masks : array of int64
        First byte in the file, number of bytes, and the filters that were left out.
    """

    numbers: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64]) -> Self:
        """From rows of number, offset, size and mask in any order."""
        columns = rows[np.argsort(rows[:, 0], kind="stable")].T.copy()
        return cls(*columns)

    def find(self, number: int) -> tuple[int, int, int] | None:
        """Offset, size and mask of a chunk; ``None`` if it was never written."""
        i = int(self.numbers.searchsorted(number))
        if i == len(self.numbers) or self.numbers[i] != number:
            return None
        return int(self.offsets[i]), int(self.sizes[i]), int(self.masks[i])


@dataclass(frozen=True, eq=False)
class Layout:
    """How a dataset lies in its file.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype
        As stored.
    fill : array of shape ()
        Value of what was never written.
    chunk_shape : tuple of int
        That of the dataset, where it is stored in one piece.
    pipeline : Pipeline
    chunks : Chunks
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: npt.NDArray[Any]
    chunk_shape: tuple[int, ...]
    pipeline: Pipeline
    chunks: Chunks

    @classmethod
    def of(cls, path: str, dataset: h5py.Dataset) -> Self | None:
        """That of an open dataset of a file; ``None`` if only HDF5 can read it, or reads it faster."""
        plist, dtype, shape = dataset.id.get_create_plist(), dataset.dtype, dataset.shape
        filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        pipeline = Pipeline.of([(number, parameters) for number, _, parameters, _ in filters], dtype)
        if pipeline is None or not shape or not _is_plain(path, dataset):
            return None
        match plist.get_layout():
            case h5py.h5d.CONTIGUOUS if plist.get_external_count() == 0:
                chunk_shape, rows = shape, _one_piece(dataset)
            case h5py.h5d.CHUNKED if hasattr(dataset.id, "chunk_iter") and math.prod(dataset.chunks) * dtype.itemsize >= SMALLEST:
                chunk_shape, rows = dataset.chunks, _rows(dataset)
            case _:
                return None
        fill = np.full((), dataset.fillvalue, dtype.newbyteorder("="))
        return cls(shape, dtype, fill, chunk_shape, pipeline, Chunks.of(rows))

    def start(self, number: int) -> tuple[int, ...]:
        """The index of a chunk's first value."""
        grid = tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunk_shape))
        return tuple(int(i) * chunk for i, chunk in zip(np.unravel_index(number, grid), self.chunk_shape))


def _is_plain(path: str, dataset: h5py.Dataset) -> bool:
    """Whether its values are numbers just as NumPy has them, and all of them are in this file, where HDF5 says."""
    dtype, file = dataset.dtype, dataset.file
    if dtype.kind not in "biufc" or file.driver != "sec2" or file.userblock_size:
        return False
    if file.mode != "r" or not os.path.samefile(path, file.filename):  # this process may not have written everything yet; a link
        return False
    stored: bool = h5py.h5t.py_create(dtype, logical=True) == dataset.id.get_type()
    return stored


def _one_piece(dataset: h5py.Dataset) -> npt.NDArray[np.int64]:
    offset = dataset.id.get_offset()
    return np.array([] if offset is None else [0, offset, dataset.nbytes, 0], np.int64).reshape(-1, 4)


def _rows(dataset: h5py.Dataset) -> npt.NDArray[np.int64]:
    rows = array("q")
    grid = tuple(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks))
    steps = [*zip(dataset.chunks, strides_of(grid, 1))]

    def note(found: Any) -> None:
        number = sum(start // chunk * stride for start, (chunk, stride) in zip(found.chunk_offset, steps))
        rows.extend((number, found.byte_offset, found.size, found.filter_mask))

    dataset.id.chunk_iter(note)
    return np.array(rows, np.int64).reshape(-1, 4)


@contextmanager
def open_regions(path: str, name: str) -> Iterator[Read]:
    """A function that reads regions of a dataset, in native byte order; what it returns is valid until the next call.

    It is for one thread at a time; each thread opens its own.

    Parameters
    ----------
    path, name : str
        Of the file, and in it.

    Raises
    ------
    OSError, ValueError, RuntimeError, KeyError
        If the file cannot be read; so does the function, and the end of the block.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb", buffering=0))
        layout = _layout(path, name, file)
        if layout is not None:
            yield _Regions(file, layout)
        else:
            file.close()
            dataset = stack.enter_context(h5py.File(path, "r"))[name]
            yield lambda region: _by_hdf5(dataset, region)
            if dataset.is_virtual:
                virtual_sources(Path(path), dataset)  # refuses one that vanished meanwhile, for which HDF5 gave zeros


def _by_hdf5(dataset: h5py.Dataset, region: tuple[slice, ...]) -> npt.NDArray[Any]:
    bounds = bounds_of(dataset.shape, region)
    try:
        values: npt.NDArray[Any] = dataset[tuple(slice(*bound) for bound in bounds)]
    except OSError as error:
        first, stop = (tuple(bound[end] for bound in bounds) for end in (0, 1))
        raise OSError(f"{error}, somewhere from index {first} to before {stop}") from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _layout(path: str, name: str, file: io.FileIO) -> Layout | None:
    """Remembered for a file that stays as it is; one changed a moment ago could change again without a sign."""
    found = os.fstat(file.fileno())
    place = (found.st_dev, found.st_ino)
    if abs(time.time() - found.st_ctime) < _SETTLED:  # copying programs set st_mtime as they wish, st_ctime nobody can set
        return _look_up(path, name, place)
    with _LOCKS[hash((path, name)) % len(_LOCKS)]:  # or every thread would begin by listing all chunks
        return _remembered(path, name, place, (found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=16)
def _remembered(path: str, name: str, place: tuple[int, int], _: tuple[int, ...]) -> Layout | None:
    return _look_up(path, name, place)


def _look_up(path: str, name: str, place: tuple[int, int]) -> Layout | None:
    """The layout in the file at that place: its device and its number there."""
    with h5py.File(path, "r") as file:
        layout = Layout.of(path, file[name])
    now = os.stat(path)
    if (now.st_dev, now.st_ino) != place:
        raise OSError("another file was put in its place while it was being opened")
    return layout


class _Regions:
    """Reads regions of one dataset from an open file, with memory that is used again."""

    def __init__(self, file: io.FileIO, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._strides = strides_of(layout.chunk_shape, layout.dtype.itemsize)
        self._n_bytes = math.prod(layout.chunk_shape) * layout.dtype.itemsize
        self._scratch = Scratch()
        self._seen: set[int] = set()
        self._kept: dict[int, Bytes] = {}
        self._is_keeping = False

    def __call__(self, region: tuple[slice, ...]) -> npt.NDArray[Any]:
        layout = self._layout
        bounds = bounds_of(layout.shape, region)
        shape = tuple(stop - start for start, stop in bounds)
        native = layout.dtype.newbyteorder("=")
        out = self._scratch("values", math.prod(shape) * native.itemsize).view(native).reshape(shape)
        if out.size:
            numbers = []
            for number, source, target in _overlaps(layout, bounds):
                numbers.append(number)
                try:
                    self._read(number, source, out[target])
                except (ValueError, RuntimeError, struct.error) as error:
                    raise ValueError(
                        f"the chunk of shape {layout.chunk_shape} from index {layout.start(number)} on is damaged: {error}"
                    ) from error
            self._forget_all_but(numbers)
        return out

    def _read(self, number: int, source: Bounds, out: npt.NDArray[Any]) -> None:
        layout = self._layout
        found = layout.chunks.find(number)
        if found is None:
            out[...] = layout.fill
        elif layout.pipeline.steps:
            self._decoded(number, *found, source, out)
        else:
            offset, size, _ = found
            if size != self._n_bytes:
                raise ValueError(f"it has {size} bytes, wanted {self._n_bytes}")
            first = sum(start * stride for (start, _), stride in zip(source, self._strides))
            gather(self._file, offset + first, self._strides, layout.dtype, out, self._scratch)

    def _decoded(self, number: int, offset: int, size: int, mask: int, source: Bounds, out: npt.NDArray[Any]) -> None:
        layout = self._layout
        shape, dtype, pipeline = layout.chunk_shape, layout.dtype, layout.pipeline
        first, last = (sum(i * stride for i, stride in zip(ends, self._strides)) for ends in zip(*((a, b - 1) for a, b in source)))
        data = self._chunk(number, offset, size, mask, (first, last + dtype.itemsize))
        inside = tuple(slice(*bound) for bound in source)
        if not pipeline.is_shuffled(mask):
            out[...] = data.view(dtype).reshape(shape)[inside]
            return
        with timed("decode"):
            planes = data.reshape(dtype.itemsize, *shape)[(slice(None), *inside)]
            unshuffle(planes, out, is_big_endian=dtype.str[0] == ">")

    def _chunk(self, number: int, offset: int, size: int, mask: int, wanted: Wanted) -> Bytes:
        """The chunk decoded; it is kept once a second region has asked for the same one."""
        if number in self._kept:
            return self._kept[number]
        n_bytes = self._n_bytes
        self._is_keeping = self._is_keeping or number in self._seen
        keep = self._is_keeping and (len(self._kept) + 1) * n_bytes <= _KEPT
        scratch = Scratch() if keep else self._scratch
        data = scratch("stored", size)
        fetch(self._file, offset, data)
        with timed("decode"):
            data = self._layout.pipeline.decode(data, n_bytes, mask, (0, n_bytes) if keep else wanted, scratch)
        if keep:
            self._kept[number] = data
        return data

    def _forget_all_but(self, numbers: Sequence[int]) -> None:
        self._seen = set(numbers)
        self._kept = {number: data for number, data in self._kept.items() if number in self._seen}


def _overlaps(layout: Layout, bounds: Bounds) -> Iterator[tuple[int, Bounds, tuple[slice, ...]]]:
    """Each chunk under a region: its number, the part of it, and where that belongs."""
    grid = [-(-size // chunk) for size, chunk in zip(layout.shape, layout.chunk_shape)]
    under = (range(start // chunk, -(-stop // chunk)) for (start, stop), chunk in zip(bounds, layout.chunk_shape))
    for place in itertools.product(*under):
        number, source, target = 0, [], []
        for i, n, chunk, (start, stop) in zip(place, grid, layout.chunk_shape, bounds):
            number = number * n + i
            first, last = max(start, i * chunk), min(stop, (i + 1) * chunk)
            source.append((first - i * chunk, last - i * chunk))
            target.append(slice(first - start, last - start))
        yield number, tuple(source), tuple(target)
