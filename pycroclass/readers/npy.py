"""NumPy files: ``.npy`` through a memory map, each array of an ``.npz`` archive by its name.

An array says nothing of its axes. One axis is a spectrum, two are the ``(y, x)`` of an image; of more, which may be a stack of images or an
image of spectra, the axes are ``axis_0``, ``axis_1``, … of unknown kind: name those of an item in the operator (``axes=("axis_2",)``), or
give the dataset its dimensions.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import FileStamp
from pycroclass.readers.building import lazy_dataset, reading
from pycroclass.readers.cache import LoadedFiles
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.readers.stack import FrameFormat, FrameHeader, open_stack
from pycroclass.spec import Axis, AxisKind, Spec

_NUMBERS: Final = "biufc"
_ARCHIVED: Final[LoadedFiles[npt.NDArray[Any]]] = LoadedFiles(lambda array: array.nbytes)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    offset: int


@dataclass(frozen=True)
class ArchivedArray:
    """Load parts of one array of an ``.npz`` archive: each process unpacks it once and keeps the last few.

    Parameters
    ----------
    stamp : FileStamp
    name : str
        Of the member, with its ``.npy``.
    """

    stamp: FileStamp
    name: str

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part, a copy."""
        return np.array(_ARCHIVED.get(self, self._unpack)[part])

    def _unpack(self) -> npt.NDArray[Any]:
        with reading(self.stamp.path), zipfile.ZipFile(self.stamp.path) as archive, archive.open(self.name) as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The array of an ``.npy`` file as ``array``, those of an ``.npz`` archive by their names.

    Members of an archive that are no arrays of numbers, or have no axis, are left out; ``metadata["left_out"]`` names them.

    Raises
    ------
    ReadError
        If the file is truncated, or holds Python objects or records: they are never unpickled.
    """
    if zipfile.is_zipfile(path):
        return _open_archive(path, options)
    load = _raw_array(path)
    spec = _spec(load.shape, np.dtype(load.dtype), path.stem)
    return {"array": lazy_dataset("array", load, spec, path, options)}


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Files of one image each as one stack; see `pycroclass.readers.stack.open_stack`."""
    return open_stack(paths, options, _FRAMES)


def _open_archive(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    with zipfile.ZipFile(path) as archive:
        headers = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                headers[name] = _header(member)
    wanted = {name: h for name, h in headers.items() if h.dtype.kind in _NUMBERS and 0 not in h.shape and h.shape}
    metadata = {"left_out": sorted(_key(name) for name in set(headers) - set(wanted))}
    stamp = FileStamp.of(path)
    return {
        _key(name): lazy_dataset(
            _key(name), ArchivedArray(stamp, name), _spec(h.shape, h.dtype, _key(name)), path, options, metadata=metadata
        )
        for name, h in wanted.items()
    }


def _key(member: str) -> str:
    return member.removesuffix(".npy")


def _spec(shape: tuple[int, ...], dtype: np.dtype[Any], title: str) -> Spec:
    match shape:
        case (n,):
            axes = [Axis("channel", n, kind=AxisKind.SPECTRAL, quantity="channel")]
        case (n_y, n_x):
            axes = [Axis("y", n_y, kind=AxisKind.SPATIAL, units="pixel"), Axis("x", n_x, kind=AxisKind.SPATIAL, units="pixel")]
        case _:
            axes = [Axis(f"axis_{d}", n) for d, n in enumerate(shape)]
    return Spec(tuple(axes), dtype, title=title)


def _raw_array(path: Path) -> RawArray:
    with path.open("rb") as file:
        header = _header(file)
    if header.dtype.kind not in _NUMBERS or not header.shape:
        problem = f"holds values of type {header.dtype} and shape {header.shape}; an array of numbers is wanted"
        raise failure(path, problem, "Save it again as an array of numbers.")
    if header.is_fortran:
        order = tuple(reversed(range(len(header.shape))))
        return RawArray.of(path, offset=header.offset, stored=header.shape[::-1], dtype=header.dtype, order=order)
    return RawArray.of(path, offset=header.offset, stored=header.shape, dtype=header.dtype)


def _header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    return _Header(shape, is_fortran, dtype, file.tell())


def _frame_header(path: Path) -> FrameHeader:
    load = _raw_array(path)
    return FrameHeader(load.shape, np.dtype(load.dtype))


def _frame(path: str) -> npt.NDArray[Any]:
    load = _raw_array(Path(path))
    return load((slice(None),) * len(load.shape))


_FRAMES: Final = FrameFormat(_frame_header, _frame)
