"""CBF frames of PILATUS and other detectors, plain or compressed (``.gz``, ``.bz2``), with the geometry that their header tells.

Counts stay as recorded, in int32: negative ones mark pixels without data (-1 a gap between modules, -2 a bad pixel). The dataset ``mask``
is 1 there. The beam centre is the header's ``Beam_xy``, taken as it stands: its pixels are counted from 0.
"""

from __future__ import annotations

import bz2
import gzip
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
import sidpy
from fabio.compression import decByteOffset

from pycroclass.errors import ParameterError
from pycroclass.geometry import Geometry
from pycroclass.readers.building import lazy_dataset, reading
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.stack import FrameFormat, FrameHeader, image_axes, open_stack
from pycroclass.spec import Spec

_HEAD: Final = 1 << 16
_BINARY: Final = b"\x0c\x1a\x04\xd5"
_DTYPES: Final = {
    "signed 8-bit integer": "<i1",
    "unsigned 8-bit integer": "<u1",
    "signed 16-bit integer": "<i2",
    "unsigned 16-bit integer": "<u2",
    "signed 32-bit integer": "<i4",
    "unsigned 32-bit integer": "<u4",
}
_NUMBER: Final = r"([-+0-9.eE]+)"


@dataclass(frozen=True)
class CbfHeader:
    """What the text before the pixels says.

    Parameters
    ----------
    text : str
    start, size : int
        Of the compressed pixels, in bytes.
    shape : (int, int)
    dtype : numpy dtype
    """

    text: str
    start: int
    size: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def geometry(self) -> Geometry | None:
        """Detector geometry in metres and pixels; None where the header has no beam centre."""
        beam = re.search(rf"Beam_xy\s*\(\s*{_NUMBER}\s*,\s*{_NUMBER}", self.text)
        if beam is None:
            return None
        size = re.search(rf"Pixel_size\s+{_NUMBER}\s*m\s*x\s*{_NUMBER}", self.text)
        distance = re.search(rf"Detector_distance\s+{_NUMBER}\s*m", self.text)
        wavelength = re.search(rf"Wavelength\s+{_NUMBER}\s*A", self.text)
        return Geometry(
            (float(beam[2]), float(beam[1])),
            pixel_size=(float(size[2]), float(size[1])) if size else None,
            distance=_length(distance, 1.0),
            wavelength=_length(wavelength, 1e-10),
        )

    @property
    def lines(self) -> list[str]:
        """The lines of the detector's own header, without their ``#``."""
        return [line[1:].strip() for line in self.text.splitlines() if line.startswith("#") and not line.startswith("###")]


@dataclass(frozen=True)
class CbfFrame:
    """Load parts of the frame of one file, or of its mask."""

    path: str
    is_mask: bool = False

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part; the whole file is decompressed."""
        with reading(self.path):
            frame = load_frame(self.path)[part]
        return (frame < 0).astype(np.uint8) if self.is_mask else frame


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The frame ``image`` with axes ``(y, x)``, and its ``mask``, uint8, 1 where a pixel has no data.

    Raises
    ------
    ReadError
        If the file is damaged, truncated, or compressed by another method than byte offsets.
    ParameterError
        If a size was asked for, which would falsify the geometry.
    """
    _check(options)
    header = read_header(path)
    spec = Spec(image_axes(header.shape), header.dtype, quantity="counts", title=path.name.split(".")[0], geometry=header.geometry)
    image = lazy_dataset("image", CbfFrame(str(path)), spec, path, options, original_metadata={"header": header.lines})
    return {"image": image, "mask": _mask(header, path, options)}


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Frames as the stack ``image`` with axes ``(frame, y, x)``, and the ``mask`` of the first one, as are geometry and header.

    All frames have one shape. Of compressed files this is found out when they are loaded, since to look into each takes too long.
    """
    _check(options)
    header = read_header(paths[0])
    datasets = open_stack(paths, options, _frames(paths, header), axis="frame", geometry=header.geometry)
    datasets["image"].original_metadata["header"] = header.lines
    return {**datasets, "mask": _mask(header, paths[0], options)}


def read_header(path: Path | str) -> CbfHeader:
    """The header of a CBF file; of a compressed one no more than its first block is decompressed.

    Raises
    ------
    ReadError
        If the file is no CBF, or tells not what is needed to decompress its pixels.
    """
    with _open(path) as file:
        return _parse(file.read(_HEAD), path)


def _parse(head: bytes, path: Path | str) -> CbfHeader:
    end = head.find(_BINARY)
    if not head.startswith(b"###CBF") or end < 0:
        raise failure(path, "is no CBF file, or a damaged one: it lacks ###CBF or the mark before its pixels", "Check where it comes from.")
    text = head[:end].decode("latin-1")
    if "x-CBF_BYTE_OFFSET" not in text:
        raise failure(path, "is not compressed by byte offsets", "Convert it with cbflib: cbf2cbf -c byte_offset.")
    fields = dict(re.findall(r'^X-Binary-([\w-]+):\s*"?([^"\r\n]*)"?', text, re.MULTILINE))
    shape = int(fields["Size-Second-Dimension"]), int(fields["Size-Fastest-Dimension"])
    return CbfHeader(text, end + len(_BINARY), int(fields["Size"]), shape, np.dtype(_DTYPES[fields["Element-Type"]]))


def load_frame(path: str) -> npt.NDArray[Any]:
    """The counts of a frame, shape ``(y, x)``.

    Raises
    ------
    ReadError
        If the file ends before its pixels do.
    """
    with _open(path) as file:
        content = file.read()
    header = _parse(content[:_HEAD], path)
    packed = content[header.start : header.start + header.size]
    if len(packed) < header.size:
        raise failure(path, f"is truncated: {header.size} bytes of pixels announced, {len(packed)} found", "Copy it again.")
    return np.asarray(decByteOffset(packed, size=math.prod(header.shape), dtype=header.dtype)).reshape(header.shape)


def _open(path: Path | str) -> IO[bytes]:
    match Path(path).suffix.lower():
        case ".bz2":
            return cast(IO[bytes], bz2.open(path))
        case ".gz":
            return cast(IO[bytes], gzip.open(path))
        case _:
            return open(path, "rb")


def _check(options: ReadOptions) -> None:
    if options.size is not None:
        raise ParameterError("frames with a geometry are not resized when they are read. Put Crop, Pad or Bin before the other operators.")


def _mask(header: CbfHeader, path: Path, options: ReadOptions) -> sidpy.Dataset:
    spec = Spec(image_axes(header.shape), np.dtype(np.uint8), quantity="mask", title="mask", geometry=header.geometry)
    return lazy_dataset("mask", CbfFrame(str(path), is_mask=True), spec, path, options)


def _frame_header(path: Path) -> FrameHeader:
    header = read_header(path)
    return FrameHeader(header.shape, header.dtype)


def _same_header(first: FrameHeader, path: Path) -> FrameHeader:
    return first


def _frames(paths: Sequence[Path], first: CbfHeader) -> FrameFormat:
    """Compressed files are taken to be like the first one until they are loaded: their headers cost as much as a tenth of their pixels."""
    is_compressed = any(path.suffix.lower() in (".gz", ".bz2") for path in paths)
    return FrameFormat(partial(_same_header, FrameHeader(first.shape, first.dtype)) if is_compressed else _frame_header, load_frame)


def _length(found: re.Match[str] | None, metres: float) -> float | None:
    """A positive length in metres; detectors write 0 for what they do not know."""
    value = float(found[1]) * metres if found else 0.0
    return value if value > 0 else None
