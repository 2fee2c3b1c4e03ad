"""A flat detector perpendicular to the beam: beam centre, pixel size, distance and wavelength as one frozen value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.errors import ParameterError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """A flat detector perpendicular to the beam.

    Parameters
    ----------
    beam_centre : tuple of float
        ``(y, x)`` of the direct beam in pixels; an integer is the centre of that pixel.
    pixel_size : tuple of float, optional
        ``(y, x)`` size of a pixel in metres.
    distance : float, optional
        Sample to detector, in metres.
    wavelength : float, optional
        Of the radiation, in metres.

    Raises
    ------
    ParameterError
        If a length is not positive and finite.

    Examples
    --------
    >>> g = Geometry((174.5, 174.5), pixel_size=(110e-6, 110e-6), distance=0.13, wavelength=1.3e-10)
    >>> float(round(g.q(np.array([100.0]))[0] * 1e-10, 3))  # 1/Angstrom
    0.408
    """

    beam_centre: tuple[float, float]
    pixel_size: tuple[float, float] | None = None
    distance: float | None = None
    wavelength: float | None = None

    def __post_init__(self) -> None:
        _set(self, "beam_centre", _pair("beam_centre", self.beam_centre))
        if self.pixel_size is not None:
            _set(self, "pixel_size", _pair("pixel_size", self.pixel_size))
            for size in self.pixel_size:
                _check_positive("pixel_size", size)
        for name in ("distance", "wavelength"):
            value = getattr(self, name)
            if value is not None:
                _set(self, name, float(value))
                _check_positive(name, float(value))

    @property
    def is_calibrated(self) -> bool:
        """Whether a radius on the detector can be turned into a scattering vector."""
        return None not in (self.pixel_size, self.distance, self.wavelength)

    def radius(self, shape: tuple[int, int]) -> FloatArray:
        """Distance of each pixel's centre from the beam, in pixels, shape ``(y, x)``."""
        radius: FloatArray = np.hypot(*self._from_beam(shape))
        return radius

    def azimuth(self, shape: tuple[int, int]) -> FloatArray:
        """Angle of each pixel's centre around the beam, -pi to pi from x towards y, shape ``(y, x)``."""
        azimuth: FloatArray = np.arctan2(*self._from_beam(shape))
        return azimuth

    def _from_beam(self, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """``y``, shape (y, 1), and ``x``, shape (1, x), of pixels."""
        y = np.arange(shape[0], dtype=np.float64)[:, None] - self.beam_centre[0]
        x = np.arange(shape[1], dtype=np.float64)[None, :] - self.beam_centre[1]
        if self.pixel_size is not None:  # non-square pixels: in units of the x pixel
            y = y * (self.pixel_size[0] / self.pixel_size[1])
        return y, x

    def q(self, radius: FloatArray) -> FloatArray:
        """Scattering vector q = 4 pi / wavelength * sin(theta) in 1/m at a radius in pixels.

        ``tan(2 theta) = radius * pixel_size / distance``.

        Raises
        ------
        ParameterError
            If pixel size, distance or wavelength is not known.
        """
        if self.pixel_size is None or self.distance is None or self.wavelength is None:
            raise ParameterError(
                f"q needs pixel_size, distance and wavelength, got {self}. Complete the geometry with dataclasses.replace."
            )
        two_theta = np.arctan(np.asarray(radius) * self.pixel_size[1] / self.distance)
        q: FloatArray = 4 * math.pi / self.wavelength * np.sin(two_theta / 2)
        return q

    def q_map(self, shape: tuple[int, int]) -> FloatArray:
        """Scattering vector of each pixel in 1/m, shape ``(y, x)``; see `q`."""
        return self.q(self.radius(shape))

    def cropped(self, y: float, x: float, size: tuple[int, int] | None = None) -> Geometry:
        """The geometry of an image whose first pixel was ``(y, x)``; negative values pad. ``size`` does not matter here."""
        return replace(self, beam_centre=(self.beam_centre[0] - y, self.beam_centre[1] - x))

    def scaled(self, y: float, x: float) -> Geometry:
        """The geometry after each pixel became ``y`` by ``x`` times as large (binning, resizing)."""
        centre = ((self.beam_centre[0] + 0.5) / y - 0.5, (self.beam_centre[1] + 0.5) / x - 0.5)
        size = self.pixel_size and (self.pixel_size[0] * y, self.pixel_size[1] * x)
        return replace(self, beam_centre=centre, pixel_size=size)

    def to_dict(self) -> dict[str, Any]:
        """All values that are known, ready for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if value is not None}


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def _pair(name: str, value: Any) -> tuple[float, float]:
    try:
        y, x = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a pair (y, x) of numbers, got {value!r}") from None
    if not (math.isfinite(y) and math.isfinite(x)):
        raise ParameterError(f"{name} must be finite, got {value!r}")
    return y, x


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ParameterError(f"{name} must be a positive length in metres, got {value!r}")
