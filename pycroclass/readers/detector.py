"""Detectors in HDF5 files: lengths and energies in SI whatever their units, beam centre, image axes in metres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import dask.array as da
import h5py
import sidpy

from pycroclass.geometry import MODULE, DetectorGeometry, Geometry, PanelGeometry
from pycroclass.readers.hdf5_axes import image_axes
from pycroclass.readers.hdf5_file import Stored, number, text
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

H_TIMES_C: Final = 1.986445857e-25
"""Planck's constant times the speed of light, in J m (CODATA 2018)."""
_METRES: Final = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    "cm": 1e-2,
    "mm": 1e-3,
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer"), 1e-6),
    "nm": 1e-9,
    **dict.fromkeys(("a", "å", "ang", "angstrom", "angstroms"), 1e-10),
    "pm": 1e-12,
}
_JOULES: Final = {"j": 1.0, "joule": 1.0, "ev": 1.602176634e-19, "kev": 1.602176634e-16}
_PIXELS: Final = ("pixel", "pixels", "px")
_OF_PIXELS: Final = ("intensity", "mask")
"""Quantities whose image axes are those of the detector."""


@dataclass(frozen=True)
class Detector:
    """What a file says of a detector, in SI; ``None`` where it says nothing.

    Parameters
    ----------
    beam_edge : tuple of float, optional
        ``(y, x)`` of the direct beam in pixels from the outer edge of the first one.
    pixel_size : tuple of float, optional
        ``(y, x)`` in m.
    distance, wavelength, photon_energy : float, optional
        In m, m and J. Wavelength and photon energy tell each other.
    panels : PanelGeometry, optional
        Where it is not flat, or has several modules.
    """

    beam_edge: tuple[float, float] | None = None
    pixel_size: tuple[float, float] | None = None
    distance: float | None = None
    wavelength: float | None = None
    photon_energy: float | None = None
    panels: PanelGeometry | None = None

    def __post_init__(self) -> None:
        for name in ("distance", "wavelength", "photon_energy"):
            value = getattr(self, name)
            if value is not None and not value > 0:  # placeholders of files that do not know: 0, -1
                object.__setattr__(self, name, None)
        if self.wavelength is None and self.photon_energy is not None:
            object.__setattr__(self, "wavelength", H_TIMES_C / self.photon_energy)
        if self.photon_energy is None and self.wavelength is not None:
            object.__setattr__(self, "photon_energy", H_TIMES_C / self.wavelength)

    @property
    def geometry(self) -> DetectorGeometry | None:
        """The geometry, where the panels or the beam centre are known."""
        if self.panels is not None:
            return replace(self.panels, wavelength=self.wavelength)
        if self.beam_edge is None:
            return None
        y, x = self.beam_edge
        return Geometry((y - 0.5, x - 0.5), self.pixel_size, self.distance, self.wavelength)

    def axes(self, shape: tuple[int, ...], leading: tuple[str, ...]) -> tuple[Axis, ...]:
        """Axes of its frames; the image axes are in m where the size of a pixel is known."""
        axes = image_axes(shape, leading)
        if self.pixel_size is None or len(shape) < 2:
            return axes
        plane = (replace(axis, units="m", step=size) for axis, size in zip(axes[-2:], self.pixel_size, strict=True))
        return (*axes[:-2], *plane)

    def to_dict(self) -> dict[str, Any]:
        """What is known, for the metadata of a dataset."""
        known = {name: getattr(self, name) for name in ("pixel_size", "distance", "wavelength", "photon_energy")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class Recording:
    """What all datasets of one recording share.

    Parameters
    ----------
    path : Path
    options : ReadOptions
    detector : Detector
    metadata, original_metadata : mapping
    """

    path: Path
    options: ReadOptions
    detector: Detector
    metadata: Mapping[str, Any]
    original_metadata: Mapping[str, Any]

    def dataset(self, key: str, quantity: str, axes: tuple[Axis, ...], *parts: Stored) -> sidpy.Dataset:
        """The parts, one after the other along the first axis, as one lazy dataset."""
        geometry = self.detector.geometry if quantity in _OF_PIXELS else None
        if isinstance(geometry, PanelGeometry) and geometry.n_modules and all(axis.name != MODULE for axis in axes):
            geometry = None  # a mask for all modules alike
        spec = Spec(axes, parts[0].dtype, quantity=quantity, units=parts[0].units, title=key, geometry=geometry)
        lazy = [part.lazy(spec) for part in parts]
        own = self.path.absolute()
        also = [file for file in dict.fromkeys(file for part in parts for file in part.files) if file != own]
        return wrap(
            da.concatenate(lazy) if len(lazy) > 1 else lazy[0],
            spec,
            provenance=provenance(key, self.path, self.options, also=also),
            metadata={"detector": known, **self.metadata} if (known := self.detector.to_dict()) else self.metadata,
            original_metadata=self.original_metadata,
        )


def length(item: h5py.Dataset | None, default: str = "") -> float | None:
    """A length in m; ``None`` where it is missing or its units are unknown. ``default``: the units where none stand there."""
    return _in_si(item, _METRES, default)


def energy(item: h5py.Dataset | None, default: str = "") -> float | None:
    """An energy in J; ``None`` where it is missing or its units are unknown."""
    return _in_si(item, _JOULES, default)


def pixels(item: h5py.Dataset | None, pixel_size: float | None, default: str = "") -> float | None:
    """A length in pixels, from pixels or from a unit of length."""
    if item is not None and (text(item, "units") or default).strip().lower() in _PIXELS:
        return number(item)
    metres = length(item, default)
    return None if metres is None or pixel_size is None else metres / pixel_size


def pair(y: float | None, x: float | None) -> tuple[float, float] | None:
    """Both, or nothing."""
    return None if y is None or x is None else (y, x)


def pixel_size(group: Mapping[str, Any], default: str = "") -> tuple[float, float] | None:
    """``(y, x)`` in m from ``x_pixel_size`` and ``y_pixel_size``."""
    y, x = (length(group.get(name), default) for name in ("y_pixel_size", "x_pixel_size"))
    return (y, x) if y is not None and x is not None and y > 0 and x > 0 else None


def beam_edge(group: Mapping[str, Any], size: tuple[float, float] | None, default: str = "") -> tuple[float, float] | None:
    """``(y, x)`` in pixels from ``beam_center_x`` and ``beam_center_y``."""
    y_size, x_size = size or (None, None)
    return pair(pixels(group.get("beam_center_y"), y_size, default), pixels(group.get("beam_center_x"), x_size, default))


def _in_si(item: h5py.Dataset | None, factors: Mapping[str, float], default: str) -> float | None:
    value = number(item)
    factor = None if item is None else factors.get((text(item, "units") or default).strip().lower())
    return None if value is None or factor is None else value * factor
