"""Where values lie in a file, so that blocks can be written without HDF5: by any thread or process, at any time, in any order."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError, WriteError

Region = tuple[slice, ...]
NDArray = npt.NDArray[Any]

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class Place:
    """One dataset in C order, without gaps.

    Parameters
    ----------
    offset : int
        Of its first byte in the file.
    shape : tuple of int
    dtype : str
        With byte order.
    """

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> Self:
        """Of a dataset made with `contiguous`."""
        return cls(int(dataset.id.get_offset()), dataset.shape, dataset.dtype.str)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(data["offset"], tuple(data["shape"]), data["dtype"])

    @property
    def n_bytes(self) -> int:
        """Of all its values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def write(self, handle: int, region: Region, block: NDArray) -> int:
        """Put a block where it belongs; returns the CRC-32 of its bytes."""
        rest = _bytes(np.ascontiguousarray(block, self.dtype))
        checksum = zlib.crc32(rest)
        for start, n_bytes in self._runs(region):
            _write_all(handle, rest[:n_bytes], start)
            rest = rest[n_bytes:]
        return checksum

    def read(self, handle: int, region: Region) -> tuple[NDArray, int]:
        """A block as it lies there, and the CRC-32 of its bytes; what lies beyond the end of the file is zero."""
        block = np.zeros([part.stop - part.start for part in region], self.dtype)
        rest = data = _bytes(block)
        for start, n_bytes in self._runs(region):
            _read_all(handle, rest[:n_bytes], start)
            rest = rest[n_bytes:]
        return block, zlib.crc32(data)

    def _runs(self, region: Region) -> Iterator[tuple[int, int]]:
        """Offset and length of each piece of the file that a region is made of, in C order."""
        steps = [math.prod(self.shape[d + 1 :]) for d in range(len(self.shape))]
        d = len(self.shape) - 1
        while d > 0 and region[d].start == 0 and region[d].stop == self.shape[d]:
            d -= 1
        itemsize = np.dtype(self.dtype).itemsize
        n_bytes = (region[d].stop - region[d].start) * steps[d] * itemsize
        for index in product(*(range(part.start, part.stop) for part in region[:d])):
            first = sum(i * step for i, step in zip((*index, region[d].start), steps, strict=False))
            yield self.offset + first * itemsize, n_bytes

    def reserve(self, handle: int) -> None:
        """Ask the file system for the space, so that a full disk is found now; where it cannot tell, the file stays sparse."""
        try:
            fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
        except AttributeError:
            return
        # not os.posix_fallocate: where the file system cannot reserve, that writes every block
        if fallocate(handle, 0, ctypes.c_int64(self.offset), ctypes.c_int64(self.n_bytes)) and ctypes.get_errno() not in _UNSUPPORTED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def contiguous(parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> h5py.Dataset:
    """Make a dataset that has its place in the file already, and is never filled."""
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_layout(h5py.h5d.CONTIGUOUS)
    options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return parent.create_dataset(name, shape, dtype, dcpl=options)


def checked(name: str, dtype: np.dtype[Any], region: Region, block: NDArray) -> NDArray:
    """The block, if it is as it was declared.

    Raises
    ------
    DataError
        If it has another shape, or a dtype that cannot become ``dtype`` without loss.
    """
    shape = tuple(part.stop - part.start for part in region)
    if block.shape != shape or not np.can_cast(block.dtype, dtype, "safe"):
        raise DataError(
            f"a block of {name!r} is {block.dtype} {block.shape}, but was declared as {dtype} {shape}. "
            "Declare dtype and chunks as the block function returns them, or add .astype(...)."
        )
    return block


@dataclass(frozen=True)
class Remote:
    """A block's place in a file that other processes write to as well; calling it with the block again does no harm.

    Parameters
    ----------
    name : str
        Of the dataset.
    path : str
        Of the file.
    place : Place
        Of the dataset in it.
    region : tuple of slice
        Of the block in that.
    shard : int
        Number of the file.
    """

    name: str
    path: str
    place: Place
    region: Region
    shard: int

    def __call__(self, block: NDArray) -> int:
        """Write the block and wait until the disk has it; returns the CRC-32 of its bytes.

        Raises
        ------
        WriteError
            If it cannot be written.
        """
        block = checked(self.name, np.dtype(self.place.dtype), self.region, block)
        with writing(self.path):
            handle = os.open(self.path, os.O_WRONLY)
            try:
                checksum = self.place.write(handle, self.region, block)
                os.fdatasync(handle)
            finally:
                os.close(handle)
        return checksum


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn any `OSError` of the block of code into a `WriteError` about that file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error


def _bytes(array: NDArray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _write_all(handle: int, data: memoryview, start: int) -> None:
    while data:
        n_written = os.pwrite(handle, data, start)
        data, start = data[n_written:], start + n_written


def _read_all(handle: int, data: memoryview, start: int) -> None:
    while data and (n_read := os.preadv(handle, [data], start)):
        data, start = data[n_read:], start + n_read
