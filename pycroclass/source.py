"""Sources: lazy arrays whose tasks carry a path and a place in the file, never a handle, never the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from pycroclass.profile import timed
from pycroclass.provenance import FileStamp

CHUNK_BYTES: Final = 32 << 20
"""About how much one task reads."""

Chunks = tuple[tuple[int, ...], ...]
Part = tuple[slice, ...]
Load = Callable[[Part], npt.NDArray[Any]]
"""Reads a part of one array of a file: a picklable frozen dataclass with ``__call__(part)``.

It may offer ``opened()``, a context manager that gives such a function with the file held open, for parts in turn: what it returns is
valid until the next call. And ``narrowed(part)``, a loader that knows only what this part needs, and the part for it.
"""


@dataclass(frozen=True, eq=False)
class Source:
    """One array of one or several files.

    Parameters
    ----------
    load : Load
    shape : tuple of int
    dtype : numpy dtype
        Native, whatever the byte order of the file.
    stamps : sequence of FileStamp
    stored : tuple of int, optional
        Shape of the chunks in the file.
    """

    load: Load
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stamps: Sequence[FileStamp]
    stored: tuple[int, ...] | None = None

    def lazy(self, chunks: Chunks) -> da.Array:
        """A dask array that reads each chunk in one task; its name follows from the loader and the stamps of the files."""
        name = f"read-{tokenize(self.load, self.shape, self.dtype.str, chunks, self.stamps)}"
        layer = SourceLayer(self, name, chunks)
        meta = np.empty((0,) * len(self.shape), self.dtype)
        return da.Array(HighLevelGraph({name: layer}, {name: set()}), name, chunks, dtype=self.dtype, meta=meta)

    def window(self, part: Part) -> Source:
        """A part of the array, ``part`` having a start and a stop for each axis, as a source of its own: the rest is never read."""
        shape = tuple(s.stop - s.start for s in part)
        return Source(Window(self.load, part), shape, self.dtype, self.stamps, self.stored)

    def in_blocks(self, n_core: int, n_bytes: int | None = None) -> da.Array:
        """As `lazy`, in chunks of about ``n_bytes`` that keep the last ``n_core`` axes whole."""
        return self.lazy(plan_chunks(self.shape, self.dtype, n_core, self.stored, n_bytes))


@dataclass(frozen=True)
class Window:
    """Reads a part of what another loader reads."""

    load: Load
    window: Part

    def __call__(self, part: Part) -> npt.NDArray[Any]:
        """A part of the window."""
        return self.load(within(self.window, part))

    def narrowed(self, part: Part) -> tuple[Load, Part]:
        """The other loader, and what it is asked for."""
        return _narrowed(self.load, within(self.window, part))


@dataclass(frozen=True, eq=False)
class Reading:
    """What one task reads: a picklable part of a source.

    Parameters
    ----------
    load : Load
    part : tuple of slice
    dtype : str
    """

    load: Load
    part: Part
    dtype: str

    def __call__(self) -> npt.NDArray[Any]:
        """The part as an array of its own."""
        with timed("read"):
            return np.ascontiguousarray(self.load(self.part), dtype=self.dtype)

    @contextmanager
    def opened(self) -> Iterator[Load]:
        """Read pieces of the part in turn, each given by slices within it; an array is valid until the next one is read."""
        if not hasattr(self.load, "opened"):
            yield self().__getitem__
            return
        with self.load.opened() as load:
            yield lambda piece: np.asarray(load(within(self.part, piece)), dtype=self.dtype)


class SourceLayer(MaterializedLayer):  # type: ignore[misc]  # dask is not typed
    """The tasks of a `Source` in a graph; its type is how the engine knows them."""

    def __init__(self, source: Source, name: str, chunks: Chunks) -> None:
        starts = [np.cumsum((0, *sizes[:-1])).tolist() for sizes in chunks]
        self.source, self.name = source, name
        self.readings: dict[Any, Reading] = {}
        for block in np.ndindex(*(len(sizes) for sizes in chunks)):
            part = tuple(slice(starts[d][i], starts[d][i] + chunks[d][i]) for d, i in enumerate(block))
            self.readings[(name, *block)] = Reading(*_narrowed(source.load, part), source.dtype.str)
        super().__init__({key: (reading,) for key, reading in self.readings.items()})


def _narrowed(load: Load, part: Part) -> tuple[Load, Part]:
    narrowed = getattr(load, "narrowed", None)
    return narrowed(part) if narrowed else (load, part)


def source_of(array: da.Array) -> Source | None:
    """The source that an array reads from, if it is that and nothing else."""
    layer = array.dask.layers.get(array.name)
    return layer.source if isinstance(layer, SourceLayer) else None


def sources_along(array: da.Array) -> list[Source]:
    """The sources that an array holds whole, one behind the other along its first axis; empty if it is anything else."""
    layers = array.dask.layers
    names: dict[str, None] = {}
    for i in range(array.numblocks[0] if array.ndim else 0):
        key: Any = (array.name, i, *[0] * (array.ndim - 1))
        while key[0] in layers and not isinstance(layers[key[0]], SourceLayer):
            task = layers[key[0]].get(key)
            key = getattr(task, "target", task)  # what another block stands for; older versions of dask have its key alone
            if not isinstance(key, tuple) or not isinstance(key[0], str):
                return []
        names[key[0]] = None
    sources = [layers[name].source for name in names if isinstance(layers.get(name), SourceLayer)]
    return sources if sum(source.shape[0] for source in sources) == array.shape[0] else []


def lazy_array(load: Load, shape: tuple[int, ...], dtype: npt.DTypeLike, chunks: Chunks, stamps: Sequence[FileStamp]) -> da.Array:
    """The lazy array of a source in these chunks."""
    return Source(load, shape, np.dtype(dtype).newbyteorder("="), stamps).lazy(chunks)


def within(part: Part, piece: Part) -> Part:
    """Slices of the whole that stand for a piece of a part of it.

    Examples
    --------
    >>> within((slice(10, 20), slice(0, 5)), (slice(2, 4),))
    (slice(12, 14, None), slice(0, 5, None))
    """
    cut = (slice(p.start + (q.start or 0), p.stop if q.stop is None else p.start + q.stop) for p, q in zip(part, piece))
    return (*cut, *part[len(piece) :])


def plan_chunks(
    shape: tuple[int, ...], dtype: npt.DTypeLike, n_core: int, stored: tuple[int, ...] | None = None, n_bytes: int | None = None
) -> Chunks:
    """Chunks of about ``n_bytes`` that keep the last ``n_core`` axes whole, in multiples of the file's own ``stored`` chunks.

    Examples
    --------
    >>> [len(sizes) for sizes in plan_chunks((1000, 512, 512), "u2", 2, stored=(1, 512, 512))]
    [16, 1, 1]
    """
    n_navigation = len(shape) - n_core
    size = math.prod(shape[n_navigation:]) * np.dtype(dtype).itemsize
    chunk = list(shape)
    for d in reversed(range(n_navigation)):
        step = min(stored[d], shape[d]) if stored else 1
        fits = int((n_bytes or CHUNK_BYTES) // max(size, 1))
        chunk[d] = min(shape[d], max(step, fits // step * step))
        size *= chunk[d]
    return tuple(_split(n, c) for n, c in zip(shape, chunk, strict=True))


def _split(n: int, chunk: int) -> tuple[int, ...]:
    return (chunk,) * (n // chunk) + ((n % chunk,) if n % chunk else ())
