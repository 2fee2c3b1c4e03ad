"""Decoding of one HDF5 chunk by the fastest public routine known, to measure a limit that does not depend on the package."""

from __future__ import annotations

import struct
from collections.abc import Callable

import h5py
import imagecodecs
import numpy as np

_BITSHUFFLE = "32008"


def decoder(dataset: h5py.Dataset) -> Callable[[bytes], np.ndarray]:
    """From the bytes of a chunk to its values."""
    dtype, shape = dataset.dtype, dataset.chunks[1:]
    n_bytes = dtype.itemsize * int(np.prod(shape))

    def plain(raw: bytes) -> np.ndarray:
        return np.frombuffer(raw, dtype).reshape(shape)

    def deflate_shuffle(raw: bytes) -> np.ndarray:
        low, high = np.frombuffer(imagecodecs.deflate_decode(raw, out=n_bytes), np.uint8).reshape(2, *shape)
        return low + np.multiply(high, 256, dtype=np.uint16)

    def lzf(raw: bytes) -> np.ndarray:
        return plain(imagecodecs.lzf_decode(raw, header=False, out=n_bytes))

    def bitshuffle_lz4(raw: bytes) -> np.ndarray:
        _, block = struct.unpack_from(">QI", raw)
        out = np.empty(n_bytes, np.uint8)
        at = 12
        for start in range(0, n_bytes, block):
            (n,) = struct.unpack_from(">I", raw, at)
            piece = imagecodecs.lz4_decode(raw[at + 4 : at + 4 + n], out=min(block, n_bytes - start))
            out[start : start + block] = np.frombuffer(imagecodecs.bitshuffle_decode(piece, itemsize=dtype.itemsize), np.uint8)
            at += 4 + n
        return out.view(dtype).reshape(shape)

    known = {None: plain, "gzip": deflate_shuffle, "lzf": lzf}
    chosen = bitshuffle_lz4 if _BITSHUFFLE in dataset._filters else known[dataset.compression]
    np.testing.assert_array_equal(chosen(dataset.id.read_direct_chunk((0,) * dataset.ndim)[1]), dataset[0])
    return chosen
