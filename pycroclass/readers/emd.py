"""Velox EMD files: images lazily from HDF5, EDS spectra and spectrum images from the stream of counts.

``/Data/Image/<id>/Data`` holds frames ``(y, x, frame)``. ``/Data/SpectrumStream/<id>/Data`` holds the channel of each count in the order in
which they came, and 65535 where the beam goes on to the next pixel; after the last pixel it starts again at the first. The spectrum of a
pixel is the histogram of its counts over all frames. Counts are neither binned nor shifted: their sum is the spectrum that Velox itself
stores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import FileStamp
from pycroclass.readers.building import lazy_dataset, reading, unique_keys
from pycroclass.readers.cache import LoadedFiles
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.source import Load
from pycroclass.spec import Axis, AxisKind, Spec

_NEXT_PIXEL: Final = 65535
_NM: Final = 1e9


@dataclass(frozen=True)
class VeloxFrames:
    """Load parts of the frames of an image; opens the file for each call."""

    path: str
    name: str
    is_stack: bool

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part, ``(frame, y, x)`` or ``(y, x)``."""
        frames, y, x = part if self.is_stack else (slice(0, 1), *part)
        with reading(self.path), h5py.File(self.path, "r") as file:
            stored: npt.NDArray[Any] = np.moveaxis(file[self.name][y, x, frames], 2, 0)
        return stored if self.is_stack else stored[0]


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts sorted by pixel.

    Parameters
    ----------
    channels : uint16 array
        Channel of each count.
    starts : int64 array, shape (n_pixels + 1,)
        Where the counts of each pixel begin.
    """

    channels: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.channels.nbytes + self.starts.nbytes

    def spectra(self, first: int, last: int, n_channels: int) -> npt.NDArray[np.uint32]:
        """Spectra of the pixels from ``first`` up to ``last``, shape (pixel, channel)."""
        counts = self.channels[self.starts[first] : self.starts[last]].astype(np.int64)
        pixel = np.repeat(np.arange(last - first), np.diff(self.starts[first : last + 1]))
        inside = counts < n_channels
        histogram = np.bincount((pixel * n_channels + counts)[inside], minlength=(last - first) * n_channels)
        return histogram.astype(np.uint32).reshape(last - first, n_channels)


def sort_counts(stream: npt.NDArray[np.uint16], n_pixels: int) -> Counts:
    """The counts of a stream, sorted by pixel and within it as they came.

    Examples
    --------
    >>> counts = sort_counts(np.array([7, 65535, 5, 6, 65535, 7], dtype=np.uint16), n_pixels=2)
    >>> counts.spectra(0, 2, n_channels=8)[:, 5:].tolist()
    [[0, 0, 2], [1, 1, 0]]
    """
    is_step = stream == _NEXT_PIXEL
    pixel = (np.cumsum(is_step, dtype=np.int64) % n_pixels)[~is_step]
    order = np.argsort(pixel, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(pixel, minlength=n_pixels))])
    return Counts(stream[~is_step][order], starts)


_SORTED: Final[LoadedFiles[Counts]] = LoadedFiles(lambda counts: counts.nbytes)


@dataclass(frozen=True)
class VeloxSpectra:
    """Load spectra from a stream of counts: each process sorts it once and keeps it.

    Parameters
    ----------
    stamp : FileStamp
    name : str
        HDF5 path of the stream.
    shape : tuple of int
        ``(y, x, channel)``, or ``(channel,)`` for a single spectrum.
    """

    stamp: FileStamp
    name: str
    shape: tuple[int, ...]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part of the spectrum image, uint32."""
        counts = _SORTED.get(self, self._sorted)
        n_y, n_x, n_channels = self.shape if len(self.shape) == 3 else (1, 1, *self.shape)
        rows, columns, channels = part if len(part) == 3 else (slice(0, 1), slice(0, 1), *part)
        first, last, _ = rows.indices(n_y)
        spectra = counts.spectra(first * n_x, last * n_x, n_channels).reshape(last - first, n_x, n_channels)
        return spectra[:, columns, channels].reshape(-1) if len(self.shape) == 1 else spectra[:, columns, channels]

    def _sorted(self) -> Counts:
        with reading(self.stamp.path), h5py.File(self.stamp.path, "r") as file:
            return sort_counts(file[self.name][:, 0], int(np.prod(self.shape[:-1])))


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Images and spectra of a Velox file by the labels that Velox shows, or by detector where it shows none.

    Raises
    ------
    ReadError
        If the file is damaged or holds neither images nor spectrum streams.
    """
    with h5py.File(path, "r") as file:
        labels = _labels(file)
        found = [*_images(file), *_streams(file)]
    if not found:
        raise failure(path, "holds neither images nor spectrum streams of Velox", 'Read its arrays with format="HDF5".')
    keys = unique_keys([labels.get(identifier, spec.title) for _, identifier, spec, _ in found])
    return {
        key: lazy_dataset(key, load, replace(spec, title=key), path, options, metadata=_experiment(facts), original_metadata=facts)
        for key, (load, _, spec, facts) in zip(keys, found)
    }


Found = tuple[Load, str, Spec, dict[str, Any]]
"""Loader, its data's identifier, meaning, and the metadata of the file."""


