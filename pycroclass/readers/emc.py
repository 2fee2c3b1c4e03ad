"""Photons of Dragonfly (``.emc``): frames of a few photons, of which only the pixels that have some are stored.

A binary file is, in little-endian int32: a header of 256 numbers, of which the first three are the number of frames, the number of pixels
and the kind (0 sparse, 1 dense int32, 2 dense float64); then for each frame the number of pixels with one photon, for each the number of
those with more; then, frame after frame, the pixels with one photon; the pixels with more; how many photons these have. Dense frames
follow the header at once. An HDF5 file has ``num_pix``, and for each frame a list in ``place_ones``, ``place_multi`` and ``count_multi``.

Pixels are numbered in the order of the detector file. What shape a frame has is not in a binary file: ``photons`` has the axes
``(frame, pixel)``, and the key ``260x257``, or ``4x512x128`` for modules, gives images. HDF5 files that pycroclass wrote know their shape.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ParameterError
from pycroclass.geometry import MODULE
from pycroclass.provenance import FileStamp
from pycroclass.readers.building import reading, wrap_read
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_axes import image_axes
from pycroclass.readers.hdf5_file import open_hdf5
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.source import Load, Source
from pycroclass.spec import Axis, AxisKind, Spec

HEADER_BYTES: Final = 1024
INT32: Final = np.dtype("<i4")
SPARSE, DENSE_INT, DENSE_DOUBLE = range(3)
SHAPE: Final = "shape"
"""Attribute of ``num_pix`` in HDF5 files: the shape of a frame."""
LISTS: Final = ("place_ones", "place_multi", "count_multi")

_PHOTONS: Final = "photons"
_DENSE: Final[dict[int, np.dtype[Any]]] = {DENSE_INT: INT32, DENSE_DOUBLE: np.dtype("<f8")}
_KEY: Final = re.compile(r"\d+x\d+(x\d+)?")
_COPY_AGAIN: Final = "Copy it again from where it was written."


@dataclass(frozen=True, eq=False)
class SparsePhotons:
    """Loads frames of a binary file, dense.

    Parameters
    ----------
    path : str
    shape : tuple of int
        Of a frame.
    places : int64 array, shape (n_frames, 5)
        First byte and number of the pixels with one photon, first byte and number of those with more, first byte of their counts.
    """

    path: str
    shape: tuple[int, ...]
    places: npt.NDArray[np.int64]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[np.int32]:
        """That part."""
        places = self.places[part[0]]
        frames = np.zeros((len(places), math.prod(self.shape)), np.int32)
        with reading(self.path), open(self.path, "rb") as file:
            for frame, (ones, n_ones, multi, n_multi, counts) in zip(frames, places.tolist()):
                lists = [_int32(file.fileno(), *run) for run in ((ones, n_ones), (multi, n_multi), (counts, n_multi))]
                _fill(frame, *lists)
        return frames.reshape(-1, *self.shape)[(slice(None), *part[1:])]

    def narrowed(self, part: tuple[slice, ...]) -> tuple[SparsePhotons, tuple[slice, ...]]:
        """What reads this part alone."""
        some = self.taken(np.arange(len(self.places))[part[0]])
        return some, (slice(0, len(some.places)), *part[1:])

    def taken(self, numbers: npt.NDArray[np.int64]) -> SparsePhotons:
        """What reads these frames alone."""
        return SparsePhotons(self.path, self.shape, self.places[numbers])


@dataclass(frozen=True)
class Hdf5Photons:
    """Loads frames of an HDF5 file, dense.

    Parameters
    ----------
    path : str
    shape : tuple of int
        Of a frame.
    """

    path: str
    shape: tuple[int, ...]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[np.int32]:
        """That part."""
        with reading(self.path), h5py.File(self.path, "r") as file:
            lists = [file[name][part[0]] for name in LISTS]
            frames = np.zeros((len(lists[0]), math.prod(self.shape)), np.int32)
            for frame, *own in zip(frames, *lists, strict=True):
                _fill(frame, *own)
        return frames.reshape(-1, *self.shape)[(slice(None), *part[1:])]


@dataclass(frozen=True)
class _Dense:
    """Loads frames that are stored whole, in another shape."""

    load: RawArray
    shape: tuple[int, ...]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        frames = self.load((part[0], slice(None)))
        return frames.reshape(-1, *self.shape)[(slice(None), *part[1:])]


def read_emc(path: str | os.PathLike[str], *, shape: Sequence[int] | None = None) -> sidpy.Dataset:
    """The frames of a file of Dragonfly's photons, lazily and dense.

    The same as `read` gives, with the shape of a frame in numbers.

    Parameters
    ----------
    path : path
    shape : (y, x) or (module, y, x), optional
        Of a frame; its pixels are in C order. By default as the file says, else frames stay lists of pixels.

    Returns
    -------
    sidpy.Dataset
        Photons, ``(frame, pixel)``, ``(frame, y, x)`` or ``(frame, module, y, x)``; int32, or float64 where the file has such.

    Raises
    ------
    ReadError
        If the file is missing, truncated, damaged or none of Dragonfly's.
    ParameterError
        If frames have not so many pixels.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "one.emc"
    >>> numbers = [1, 6, 0, *[0] * 253, 2, 1, 0, 5, 3, 7]  # one frame: pixels 0 and 5 have one photon, pixel 3 has seven
    >>> np.array(numbers, INT32).tofile(path)
    >>> np.asarray(read_emc(path, shape=(2, 3))).tolist()
    [[[1, 0, 0], [7, 0, 1]]]
    """
    from pycroclass.readers.opening import read  # which imports readers by name alone

    if shape is None:
        return next(iter(read(Path(path)).values()))
    key = "x".join(str(int(n)) for n in shape)
    if not _KEY.fullmatch(key):
        raise ParameterError(f"a frame has the shape (y, x) or (module, y, x), got {tuple(shape)}")
    return read(Path(path), key=key)[key]


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The frames as ``photons``, or as ``260x257`` in this shape where it is asked for.

    Raises
    ------
    ReadError
        If the file is truncated or no such file.
    ParameterError
        If frames have not so many pixels as the shape that is asked for.
    """
    is_asked = options.key is not None and _KEY.fullmatch(options.key) is not None
    key = str(options.key) if is_asked else _PHOTONS
    wanted = tuple(map(int, key.split("x"))) if is_asked else None
    load, n_frames, shape, dtype = _open_hdf5(path, wanted) if h5py.is_hdf5(path) else _open_binary(path, wanted)
    spec = Spec((Axis("frame", n_frames, AxisKind.TEMPORAL), *_axes(shape)), dtype, quantity="photons", units="photons", title=path.stem)
    array = Source(load, spec.shape, dtype.newbyteorder("="), [FileStamp.of(path)]).in_blocks(len(shape))
    return {key: wrap_read(key, array, spec, path, options)}


