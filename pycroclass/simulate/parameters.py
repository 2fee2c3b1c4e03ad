"""What a simulated serial-crystallography experiment is made of: detector, crystal, scatter, and the values of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from pycroclass.errors import ParameterError
from pycroclass.geometry import Geometry


def _check_positive(instance: Any, *names: str) -> None:
    for name in names:
        if not (math.isfinite(getattr(instance, name)) and getattr(instance, name) > 0):
            raise ParameterError(f"{name} of {type(instance).__name__} must be positive and finite, got {getattr(instance, name)!r}")


def _check_not_negative(instance: Any, *names: str) -> None:
    for name in names:
        if not (math.isfinite(getattr(instance, name)) and getattr(instance, name) >= 0):
            raise ParameterError(f"{name} of {type(instance).__name__} must not be negative, got {getattr(instance, name)!r}")


def _check_seed(name: str, seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ParameterError(f"{name} must be a whole number from 0, got {seed!r}")


@dataclass(frozen=True)
class Detector:
    """A pixel detector made of modules, flat and perpendicular to the beam.

    Parameters
    ----------
    shape : tuple of int
        ``(y, x)`` in pixels.
    pixel_size, distance : float
        In metres.
    gain : float
        ADU for each photon.
    gain_spread : float
        Standard deviation of the gain from pixel to pixel, relative.
    read_noise, dark_spread, common_mode : float
        Standard deviations in ADU: for each pixel and frame, for each pixel and run, for each module and frame.
    pedestal, saturation : float
        In ADU.
    point_spread : float
        Standard deviation of the image of a point before the pixels sample it, in pixels.
    hole : float
        Radius of the opening that lets the beam pass, in pixels: there are no pixels.
    layout : {"grid", "quadrants"}
        How the modules lie: row by row, the beam passing where four of them meet, or in the four turned quadrants of a CSPAD.
    module, gap : tuple of int and int
        ``(y, x)`` size of a module, and what lies between two of a grid, in pixels.
    beamstop, arm : float
        Radius of a disk that no light passes, and width of the bar that holds it from below, in pixels: the pixels there are dark.
    hot_level : float
        ADU of the dimmest hot pixel above its neighbours.

    Raises
    ------
    ParameterError
        If a length or a number of pixels is not positive, or a spread negative.
    """

    shape: tuple[int, int] = (350, 350)
    pixel_size: float = 109.92e-6
    distance: float = 0.1301
    gain: float = 6.3
    gain_spread: float = 0.03
    read_noise: float = 2.0
    dark_spread: float = 1.2
    common_mode: float = 1.5
    pedestal: float = 20.0
    saturation: float = 16383.0
    point_spread: float = 0.3
    hole: float = 18.0
    layout: Literal["grid", "quadrants"] = "grid"
    module: tuple[int, int] = (185, 194)
    gap: int = 9
    beamstop: float = 0.0
    arm: float = 0.0
    hot_level: float = 100.0

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.module) < 1:
            raise ParameterError(f"a detector and its modules need at least one pixel, got {self.shape} and {self.module}")
        if self.layout not in ("grid", "quadrants"):
            raise ParameterError(f"layout must be 'grid' or 'quadrants', got {self.layout!r}")
        _check_positive(self, "pixel_size", "distance", "gain", "point_spread", "saturation", "hot_level")
        _check_not_negative(self, "gain_spread", "read_noise", "dark_spread", "common_mode", "hole", "gap", "beamstop", "arm")


@dataclass(frozen=True)
class Crystal:
    """Protein crystals in random orientation, of a primitive lattice.

    Parameters
    ----------
    cell : tuple of float
        a, b, c in Angstrom, alpha, beta, gamma in degrees.
    b_factor : float
        Overall temperature factor, in square Angstrom.
    domain : tuple of float
        Range of the size of a mosaic block, in Angstrom; drawn evenly in its logarithm.
    mosaicity : tuple of float
        Range of the misorientation of blocks, full width at half maximum in degrees.
    size_spread : float
        Of the logarithm of the diffracting volume.
    overlap : tuple of float
        Range of the part of the crystal that the beam meets.
    amplitude : float
        Photons in a full reflection of mean intensity, at zero angle, of a typical crystal in a typical pulse, if its cell had
        1e5 cubic Angstrom. Larger cells share the same light among more reflections.
    extra_lattices : float
        Mean number of further crystals in a hit.
    structure : int
        Seed of the structure factors.

    Raises
    ------
    ParameterError
        If the cell has no volume, or a range does not run from a positive number upwards.
    """

    cell: tuple[float, float, float, float, float, float] = (50.7, 98.4, 53.1, 90.0, 112.7, 90.0)
    b_factor: float = 35.0
    domain: tuple[float, float] = (1200.0, 5000.0)
    mosaicity: tuple[float, float] = (0.02, 0.12)
    size_spread: float = 0.6
    overlap: tuple[float, float] = (0.15, 1.0)
    amplitude: float = 8000.0
    extra_lattices: float = 0.12
    structure: int = 0

    def __post_init__(self) -> None:
        for name in ("domain", "mosaicity", "overlap"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ParameterError(f"{name} is a range (low, high) of positive numbers, got {(low, high)!r}")
        _check_not_negative(self, "b_factor", "size_spread", "amplitude", "extra_lattices")
        _check_seed("structure", self.structure)
        if not self.volume > 0:
            raise ParameterError(f"no cell has the edges and angles {self.cell!r}; wanted a, b, c in Angstrom and angles in degrees")

    @property
    def volume(self) -> float:
        """Of the cell in cubic Angstrom: ``a b c sqrt(1 - cos²α - cos²β - cos²γ + 2 cosα cosβ cosγ)``; NaN if there is no such cell."""
        a, b, c = self.cell[:3]
        alpha, beta, gamma = (math.cos(math.radians(angle)) for angle in self.cell[3:])
        square = 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma
        return a * b * c * math.sqrt(square) if square > 0 and min(a, b, c) > 0 else math.nan


@dataclass(frozen=True)
class Ring:
    """A ring of a liquid: a Gaussian in 1/spacing.

    Parameters
    ----------
    brightness : float
        Photons for each pixel at its maximum in a typical frame, straight ahead.
    spacing : float
        That it stands for, in Angstrom.
    width : float
        Its standard deviation, in 1/Angstrom.

    Raises
    ------
    ParameterError
        If the brightness is negative, or spacing or width are not positive.
    """

    brightness: float
    spacing: float
    width: float

    def __post_init__(self) -> None:
        _check_not_negative(self, "brightness")
        _check_positive(self, "spacing", "width")


@dataclass(frozen=True)
class Scatter:
    """What scatters besides crystals; brightness in photons for each pixel of a typical frame, straight ahead.

    Parameters
    ----------
    rings : tuple of Ring
        Of the liquid that carries the crystals.
    centre, centre_width, centre_power : float
        Brightness of the small-angle scatter ``1 / (1 + (s / width) ** power)``, width in 1/Angstrom.
    streak, streak_width : float
        Brightness of the streak of the jet at the centre, and its standard deviation in radian.
    flat : float
        Brightness everywhere.

    Raises
    ------
    ParameterError
        If a brightness is negative or a width not positive.
    """

    rings: tuple[Ring, ...] = (Ring(6.0, 3.43, 0.073), Ring(3.0, 2.175, 0.054))
    centre: float = 6.0
    centre_width: float = 0.012
    centre_power: float = 3.0
    streak: float = 3.0
    streak_width: float = 0.035
    flat: float = 1.2

    def __post_init__(self) -> None:
        _check_not_negative(self, "centre", "streak", "flat")
        _check_positive(self, "centre_width", "streak_width")


@dataclass(frozen=True)
class Experiment:
    """What stays the same from run to run.

    Parameters
    ----------
    detector : Detector
    crystal : Crystal
    scatter : Scatter
    wavelength : float
        In metres.
    bandwidth : float
        Full width at half maximum of the energy, relative.
    seed : int
        Runs of two experiments that differ in it have nothing in common.

    Raises
    ------
    ParameterError
        If the wavelength is not positive, the bandwidth negative, or the seed no whole number from 0.
    """

    detector: Detector = field(default_factory=Detector)
    crystal: Crystal = field(default_factory=Crystal)
    scatter: Scatter = field(default_factory=Scatter)
    wavelength: float = 1.271876e-10
    bandwidth: float = 0.003
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "wavelength")
        _check_not_negative(self, "bandwidth")
        _check_seed("seed", self.seed)


@dataclass(frozen=True)
class Run:
    """One run: an experiment with the values that drift from run to run. Its frames follow from it and their number.

    Parameters
    ----------
    seed : int
        Of all its frames.
    hit_rate : float
        Part of the frames with a crystal in the beam, 0 to 1.
    pulse, crystal, ring, centre, streak : float
        Brightness of the pulses, of the crystals and of the scatter, relative to the experiment's.
    pulse_shape : float
        Shape of the gamma distribution of the pulse energies: the larger, the more even.
    jet_spread : float
        Of the logarithm of the thickness of the jet.
    jet_missed : float
        Part of the misses without any jet.
    streak_angle : float
        Of the jet's streak, in radian from x.
    hot_fraction : float
        Part of the pixels that are hot.
    hot_known : float
        Part of the hot pixels that the mask names.
    hot_limit : float
        ADU of the brightest hot pixel above its neighbours; their logarithms spread evenly up to it.
    beam_shift : tuple of float
        ``(y, x)`` of the beam from the middle of the detector, in pixels.
    experiment : Experiment

    Raises
    ------
    ParameterError
        If a fraction does not lie in 0 to 1, a brightness is negative, or the seed is no whole number from 0.

    Examples
    --------
    >>> from dataclasses import replace
    >>> quiet = replace(draw_run(seed=1, hit_rate=0.3), hot_fraction=0.0)
    >>> quiet.geometry.distance
    0.1301
    """

    seed: int
    hit_rate: float = 0.25
    pulse: float = 1.0
    pulse_shape: float = 12.0
    crystal: float = 1.0
    ring: float = 1.0
    centre: float = 1.0
    streak: float = 1.0
    jet_spread: float = 0.3
    jet_missed: float = 0.04
    streak_angle: float = 0.0
    hot_fraction: float = 1e-4
    hot_known: float = 0.9
    hot_limit: float = 4000.0
    beam_shift: tuple[float, float] = (0.0, 0.0)
    experiment: Experiment = field(default_factory=Experiment)

    def __post_init__(self) -> None:
        _check_seed("seed", self.seed)
        for name in ("hit_rate", "jet_missed", "hot_fraction", "hot_known"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} is a part of the whole, from 0 to 1; got {getattr(self, name)!r}")
        _check_not_negative(self, "pulse", "crystal", "ring", "centre", "streak", "jet_spread")
        _check_positive(self, "pulse_shape", "hot_limit")

    @property
    def geometry(self) -> Geometry:
        """Of the detector in this run."""
        detector = self.experiment.detector
        y, x = ((n - 1) / 2 + shift for n, shift in zip(detector.shape, self.beam_shift, strict=True))
        pixel = (detector.pixel_size, detector.pixel_size)
        return Geometry((y, x), pixel_size=pixel, distance=detector.distance, wavelength=self.experiment.wavelength)


@dataclass(frozen=True)
class Setting:
    """How bad the defects are and how strong the crystals: what decides whether a classifier moves from run to run.

    Parameters
    ----------
    hot : float
        Factor on the number of hot pixels.
    hot_known : float
        Part of them that the mask names.
    hot_limit : float
        ADU of the brightest.
    crystal : float
        Factor on the brightness of the crystals.
    """

    hot: float = 1.0
    hot_known: float = 0.9
    hot_limit: float = 4000.0
    crystal: float = 1.0

    def __post_init__(self) -> None:
        _check_not_negative(self, "hot", "crystal")


_DEFAULT: Final = Experiment()
_USUAL: Final = Setting()


def draw_run(seed: int, *, hit_rate: float | None = None, experiment: Experiment = _DEFAULT, setting: Setting = _USUAL) -> Run:
    """A run whose values are drawn as they drift between real runs.

    Brightness of pulses, rings, small angles and streak drift by lognormal factors (spreads 0.35, 0.45, 0.7, 0.7), that of the crystals
    by those of size and quality (0.35 and 0.5); the hit rate is lognormal about 0.12 (0.8).

    Parameters
    ----------
    seed : int
    hit_rate : float, optional
        Drawn where not given.
    experiment : Experiment
    setting : Setting

    Examples
    --------
    >>> draw_run(seed=3) == draw_run(seed=3)
    True
    """
    _check_seed("seed", seed)
    rng = np.random.default_rng((seed, 0, experiment.seed))

    def drift(spread: float) -> float:
        return math.exp(spread * rng.standard_normal())

    run = Run(
        seed,
        hit_rate=min(0.9, 0.12 * drift(0.8)),
        pulse=drift(0.35),
        pulse_shape=float(rng.uniform(6, 20)),
        crystal=drift(0.35) * drift(0.5) * setting.crystal,
        ring=drift(0.45),
        centre=drift(0.7),
        streak=drift(0.7),
        jet_spread=float(rng.uniform(0.15, 0.5)),
        streak_angle=float(rng.uniform(0, math.pi)),
        hot_fraction=min(1.0, float(10 ** rng.uniform(-4.6, -3.3)) * setting.hot),
        hot_known=setting.hot_known,
        hot_limit=setting.hot_limit,
        beam_shift=(float(rng.normal()), float(rng.normal())),
        experiment=experiment,
    )
    return run if hit_rate is None else replace(run, hit_rate=hit_rate)