def _images(file: h5py.File) -> Iterator[Found]:
    for identifier, group in file.get("Data/Image", {}).items():
        facts = _facts(group)
        n_y, n_x, n_frames = group["Data"].shape
        axes: tuple[Axis, ...] = _plane(n_y, n_x, facts)
        if n_frames > 1:
            axes = (Axis("frame", n_frames, kind=AxisKind.TEMPORAL, quantity="frame"), *axes)
        load = VeloxFrames(file.filename, group["Data"].name, is_stack=n_frames > 1)
        spec = Spec(axes, group["Data"].dtype, quantity="intensity", title=_detector(facts))
        yield load, identifier, spec, facts


def _streams(file: h5py.File) -> Iterator[Found]:
    for identifier, group in file.get("Data/SpectrumStream", {}).items():
        facts = _facts(group)
        settings = json.loads(group["AcquisitionSettings"][0])
        facts["AcquisitionSettings"] = settings
        axes = (*_scanned(facts, settings), _energy(int(settings["bincount"]), facts))
        shape = tuple(axis.size for axis in axes)
        load = VeloxSpectra(FileStamp.of(file.filename), group["Data"].name, shape)
        yield load, identifier, Spec(axes, np.dtype(np.uint32), quantity="intensity", units="counts", title=_detector(facts)), facts


def _facts(group: h5py.Group) -> dict[str, Any]:
    """The metadata of the first frame."""
    facts: dict[str, Any] = json.loads(group["Metadata"][:, 0].tobytes().rstrip(b"\0"))
    return facts


def _labels(file: h5py.File) -> dict[str, str]:
    """What Velox calls each image, by the image's identifier."""
    labels = {}
    for display in file.get("Presentation/Displays/ImageDisplay", {}).values():
        shown = json.loads(display[0])
        labels[shown["dataPath"].split("/")[-1]] = shown["display"]["label"]
    for display in file.get("Displays/ImageDisplay", {}).values():
        shown = json.loads(display[0])
        if "data" in shown:
            labels[json.loads(file[shown["data"]][0])["dataPath"].split("/")[-1]] = shown["title"]
    return labels


def _scanned(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of the scanned area; none where the beam stood still."""
    area, size, raster = facts["Scan"].get("ScanArea"), facts["Scan"].get("ScanSize"), settings.get("RasterScanDefinition")
    if area and size:
        n_y = round(float(size["height"]) * (float(area["bottom"]) - float(area["top"])))
        n_x = round(float(size["width"]) * (float(area["right"]) - float(area["left"])))
    elif raster:
        n_y, n_x = int(raster["Height"]), int(raster["Width"])
    else:
        return ()
    return _plane(n_y, n_x, facts)


def _plane(n_y: int, n_x: int, facts: Mapping[str, Any]) -> tuple[Axis, Axis]:
    """The axes of an image, in nm or 1/nm."""
    result = facts["BinaryResult"]
    size, start, unit = result.get("PixelSize", {}), result.get("Offset", {}), result.get("PixelUnitX", "")
    is_reciprocal = unit == "1/m"
    factor = {"m": _NM, "1/m": 1 / _NM}.get(unit, 1.0)
    units = {"m": "nm", "1/m": "1/nm"}.get(unit, unit or "generic")

    def axis(name: str, n: int, extent: str) -> Axis:
        step = float(size.get(extent, 0)) * factor or 1.0
        offset = float(start.get(name, 0)) * factor
        if is_reciprocal:
            return Axis(f"k{name}", n, AxisKind.RECIPROCAL, "reciprocal distance", units, offset, step)
        return Axis(name, n, AxisKind.SPATIAL, "distance", units, offset, step)

    return axis("y", n_y, "height"), axis("x", n_x, "width")


def _energy(n_channels: int, facts: Mapping[str, Any]) -> Axis:
    """The energy axis in eV, by the calibration of the first of the detector's segments."""
    for detector in facts.get("Detectors", {}).values():
        if _detector(facts) in detector.get("DetectorName", "") and "Dispersion" in detector:
            offset, step = float(detector.get("OffsetEnergy", 0)), float(detector["Dispersion"])
            return Axis("energy", n_channels, AxisKind.SPECTRAL, "energy", "eV", offset, step)
    return Axis("energy", n_channels, AxisKind.SPECTRAL, "channel")


def _detector(facts: Mapping[str, Any]) -> str:
    return str(facts["BinaryResult"].get("Detector") or "Velox")


def _experiment(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Voltage in volts, dwell and frame time in seconds, convergence in radians; only what is there."""
    optics, scan = facts.get("Optics", {}), facts.get("Scan", {})
    known = {
        "acceleration_voltage": optics.get("AccelerationVoltage"),
        "convergence_angle": optics.get("BeamConvergence"),
        "pixel_time": scan.get("DwellTime"),
        "exposure_time": scan.get("FrameTime"),
    }
    numbers = {name: float(value) for name, value in known.items() if value is not None}
    return {"experiment": {"detector": _detector(facts), "microscope": facts.get("Instrument", {}).get("InstrumentClass", ""), **numbers}}
