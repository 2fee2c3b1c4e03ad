"""What a simulated serial-crystallography experiment is made of: detector, crystal, scatter, and the values of one run.

The ranges follow measured runs of a CSPAD at a free-electron laser; the crystal is streptavidin-like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from pycroclass.errors import ParameterError
from pycroclass.geometry import Geometry


@dataclass(frozen=True)
class Detector:
    """A pixel detector made of modules.

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
        Standard deviation of the image of a point, in pixels.
    hole : float
        Radius of the opening that lets the beam pass, in pixels.
    module, gap : tuple of int and int
        ``(y, x)`` size of a module, and what lies between two, in pixels.
    """

    shape: tuple[int, int] = (350, 350)
    pixel_size: float = 109.92e-6
    distance: float = 0.1301
    gain: float = 6.5
    gain_spread: float = 0.03
    read_noise: float = 2.5
    dark_spread: float = 1.2
    common_mode: float = 1.0
    pedestal: float = 20.0
    saturation: float = 16383.0
    point_spread: float = 0.65
    hole: float = 18.0
    module: tuple[int, int] = (185, 194)
    gap: int = 9

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.module) < 1:
            raise ParameterError(f"a detector and its modules need at least one pixel, got {self.shape} and {self.module}")


@dataclass(frozen=True)
class Crystal:
    """Protein crystals in random orientation.

    Parameters
    ----------
    cell : tuple of float
        a, b, c in Angstrom, alpha, beta, gamma in degrees.
    b_factor : float
        Overall temperature factor, in square Angstrom.
    domain : tuple of float
        Range of the size of a mosaic block, in Angstrom.
    mosaicity : tuple of float
        Range of the misorientation of blocks, full width at half maximum in degrees.
    size_spread : float
        Of the logarithm of the diffracting volume.
    overlap : tuple of float
        Range of the part of the crystal that the beam meets.
    amplitude : float
        Photons in a full reflection of mean intensity, at zero angle, of a typical crystal in a typical pulse.
    extra_lattices : float
        Mean number of further crystals in a hit.
    structure : int
        Seed of the structure factors.
    """

    cell: tuple[float, float, float, float, float, float] = (50.7, 98.4, 53.1, 90.0, 112.7, 90.0)
    b_factor: float = 25.0
    domain: tuple[float, float] = (600.0, 3000.0)
    mosaicity: tuple[float, float] = (0.02, 0.12)
    size_spread: float = 0.6
    overlap: tuple[float, float] = (0.15, 1.0)
    amplitude: float = 340.0
    extra_lattices: float = 0.12
    structure: int = 0


@dataclass(frozen=True)
class Scatter:
    """What scatters besides crystals; brightness in photons for each pixel of a typical frame.

    Parameters
    ----------
    ring, ring_spacing, ring_width : float
        Brightness of the ring of the liquid at its maximum, the spacing that it stands for in Angstrom, its standard deviation in
        1/Angstrom.
    centre, centre_width, centre_power : float
        Brightness of the small-angle scatter ``1 / (1 + (s / width) ** power)``, width in 1/Angstrom.
    streak, streak_width : float
        Brightness of the streak of the jet at the centre, and its standard deviation in radian.
    flat : float
        Brightness everywhere.
    """

    ring: float = 6.0
    ring_spacing: float = 3.5
    ring_width: float = 0.06
    centre: float = 20.0
    centre_width: float = 0.012
    centre_power: float = 3.0
    streak: float = 6.0
    streak_width: float = 0.035
    flat: float = 0.7


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
    """

    detector: Detector = field(default_factory=Detector)
    crystal: Crystal = field(default_factory=Crystal)
    scatter: Scatter = field(default_factory=Scatter)
    wavelength: float = 1.271876e-10
    bandwidth: float = 0.003


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
    beam_shift : tuple of float
        ``(y, x)`` of the beam from the middle of the detector, in pixels.
    experiment : Experiment

    Raises
    ------
    ParameterError
        If a fraction does not lie in 0 to 1.

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
    beam_shift: tuple[float, float] = (0.0, 0.0)
    experiment: Experiment = field(default_factory=Experiment)

    def __post_init__(self) -> None:
        for name in ("hit_rate", "jet_missed", "hot_fraction", "hot_known"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} is a part of the whole, from 0 to 1; got {getattr(self, name)!r}")

    @property
    def geometry(self) -> Geometry:
        """Of the detector in this run."""
        detector = self.experiment.detector
        y, x = ((n - 1) / 2 + shift for n, shift in zip(detector.shape, self.beam_shift, strict=True))
        pixel = (detector.pixel_size, detector.pixel_size)
        return Geometry((y, x), pixel_size=pixel, distance=detector.distance, wavelength=self.experiment.wavelength)


_DEFAULT: Final = Experiment()


def draw_run(seed: int, *, hit_rate: float | None = None, experiment: Experiment = _DEFAULT) -> Run:
    """A run whose values are drawn as they drift between real runs.

    Parameters
    ----------
    seed : int
    hit_rate : float, optional
        Drawn around 0.12 where not given.
    experiment : Experiment

    Examples
    --------
    >>> draw_run(seed=3) == draw_run(seed=3)
    True
    """
    rng = np.random.default_rng((seed, 0))

    def drift(spread: float) -> float:
        return math.exp(spread * rng.standard_normal())

    run = Run(
        seed,
        hit_rate=min(0.9, 0.12 * drift(0.8)),
        pulse=drift(0.35),
        pulse_shape=float(rng.uniform(6, 20)),
        crystal=drift(0.35) * drift(0.5),
        ring=drift(0.45),
        centre=drift(0.7),
        streak=drift(0.7),
        jet_spread=float(rng.uniform(0.15, 0.5)),
        streak_angle=float(rng.uniform(0, math.pi)),
        hot_fraction=float(10 ** rng.uniform(-4.6, -3.3)),
        beam_shift=(float(rng.normal()), float(rng.normal())),
        experiment=experiment,
    )
    return run if hit_rate is None else replace(run, hit_rate=hit_rate)
