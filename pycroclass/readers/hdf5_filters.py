"""Decoding of HDF5 chunks, outside the library and its lock: the filters by number, undone from the last to the first."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, Self

import imagecodecs
import numpy as np
import numpy.typing as npt

from pycroclass.readers.regions import Bytes, Scratch

Wanted = tuple[int, int]
"""First byte of a decoded chunk that is needed, and the one after the last."""

_DEFLATE: Final = 1  # numbers as https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md lists them
_SHUFFLE: Final = 2
_FLETCHER32: Final = 3
_LZF: Final = 32000
_BLOSC: Final = 32001
_LZ4: Final = 32004
_BITSHUFFLE: Final = 32008
_ZSTD: Final = 32015
_CHECKSUM_BYTES: Final = 4
_BLOSC_CODERS: Final = {0, 1, 2, 4, 5}  # BloscLZ, LZ4, LZ4HC, zlib, Zstandard
_HEADER: Final = struct.Struct(">QI")  # bytes of all blocks decoded, bytes of one; each block follows its length
_LENGTH: Final = struct.Struct(">I")

Undo = Callable[[Bytes, int, Wanted, Scratch], Bytes]
"""From what a filter wrote, and the number of bytes it got, to these bytes, right at least where they are wanted."""


@dataclass(frozen=True)
class Step:
    """One filter of a dataset.

    Parameters
    ----------
    undo : callable
    is_compressor : bool
        Whether only it knows how many bytes it writes.
    n_added : int
        Bytes that it appends.
    """

    undo: Undo
    is_compressor: bool = False
    n_added: int = 0


@dataclass(frozen=True)
class Pipeline:
    """All filters of a dataset, in the order in which they were applied.

    Parameters
    ----------
    steps : tuple of Step
    shuffled : int
        Bytes of a value, where the first filter is a byte shuffle; it is left to `unshuffle`, which can crop while it does it.
    """

    steps: tuple[Step | None, ...] = ()
    shuffled: int = 0

    @classmethod
    def of(cls, filters: Sequence[tuple[int, tuple[int, ...]]], dtype: np.dtype[Any]) -> Self | None:
        """From numbers and parameters of filters; ``None`` where one of them is not known here.

        Examples
        --------
        >>> Pipeline.of([(2, (2,)), (1, (4,))], np.dtype("u2")).shuffled
        2
        >>> Pipeline.of([(4, (141, 32))], np.dtype("u2")) is None  # szip
        True
        """
        is_simple = dtype.kind in "iuf" and dtype.itemsize in (2, 4, 8)
        shuffled = dtype.itemsize if is_simple and filters and filters[0] == (_SHUFFLE, (dtype.itemsize,)) else 0
        steps = [None if shuffled and not i else _step(*one) for i, one in enumerate(filters)]
        is_odd = len({number for number, _ in filters}) < len(filters) or sum(step.is_compressor for step in steps if step) > 1
        if is_odd or None in steps[bool(shuffled) :]:
            return None
        return cls(tuple(steps), shuffled)

    def decode(self, data: Bytes, n_bytes: int, mask: int, wanted: Wanted, scratch: Scratch) -> Bytes:
        """A chunk of ``n_bytes``, right where it is wanted.

        Parameters
        ----------
        data : array of bytes
            As stored; may be overwritten.
        n_bytes : int
        mask : int
            With a bit for each filter that was left out.
        wanted : tuple of int
        scratch : Scratch
            Where the result may lie.

        Raises
        ------
        ValueError, RuntimeError or struct.error
            If the data are damaged.
        """
        active = [step for i, step in enumerate(self.steps) if step and not mask >> i & 1]
        is_in_place = not self.is_shuffled(mask)
        for i in reversed(range(len(active))):
            n = n_bytes + sum(step.n_added for step in active[:i])
            data = active[i].undo(data, n, wanted if i == 0 and is_in_place else (0, n), scratch)
        return _of_length(data, n_bytes)

    def is_shuffled(self, mask: int) -> bool:
        """Whether what `decode` gives has yet to be unshuffled."""
        return self.shuffled > 0 and not mask & 1


def unshuffle(planes: Bytes, out: npt.NDArray[Any], *, is_big_endian: bool) -> None:
    """Put numbers together from arrays of their first bytes, second bytes and so on.

    Parameters
    ----------
    planes : array of bytes, shape (itemsize, ...)
    out : array of shape (...)
        Native.
    is_big_endian : bool
        Whether the first byte is the most significant.

    Examples
    --------
    >>> numbers = np.empty(2, np.uint16)
    >>> unshuffle(np.array([[1, 2], [0, 3]], np.uint8), numbers, is_big_endian=False)
    >>> numbers.tolist()
    [1, 770]
    """
    first, *rest = planes if is_big_endian else planes[::-1]
    number = out.view(f"u{len(planes)}")
    number[...] = first
    for plane in rest:
        np.left_shift(number, 8, out=number)
        np.bitwise_or(number, plane, out=number)


def _step(number: int, parameters: tuple[int, ...]) -> Step | None:
    if number in _CODERS:
        return Step(partial(_decompress, _CODERS[number]), is_compressor=True)
    if number == _SHUFFLE and parameters and parameters[0] > 0:
        return Step(partial(_unshuffle_bytes, parameters[0]))
    if number == _FLETCHER32:
        return Step(_without_checksum, n_added=_CHECKSUM_BYTES)
    if number == _BLOSC and len(parameters) > 6 and parameters[6] in _BLOSC_CODERS:
        return Step(partial(_decompress, partial(imagecodecs.blosc_decode, numthreads=1)), is_compressor=True)
    if number == _BITSHUFFLE and len(parameters) > 2:
        itemsize, block, coder = (*parameters[2:5], 0, 0)[:3]
        return _bitshuffle(itemsize, block, coder)
    return None


_CODERS: Final[dict[int, Callable[..., Any]]] = {
    _DEFLATE: imagecodecs.deflate_decode,
    _LZF: imagecodecs.lzf_decode,
    _LZ4: imagecodecs.lz4h5_decode,
    _ZSTD: imagecodecs.zstd_decode,
}


def _decompress(decode: Callable[..., Any], data: Bytes, n_bytes: int, wanted: Wanted, scratch: Scratch) -> Bytes:
    return _of_length(decode(data, out=scratch("decompressed", n_bytes)), n_bytes)


def _unshuffle_bytes(itemsize: int, data: Bytes, n_bytes: int, wanted: Wanted, scratch: Scratch) -> Bytes:
    n = len(data) // itemsize
    out = scratch("unshuffled", len(data))
    out[: n * itemsize].reshape(n, itemsize)[...] = data[: n * itemsize].reshape(itemsize, n).T
    out[n * itemsize :] = data[n * itemsize :]
    return out


def _without_checksum(data: Bytes, n_bytes: int, wanted: Wanted, scratch: Scratch) -> Bytes:
    body, end = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    _of_length(end, _CHECKSUM_BYTES)
    low, high = _fletcher32(body)
    swapped = end.reshape(2, 2)[:, ::-1].tobytes()  # as HDF5 before 1.6.3 wrote it; the library takes both
    if (low, high) not in [tuple(word % 0xFFFF for word in struct.unpack("<HH", found)) for found in (end.tobytes(), swapped)]:
        raise ValueError("its checksum (Fletcher-32) is wrong")
    return body


def _fletcher32(data: Bytes) -> tuple[int, int]:
    """Both sums over the words, most significant byte first, modulo 65535; HDF5 has 65535 for some of the zeros."""
    words = np.concatenate([data, np.zeros(len(data) % 2, np.uint8)]).view(">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(0xFFFF)
    return int(words.sum()) % 0xFFFF, int((words * weights).sum()) % 0xFFFF


def _bitshuffle(itemsize: int, block: int, coder: int) -> Step | None:
    if coder in _BLOCK_CODERS:
        return Step(partial(_bitshuffled_blocks, itemsize, coder), is_compressor=True)
    return Step(partial(_bitshuffled, itemsize, block)) if coder == 0 else None


_LZ4_BLOCKS, _ZSTD_BLOCKS = 2, 3
_BLOCK_CODERS: Final[dict[int, Callable[..., Any]]] = {
    _LZ4_BLOCKS: partial(imagecodecs.lz4_decode, header=False),
    _ZSTD_BLOCKS: imagecodecs.zstd_decode,
}


def _bitshuffled(itemsize: int, block: int, data: Bytes, n_bytes: int, wanted: Wanted, scratch: Scratch) -> Bytes:
    out = scratch("bits", n_bytes)
    _unshuffle_bits(_of_length(data, n_bytes), itemsize, block, out)
    return out


def _bitshuffled_blocks(itemsize: int, coder: int, data: Bytes, n_bytes: int, wanted: Wanted, scratch: Scratch) -> Bytes:
    """Blocks that are compressed each by itself: only those that are wanted. Less than eight values at the end are not compressed."""
    total, block = _HEADER.unpack_from(data.data)
    if total != n_bytes or block == 0 or block % (8 * itemsize):
        raise ValueError(f"its header says {total} bytes in blocks of {block}, wanted {n_bytes}")
    whole = n_bytes - n_bytes % (8 * itemsize)
    first, last = wanted[0] // block, -(-min(wanted[1], whole) // block)
    places = _places(data, last)
    part = slice(first * block, min(last * block, whole))
    out, packed = scratch("bits", n_bytes), scratch("packed", n_bytes)[part]
    if first < last:
        _decode_blocks(coder, data, places[first:], block, packed)
        _unshuffle_bits(packed, itemsize, block // itemsize, out[part])
    if wanted[1] > whole:
        out[whole:] = _of_length(data[places[-1] :][: n_bytes - whole], n_bytes - whole)
    return out


def _places(data: Bytes, n_blocks: int) -> list[int]:
    """Where each of the first blocks begins, with its length, and where the last of them ends."""
    places = [_HEADER.size]
    for _ in range(n_blocks):
        places.append(places[-1] + _LENGTH.size + _LENGTH.unpack_from(data.data, places[-1])[0])
    if places[-1] > len(data):
        raise ValueError(f"its blocks end at byte {places[-1]} of {len(data)}")
    return places


def _decode_blocks(coder: int, data: Bytes, places: Sequence[int], block: int, out: Bytes) -> None:
    lengths = [stop - start - _LENGTH.size for start, stop in pairwise(places)]
    if coder == _LZ4_BLOCKS and max(lengths) < block and lengths[-1] < (len(out) % block or block):
        _decode_lz4_at_once(data, places, block, out)
        return
    for i, (start, stop) in enumerate(pairwise(places)):
        target = out[i * block : (i + 1) * block]
        _of_length(_BLOCK_CODERS[coder](data[start + _LENGTH.size : stop], out=target), len(target))


def _decode_lz4_at_once(data: Bytes, places: Sequence[int], block: int, out: Bytes) -> None:
    """The same in one call, twice as fast: HDF5's own LZ4 format differs only in that a block as long as its content is not compressed."""
    start = places[0] - _HEADER.size
    _HEADER.pack_into(data.data, start, len(out), block)  # over the end of a block that is not wanted, or the header itself
    _of_length(imagecodecs.lz4h5_decode(data[start : places[-1]], out=out), len(out))


def _unshuffle_bits(data: Bytes, itemsize: int, block: int, out: Bytes) -> None:
    """From ``data.data``: an array would count as items of one byte."""
    if len(data) % itemsize:
        raise ValueError(f"{len(data)} bytes are not a multiple of {itemsize}")
    _of_length(imagecodecs.bitshuffle_decode(data.data, itemsize=itemsize, blocksize=block, out=out), len(out))


def _of_length(data: Bytes, n_bytes: int) -> Bytes:
    if len(data) != n_bytes:
        raise ValueError(f"it gives {len(data)} bytes, wanted {n_bytes}")
    return data
