"""Dragonfly's detector files: where in reciprocal space each pixel lies, how it weighs, and whether it counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import h5py
import numpy as np
import numpy.typing as npt

from pycroclass.array_value import frozen
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry, FloatArray, Geometry, PanelGeometry
from pycroclass.readers.building import reading
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_file import open_hdf5
from pycroclass.writers.atomic import whole_or_nothing

Polarisation = Literal["x", "y", "none"]

_HDF5: Final = (".h5", ".hdf5")
_COLUMNS: Final = ("qx", "qy", "qz", "corr", "mask")
_ROW: Final = "%21.15e %21.15e %21.15e %21.15e %d\n"
_LARGEST_MASK: Final = 2


@dataclass(frozen=True, eq=False)
class DragonflyDetector:
    """What Dragonfly must know of each pixel, in C order over the detector.

    A pixel in the direction ``n`` (a unit vector from the sample, ``z`` along the beam) lies at ``q = E (n - z)``, with ``E`` the radius
    of the Ewald sphere in voxels. Of an isotropic scatterer it gets ``corr = P A |n . N| / r^2``: the solid angle of its area ``A`` at
    the distance ``r``, ``N`` being perpendicular to it, and ``P = 1 - n_x^2``, where the light is polarised along x. On a flat detector
    at the distance ``d``, lengths in pixels, this is ``q = E (x, y, d) / r - E z`` and ``corr = d / r^3 (1 - x^2 / r^2)`` with
    ``r^2 = x^2 + y^2 + d^2``.

    Parameters
    ----------
    q : float array, shape (n_pixels, 3)
        ``(x, y, z)`` in voxels.
    correction : float array, shape (n_pixels,)
        Solid angle times polarisation, in steradian.
    mask : uint8 array, shape (n_pixels,)
        0 for a good pixel, 1 for one that does not take part in finding orientations, 2 for a bad one.
    distance : float
        Sample to detector, in pixels.
    ewald_radius : float
        In voxels.

    Raises
    ------
    ParameterError
        If lengths differ, a number is not finite, or a mask is none.

    Examples
    --------
    >>> flat = Geometry((1, 1), pixel_size=(1e-4, 1e-4), distance=0.1, wavelength=1e-9)
    >>> detector = DragonflyDetector.of(flat, (3, 3))
    >>> detector.q[[4, 5]].round(4).tolist(), float(detector.distance)
    ([[0.0, 0.0, 0.0], [1.0, 0.0, -0.0005]], 1000.0)
    """

    q: FloatArray
    correction: FloatArray
    mask: npt.NDArray[np.uint8]
    distance: float
    ewald_radius: float

    def __post_init__(self) -> None:
        n_pixels = len(self.correction)
        for name, shape, dtype in (("q", (n_pixels, 3), "f8"), ("correction", (n_pixels,), "f8"), ("mask", (n_pixels,), "u1")):
            values = frozen(getattr(self, name), dtype)
            object.__setattr__(self, name, values)
            if values.shape != shape or not np.isfinite(values).all():
                raise ParameterError(f"{name} must hold finite numbers of shape {shape}, got the shape {values.shape}")
        if (self.mask > _LARGEST_MASK).any():
            raise ParameterError(f"mask is 0, 1 or 2 for each pixel, got {int(self.mask.max())}")
        for name in ("distance", "ewald_radius"):
            object.__setattr__(self, name, float(getattr(self, name)))
            if not 0 < getattr(self, name) < np.inf:
                raise ParameterError(f"{name} must be above 0 and finite, got {getattr(self, name)!r}")

    @classmethod
    def of(
        cls,
        geometry: DetectorGeometry,
        shape: tuple[int, ...],
        *,
        mask: npt.ArrayLike | None = None,
        polarisation: Polarisation = "x",
        ewald_radius: float | None = None,
    ) -> Self:
        """The detector of a geometry.

        Parameters
        ----------
        geometry : Geometry or PanelGeometry
            That knows sizes of pixels and distances; the wavelength does not matter.
        shape : (y, x) or (module, y, x)
            Of a frame.
        mask : array, of ``shape``, optional
            0, 1 and 2 as above; an array of bool is True where a pixel is bad. Gaps between panels are always 2, and lie at ``q = 0``.
        polarisation : {"x", "y", "none"}
            Of the light; x is horizontal.
        ewald_radius : float, optional
            In voxels; by default the distance in pixels, so that a voxel at the beam is as large as a pixel.

        Raises
        ------
        ParameterError
            If the geometry is not complete, or a parameter cannot be understood.
        AxisError
            If frames or mask do not fit the geometry.
        """
        if polarisation not in get_args(Polarisation):
            raise ParameterError(f"polarisation is x, y or none, got {polarisation!r}")
        panels = PanelGeometry.of_flat(geometry, (shape[-2], shape[-1])) if isinstance(geometry, Geometry) else geometry
        if panels.distance is None or any(panel.z is None or panel.z <= 0 for panel in panels.panels):
            raise ParameterError(f"a detector file needs the distance of each panel, above 0; the geometry is {geometry}")
        panels.check(shape)
        distance = panels.distance / panels.pixel_size[1]
        direction, solid_angle = _seen(panels, shape)
        polarised = 1 - direction["xy".index(polarisation)] ** 2 if polarisation != "none" else 1.0
        radius = distance if ewald_radius is None else ewald_radius
        q = np.moveaxis(direction, 0, -1) * radius
        q[..., 2] -= radius
        return cls(
            q.reshape(-1, 3), (polarised * solid_angle).ravel(), _mask(mask, panels.panel_numbers(shape) < 0).ravel(), distance, radius
        )


def write_detector(detector: DragonflyDetector, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a detector file for Dragonfly, which appears when it is whole.

    As text it begins with a line of the number of pixels, the distance in pixels and the radius of the Ewald sphere in voxels; a line with
    ``qx qy qz corr mask`` for each pixel follows. In HDF5 these are the datasets ``qx``, ``qy``, ``qz``, ``corr``, ``mask``, ``detd`` and
    ``ewald_rad``.

    Parameters
    ----------
    detector : DragonflyDetector
    path : path
        HDF5 where it ends in ``.h5`` or ``.hdf5``, else text; Dragonfly's own name for that is ``.dat``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    WriteError
        If the file exists or cannot be written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> flat = Geometry((0, 0), pixel_size=(1e-4, 1e-4), distance=0.1)
    >>> path = write_detector(DragonflyDetector.of(flat, (1, 2)), Path(mkdtemp()) / "detector.dat")
    >>> path.read_text().splitlines()[0], read_detector(path).q[1].round(4).tolist()
    ('2 1000.0 1000.0', [1.0, 0.0, -0.0005])
    """
    target = Path(path)
    columns = (*detector.q.T, detector.correction, detector.mask)
    with whole_or_nothing(target, overwrite=overwrite) as partial:
        if target.suffix.lower() in _HDF5:
            with h5py.File(partial, "w") as file:
                for name, values in zip(_COLUMNS, columns, strict=True):
                    file[name] = values
                file["detd"], file["ewald_rad"] = detector.distance, detector.ewald_radius
        else:
            partial.write(f"{len(detector.mask)} {detector.distance!r} {detector.ewald_radius!r}\n".encode())
            for start in range(0, len(detector.mask), 1 << 16):
                rows = zip(*(column[start : start + (1 << 16)].tolist() for column in columns), strict=True)
                partial.write("".join(_ROW % row for row in rows).encode())
        partial.check()
    return target


