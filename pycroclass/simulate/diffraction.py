"""Bragg diffraction of a crystal in random orientation: which reflections lie on the Ewald sphere, how strong, and where.

Vectors are in 1/Angstrom in the frame ``(x, y, z)`` with the beam along z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pycroclass.simulate.parameters import Crystal, Run

FloatArray = npt.NDArray[np.float64]

_FARTHEST: Final = 4.0
"""Standard deviations off the Ewald sphere at which a reflection is no longer seen."""
_FWHM: Final = 2.3548
"""Of a normal distribution, in standard deviations."""
_INDEX_LIMIT: Final = 1 << 20


@dataclass(frozen=True, eq=False)
class Spots:
    """Reflections on and about the detector.

    Parameters
    ----------
    y, x : float64 arrays, shape (n,)
        In pixels; an integer is the centre of a pixel.
    photons : float64 array, shape (n,)
        Expected in each.
    width : float64 array, shape (n,)
        Standard deviation of what small mosaic blocks spread it by, in pixels, before the detector blurs it.
    """

    y: FloatArray
    x: FloatArray
    photons: FloatArray
    width: FloatArray


def reciprocal_cell(cell: tuple[float, float, float, float, float, float]) -> FloatArray:
    """Reciprocal basis vectors as columns, shape (3, 3), in 1/Angstrom; a along x, b in the plane of x and y.

    Examples
    --------
    >>> reciprocal_cell((10, 20, 40, 90, 90, 90)).diagonal().round(6).tolist()
    [0.1, 0.05, 0.025]
    """
    a, b, c = cell[:3]
    alpha, beta, gamma = np.radians(cell[3:])
    c_y = (math.cos(alpha) - math.cos(beta) * math.cos(gamma)) / math.sin(gamma)
    c_z = math.sqrt(1 - math.cos(beta) ** 2 - c_y**2)
    direct = [[a, 0, 0], [b * math.cos(gamma), b * math.sin(gamma), 0], [c * math.cos(beta), c * c_y, c * c_z]]
    return np.linalg.inv(np.array(direct))


def wilson(indices: npt.NDArray[np.int64], structure: int) -> FloatArray:
    """Intensity of each reflection relative to the mean of its resolution: exponential, equal for hkl and its Friedel mate.

    Acentric reflections are distributed as ``exp(-I)`` (A. J. C. Wilson, Acta Cryst. 2, 318, 1949). The value is a hash of the indices, so
    that the structure does not depend on how many reflections are looked at.

    Parameters
    ----------
    indices : int64 array, shape (n, 3)
    structure : int
        Seed.

    Returns
    -------
    float64 array, shape (n,)

    Examples
    --------
    >>> one, mate = wilson(np.array([[1, -2, 3], [-1, 2, -3]]), 0)
    >>> bool(one == mate)
    True
    """
    place = indices @ np.array([_INDEX_LIMIT**2, _INDEX_LIMIT, 1])  # of a Friedel mate the negative
    mixed = _mix(np.abs(place).astype(np.uint64) ^ _mix(np.array([structure], np.uint64)))
    values: FloatArray = -np.log1p(-(mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)
    return values


def diffract(run: Run, n_lattices: int, pulse: float, rng: np.random.Generator) -> Spots:
    """The spots of one hit: crystals, each in its own random orientation.

    A reflection at s deviates by ``e = |s + z/λ| - 1/λ`` from the Ewald sphere and is seen with the part ``exp(-e² / 2 σ²)``, where
    ``σ² = (0.4 / domain)² + (mosaicity |s| / 2.355)² + (bandwidth |s|² λ / 2 / 2.355)²``. Its intensity is
    ``amplitude · pulse · overlap · size · wilson · exp(-B s² / 2) (1 - 0.85 exp(-150 s²)) · 1e5 Å³ / volume of the cell``, times
    ``1 - (λ s_x)²`` for light polarised along x.
    It meets the detector at ``distance · s_xy / (s_z + 1/λ)`` from the beam; blocks of a small domain spread it there by
    ``0.4 / domain · λ · distance``.

    Parameters
    ----------
    run : Run
    n_lattices : int
        How many crystals.
    pulse : float
        Energy of the pulse, relative to the experiment's mean.
    rng : numpy.random.Generator
    """
    found = [_diffract_one(run, pulse, rng) for _ in range(n_lattices)]
    return Spots(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _diffract_one(run: Run, pulse: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    experiment, crystal, detector = run.experiment, run.experiment.crystal, run.experiment.detector
    lattice = _lattice(crystal, _largest(run))
    wave = 1e-10 / experiment.wavelength
    domain = math.exp(rng.uniform(*np.log(crystal.domain)))
    mosaicity = math.radians(rng.uniform(*crystal.mosaicity))
    size = math.exp(crystal.size_spread * rng.standard_normal())
    brightness = crystal.amplitude * 1e5 / crystal.volume * run.crystal * pulse * rng.uniform(*crystal.overlap) * size
    rotation = random_rotation(rng)

    along = lattice.points @ rotation[2]
    # |s + z/λ| - 1/λ, by its square, which needs s_z alone
    excitation = (lattice.squares + 2 * wave * along) / (np.sqrt(lattice.squares + 2 * wave * along + wave**2) + wave)
    variance = (0.4 / domain) ** 2 + (mosaicity / _FWHM) ** 2 * lattice.squares
    variance += (experiment.bandwidth / _FWHM / wave / 2 * lattice.squares) ** 2
    near = np.flatnonzero(excitation**2 < _FARTHEST**2 * variance)
    photons = brightness * lattice.strengths[near] * np.exp(-(excitation[near] ** 2) / (2 * variance[near]))

    across = lattice.points[near] @ rotation[:2].T
    photons *= 1 - (across[:, 0] / wave) ** 2
    camera = detector.distance / detector.pixel_size
    scale = camera / (along[near] + wave)
    centre_y, centre_x = run.geometry.beam_centre
    width = np.full(near.size, 0.4 / domain / wave * camera)
    return centre_y + scale * across[:, 1], centre_x + scale * across[:, 0], photons, width


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation matrix, uniform over all orientations: a normalised quaternion of four normal numbers.

    Examples
    --------
    >>> r = random_rotation(np.random.default_rng(0))
    >>> bool(np.allclose(r @ r.T, np.eye(3)))
    True
    """
    q = rng.standard_normal(4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Reciprocal lattice points (n, 3), the squares of their lengths, and the mean-one intensities there, fading with the angle."""

    points: FloatArray
    squares: FloatArray
    strengths: FloatArray


@lru_cache(maxsize=64)
def _largest(run: Run) -> float:
    """Length of the scattering vector in the farthest corner, in 1/Angstrom."""
    height, width = run.experiment.detector.shape
    y, x = run.geometry.beam_centre
    corner = math.hypot(max(y, height - y), max(x, width - x))
    return float(run.geometry.q(np.array([corner]))[0]) / (2e10 * math.pi)


@lru_cache(maxsize=4)
def _lattice(crystal: Crystal, largest: float) -> _Lattice:
    """The reciprocal lattice up to a length."""
    basis = reciprocal_cell(crystal.cell)
    highest = [int(largest * edge) + 1 for edge in crystal.cell[:3]]
    indices = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in highest), indexing="ij"), axis=-1).reshape(-1, 3)
    points = indices @ basis.T
    squares = np.einsum("ij,ij->i", points, points)
    inside = (squares > 0) & (squares < largest**2)
    points, squares = points[inside], squares[inside]
    fading = np.exp(-crystal.b_factor * squares / 2) * (1 - 0.85 * np.exp(-150 * squares))
    return _Lattice(points, squares, wilson(indices[inside], crystal.structure) * fading)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble the bits of 64-bit numbers (the finaliser of SplitMix64, public domain)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
