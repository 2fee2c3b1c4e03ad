"""TIFF files: one image, a stack of pages, several series; OME-TIFF and ImageJ with their calibration.

Axes come from the file: ``z`` and ``page`` count images and are of the temporal kind, as sidpy's stacks are; ``channel`` holds the colours
of RGB, or the channels of OME and ImageJ. Physical sizes of OME and ImageJ become steps and units; a plain TIFF's resolution is that of a
printer, and stays in the original metadata. An uncompressed series is read through a memory map, any other page by page: through tifffile
or, where it lacks the decoder (LZW and JPEG without the package imagecodecs), through Pillow.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy
import tifffile
from PIL import Image

from pycroclass.errors import MissingDependencyError
from pycroclass.readers.building import lazy_dataset, reading, unique_keys
from pycroclass.readers.failure import failure
from pycroclass.readers.images import MODES
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.readers.stack import FrameFormat, FrameHeader, open_image, open_stack
from pycroclass.spec import Axis, AxisKind, Spec

_AXES: Final = {
    "X": ("x", AxisKind.SPATIAL, "distance"),
    "Y": ("y", AxisKind.SPATIAL, "distance"),
    "Z": ("z", AxisKind.TEMPORAL, "depth"),
    "T": ("time", AxisKind.TEMPORAL, "time"),
    "C": ("channel", AxisKind.CHANNEL, "channel"),
    "S": ("channel", AxisKind.CHANNEL, "colour"),
}
_MICRO: Final = {"um", "micron", "microns", "\\u00B5m", "\u00b5m", "\u03bcm"}
_LONG_TAGS: Final = {"StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts", "ImageDescription"}

Scales = dict[str, tuple[float, str]]
"""Step and units by the letter of an axis."""


@dataclass(frozen=True)
class TiffPages:
    """Load parts of a series, reading only the pages that hold them.

    Parameters
    ----------
    path : str
    pages : range or tuple of int
        Number of each page in the file, in the order of the series.
    shape : tuple of int
        Of the series.
    n_page : int
        How many of the last axes lie in one page.
    decode : callable
        From path and numbers to the pages, one after the other.
    """

    path: str
    pages: range | tuple[int, ...]
    shape: tuple[int, ...]
    n_page: int
    decode: Callable[[str, Sequence[int]], Iterator[npt.NDArray[Any]]]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part, from as many pages as it touches."""
        outer = self.shape[: len(self.shape) - self.n_page]
        numbers = np.arange(len(self.pages)).reshape(outer)[part[: len(outer)]]
        inner = self.shape[len(outer) :]
        with reading(self.path):
            pages = self.decode(self.path, [self.pages[i] for i in numbers.ravel()])
            loaded = [page.reshape(inner)[part[len(outer) :]] for page in pages]
        return np.stack(loaded).reshape(*numbers.shape, *loaded[0].shape)


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Each series of a file: a single one as ``image``, several by their names.

    Raises
    ------
    ReadError
        If the file is damaged, truncated, or one of several that make one OME dataset.
    """
    if options.size is not None:
        return {"image": open_image(path, options, _FRAMES)}
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series
        keys = ["image"] if len(series) == 1 else unique_keys([s.name or f"series_{i}" for i, s in enumerate(series)])
        scales = _ome_scales(tiff.ome_metadata) if tiff.is_ome else [_imagej_scales(tiff)] * len(series)
        original = _original_metadata(tiff)
        return {
            key: _dataset(key, one, scale, path, options, original)
            for key, one, scale in zip(keys, series, [*scales, *({} for _ in series)])
        }


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Files of one image each as one stack; see `pycroclass.readers.stack.open_stack`."""
    return open_stack(paths, options, _FRAMES)


def _dataset(
    key: str, series: tifffile.TiffPageSeries, scales: Scales, path: Path, options: ReadOptions, original: Mapping[str, Any]
) -> sidpy.Dataset:
    title = series.name if series.name and key != "image" else path.stem
    spec = Spec(_axes(series, scales), series.dtype, title=title)
    return lazy_dataset(key, _loader(series, path), spec, path, options, original_metadata=original)