def _axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    return (Axis("pixel", shape[0], quantity="pixel"),) if len(shape) == 1 else image_axes(shape, (MODULE,))


def _open_binary(path: Path, wanted: tuple[int, ...] | None) -> tuple[Load, int, tuple[int, ...], np.dtype[Any]]:
    n_bytes = path.stat().st_size
    with open(path, "rb") as file:
        n_frames, n_pixels, kind = np.frombuffer(file.read(12).ljust(12, b"\0"), INT32).tolist()
        if n_bytes < HEADER_BYTES or n_frames < 1 or n_pixels < 1 or kind not in (SPARSE, *_DENSE):
            problem = f"is no file of Dragonfly's photons: {n_bytes} bytes that begin with {n_frames}, {n_pixels}, {kind}"
            raise failure(path, f"{problem}; wanted numbers of frames and pixels above 0, and 0, 1 or 2", "Choose another file.")
        shape = _checked(wanted, n_pixels)
        if kind in _DENSE:
            raw = RawArray.of(path, offset=HEADER_BYTES, stored=(n_frames, n_pixels), dtype=_DENSE[kind])
            return _Dense(raw, shape), n_frames, shape, _DENSE[kind]
        _check_length(path, n_bytes, HEADER_BYTES + 8 * n_frames)
        file.seek(HEADER_BYTES)
        counts = np.fromfile(file, INT32, 2 * n_frames).astype(np.int64).reshape(2, n_frames)
    if (counts < 0).any():
        raise failure(path, f"is damaged: frame {int(np.nonzero(counts < 0)[1][0])} has less than no pixels with photons", _COPY_AGAIN)
    n_ones, n_multi = counts
    first = HEADER_BYTES + 8 * n_frames
    ones, multi = (4 * (np.cumsum(n) - n) for n in counts)
    of_multi, of_counts = first + 4 * n_ones.sum(), first + 4 * (n_ones.sum() + n_multi.sum())
    _check_length(path, n_bytes, int(of_counts + 4 * n_multi.sum()))
    places = np.stack([first + ones, n_ones, of_multi + multi, n_multi, of_counts + multi], axis=1)
    return SparsePhotons(str(path.absolute()), shape, places), n_frames, shape, INT32


def _open_hdf5(path: Path, wanted: tuple[int, ...] | None) -> tuple[Load, int, tuple[int, ...], np.dtype[Any]]:
    with open_hdf5(path) as file:
        if missing := [name for name in ("num_pix", *LISTS) if name not in file]:
            raise failure(path, f"has no {', '.join(missing)}: it holds no photons of Dragonfly", "Choose another file.")
        lengths = {file[name].shape for name in LISTS}
        if len(lengths) > 1 or lengths in ({()}, {(0,)}):
            raise failure(path, f"is damaged: its lists are of {sorted(lengths)} frames", _COPY_AGAIN)
        n_pixels = int(np.ravel(file["num_pix"][()])[0])
        known = tuple(int(n) for n in np.ravel(file["num_pix"].attrs.get(SHAPE, ())))
        n_frames = file[LISTS[0]].shape[0]
    shape = _checked(wanted or (known if math.prod(known) == n_pixels and known else None), n_pixels)
    return Hdf5Photons(str(path.absolute()), shape), n_frames, shape, np.dtype(np.int32)


def _checked(wanted: tuple[int, ...] | None, n_pixels: int) -> tuple[int, ...]:
    if wanted is not None and math.prod(wanted) != n_pixels:
        raise ParameterError(f"frames of shape {wanted} have {math.prod(wanted)} pixels, those of the file {n_pixels}")
    return wanted or (n_pixels,)


def _check_length(path: Path, found: int, needed: int) -> None:
    if found < needed:
        raise failure(path, f"is truncated: {needed} bytes wanted, {found} found", _COPY_AGAIN)


def _int32(file: int, offset: int, n: int) -> npt.NDArray[np.int32]:
    data = os.pread(file, 4 * n, offset)
    if len(data) < 4 * n:
        raise EOFError(f"the file ends at byte {offset + len(data)}")
    return np.frombuffer(data, INT32)


def _fill(frame: npt.NDArray[np.int32], ones: Any, multi: Any, counts: Any) -> None:
    """Put the photons of one frame where they belong."""
    for pixels in (ones, multi):
        if len(pixels) and not 0 <= pixels.min() <= pixels.max() < len(frame):
            raise ValueError(f"a frame of {len(frame)} pixels has photons in pixel {pixels.max() if pixels.min() >= 0 else pixels.min()}")
    frame[ones] = 1
    frame[multi] = counts
