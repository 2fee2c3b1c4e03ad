"""A detector of panels: flat pieces, each where it stands, of the array that the detector writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry.flat import FloatArray, Geometry
from pycroclass.geometry.panel import Panel, centres, finite

MODULE: Final = "module"
"""Name of the axis that counts the modules of a detector, where each is an array of its own."""


_COLUMNS: Final = tuple(field.name for field in fields(Panel))


@dataclass(frozen=True)
class PanelGeometry:
    """A detector of panels, each with its own place, direction and distance.

    Frames are what the detector writes, the raw slab: an array ``(ss, fs)`` that holds all panels, or ``(module, ss, fs)``. What lies
    on no panel is a gap. Rings around the beam, as in `RadialProfile`, go through all panels. Distances from the beam are those of the
    ray from the sample on one plane, perpendicular to the beam and through the first panel's corner, so that equal ones mean equal
    scattering angles, however the panels stand.

    Parameters
    ----------
    panels : sequence of Panel
        No pixel may belong to two.
    wavelength : float, optional
        Of the radiation, in metres.

    Raises
    ------
    ParameterError
        If there is no panel, two share a name or a pixel, or some have a module and others not.

    Examples
    --------
    >>> left = Panel("left", min_fs=0, max_fs=3, min_ss=0, max_ss=1, corner_x=-5, corner_y=-1, res=1e4, clen=0.1)
    >>> right = Panel("right", min_fs=4, max_fs=7, min_ss=0, max_ss=1, corner_x=1, corner_y=-1, res=1e4, clen=0.1)
    >>> PanelGeometry((left, right)).radius((2, 8))[0].round(2).tolist()
    [4.53, 3.54, 2.55, 1.58, 1.58, 2.55, 3.54, 4.53]
    """

    panels: tuple[Panel, ...]
    wavelength: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "panels", tuple(self.panels))
        if not self.panels or not all(isinstance(panel, Panel) for panel in self.panels):
            raise ParameterError(f"panels must be one or more Panel, got {self.panels!r}")
        names = [panel.name for panel in self.panels]
        if len(set(names)) != len(names):
            raise ParameterError(f"each panel needs a name of its own, got {', '.join(names)}")
        if len({panel.module is None for panel in self.panels}) > 1:
            raise ParameterError("either all panels stand on a module or none does")
        _check_apart(self.panels)
        if self.wavelength is not None:
            wavelength = finite("wavelength", self.wavelength)
            if wavelength <= 0:
                raise ParameterError(f"wavelength must be a positive length in metres, got {self.wavelength!r}")
            object.__setattr__(self, "wavelength", wavelength)

    @classmethod
    def of_flat(cls, geometry: Geometry, shape: tuple[int, int]) -> Self:
        """A flat detector of ``shape`` ``(y, x)`` as one panel.

        Raises
        ------
        ParameterError
            If the size of its pixels is not known.
        """
        if geometry.pixel_size is None:
            raise ParameterError(f"a panel needs the size of its pixels, got {geometry}. Complete it with dataclasses.replace.")
        (y, x), (height, width) = geometry.beam_centre, geometry.pixel_size
        ratio = height / width
        panel = Panel(
            "0",
            min_fs=0,
            max_fs=shape[1] - 1,
            min_ss=0,
            max_ss=shape[0] - 1,
            corner_x=-(x + 0.5),
            corner_y=-(y + 0.5) * ratio,
            ss=(0.0, ratio, 0.0),
            res=1 / width,
            clen=geometry.distance,
        )
        return cls((panel,), geometry.wavelength)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """``(y, x)`` size of the pixels that radii are counted in, those of the first panel, in metres."""
        return 1 / self.panels[0].res, 1 / self.panels[0].res

    @property
    def distance(self) -> float | None:
        """Sample to the plane that radii are counted on, that of the first panel's corner, in metres."""
        return self.panels[0].z

    @property
    def is_calibrated(self) -> bool:
        """Whether a radius on the detector can be turned into a scattering vector."""
        return self.wavelength is not None and self._has_distances

    @property
    def n_modules(self) -> int:
        """Of an array ``(module, ss, fs)``, as far as panels go; 0 for an array ``(ss, fs)``."""
        return max(-1 if panel.module is None else panel.module for panel in self.panels) + 1

    @property
    def slab_shape(self) -> tuple[int, ...]:
        """The smallest array that holds all panels, ``(ss, fs)`` or ``(module, ss, fs)``."""
        plane = max(panel.max_ss for panel in self.panels) + 1, max(panel.max_fs for panel in self.panels) + 1
        return (self.n_modules, *plane) if self.n_modules else plane

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse an array that does not hold the panels.

        Raises
        ------
        AxisError
            If it has other axes, or a panel sticks out of it.
        """
        if len(shape) != len(self.slab_shape):
            if self.n_modules:
                raise AxisError(
                    f"the panels stand on {self.n_modules} modules (module, ss, fs), the images are {tuple(shape)}. "
                    "Put StackModules before, which makes one image of them."
                )
            raise AxisError(f"the panels stand on an image (ss, fs), not on an array of shape {tuple(shape)}")
        if any(size < wanted for size, wanted in zip(shape, self.slab_shape, strict=True)):
            raise AxisError(
                f"the panels need {self.slab_shape} pixels, the images have {tuple(shape)}: this is the geometry of other frames"
            )

    def panel_numbers(self, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
        """Position in ``panels`` of the panel of each pixel, of ``shape``; -1 in gaps.

        Raises
        ------
        AxisError
            As `check`, as all maps do.
        """
        self.check(shape)
        numbers = np.full(shape, -1, np.int32)
        for number, panel in enumerate(self.panels):
            numbers[panel.where] = number
        return numbers

    def coordinates(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(x, y, z)`` of each pixel's centre in metres, each of ``shape``; NaN in gaps, and z where a panel's ``clen`` is not known."""
        self.check(shape)
        x, y, z = (np.full(shape, np.nan) for _ in range(3))
        for panel in self.panels:
            px, py, pz = panel.at(*centres(panel))
            start = np.nan if panel.z is None else panel.z
            x[panel.where], y[panel.where], z[panel.where] = px / panel.res, py / panel.res, start + pz / panel.res
        return x, y, z

    def radius(self, shape: tuple[int, ...]) -> FloatArray:
        """Distance of each pixel's centre from the beam, of ``shape``; NaN in gaps.

        It is in pixels of the first panel, on the plane through its corner: ``hypot(x, y) distance / z``; ``hypot(x, y)`` where a
        panel's ``clen`` is not known.
        """
        self.check(shape)
        radius = np.full(shape, np.nan)
        for panel in self.panels:
            radius[panel.where] = np.hypot(*self.on_plane(panel, *centres(panel)))
        return radius

    def azimuth(self, shape: tuple[int, ...]) -> FloatArray:
        """Angle of each pixel's centre around the beam, -pi to pi from x towards y of the laboratory, of ``shape``; NaN in gaps."""
        self.check(shape)
        azimuth = np.full(shape, np.nan)
        for panel in self.panels:
            x, y = self.on_plane(panel, *centres(panel))
            azimuth[panel.where] = np.arctan2(y, x)
        return azimuth

    def q(self, radius: FloatArray) -> FloatArray:
        """Scattering vector in 1/m at a radius as `radius` counts it; see `Geometry.q`.

        Raises
        ------
        ParameterError
            If the wavelength or a panel's ``clen`` is not known.
        """
        if not self.is_calibrated:
            raise ParameterError("q needs the wavelength and the clen of each panel. Complete the geometry with dataclasses.replace.")
        return Geometry((0, 0), self.pixel_size, self.distance, self.wavelength).q(radius)

    def q_map(self, shape: tuple[int, ...]) -> FloatArray:
        """Scattering vector of each pixel in 1/m, of ``shape``; NaN in gaps. Raises as `q`."""
        return self.q(self.radius(shape))

    def on_plane(self, panel: Panel, fs: FloatArray, ss: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(x, y)`` where rays from the sample through places on a panel, in pixels from its corner, meet the plane of `radius`.

        Raises
        ------
        ParameterError
            If a part of the panel lies behind the sample.
        """
        x, y, z = panel.at(fs, ss)
        first = self.panels[0]
        if not self._has_distances or panel.z is None or first.z is None:
            return x * (first.res / panel.res), y * (first.res / panel.res)
        along = panel.z * panel.res + z
        if first.z <= 0 or np.min(along) <= 0:
            raise ParameterError(f"panel {panel.name!r} does not lie before the sample: clen + coffset must be above zero")
        scale = first.z * first.res / along
        return x * scale, y * scale

    def cropped(self, y: int, x: int, size: tuple[int, int]) -> PanelGeometry:
        """The geometry of images of ``size`` whose first pixel was ``(y, x)``; negative values pad. Panels are cut as the images are.

        Raises
        ------
        AxisError
            If no panel is left.
        """
        parts = [panel.cut(y, x, y + size[0] - 1, x + size[1] - 1) for panel in self.panels]
        left = [panel.moved(-y, -x) for panel in parts if panel is not None]
        if not left:
            raise AxisError(f"no panel lies in a window of {tuple(size)} pixels that begins at {(y, x)}. Move it, or make it larger.")
        return replace(self, panels=tuple(left))

    def scaled(self, y: float, x: float) -> PanelGeometry:
        """The geometry after each ``y`` by ``x`` pixels became one.

        Raises
        ------
        AxisError
            If pixels of two panels, or of a panel and a gap, would become one.
        """
        rows, columns = int(y), int(x)
        binned = [panel.binned(rows, columns) if (rows, columns) == (y, x) and rows > 0 < columns else None for panel in self.panels]
        if None in binned:
            name = self.panels[binned.index(None)].name
            raise AxisError(
                f"bins of {(y, x)} pixels do not end where panel {name!r} ends: they would join pixels that stand apart. "
                "Put Assemble before, or take bins that fit the panels."
            )
        return replace(self, panels=tuple(panel for panel in binned if panel is not None))

    def of_modules(self, numbers: Iterable[int]) -> PanelGeometry:
        """The geometry of an array of these modules alone, in this order.

        Raises
        ------
        AxisError
            If no panel is left.
        """
        place = {number: i for i, number in enumerate(numbers)}
        left = tuple(replace(panel, module=place[panel.module]) for panel in self.panels if panel.module in place)
        if not left:
            raise AxisError(f"no panel stands on the modules {sorted(place)}")
        return replace(self, panels=left)

    def stacked(self, n_rows: int) -> PanelGeometry:
        """The geometry after modules of ``n_rows`` became one image, one below the other.

        Raises
        ------
        AxisError
            If there are no modules, or a panel has more rows.
        """
        if not self.n_modules:
            raise AxisError("the panels stand on one image already: there are no modules to be stacked")
        self.check((self.n_modules, n_rows, self.slab_shape[-1]))
        return replace(self, panels=tuple(replace(panel.moved((panel.module or 0) * n_rows, 0), module=None) for panel in self.panels))

    def to_dict(self) -> dict[str, Any]:
        """All values that are known, ready for JSON: a column for each parameter of the panels."""
        known = [name for name in _COLUMNS if any(getattr(panel, name) is not None for panel in self.panels)]
        columns = {name: [_plain(getattr(panel, name)) for panel in self.panels] for name in known}
        return {"panels": columns} | ({} if self.wavelength is None else {"wavelength": self.wavelength})

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Self:
        """The value of which `to_dict` gave this.

        Raises
        ------
        ParameterError
            If it cannot be understood.
        """
        columns = known["panels"]
        if not isinstance(columns, Mapping) or not columns or not set(columns) <= set(_COLUMNS):
            raise ParameterError(f"panels must be columns among {', '.join(_COLUMNS)}, got {columns!r}")
        values = {name: [_plain(value) for value in column] for name, column in columns.items()}
        try:
            rows = list(zip(*values.values(), strict=True))
            panels = tuple(Panel(**dict(zip(values, row, strict=True))) for row in rows)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"the panels cannot be understood: {error}") from error
        return cls(panels, known.get("wavelength"))

    @property
    def _has_distances(self) -> bool:
        return all(panel.clen is not None for panel in self.panels)


def _check_apart(panels: Sequence[Panel]) -> None:
    boxes = np.array([(-1 if p.module is None else p.module, p.min_ss, p.max_ss, p.min_fs, p.max_fs) for p in panels])
    module, top, bottom, left, right = (column[:, None] for column in boxes.T)
    shared = (module == module.T) & (top <= bottom.T) & (bottom >= top.T) & (left <= right.T) & (right >= left.T)
    for a, b in combinations(range(len(panels)), 2) if np.count_nonzero(shared) > len(panels) else ():
        if shared[a, b]:
            first, second = panels[a], panels[b]
            pixel = max(first.min_ss, second.min_ss), max(first.min_fs, second.min_fs)
            raise ParameterError(
                f"panels {first.name!r} and {second.name!r} both have the pixel (ss, fs) = {pixel}. max_fs and max_ss are the last pixel "
                "of a panel, not the one behind it."
            )


def _plain(value: Any) -> Any:
    """As JSON has it, from tuples and from what comes out of an HDF5 file."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return list(value) if isinstance(value, tuple) else value
