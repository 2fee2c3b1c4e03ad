"""NeXus files: the frames of a detector as ``image`` and its ``mask`` (NXmx, Eiger, NXsas), and any other NXdata by its HDF5 path.

The parts of an Eiger series (``data_000001`` and so on, mostly in files of their own) are one stack, in order. In a mask 0 is a good
pixel. A value enters the geometry only where the file gives its units; a beam centre is a length from the outer edge of the first pixel.
What is known is in ``metadata["detector"]``, in SI.

Reference: https://manual.nexusformat.org/classes/applications/NXmx.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import h5py
import sidpy

from pycroclass.readers.detector import Detector, Recording, beam_edge, energy, length, pixel_size
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_axes import nxdata_axes
from pycroclass.readers.hdf5_file import Stored, members, open_hdf5, small_values, stored, text
from pycroclass.readers.options import ReadOptions
from pycroclass.spec import Axis

_PART: Final = re.compile(r"data_\d+")
_WAVELENGTHS: Final = (
    "instrument/beam/incident_wavelength",
    "sample/beam/incident_wavelength",
    "instrument/monochromator/wavelength",
)
_ENERGIES: Final = (
    "instrument/beam/incident_energy",
    "sample/beam/incident_energy",
    "instrument/monochromator/energy",
    "instrument/detector/detectorSpecific/photon_energy",
)
_LEADING: Final = {3: ("frame",), 4: ("frame", "module")}


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Frames and mask of the detector of each entry, and all other plottable data.

    Raises
    ------
    ReadError
        If the file is damaged, or a file that it links to is missing or does not fit the others.
    """
    found: dict[str, sidpy.Dataset] = {}
    with open_hdf5(path) as file:
        entries = [entry for entry in members(file).values() if _is(entry, "NXentry")]
        for i, entry in enumerate(entries):
            found |= _entry_datasets(path, entry, options, prefix=entry.name.strip("/") + "/" if i else "")
    return found


def _entry_datasets(path: Path, entry: h5py.Group, options: ReadOptions, prefix: str) -> dict[str, sidpy.Dataset]:
    group = _detector_group(entry)
    detector = Detector() if group is None else _detector(entry, group)
    recording = Recording(path, options, detector, {}, small_values(entry))
    found: dict[str, sidpy.Dataset] = {}
    for data in _data_groups(entry, group):
        parts = _parts(path, data)
        is_image = group is not None and bool(parts) and len(parts[0].shape) >= 2
        key = f"{prefix}image" if is_image else data.name.strip("/")
        if parts and key not in found:
            axes = _axes(data, parts, detector if is_image else Detector())
            found[key] = recording.dataset(key, "intensity" if is_image else "generic", axes, *parts)
    mask = None if group is None else stored(path, group, "pixel_mask") or stored(path, group, "detectorSpecific/pixel_mask")
    if mask is not None:
        found[f"{prefix}mask"] = recording.dataset(f"{prefix}mask", "mask", detector.axes(mask.shape, ("module",)), mask)
    return found


def _detector_group(entry: h5py.Group) -> h5py.Group | None:
    """The first detector of the entry's instrument."""
    instruments = [item for item in members(entry).values() if _is(item, "NXinstrument")]
    return next((item for instrument in instruments for item in members(instrument).values() if _is(item, "NXdetector")), None)


def _detector(entry: h5py.Group, group: h5py.Group) -> Detector:
    size = pixel_size(group)
    return Detector(
        beam_edge=beam_edge(group, size),
        pixel_size=size,
        distance=length(group.get("distance")) or length(group.get("detector_distance")),
        wavelength=next((found for name in _WAVELENGTHS if (found := length(entry.get(name)))), None),
        photon_energy=next((found for name in _ENERGIES if (found := energy(entry.get(name)))), None),
    )


def _data_groups(entry: h5py.Group, detector: h5py.Group | None) -> list[h5py.Group]:
    """The NXdata groups of an entry, its default first, and the detector itself last."""
    groups = [item for item in members(entry).values() if _is(item, "NXdata")]
    default = text(entry, "default")
    groups.sort(key=lambda group: group.name.rpartition("/")[2] != default)
    return groups if detector is None else [*groups, detector]


def _parts(path: Path, group: h5py.Group) -> list[Stored]:
    """What a group is there to show: the parts of a series in order, or its one signal.

    Raises
    ------
    ReadError
        If a linked file is missing, or the parts do not make one stack.
    """
    names = sorted(name for name in group if _PART.fullmatch(name)) or [_signal(group)]
    parts = [part for name in names if (part := stored(path, group, name)) is not None]
    for part in parts:
        if (part.shape[1:], part.dtype) != (parts[0].shape[1:], parts[0].dtype):
            problem = f"holds frames of {part.shape[1:]} {part.dtype}, {parts[0].path.name} of {parts[0].shape[1:]} {parts[0].dtype}"
            raise failure(part.path, problem, f"It does not belong to the series of {path.name}.")
    return parts


def _signal(group: h5py.Group) -> str:
    """Name of the signal: by the attribute of the group, or by that of a dataset in files of before 2014."""
    marked = (name for name, item in members(group).items() if text(item, "signal") == "1")
    return text(group, "signal") or next(marked, "data")


def _axes(group: h5py.Group, parts: list[Stored], detector: Detector) -> tuple[Axis, ...]:
    signal = group.get(_signal(group))
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    default = detector.axes(shape, _LEADING.get(len(shape), ()))
    return nxdata_axes(group, default, text(signal, "axes") if isinstance(signal, h5py.Dataset) else "")


def _is(item: object, nx_class: str) -> bool:
    return isinstance(item, h5py.Group) and text(item, "NX_class") == nx_class
