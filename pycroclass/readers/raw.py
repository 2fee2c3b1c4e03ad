"""Arrays that lie plainly in a file: through a memory map where the file is local, else read.

A memory map has no errors: where a disk or a network fails, or the file is cut off while it is mapped, the system ends the process. A
network fails now and then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.files import is_local
from pycroclass.readers.building import reading
from pycroclass.readers.failure import failure
from pycroclass.readers.regions import Read, Scratch, bounds_of, gather, strides_of


@dataclass(frozen=True)
class RawArray:
    """Load parts of an uncompressed array; each call opens the file anew.

    Parameters
    ----------
    path : str
    offset : int
        Byte where the array begins.
    stored : tuple of int
        Its shape as stored, the last axis running fastest.
    dtype : str
        With byte order, as `numpy.dtype.str` gives it.
    order : tuple of int
        For each axis of the result the axis as stored.
    """

    path: str
    offset: int
    stored: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]

    @classmethod
    def of(
        cls, path: Path, *, offset: int, stored: tuple[int, ...], dtype: npt.DTypeLike, order: tuple[int, ...] | None = None
    ) -> RawArray:
        """The array after a check that the file is long enough to hold it.

        Raises
        ------
        ReadError
            If the file ends before the array does, or the array holds nothing.
        """
        dtype = np.dtype(dtype)
        needed = offset + math.prod(stored) * dtype.itemsize
        found = path.stat().st_size
        if math.prod(stored) == 0:
            raise failure(path, f"holds an array of shape {stored}, which is empty", "Record it again.")
        if found < needed:
            raise failure(
                path,
                f"is truncated: {needed} bytes wanted for an array of shape {stored} and type {dtype}, {found} found",
                "Copy it again from where it was recorded.",
            )
        return cls(str(path), offset, stored, dtype.str, order or tuple(range(len(stored))))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.stored[d] for d in self.order)

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part of the result, a copy."""
        with self.opened() as load:
            return np.array(load(part))

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that gives parts in turn, with the file held open; each is valid until the next one is asked for."""
        with reading(self.path):
            way = self._mapped if is_local(self.path) else self._read
        with way() as load:
            yield load

    @contextmanager
    def _mapped(self) -> Iterator[Read]:
        """Without a copy: pages of the map, private to this process."""
        with reading(self.path):
            mapped = np.memmap(self.path, self.dtype, mode="c", offset=self.offset, shape=self.stored)
        yield mapped.transpose(self.order).view(np.ndarray).__getitem__

    @contextmanager
    def _read(self) -> Iterator[Read]:
        dtype, scratch = np.dtype(self.dtype), Scratch()
        strides = strides_of(self.stored, dtype.itemsize)
        with ExitStack() as stack:
            with reading(self.path):
                file = stack.enter_context(open(self.path, "rb", buffering=0))

            def load(part: tuple[slice, ...]) -> npt.NDArray[Any]:
                with reading(self.path):
                    of_result = dict(zip(self.order, bounds_of(self.shape, part)))
                    bounds = [of_result[d] for d in range(len(self.stored))]
                    out = _empty([stop - start for start, stop in bounds], dtype, scratch)
                    if out.size:
                        first = sum(start * stride for (start, _), stride in zip(bounds, strides))
                        gather(file, self.offset + first, strides, dtype, out, scratch)
                return out.transpose(self.order)

            yield load


def _empty(shape: list[int], dtype: np.dtype[Any], scratch: Scratch) -> npt.NDArray[Any]:
    return scratch("values", math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