def read_detector(path: str | os.PathLike[str]) -> DragonflyDetector:
    """Read a detector file of Dragonfly, as text or HDF5.

    Parameters
    ----------
    path : path

    Returns
    -------
    DragonflyDetector

    Raises
    ------
    ReadError
        If the file is missing, damaged or no detector file.
    """
    file = Path(path)
    if not file.is_file():
        raise failure(file, "does not exist", "Check the path.")
    distance, radius, rows = _of_hdf5(file) if h5py.is_hdf5(file) else _of_text(file)
    try:
        return DragonflyDetector(np.stack(rows[:3], axis=1), rows[3], rows[4], distance, radius)
    except ValueError as error:
        raise failure(file, f"holds no detector: {error}", "Write it again.") from error


def _of_hdf5(path: Path) -> tuple[float, float, list[npt.NDArray[Any]]]:
    with open_hdf5(path) as file:
        wanted = ("detd", "ewald_rad", *_COLUMNS)
        if missing := [name for name in wanted if name not in file]:
            raise failure(path, f"is no detector file of Dragonfly: it has no {', '.join(missing)}", "Choose another file.")
        distance, radius, *rows = (np.asarray(file[name][()]) for name in wanted)
    return float(distance), float(radius), rows


def _of_text(path: Path) -> tuple[float, float, list[npt.NDArray[Any]]]:
    with reading(path), open(path, encoding="ascii") as file:
        first = file.readline().split()
        if len(first) != 3:
            problem = f"begins with {len(first)} words, wanted the number of pixels, the distance and the radius of the Ewald sphere"
            raise failure(path, problem, "Files of Dragonfly's first versions have the number alone: write it again.")
        rows = np.loadtxt(file, ndmin=2)
    if rows.shape != (int(first[0]), len(_COLUMNS)):
        problem = f"announces {first[0]} pixels and has {rows.shape[0]} lines of {rows.shape[1]} numbers, wanted {len(_COLUMNS)} in each"
        raise failure(path, problem, "Copy it again from where it was written.")
    return float(first[1]), float(first[2]), list(rows.T)


def _seen(geometry: PanelGeometry, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Direction ``(3, *shape)`` and solid angle of each pixel; in gaps those of the pixel that the beam would hit."""
    place = np.stack(geometry.coordinates(shape))
    r = np.linalg.norm(place, axis=0)
    direction, solid_angle = place / r, np.zeros(shape)
    for panel in geometry.panels:
        area = panel.normal / panel.res**2
        here = (slice(None), *panel.where)
        solid_angle[panel.where] = np.abs(np.tensordot(area, direction[here], 1)) / r[panel.where] ** 2
    is_gap = geometry.panel_numbers(shape) < 0
    direction[:, is_gap] = np.array([0.0, 0.0, 1.0])[:, None]
    solid_angle[is_gap] = (geometry.pixel_size[1] / (geometry.distance or np.nan)) ** 2
    return direction, solid_angle


def _mask(given: npt.ArrayLike | None, is_gap: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    mask = np.zeros(is_gap.shape, np.uint8) if given is None else np.asarray(given)
    if mask.shape != is_gap.shape:
        raise AxisError(f"the mask has the shape {mask.shape}, the frames {is_gap.shape}")
    if mask.dtype.kind not in "biu" or (mask.dtype.kind != "b" and not ((mask >= 0) & (mask <= _LARGEST_MASK)).all()):
        raise ParameterError(f"a mask is True where bad, or 0, 1 or 2, got {mask.dtype}. Bits of a CXI mask: pycroclass.bad_pixels(mask)")
    values = mask * np.uint8(_LARGEST_MASK) if mask.dtype.kind == "b" else mask
    return np.where(is_gap, _LARGEST_MASK, values).astype(np.uint8)
