"""From expected photons to what the detector reads: counting, gain, dark level, common mode of each module, read noise, saturation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from pycroclass.simulate.diffraction import Spots
from pycroclass.simulate.layout import Place, places_of_modules
from pycroclass.simulate.noise import Float32Array, normal, poisson
from pycroclass.simulate.parameters import Detector, Run
from pycroclass.simulate.scatter import scatter
from pycroclass.simulate.shots import MAPS, generator

HOT: Final = 4
SHADOWED: Final = 16
MISSING: Final = 512
"""Bits of a CXI mask."""

_REACH: Final = 4
"""Pixels from the middle of a spot to the edge of the square that it is drawn in."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What all frames of a run share, each of shape (y, x).

    Parameters
    ----------
    jet : float32 array
        Photons scattered by a jet of mean thickness in a pulse of mean energy.
    steady : float32 array
        Photons scattered whatever the jet.
    gain, offset : float32 arrays
        ADU for each photon, and without photons.
    modules : tuple of pairs of slices
        Where they lie.
    mask : uint32 array
        CXI bits of the pixels not to be used: `MISSING` between modules and where the beam passes, `SHADOWED` behind the beamstop, `HOT`
        for the hot pixels that are known.
    lit, present : float32 arrays
        1 where light comes and where there are pixels, else 0.
    """

    jet: Float32Array
    steady: Float32Array
    gain: Float32Array
    offset: Float32Array
    modules: tuple[Place, ...]
    mask: npt.NDArray[np.uint32]
    lit: Float32Array
    present: Float32Array


@lru_cache(maxsize=4)
def run_maps(run: Run) -> Maps:
    """The maps of a run: scatter, gain, offset with hot pixels, modules and mask."""
    detector = run.experiment.detector
    rng = generator(run, MAPS)
    modules = places_of_modules(detector)
    missing = np.ones(detector.shape, bool)
    for place in modules:
        missing[place] = False
    missing |= run.geometry.radius(detector.shape) < detector.hole
    shadow = _shadow(run)

    offset = detector.pedestal + detector.dark_spread * rng.standard_normal(detector.shape)
    hot = np.flatnonzero(rng.random(offset.size) < run.hot_fraction)
    low, high = sorted(np.log([detector.hot_level, run.hot_limit]).tolist())
    offset.flat[hot] += np.exp(rng.uniform(low, high, hot.size))
    gain = detector.gain * (1 + detector.gain_spread * rng.standard_normal(detector.shape))

    mask = np.where(missing, np.uint32(MISSING), np.uint32(0))
    mask[shadow] |= np.uint32(SHADOWED)
    mask.flat[hot[rng.random(hot.size) < run.hot_known]] |= np.uint32(HOT)
    lit, present = (np.logical_not(dark).astype(np.float32) for dark in (shadow | missing, missing))
    jet, steady = (light * lit for light in scatter(run))
    return Maps(jet, steady, gain.astype(np.float32), offset.astype(np.float32), modules, mask, lit, present)


def _shadow(run: Run) -> npt.NDArray[np.bool_]:
    """What lies behind the beamstop and its arm."""
    detector, (y, x) = run.experiment.detector, run.geometry.beam_centre
    rows, columns = np.indices(detector.shape, sparse=True)
    disk = run.geometry.radius(detector.shape) < detector.beamstop
    shadow: npt.NDArray[np.bool_] = disk | ((np.abs(columns - x) < detector.arm / 2) & (rows > y))
    return shadow


def draw_spots(photons: Float32Array, spots: Spots, detector: Detector) -> None:
    """Add the spots to an image: Gaussians, integrated over each pixel of a square of 9 x 9 that holds all their photons.

    Parameters
    ----------
    photons : float32 array, shape (y, x), contiguous
        Changed.
    spots : Spots
        Those whose square reaches beyond the image are drawn in part.
    detector : Detector
    """
    height, width = photons.shape
    row, column = np.rint(spots.y).astype(np.intp), np.rint(spots.x).astype(np.intp)
    near = (row >= -_REACH) & (row < height + _REACH) & (column >= -_REACH) & (column < width + _REACH)
    row, column = row[near], column[near]
    blur = np.hypot(spots.width[near], detector.point_spread)
    along_y = _profile(row - spots.y[near], blur) * spots.photons[near, None]
    along_x = _profile(column - spots.x[near], blur)
    values = (along_y[:, :, None] * along_x[:, None, :]).astype(np.float32)
    rows, columns = (middle[:, None] + np.arange(-_REACH, _REACH + 1) for middle in (row, column))
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    pixels = rows[:, :, None] * width + columns[:, None, :]
    np.add.at(photons.reshape(-1), pixels[inside], values[inside])


def _profile(offset: npt.NDArray[np.float64], blur: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Part of a Gaussian in each of nine pixels, the middle one of which lies ``offset`` from its centre."""
    edges = offset[:, None] + np.arange(-_REACH, _REACH + 2) - 0.5
    parts = np.diff(ndtr(edges / blur[:, None]), axis=1)
    normalised: npt.NDArray[np.float64] = parts / parts.sum(axis=1, keepdims=True)
    return normalised


def detect(photons: Float32Array, detector: Detector, maps: Maps, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """What the detector reads where these photons are expected: ``round(gain · Poisson + offset + common mode + noise)``.

    Parameters
    ----------
    photons : float32 array, shape (y, x)
    detector : Detector
    maps : Maps
    rng : numpy.random.Generator

    Returns
    -------
    uint16 array, shape (y, x)
        In ADU; 0 where there are no pixels.
    """
    common = (detector.common_mode * rng.standard_normal(len(maps.modules))).astype(np.float32)
    signal = poisson(photons, rng)
    signal *= maps.gain
    signal += maps.offset
    noise = normal(photons.shape, rng)
    noise *= np.float32(detector.read_noise)
    signal += noise
    for place, level in zip(maps.modules, common, strict=True):
        signal[place] += level
    np.rint(signal, out=signal)
    np.clip(signal, 0, detector.saturation, out=signal)
    signal *= maps.present
    return signal.astype(np.uint16)
