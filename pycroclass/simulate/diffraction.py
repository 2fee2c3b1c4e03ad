"""Bragg diffraction of a crystal in random orientation: which reflections lie on the Ewald sphere, how strong, and where.

Vectors are in 1/Angstrom in the frame ``(x, y, z)`` with the beam along z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.simulate.parameters import Crystal, Run

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spots:
    """Reflections on the detector.

    Parameters
    ----------
    y, x : float64 arrays, shape (n,)
        In pixels.
    photons : float64 array, shape (n,)
        Expected in each.
    """

    y: FloatArray
    x: FloatArray
    photons: FloatArray


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


def diffract(run: Run, pulse: float, rng: np.random.Generator) -> Spots:
    """The spots of one hit: one crystal, sometimes more, each in its own random orientation.

    A reflection at s deviates by ``e = |s + z/λ| - 1/λ`` from the Ewald sphere and is seen with the part ``exp(-e² / 2 σ²)``, where
    ``σ² = (0.4 / domain)² + (mosaicity |s| / 2.355)² + (bandwidth |s|² λ / 2)²``; its intensity is a fixed random (Wilson) value times
    ``exp(-B s² / 2) (1 - 0.85 exp(-150 s²))``.
    """
    n_crystals = 1 + rng.poisson(run.experiment.crystal.extra_lattices)
    found = [_diffract_one(run, pulse, rng) for _ in range(n_crystals)]
    return Spots(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _diffract_one(run: Run, pulse: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    experiment, crystal = run.experiment, run.experiment.crystal
    points, strengths, lengths = _reflections(crystal, _largest(run))
    wave = 1e-10 / experiment.wavelength
    domain = math.exp(rng.uniform(*np.log(crystal.domain)))
    mosaicity = math.radians(rng.uniform(*crystal.mosaicity))
    brightness = (
        crystal.amplitude * run.crystal * pulse * rng.uniform(*crystal.overlap) * math.exp(crystal.size_spread * rng.standard_normal())
    )
    s = points @ random_rotation(rng)
    excitation = np.sqrt(s[:, 0] ** 2 + s[:, 1] ** 2 + (s[:, 2] + wave) ** 2) - wave
    variance = (0.4 / domain) ** 2 + (mosaicity * lengths / 2.355) ** 2 + (experiment.bandwidth * lengths**2 / wave / 2) ** 2
    near = np.flatnonzero(excitation**2 < 16 * variance)
    partiality = np.exp(-(excitation[near] ** 2) / (2 * variance[near]))
    scale = experiment.detector.distance / experiment.detector.pixel_size / (s[near, 2] + wave)
    centre_y, centre_x = run.geometry.beam_centre
    return centre_y + scale * s[near, 1], centre_x + scale * s[near, 0], brightness * strengths[near] * partiality


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


def _largest(run: Run) -> float:
    """Length of the scattering vector in the farthest corner, in 1/Angstrom."""
    height, width = run.experiment.detector.shape
    y, x = run.geometry.beam_centre
    corner = math.hypot(max(y, height - y), max(x, width - x))
    return float(run.geometry.q(np.array([corner]))[0]) / (2e10 * math.pi)


@lru_cache(maxsize=8)
def _reflections(crystal: Crystal, largest: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Reciprocal lattice points up to a length, their intensities relative to the mean at zero angle, and their lengths."""
    basis = reciprocal_cell(crystal.cell)
    highest = [int(largest * edge) + 1 for edge in crystal.cell[:3]]
    indices = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in highest), indexing="ij"), axis=-1).reshape(-1, 3)
    wilson = np.random.default_rng(crystal.structure).exponential(size=len(indices))
    wilson[len(indices) // 2 + 1 :] = wilson[: len(indices) // 2][::-1]  # Friedel pairs lie opposite each other in this order
    points = indices @ basis.T
    lengths = np.linalg.norm(points, axis=1)
    inside = (lengths > 0) & (lengths < largest)
    square: npt.NDArray[Any] = lengths[inside] ** 2
    strengths = wilson[inside] * np.exp(-crystal.b_factor * square / 2) * (1 - 0.85 * np.exp(-150 * square))
    return points[inside], strengths, lengths[inside]
