"""CXI files (coherent X-ray imaging): ``image``, the stack of detector frames, and ``mask``, in which 0 is a good pixel.

All values of CXI are in SI. Further detectors are ``image_2`` and so on, further entries ``entry_2/image``. The beam centre follows from
``corner_position`` (the outer corner of the first pixel) and ``basis_vectors`` (one row each for a step in y and in x), or from
``beam_center_x`` and ``beam_center_y``, in pixels from the outer edge of the first one. Where neither stands there, or there are several
modules, the dataset has no geometry; what is known is in ``metadata["detector"]``, in SI.

Reference: F. R. N. C. Maia, The Coherent X-ray Imaging Data Bank, Nature Methods 9, 854 (2012).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import sidpy

from pycroclass.readers import hdf5
from pycroclass.readers.detector import Detector, Recording, beam_edge, energy, length, pixel_size
from pycroclass.readers.hdf5_file import Stored, open_hdf5, plain, small_values, stored, text
from pycroclass.readers.options import ReadOptions
from pycroclass.sid import safe_name
from pycroclass.spec import Axis

_NAMES: Final = {"experiment_identifier": "frame", "module_identifier": "module"}
_LABEL: Final = "entry_1/result_1/label"
_LEADING: Final[dict[int, tuple[str, ...]]] = {3: ("frame",), 4: ("frame", "module")}


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Frames and mask of each detector; ``label`` where the frames were labelled.

    Raises
    ------
    ReadError
        If the file is damaged, or a file that it links to is missing.
    """
    found: dict[str, sidpy.Dataset] = {}
    with open_hdf5(path) as file:
        for name in sorted(name for name in file if name.startswith("entry_")):
            for n in count(1):
                if (frames := _find(path, file[name], n, "data")) is None:
                    break
                found |= _open_detector(path, file[name], n, frames, options)
        is_labelled = _LABEL in file
    if is_labelled:
        found["label"] = hdf5.open_file(path, replace(options, key=_LABEL))[_LABEL]
    return found


def _open_detector(path: Path, entry: h5py.Group, n: int, frames: Stored, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    name = entry.name.strip("/")
    prefix, suffix = "" if name == "entry_1" else f"{name}/", f"_{n}" if n > 1 else ""
    image, mask = f"{prefix}image{suffix}", f"{prefix}mask{suffix}"
    leading = _leading(entry, n, frames)
    detector = _detector(entry, n, is_modular="module" in leading)
    recording = Recording(path, options, detector, _per_frame(entry, n), small_values(entry))
    axes = detector.axes(frames.shape, leading)
    found = {image: recording.dataset(image, "intensity", axes, frames)}
    if (stored_mask := _find(path, entry, n, "mask")) is not None:
        found[mask] = recording.dataset(mask, "mask", _mask_axes(stored_mask, axes, detector), stored_mask)
    return found


def _mask_axes(mask: Stored, axes: tuple[Axis, ...], detector: Detector) -> tuple[Axis, ...]:
    last = axes[-len(mask.shape) :]
    return last if mask.shape == tuple(axis.size for axis in last) else detector.axes(mask.shape, ())


def _find(path: Path, entry: h5py.Group, n: int, name: str) -> Stored | None:
    for group in _groups(entry, n):
        if (found := stored(path, group, name)) is not None:
            return found
    return None


def _groups(entry: h5py.Group, n: int) -> list[h5py.Group]:
    """Where the data of a detector, and what is known of it, may stand."""
    places = (entry.get(name) for name in (f"data_{n}", f"image_{n}", f"instrument_1/detector_{n}"))
    return [place for place in places if isinstance(place, h5py.Group)]


def _leading(entry: h5py.Group, n: int, frames: Stored) -> tuple[str, ...]:
    """Names of the axes before the image axes, from the attribute ``axes`` (``experiment_identifier:y:x``) or their number."""
    datasets = (group.get("data") for group in _groups(entry, n))
    declared = next((axes for data in datasets if data is not None and (axes := text(data, "axes"))), "")
    names = declared.split(":")
    if len(names) == len(frames.shape):
        return tuple(_NAMES.get(name, safe_name(name)) for name in names[:-2])
    return _LEADING.get(len(frames.shape), ())


def _detector(entry: h5py.Group, n: int, *, is_modular: bool) -> Detector:
    found, source = entry.get(f"instrument_1/detector_{n}"), entry.get("instrument_1/source_1")
    group = found if isinstance(found, h5py.Group) else {}
    size = pixel_size(group, "m")
    return Detector(
        beam_edge=None if is_modular else _beam(group) or beam_edge(group, size, "pixel"),
        pixel_size=size,
        distance=length(group.get("distance"), "m"),
        photon_energy=energy(source.get("energy"), "J") if isinstance(source, h5py.Group) else None,
    )


def _beam(group: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where the beam, x = y = 0 in the laboratory, meets the detector, in steps of its basis vectors from its corner."""
    corner, basis = (np.asarray(group[name][()]) if name in group else np.zeros(0) for name in ("corner_position", "basis_vectors"))
    if corner.shape != (3,) or basis.shape != (2, 3) or np.linalg.det(basis[:, :2]) == 0:
        return None
    y, x = np.linalg.solve(basis[:, :2].T, -corner[:2])
    return float(y), float(x)


def _per_frame(entry: h5py.Group, n: int) -> dict[str, Any]:
    """Names of the events, and photon energies in J where each has its own."""
    found: dict[str, Any] = {}
    for group in (*_groups(entry, n), entry):
        if isinstance(names := group.get("experiment_identifier"), h5py.Dataset) and names.shape:
            found["event_ids"] = plain(names[()])
            break
    energies = entry.get("instrument_1/source_1/energy")
    if isinstance(energies, h5py.Dataset) and energies.size > 1:
        found["photon_energies"] = np.asarray(energies[()], dtype=np.float64).ravel()
    return found
