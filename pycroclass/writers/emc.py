"""Photons for Dragonfly (``.emc``): of each frame the pixels that have some. Layout as `pycroclass.readers.emc` says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import AxisError, DataError, WriteError
from pycroclass.readers.emc import HEADER_BYTES, INT32, LISTS, SHAPE
from pycroclass.sid import unwrap
from pycroclass.spec import AxisKind, Spec
from pycroclass.writers.atomic import PartialFile, whole_or_nothing
from pycroclass.writers.in_order import in_order

Int32 = npt.NDArray[np.int32]
Photons = tuple[Int32, Int32, Int32]
"""Of a frame: pixels with one photon, pixels with more, how many these have."""

_MOST: Final = np.iinfo(np.int32).max
_HDF5: Final = (".h5", ".hdf5")


def write_emc(dataset: sidpy.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Compute frames of photons block by block and write them to a new file for Dragonfly, which appears when it is whole.

    Pixels are numbered in C order over ``(y, x)`` or ``(module, y, x)``, as `DragonflyDetector` numbers them. The frames that a selection
    keeps are ``selected_frames(selection.kept())["image"]``; `ToPhotons` counts their photons. In memory are some blocks of
    frames, and 8 bytes for each frame; the lists of pixels wait in unnamed files in the folder of the result.

    Parameters
    ----------
    dataset : sidpy.Dataset
        ``(frame, y, x)``, ``(frame, module, y, x)`` or ``(frame, pixel)``: whole numbers of photons, of any number type; see `ToPhotons`.
    path : path
        HDF5 where it ends in ``.h5`` or ``.hdf5``, else binary.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    AxisError
        If frames are not counted along the first axis, or the data are complex.
    DataError
        If a value is negative, NaN or no whole number; it names the frame and the pixel.
    WriteError
        If the file exists or cannot be written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> frames = sidpy.Dataset.from_array(np.array([[[0, 1, 0], [7, 0, 1]]]))
    >>> path = write_emc(frames, Path(mkdtemp()) / "one.emc")
    >>> np.fromfile(path, "<i4")[[0, 1, 256, 257]].tolist(), np.fromfile(path, "<i4")[258:].tolist()
    ([1, 6, 2, 1], [1, 5, 3, 7])
    """
    target = Path(path)
    array, spec = unwrap(dataset)
    _check_axes(spec)
    n_frames, shape = array.shape[0], array.shape[1:]
    is_hdf5 = target.suffix.lower() in _HDF5
    with whole_or_nothing(target, overwrite=overwrite) as partial, (_hdf5 if is_hdf5 else _binary)(partial, n_frames, shape) as write:
        for start, block in in_order(array):
            photons = block.reshape(len(block), -1)
            _check_photons(photons, start)
            for number, frame in enumerate(photons, start):
                ones, multi = (np.flatnonzero(found).astype(INT32) for found in (frame == 1, frame > 1))
                write(number, (ones, multi, frame[multi].astype(INT32)))
            partial.check()
    return target


def _check_axes(spec: Spec) -> None:
    is_image = spec.axes[0].kind in (AxisKind.SPATIAL, AxisKind.RECIPROCAL)
    if len(spec.axes) not in (2, 3, 4) or is_image or spec.dtype.kind == "c":
        raise AxisError(
            "wanted real photons with frames along the first axis: (frame, y, x), (frame, module, y, x) or (frame, pixel); "
            f"got {spec.names} of {spec.dtype}"
        )


def _check_photons(frames: npt.NDArray[Any], start: int) -> None:
    """Refuse what is no number of photons."""
    if frames.dtype.kind in "bu" and frames.dtype.itemsize < INT32.itemsize:
        return
    is_count = (frames >= 0) & (frames <= _MOST)
    if frames.dtype.kind == "f":
        is_count &= np.floor(frames) == frames
    if is_count.all():
        return
    frame, pixel = (int(i) for i in np.argwhere(~is_count)[0])
    raise DataError(
        f"frame {start + frame} has {frames[frame, pixel]} photons in pixel {pixel}, in C order; wanted whole numbers of at least 0. "
        "ToPhotons makes them; MaskPixels(mask, fill=0) behind it empties bad pixels."
    )


@contextmanager
def _binary(partial: PartialFile, n_frames: int, shape: tuple[int, ...]) -> Iterator[Callable[[int, Photons], None]]:
    header = np.zeros(HEADER_BYTES // INT32.itemsize, INT32)
    header[:2] = n_frames, np.prod(shape)
    counts = np.zeros((2, n_frames), INT32)
    with ExitStack() as stack:
        later = [stack.enter_context(TemporaryFile(dir=partial.path.parent)) for _ in LISTS[1:]]
        partial.write(header.tobytes() + counts.tobytes())

        def write(number: int, photons: Photons) -> None:
            counts[:, number] = len(photons[0]), len(photons[1])
            try:
                for file, values in zip((partial, *later), photons, strict=True):
                    file.write(values.tobytes())
            except OSError as error:
                raise WriteError(f"{partial.path} cannot be written: {error.strerror}") from error

        yield write
        for file in later:
            file.seek(0)
            shutil.copyfileobj(file, partial, 1 << 20)
        partial.seek(HEADER_BYTES)
        partial.write(counts.tobytes())
        partial.check()


@contextmanager
def _hdf5(partial: PartialFile, n_frames: int, shape: tuple[int, ...]) -> Iterator[Callable[[int, Photons], None]]:
    with h5py.File(partial, "w") as file:
        file["num_pix"] = np.array([np.prod(shape)], INT32)
        if len(shape) > 1:
            file["num_pix"].attrs[SHAPE] = shape
        lists = [file.create_dataset(name, n_frames, h5py.vlen_dtype(INT32)) for name in LISTS]

        def write(number: int, photons: Photons) -> None:
            for dataset, values in zip(lists, photons, strict=True):
                dataset[number] = values

        yield write
