"""Chunks of HDF5 datasets compressed with bitshuffle and LZ4 outside the HDF5 library and its lock.

A chunk is a header, the bytes that it holds and the bytes of one block, then the blocks. Each block has its bits transposed, is
compressed with LZ4, and follows its length. Up to seven values at the end, too few to be transposed, are stored as they are. After the
description of HDF5 filter 32008, https://github.com/kiyo-masui/bitshuffle.
"""

from __future__ import annotations

import struct
from threading import Lock
from typing import Any, Final

import h5py
import hdf5plugin
import imagecodecs
import numpy as np
import numpy.typing as npt

from pycroclass.profile import timed
from pycroclass.writers.atomic import PartialFile
from pycroclass.writers.blocks import Hdf5Target, Tally
from pycroclass.writers.places import Region, checked

NDArray = npt.NDArray[Any]

FILTER: Final = dict(hdf5plugin.Bitshuffle(nelems=0, cname="lz4"))
"""What `h5py.Group.create_dataset` takes."""

_HEADER: Final = struct.Struct(">QI")
_LENGTH: Final = struct.Struct(">I")
_BLOCK_BYTES: Final = 8192
_AT_ONCE: Final = 8
"""Values that are transposed together."""


def bitshuffle_lz4(values: NDArray) -> bytes:
    """An array of numbers as a chunk of HDF5 filter 32008.

    Examples
    --------
    >>> packed = bitshuffle_lz4(np.arange(10, dtype="u2"))
    >>> packed[:12].hex(), packed[-4:].hex()
    ('000000000000001400002000', '08000900')
    """
    size = values.dtype.itemsize
    per_block = _BLOCK_BYTES // size // _AT_ONCE * _AT_ONCE
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    n_blocked = len(data) - len(data) % (_AT_ONCE * size)
    if not n_blocked:
        return _HEADER.pack(len(data), per_block * size) + data.tobytes()
    shuffled = np.empty(n_blocked, np.uint8)
    imagecodecs.bitshuffle_encode(data[:n_blocked].data, itemsize=size, blocksize=per_block, out=shuffled)
    blocks = _lz4_at_once(shuffled, per_block * size) or _lz4(shuffled, per_block * size)
    return _HEADER.pack(len(data), per_block * size) + blocks + data[n_blocked:].tobytes()


def _lz4(data: npt.NDArray[np.uint8], block: int) -> bytes:
    """Each block behind its length."""
    packed = [imagecodecs.lz4_encode(data[start : start + block], header=False) for start in range(0, len(data), block)]
    return b"".join(_LENGTH.pack(len(one)) + one for one in packed)


def _lz4_at_once(data: npt.NDArray[np.uint8], block: int) -> bytes | None:
    """The same in one call; ``None`` where a block does not become shorter, which HDF5's own LZ4 format stores as it is."""
    packed = memoryview(bytes(imagecodecs.lz4h5_encode(data, blocksize=block)))[_HEADER.size :]
    place = 0
    for start in range(0, len(data), block):
        (length,) = _LENGTH.unpack_from(packed, place)
        if length >= min(block, len(data) - start):
            return None
        place += _LENGTH.size + length
    return bytes(packed)


class BitshuffleTarget(Hdf5Target):
    """A dataset made with `FILTER`, whose blocks hold whole chunks: they are compressed in the thread that computed them."""

    def __init__(self, name: str, main: h5py.Dataset, file: PartialFile, tally: Tally, lock: Lock) -> None:
        super().__init__(name, main, file, tally, lock)
        self._chunk: tuple[int, ...] = main.chunks

    def put(self, _: int, region: Region, block: NDArray) -> None:
        """Write a block."""
        checked(self._name, self._main.dtype, region, block)
        first = tuple(part.start for part in region)
        grid = [range(0, n, step) for n, step in zip(block.shape, self._chunk, strict=True)]
        with self._tally.entered():
            for place in np.ndindex(*map(len, grid)):
                start = [steps[i] for steps, i in zip(grid, place, strict=True)]
                packed = bitshuffle_lz4(block[tuple(slice(s, s + n) for s, n in zip(start, self._chunk, strict=True))])
                with self._lock, timed("write"):
                    self._main.id.write_direct_chunk(tuple(f + s for f, s in zip(first, start, strict=True)), packed)
                    self._file.check()
            self._tally.advance(self._name, block)
