"""Lazy arrays whose tasks carry a path and a place in the file: never a handle, never the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize

from pycroclass.provenance import FileStamp

CHUNK_BYTES: Final = 32 << 20
"""About how much one task reads."""

Load = Callable[[tuple[slice, ...]], npt.NDArray[Any]]
"""Reads a part of one array of a file: a picklable frozen dataclass with ``__call__(slices)``."""


def lazy_array(
    load: Load, shape: tuple[int, ...], dtype: npt.DTypeLike, chunks: tuple[tuple[int, ...], ...], stamps: Sequence[FileStamp]
) -> da.Array:
    """A dask array that calls ``load`` once for each chunk; its name follows from the loader and the files' stamps.

    The dtype is native whatever the file's byte order.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    name = f"read-{tokenize(load, shape, dtype.str, chunks, stamps)}"
    starts = [np.cumsum((0, *sizes[:-1])) for sizes in chunks]
    graph = {
        (name, *block): (
            _load,
            load,
            tuple((int(starts[d][i]), int(starts[d][i]) + chunks[d][i]) for d, i in enumerate(block)),
            dtype.str,
        )
        for block in np.ndindex(*(len(sizes) for sizes in chunks))
    }
    return da.Array(graph, name, chunks, dtype=dtype, meta=np.empty((0,) * len(shape), dtype))


def plan_chunks(
    shape: tuple[int, ...], dtype: npt.DTypeLike, n_core: int, stored: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Chunks of about `CHUNK_BYTES` that keep the last ``n_core`` axes whole, in multiples of the file's own ``stored`` chunks.

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
        fits = int(CHUNK_BYTES // max(size, 1))
        chunk[d] = min(shape[d], max(step, fits // step * step))
        size *= chunk[d]
    return tuple(_split(n, c) for n, c in zip(shape, chunk, strict=True))


def _split(n: int, chunk: int) -> tuple[int, ...]:
    return (chunk,) * (n // chunk) + ((n % chunk,) if n % chunk else ())


def _load(load: Load, bounds: tuple[tuple[int, int], ...], dtype: str) -> npt.NDArray[Any]:
    return np.ascontiguousarray(load(tuple(slice(a, b) for a, b in bounds)), dtype=dtype)
