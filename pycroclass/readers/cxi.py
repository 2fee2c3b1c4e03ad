"""CXI files (coherent X-ray imaging): ``image``, the stack of detector frames, ``mask``, in which 0 is a good pixel, and results.

All values of CXI are in SI. Further detectors are ``image_2`` and so on, further entries ``entry_2/image``. The geometry follows from
``corner_position`` (the outer corner of the first pixel) and ``basis_vectors`` (one row each for a step in y and in x), one for each
module where there are several; where they are missing, from ``geometry_1/translation`` and ``geometry_1/orientation`` (two unit vectors,
along x and along y of the data) with the size of a pixel; else from ``beam_center_x`` and ``beam_center_y``, in pixels from the outer edge
of the first one. A single module perpendicular to the beam is flat, all else is of panels. Where none of these stands there the dataset
has no geometry; what is known is in ``metadata["detector"]``, in SI. Panels side by side in one array, which CXI cannot describe, stand
in ``crystfel_geometry`` as the text of a geometry file, where pycroclass wrote the file.

Of the results in ``entry_1/result_1``, ``label``, ``n_peaks``, ``peaks`` and ``hit_probability`` are datasets; other values, one for each
frame, are columns of ``image``.

Reference: F. R. N. C. Maia, The Coherent X-ray Imaging Data Bank, Nature Methods 9, 854 (2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import sidpy

from pycroclass.crystfel.parsing import parse
from pycroclass.geometry import FloatArray, Panel, PanelGeometry
from pycroclass.readers import hdf5
from pycroclass.readers.cxi_results import facts, open_results
from pycroclass.readers.detector import Detector, Recording, beam_edge, energy, length, pixel_size
from pycroclass.readers.hdf5_file import Stored, open_hdf5, plain, small_values, stored, text
from pycroclass.readers.options import ReadOptions
from pycroclass.sid import safe_name
from pycroclass.spec import Axis

_NAMES: Final = {"experiment_identifier": "frame", "module_identifier": "module"}
_LABEL: Final = "entry_1/result_1/label"
CRYSTFEL: Final = "crystfel_geometry"
"""Beside the data of a detector: the text of a geometry file."""
_LEADING: Final[dict[int, tuple[str, ...]]] = {3: ("frame",), 4: ("frame", "module")}


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Frames and mask of each detector; of the results what there is of ``label``, ``n_peaks``, ``peaks`` and ``hit_probability``.

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
        results = open_results(path, file, options)
        is_labelled = _LABEL in file
    if is_labelled:
        found["label"] = hdf5.open_file(path, replace(options, key=_LABEL))[_LABEL]
    return found | results


def _open_detector(path: Path, entry: h5py.Group, n: int, frames: Stored, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    name = entry.name.strip("/")
    prefix, suffix = "" if name == "entry_1" else f"{name}/", f"_{n}" if n > 1 else ""
    image, mask = f"{prefix}image{suffix}", f"{prefix}mask{suffix}"
    leading = _leading(entry, n, frames)
    detector = _detector(entry, n, frames.shape[-2:], n_modules=frames.shape[leading.index("module")] if "module" in leading else 0)
    recording = Recording(path, options, detector, _per_frame(entry, n, frames.shape[0]), small_values(entry))
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


def _detector(entry: h5py.Group, n: int, shape: tuple[int, ...], *, n_modules: int) -> Detector:
    found, source = entry.get(f"instrument_1/detector_{n}"), entry.get("instrument_1/source_1")
    group = found if isinstance(found, h5py.Group) else {}
    size, distance = pixel_size(group, "m"), length(group.get("distance"), "m")
    corners, bases = _corners(group), _bases(group, size)
    is_placed = corners.shape == (max(1, n_modules), 3) and bases.shape == (len(corners), 2, 3)
    is_flat = is_placed and not n_modules and _is_flat(bases[0], size)
    is_placed = is_placed and all(np.cross(*basis).any() for basis in bases)
    names = _module_names(group, len(corners))
    panels = _panels(corners, bases, names, shape, size, distance, is_modular=n_modules > 0) if is_placed and not is_flat else None
    return Detector(
        beam_edge=None if n_modules or panels is not None else _beam(corners, bases) or beam_edge(group, size, "pixel"),
        pixel_size=size,
        distance=distance,
        photon_energy=energy(source.get("energy"), "J") if isinstance(source, h5py.Group) else None,
        panels=_described(group) or panels,
    )


def _described(group: Mapping[str, Any]) -> PanelGeometry | None:
    """The panels of a geometry file that stands beside the data."""
    item = group.get(CRYSTFEL)
    return parse(str(plain(item[()])), f"{item.file.filename}::{item.name}").detector() if isinstance(item, h5py.Dataset) else None


def _module_names(group: Mapping[str, Any], n: int) -> list[str]:
    """What the file calls the modules; else their numbers."""
    item = group.get("module_identifier")
    names = plain(item[()]) if isinstance(item, h5py.Dataset) and item.shape == (n,) and item.dtype.kind in "SO" else []
    return names if len(set(names)) == n else [f"m{i}" for i in range(n)]


def _corners(group: Mapping[str, Any]) -> FloatArray:
    """Of the first pixel of each module, in m, ``(module, 3)``."""
    values = _values(group, "corner_position", "geometry_1/translation")
    return np.atleast_2d(values) if values.shape[-1:] == (3,) else np.zeros((0, 3))


def _bases(group: Mapping[str, Any], size: tuple[float, float] | None) -> FloatArray:
    """Steps of each module along y and along x, in m, ``(module, 2, 3)``."""
    values = _values(group, "basis_vectors")
    if values.shape[-2:] == (2, 3):
        return values.reshape(-1, 2, 3)
    orientation = _values(group, "geometry_1/orientation")
    if orientation.shape[-1:] == (6,) and size is not None:
        along_x, along_y = orientation.reshape(-1, 2, 3).transpose(1, 0, 2)
        return np.stack([along_y * size[0], along_x * size[1]], axis=1)
    return np.zeros((0, 2, 3))


def _values(group: Mapping[str, Any], *names: str) -> FloatArray:
    """The first of these that holds finite numbers."""
    for name in names:
        item = group.get(name)
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
            values = np.asarray(item[()], np.float64)
            if values.size and np.isfinite(values).all():
                return values
    return np.zeros(0)


def _is_flat(basis: FloatArray, size: tuple[float, float] | None) -> bool:
    """Whether a module is perpendicular to the beam, with rectangular pixels of the size that the file gives."""
    lengths = np.linalg.norm(basis, axis=1)
    fits = size is None or np.allclose(lengths, size, rtol=1e-3, atol=0)
    return fits and not basis[:, 2].any() and abs(basis[0] @ basis[1]) <= 1e-9 * lengths.prod()


def _beam(corners: FloatArray, bases: FloatArray) -> tuple[float, float] | None:
    """Where the beam, x = y = 0 in the laboratory, meets the detector, in steps of its basis vectors from its corner."""
    if len(corners) != 1 or len(bases) != 1 or np.linalg.det(bases[0, :, :2]) == 0:
        return None
    y, x = np.linalg.solve(bases[0, :, :2].T, -corners[0, :2])
    return float(y), float(x)


def _panels(
    corners: FloatArray,
    bases: FloatArray,
    names: Sequence[str],
    shape: tuple[int, ...],
    size: tuple[float, float] | None,
    distance: float | None,
    *,
    is_modular: bool,
) -> PanelGeometry:
    """One panel for each module. Where corners say nothing of the distance, they lie at ``distance``."""
    has_distance = distance is not None and distance > 0
    if not has_distance:
        distance = float(corners[0, 2]) if corners[0, 2] > 0 else None
    res = 1 / float(np.linalg.norm(bases[0, 1]) if size is None else size[1])
    return PanelGeometry(
        tuple(
            Panel(
                names[i],
                min_fs=0,
                max_fs=shape[1] - 1,
                min_ss=0,
                max_ss=shape[0] - 1,
                corner_x=corner[0] * res,
                corner_y=corner[1] * res,
                fs=basis[1] * res,
                ss=basis[0] * res,
                res=res,
                clen=distance,
                coffset=corner[2] - distance if distance is not None and corners[:, 2].any() else 0.0,
                module=i if is_modular else None,
            )
            for i, (corner, basis) in enumerate(zip(corners, bases, strict=True))
        )
    )


def _per_frame(entry: h5py.Group, n: int, n_frames: int) -> dict[str, Any]:
    """Names of the events, photon energies in J where each has its own, and what else is known of each frame."""
    found = facts(entry, n_frames)
    for group in (*_groups(entry, n), entry):
        if isinstance(names := group.get("experiment_identifier"), h5py.Dataset) and names.shape:
            found["event_ids"] = plain(names[()])
            break
    energies = entry.get("instrument_1/source_1/energy")
    if isinstance(energies, h5py.Dataset) and energies.size > 1:
        found["photon_energies"] = np.asarray(energies[()], dtype=np.float64).ravel()
    return found
