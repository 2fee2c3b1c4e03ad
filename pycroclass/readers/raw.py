"""Arrays that lie plainly in a file, read through a memory map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.readers.building import reading
from pycroclass.readers.failure import failure


@dataclass(frozen=True)
class RawArray:
    """Load parts of an uncompressed array; each call maps the file anew.

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
    def opened(self) -> Iterator[Callable[[tuple[slice, ...]], npt.NDArray[Any]]]:
        """Read parts without copying them: pages of the map, private to this process."""
        with reading(self.path):
            mapped = np.memmap(self.path, self.dtype, mode="c", offset=self.offset, shape=self.stored)
        yield mapped.transpose(self.order).view(np.ndarray).__getitem__
