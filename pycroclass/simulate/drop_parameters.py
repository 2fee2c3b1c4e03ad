"""What simulated crystallisation drops are made of: microscope, media, and the values of one site and of one plate.

Lengths in metres, angles of light in radian. The ranges are those of sitting drops of 100 to 500 nl in plates of 96 wells, seen by an
imager with oblique bright-field light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from pycroclass.errors import ParameterError

CLASSES: Final = ("Clear", "Crystals", "Other", "Precipitate")
"""In the order of the normalised labels of the MARCO data set."""


@dataclass(frozen=True)
class Microscope:
    """An imager: what it sees, and how well.

    Parameters
    ----------
    shape : tuple of int
        ``(y, x)`` in pixels.
    pixel_size : float
        In the plane of the drop, in metres.
    cone : float
        Standard deviation of the angles at which light gets through from lamp to camera, in radian: light that is bent farther is lost.
    defocus : float
        Of a plate in focus, in metres: it makes the bright lines along edges.
    point_spread : float
        Standard deviation of the image of a point, in pixels.
    photons : float
        In each pixel and colour that is as bright as can be.
    gamma : float
        Grey values go with the brightness to the power ``1 / gamma``.

    Raises
    ------
    ParameterError
        If the image is smaller than 16 pixels.
    """

    shape: tuple[int, int] = (128, 128)
    pixel_size: float = 12.5e-6
    cone: float = 0.14
    defocus: float = 40e-6
    point_spread: float = 0.55
    photons: float = 6000.0
    gamma: float = 1.4

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if min(self.shape) < 16:
            raise ParameterError(f"a drop needs an image of at least 16 x 16 pixels, got {self.shape}")


@dataclass(frozen=True)
class Media:
    """Refractive indices, and what precipitate takes out of red, green and blue light.

    Parameters
    ----------
    solution, crystal, oil : float
        Of the drop, of protein crystals, and of the droplets where a drop separates into two liquids.
    colour : tuple of float
        Optical density of precipitate in red, green and blue, relative to the green one.
    """

    solution: float = 1.36
    crystal: float = 1.52
    oil: float = 1.42
    colour: tuple[float, float, float] = (0.8, 1.0, 1.3)


@dataclass(frozen=True)
class Site:
    """One laboratory with its imager, its light and its plates. Its drops follow from it, the number of the plate and of the well.

    Parameters
    ----------
    seed : int
        Of all its drops.
    prior : tuple of float
        How often drops are Clear, Crystals, Other and Precipitate, relative to one another.
    brightness : float
        Of the empty well, relative to the brightest value.
    tint : tuple of float
        Brightness of red, green and blue light, relative.
    tilt : tuple of float
        ``(y, x)`` angle of the lamp from the axis, in radian: it gives relief.
    vignette : float
        How much darker the corners are than the middle, 0 to 1.
    well_radius : float
        Of the round well, in metres; dark beyond.
    scratches : float
        Mean number of scratches in the plastic of an image.
    watermark : tuple of int
        The site's own code of each class, 0 to 99, burned into a corner of each image; empty for none. A network that reads it has
        learned nothing of crystals.
    microscope : Microscope
    media : Media

    Raises
    ------
    ParameterError
        If there is not one prior and one code (or none) for each class, or a prior is negative.

    Examples
    --------
    >>> from dataclasses import replace
    >>> dim = replace(draw_site(seed=1), brightness=0.3)
    >>> dim.microscope.shape
    (128, 128)
    """

    seed: int
    prior: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    brightness: float = 0.6
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tilt: tuple[float, float] = (0.05, 0.05)
    vignette: float = 0.15
    well_radius: float = 1.0e-3
    scratches: float = 1.0
    watermark: tuple[int, ...] = ()
    microscope: Microscope = field(default_factory=Microscope)
    media: Media = field(default_factory=Media)

    def __post_init__(self) -> None:
        n = len(CLASSES)
        if len(self.prior) != n or min(self.prior) < 0 or sum(self.prior) <= 0:
            raise ParameterError(f"prior says how often each of {CLASSES} occurs, {n} numbers from 0; got {self.prior}")
        if len(self.watermark) not in (0, n) or not all(0 <= code <= 99 for code in self.watermark):
            raise ParameterError(f"watermark holds a code from 0 to 99 for each of {CLASSES}, or nothing; got {self.watermark}")


@dataclass(frozen=True)
class Plate:
    """What the drops of one plate share: one protein, one robot, one day.

    Parameters
    ----------
    radius, contact_angle : float
        Of a typical drop: in metres, in radian.
    well : tuple of float
        ``(y, x)`` of the middle of the well in the image, in metres.
    defocus : float
        In metres.
    brightness : float
        Of the lamp, relative to the site's.
    crystal_size : float
        Typical length of a crystal, in metres.
    aspect : float
        Typical length of a crystal, relative to its width.
    flatness : float
        Typical thickness of a crystal, relative to its width.
    grain : float
        Size of the grains of precipitate, in metres.
    """

    radius: float
    contact_angle: float
    well: tuple[float, float]
    defocus: float
    brightness: float
    crystal_size: float
    aspect: float
    flatness: float
    grain: float


_DEFAULT: Final = Microscope()


def draw_site(seed: int, *, watermark: tuple[int, ...] = (), microscope: Microscope = _DEFAULT) -> Site:
    """A site whose light and plates are drawn as they differ between laboratories.

    Parameters
    ----------
    seed : int
    watermark : tuple of int
        See `Site`.
    microscope : Microscope
        Its cone of light, defocus and point spread are varied.

    Examples
    --------
    >>> draw_site(seed=3) == draw_site(seed=3)
    True
    """
    rng = np.random.default_rng((seed, 0))
    tilt, direction = rng.uniform(0.03, 0.10), rng.uniform(0, 2 * math.pi)
    warm, green = rng.normal(0, 0.07), rng.normal(0, 0.03)
    return Site(
        seed,
        brightness=float(rng.uniform(0.42, 0.72)),
        tint=(1 + warm, 1 + green, 1 - warm),
        tilt=(tilt * math.sin(direction), tilt * math.cos(direction)),
        vignette=float(rng.uniform(0.0, 0.35)),
        well_radius=float(rng.uniform(0.75e-3, 1.3e-3)),
        scratches=float(rng.uniform(0, 3)),
        watermark=watermark,
        microscope=replace(
            microscope,
            cone=microscope.cone * float(rng.uniform(0.85, 1.25)),
            defocus=microscope.defocus * float(rng.uniform(0.6, 1.4)),
            point_spread=microscope.point_spread * float(rng.uniform(0.8, 1.4)),
        ),
    )


def draw_plate(site: Site, number: int) -> Plate:
    """The plate of that number of a site.

    Examples
    --------
    >>> plate = draw_plate(draw_site(seed=1), 0)
    >>> bool(1e-4 < plate.radius < 1e-3)
    True
    """
    rng = np.random.default_rng((site.seed, 1, number))
    off_y, off_x = rng.normal(0, 60e-6, 2)
    return Plate(
        radius=float(rng.uniform(380e-6, 560e-6)),
        contact_angle=float(rng.uniform(0.3, 0.6)),
        well=(float(off_y), float(off_x)),
        defocus=site.microscope.defocus + float(rng.normal(0, 8e-6)),
        brightness=math.exp(0.06 * rng.standard_normal()),
        crystal_size=math.exp(rng.uniform(math.log(120e-6), math.log(300e-6))),
        aspect=math.exp(rng.uniform(0, math.log(8))),
        flatness=math.exp(rng.uniform(math.log(0.4), math.log(1.0))),
        grain=math.exp(rng.uniform(math.log(14e-6), math.log(30e-6))),
    )