def _loader(series: tifffile.TiffPageSeries, path: Path) -> RawArray | TiffPages:
    shape, first = tuple(series.shape), series.keyframe
    if series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(first.parent.byteorder)
        return RawArray.of(path, offset=series.dataoffset, stored=shape, dtype=dtype)
    numbers = tuple(page.index for page in series.pages if page is not None)
    if series.is_multifile or len(numbers) != len(series.pages):
        raise failure(path, "is one of several files that make one dataset", "Join them, or read their folder as a stack.")
    straight = range(numbers[0], numbers[0] + len(numbers))
    pages = straight if tuple(straight) == numbers else numbers
    return TiffPages(str(path), pages, shape, len(first.axes), _decoder(first, path))


def _decoder(page: tifffile.TiffPage, path: Path) -> Callable[[str, Sequence[int]], Iterator[npt.NDArray[Any]]]:
    if page.compression in tifffile.TIFF.DECOMPRESSORS:
        return _tifffile_pages
    with Image.open(path) as image:
        if MODES.get(image.mode) == np.dtype(page.dtype).str[1:]:
            return _pillow_pages
    method = tifffile.COMPRESSION(page.compression).name
    raise MissingDependencyError.of("imagecodecs", extra="tiff", purpose=f"decoding {method} in {path}")


def _tifffile_pages(path: str, numbers: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    with tifffile.TiffFile(path) as tiff:
        yield from (tiff.pages[number].asarray() for number in numbers)


def _pillow_pages(path: str, numbers: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    with Image.open(path) as image:
        for number in numbers:
            image.seek(number)
            yield np.array(image)


def _axes(series: tifffile.TiffPageSeries, scales: Scales) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for letter, size in zip(series.axes, series.shape):
        name, kind, quantity = _AXES.get(letter, ("page", AxisKind.TEMPORAL, "frame"))
        step, units = scales.get(letter, (1.0, "generic"))
        name = unique_keys([*(axis.name for axis in axes), name])[-1]
        axes.append(Axis(name, size, kind, quantity, units, step=step))
    return tuple(axes)


def _ome_scales(xml: str | None) -> list[Scales]:
    """Scales of each image of an OME-XML; micrometres and seconds unless it says otherwise."""
    found = []
    for pixels in ET.fromstring(xml or "<none/>").iterfind(".//{*}Pixels"):
        sizes = {letter: (f"PhysicalSize{letter}", "µm") for letter in "XYZ"} | {"T": ("TimeIncrement", "s")}
        known = {letter: (pixels.get(name), pixels.get(f"{name}Unit", unit)) for letter, (name, unit) in sizes.items()}
        found.append({letter: (float(step), units) for letter, (step, units) in known.items() if step is not None})
    return found


def _imagej_scales(tiff: tifffile.TiffFile) -> Scales:
    """Scales from ImageJ's description and from the resolution, which counts pixels per unit there."""
    facts, tags = tiff.imagej_metadata or {}, tiff.pages.first.tags
    unit = str(facts.get("unit", "")).strip()
    scales: Scales = {}
    if "finterval" in facts:
        scales["T"] = (float(facts["finterval"]), "s")
    if not unit or unit.lower() in ("pixel", "pixels", "inch"):
        return scales
    unit = "µm" if unit in _MICRO else unit
    for letter, name in (("X", "XResolution"), ("Y", "YResolution")):
        pixels, units = tags[name].value if name in tags else (0, 1)
        if pixels:
            scales[letter] = (units / pixels, unit)
    if "spacing" in facts:
        scales["Z"] = (float(facts["spacing"]), unit)
    return scales


def _original_metadata(tiff: tifffile.TiffFile) -> dict[str, Any]:
    tags = {tag.name: str(tag.value) for tag in tiff.pages.first.tags if tag.name not in _LONG_TAGS}
    described = {"ome": tiff.ome_metadata, "imagej": tiff.imagej_metadata, "description": tiff.pages.first.description}
    return {"tags": tags} | {name: value for name, value in described.items() if value}


def _frame_header(path: Path) -> FrameHeader:
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return FrameHeader(tuple(series.shape), np.dtype(series.dtype))


def _frame(path: str) -> npt.NDArray[Any]:
    with tifffile.TiffFile(path) as tiff:
        load = _loader(tiff.series[0], Path(path))
    return load((slice(None),) * len(load.shape))


_FRAMES: Final = FrameFormat(_frame_header, _frame)
