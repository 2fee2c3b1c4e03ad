"""How a microscope sees a drop: light bent by slopes, gathered by curvature, taken away by what scatters; then the camera.

The scene is drawn on a grid twice as fine as the camera's pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from pycroclass.simulate.drop_parameters import Microscope, Plate, Site
from pycroclass.simulate.noise import Float32Array, normal

FINER: Final = 2
"""Points of the grid in a pixel, along y and along x."""

_DIGITS: Final = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71222", "75757", "75717")
"""Five rows of three bits for each digit."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions in the plane of the drop, from the middle of the image.

    Parameters
    ----------
    y, x : float32 arrays, shapes (ny, 1) and (1, nx)
        In metres.
    step : float
        Between neighbours, in metres.
    """

    y: Float32Array
    x: Float32Array
    step: float

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return self.y.size, self.x.size

    def around(self, y: float, x: float, reach: float) -> tuple[slice, slice]:
        """The part of the grid within ``reach`` of a point along y and x."""
        sides = []
        for n, centre in zip(self.shape, (y, x), strict=True):
            low, high = ((centre + end) / self.step + n / 2 for end in (-reach, reach))
            sides.append(slice(min(n, max(0, math.floor(low))), max(0, min(n, math.ceil(high) + 1))))
        return sides[0], sides[1]

    def clouds(self, smallest: float, largest: float, rng: np.random.Generator) -> Float32Array:
        """Random smooth values of mean 0 and standard deviation 1, with structures between two sizes (in metres)."""
        ny, nx = self.shape
        frequency = np.hypot(np.fft.fftfreq(ny, self.step)[:, None], np.fft.rfftfreq(nx, self.step)[None])
        amplitude = np.exp(-((frequency * smallest / 2) ** 2)) / (1 + (frequency * largest) ** 2)
        amplitude[0, 0] = 0
        waves = np.fft.rfft2(normal(self.shape, rng)) * amplitude
        values: Float32Array = np.fft.irfft2(waves, self.shape).astype(np.float32)
        values /= values.std()
        return values


@lru_cache(maxsize=8)
def grid_of(microscope: Microscope) -> Grid:
    """The fine grid of a microscope."""
    step = microscope.pixel_size / FINER
    y, x = (((np.arange(n * FINER) - (n * FINER - 1) / 2) * step).astype(np.float32) for n in microscope.shape)
    return Grid(y[:, None], x[None], step)


@dataclass(eq=False)
class Scene:
    """What light passes through, on the fine grid; drawn upon.

    Parameters
    ----------
    grid : Grid
    path : float32 array, shape (ny, nx)
        Optical path over that of the empty well, in metres.
    density : float32 array, shape (ny, nx)
        Natural optical density (0 lets all light pass) for green light.
    """

    grid: Grid
    path: Float32Array
    density: Float32Array

    @classmethod
    def empty(cls, grid: Grid) -> Scene:
        """A well with nothing in it."""
        return cls(grid, np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32))


def transmitted(scene: Scene, tilt: tuple[float, float], cone: float, defocus: float) -> Float32Array:
    """Brightness of each point of the grid, relative to that of an empty well, without what scatters.

    Light that passes a path ``w`` is bent by ``g = ∇w``. Of a lamp and an aperture with Gaussian edges, together ``σ`` wide and tilted
    by ``t``, the part ``exp(-(|g + t|² - |t|²) / 2 σ²)`` still arrives. Out of focus by ``z`` it is gathered or spread to ``1 - z ∇²w``
    (transport of intensity, first order), kept within 0.3 and 2.2.

    Examples
    --------
    >>> grid = grid_of(Microscope(shape=(16, 16)))
    >>> round(float(transmitted(Scene.empty(grid), (0.1, 0.0), 0.1, 1e-4).min()), 6)
    1.0
    """
    step = scene.grid.step
    slope_y, slope_x = np.gradient(scene.path, step)
    bend = (slope_y + tilt[0]) ** 2 + (slope_x + tilt[1]) ** 2 - (tilt[0] ** 2 + tilt[1] ** 2)
    light: Float32Array = np.exp(bend * np.float32(-0.5 / cone**2))
    curvature = np.gradient(slope_y, step, axis=0) + np.gradient(slope_x, step, axis=1)
    light *= np.clip(1 - np.float32(defocus) * curvature, 0.3, 2.2)
    return light


def photograph(scene: Scene, site: Site, plate: Plate, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The picture that the camera takes, shape (y, x, 3)."""
    microscope = site.microscope
    light = transmitted(scene, site.tilt, microscope.cone, plate.defocus)
    light *= _lamp(site, plate) * np.float32(site.brightness * plate.brightness)
    colours = [light * np.float32(tint) * np.exp(scene.density * np.float32(-k)) for tint, k in zip(site.tint, site.media.colour)]
    coarse = np.stack([_binned(colour) for colour in colours], axis=-1)
    sharpness = microscope.point_spread
    brightness = np.clip(gaussian_filter(coarse, (sharpness, sharpness, 0), mode="nearest"), 0, 1.5)
    brightness += normal(brightness.shape, rng) * np.sqrt(brightness / np.float32(microscope.photons))
    image: npt.NDArray[np.uint8] = np.rint(255 * np.clip(brightness, 0, 1) ** np.float32(1 / microscope.gamma)).astype(np.uint8)
    return image


def burn_in(image: npt.NDArray[np.uint8], code: int) -> None:
    """Write a number of two digits into the upper left corner."""
    scale = max(1, image.shape[0] // 64)
    for place, digit in enumerate(f"{code:02}"):
        glyph = np.kron(_glyph(int(digit)), np.ones((scale, scale), bool))
        top, left = 2 * scale, (2 + 4 * place) * scale
        image[top : top + glyph.shape[0], left : left + glyph.shape[1]][glyph] = 255


def _lamp(site: Site, plate: Plate) -> Float32Array:
    """Light on the well: less in the corners, little beyond the wall of the well."""
    grid = grid_of(site.microscope)
    half = np.float32(np.hypot(grid.y.max(), grid.x.max()))
    even = 1 - np.float32(site.vignette) * ((grid.y / half) ** 2 + (grid.x / half) ** 2)
    beyond = np.hypot(grid.y - plate.well[0], grid.x - plate.well[1]) - np.float32(site.well_radius)
    wall = 0.18 + 0.82 / (1 + np.exp(np.clip(beyond / np.float32(12e-6), -30, 30)))
    rim = 1 - 0.35 * np.exp(-((beyond + np.float32(45e-6)) ** 2) / np.float32(2 * 15e-6**2))
    lamp: Float32Array = (even * wall * rim).astype(np.float32)
    return lamp


def _binned(values: Float32Array) -> Float32Array:
    ny, nx = values.shape
    mean: Float32Array = values.reshape(ny // FINER, FINER, nx // FINER, FINER).mean((1, 3))
    return mean


def _glyph(digit: int) -> npt.NDArray[np.bool_]:
    return np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in _DIGITS[digit]], bool)
