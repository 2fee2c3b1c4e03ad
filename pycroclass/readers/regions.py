"""Regions of arrays that lie in a file as in memory: only the runs of bytes under them are read."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.profile import timed

_GAP: Final = 16 << 10  # bytes that are read and left out sooner than to ask the system once more
_RUN: Final = 1 << 20  # bytes that stay in the cache until the values are copied out of them

Bounds = tuple[tuple[int, int], ...]
Bytes = npt.NDArray[np.uint8]
Read = Callable[[tuple[slice, ...]], npt.NDArray[Any]]


class Scratch:
    """Arrays of bytes that are used again and again: new memory costs as much as decoding."""

    def __init__(self) -> None:
        self._arrays: dict[str, Bytes] = {}

    def __call__(self, name: str, n_bytes: int) -> Bytes:
        """The array of that name, with whatever is in it."""
        array = self._arrays.get(name)
        if array is None or len(array) < n_bytes:
            array = self._arrays[name] = np.empty(n_bytes, np.uint8)
        return array[:n_bytes]


def fetch(file: io.FileIO, offset: int, out: Bytes) -> None:
    """Fill ``out`` with the bytes from ``offset`` on.

    Raises
    ------
    EOFError
        If the file ends before that.
    """
    with timed("read"):
        file.seek(offset)
        n_read = 0
        while n_read < len(out):
            n = file.readinto(out[n_read:].data)
            if not n:
                raise EOFError(f"the file ends at byte {offset + n_read}, wanted {len(out) - n_read} more")
            n_read += n


def gather(file: io.FileIO, place: int, strides: tuple[int, ...], dtype: np.dtype[Any], out: npt.NDArray[Any], scratch: Scratch) -> None:
    """Fill ``out`` with values of a type that begin at ``place`` and lie so many bytes apart: only the runs under them are read."""
    run, gap = _extent(out.shape, strides, dtype.itemsize)
    if out.nbytes == run and out.dtype == dtype and out.flags.c_contiguous:
        fetch(file, place, out.reshape(-1).view(np.uint8))
    elif run <= _RUN and gap <= _GAP:
        data = scratch("raw", run)
        fetch(file, place, data)
        out[...] = np.ndarray(out.shape, dtype, data, strides=strides)
    elif out.ndim > 1 and (gap > _GAP or strides[0] > _RUN):
        for i in range(len(out)):
            gather(file, place + i * strides[0], strides[1:], dtype, out[i], scratch)
    else:
        n = _RUN // strides[0]
        for i in range(0, len(out), n):
            gather(file, place + i * strides[0], strides, dtype, out[i : i + n], scratch)


def bounds_of(shape: tuple[int, ...], region: Sequence[slice]) -> Bounds:
    """First index of a region along each axis, and the one after its last.

    Raises
    ------
    ValueError
        If the region is not within the shape.
    """
    whole = (*region, *[slice(None)] * (len(shape) - len(region)))
    bounds = tuple((part.start or 0, n if part.stop is None else part.stop) for n, part in zip(shape, whole))
    if len(whole) != len(shape) or any(not 0 <= start <= stop <= n for n, (start, stop) in zip(shape, bounds)):
        raise ValueError(f"the dataset has shape {shape}, wanted {tuple(region)}")
    return bounds


def strides_of(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Bytes from one index to the next along each axis, the last axis running fastest.

    Examples
    --------
    >>> strides_of((5, 4, 3), 2)
    (24, 6, 2)
    """
    return tuple(math.prod(shape[d + 1 :]) * itemsize for d in range(len(shape)))


def _extent(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """Bytes from the first value of a region to the end of the last, and the longest run between that is not part of it."""
    run, gap = itemsize, 0
    for n, stride in zip(reversed(shape), reversed(strides)):
        gap = max(gap, stride - run if n > 1 else 0)
        run += (n - 1) * stride
    return run, gap
