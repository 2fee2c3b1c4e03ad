"""Blocks of a lazy array one behind the other, for formats that are written from the first frame to the last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

import dask
import dask.array as da
import numpy.typing as npt
from dask.system import CPU_COUNT

_AT_ONCE: Final = 256 << 20  # bytes of blocks that are computed together


def in_order(array: da.Array) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """First index and values of some items after the other along the first axis, all other axes whole.

    As many blocks as there are processors are computed together, if that is not more than 256 MB.

    Examples
    --------
    >>> [(start, values.tolist()) for start, values in in_order(da.arange(5, chunks=2))]
    [(0, [0, 1]), (2, [2, 3]), (4, [4])]
    """
    array = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
    sizes = array.chunks[0]
    starts = list(accumulate(sizes[:-1], initial=0))
    n_bytes = array.itemsize * math.prod(array.chunksize)
    at_once = max(1, min(CPU_COUNT, _AT_ONCE // max(n_bytes, 1)))
    for first in range(0, len(sizes), at_once):
        some = range(first, min(first + at_once, len(sizes)))
        yield from zip([starts[i] for i in some], dask.compute(*(array.blocks[i] for i in some)), strict=True)
