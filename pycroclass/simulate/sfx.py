"""Serial crystallography: detector frames of crystals that meet an X-ray pulse, or miss it.

A frame follows from its run and its number alone, so that frames can be made in any order, in any chunks, on any machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ParameterError
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.simulate.diffraction import Spots, diffract
from pycroclass.simulate.noise import Float32Array, normal, poisson
from pycroclass.simulate.parameters import Run
from pycroclass.source import lazy_array, plan_chunks
from pycroclass.spec import Axis, AxisKind, Spec

CLASSES: Final = ("miss", "hit")
HOT: Final = 4
MISSING: Final = 512
"""Bits of a CXI mask."""

_REACH: Final = 4
"""Pixels from the middle of a spot to the edge of the square that it is drawn in."""


class Frame(NamedTuple):
    """One simulated frame.

    Parameters
    ----------
    image : uint16 array, shape (y, x)
        In ADU; 0 between the modules.
    is_hit : bool
        Whether a crystal was in the beam.
    n_peaks : int
        Reflections that stand out of the background by five standard deviations.
    """

    image: npt.NDArray[np.uint16]
    is_hit: bool
    n_peaks: int


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
    module : intp array
        Number of the module of each pixel.
    mask : uint32 array
        CXI bits of the pixels not to be used: `MISSING` between modules and where the beam passes, `HOT` for the hot pixels that are
        known.
    """

    jet: Float32Array
    steady: Float32Array
    gain: Float32Array
    offset: Float32Array
    module: npt.NDArray[np.intp]
    mask: npt.NDArray[np.uint32]


def simulate_frame(run: Run, index: int) -> Frame:
    """One frame of a run.

    Expected photons are those of the scatter and, in a hit, of the Bragg spots; the detector counts them (Poisson), multiplies them by
    its gain, and adds pedestal, dark level, common mode of each module and read noise.

    Parameters
    ----------
    run : Run
    index : int
        Number of the frame, from 0.

    Examples
    --------
    >>> from pycroclass.simulate.parameters import draw_run
    >>> frame = simulate_frame(draw_run(seed=1), 7)
    >>> frame.image.shape, frame.image.dtype
    ((350, 350), dtype('uint16'))
    """
    rng, is_hit = _begin(run, index)
    maps = run_maps(run)
    pulse = rng.gamma(run.pulse_shape) / run.pulse_shape * run.pulse
    has_jet = is_hit or rng.random() >= run.jet_missed
    jet = np.exp(run.jet_spread * rng.standard_normal()) if has_jet else 0.0
    photons = maps.jet * np.float32(jet * pulse)
    photons += maps.steady * np.float32(pulse)
    n_peaks = _add_spots(photons, diffract(run, pulse, rng), run) if is_hit else 0
    return Frame(_detect(photons, run, rng), is_hit, n_peaks)


def simulate_run(run: Run, n_frames: int) -> dict[str, sidpy.Dataset]:
    """All frames of a run as lazy datasets; a frame is made when it is needed.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``image`` (frame, y, x) in ADU with the geometry of the run and the labels in ``metadata["labels"]``, ``label`` (frame) with the
        classes miss and hit, ``mask`` (y, x), 0 for a good pixel.

    Raises
    ------
    ParameterError
        If there is not at least one frame.

    Examples
    --------
    >>> from pycroclass.simulate.parameters import draw_run
    >>> run = simulate_run(draw_run(seed=1), 1000)
    >>> run["image"].shape, run["label"].metadata["classes"]
    ((1000, 350, 350), ['miss', 'hit'])
    """
    if n_frames < 1:
        raise ParameterError(f"a run has at least one frame, got n_frames={n_frames}")
    detector, geometry = run.experiment.detector, run.geometry
    frame = Axis("frame", n_frames, AxisKind.TEMPORAL)
    plane = tuple(
        Axis(name, n, AxisKind.SPATIAL, units="m", step=detector.pixel_size) for name, n in zip("yx", detector.shape, strict=True)
    )
    specs = {
        "image": Spec((frame, *plane), np.dtype("u2"), "intensity", "ADU", "image", geometry, CLASSES),
        "label": Spec((frame,), np.dtype("i4"), "class", title="label", classes=CLASSES),
        "mask": Spec(plane, np.dtype("u4"), "mask", title="mask", geometry=geometry),
    }
    datasets = {name: _dataset(run, name, spec) for name, spec in specs.items()}
    datasets["image"].metadata["labels"] = Simulated(run, "label")((slice(0, n_frames),)).tolist()
    return datasets


@dataclass(frozen=True)
class Simulated:
    """Makes a part of the images, labels or mask of a run.

    Parameters
    ----------
    run : Run
    name : str
        ``image``, ``label`` or ``mask``.
    """

    run: Run
    name: str

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part."""
        if self.name == "mask":
            return run_maps(self.run).mask[slices]
        first, *rest = slices
        frames = range(first.start, first.stop)
        if self.name == "label":
            return np.array([_begin(self.run, index)[1] for index in frames], np.int32)
        return np.stack([simulate_frame(self.run, index).image[tuple(rest)] for index in frames])


@lru_cache(maxsize=4)
def run_maps(run: Run) -> Maps:
    """The maps of a run: scatter, gain, offset with hot pixels, modules and mask."""
    detector = run.experiment.detector
    rng = np.random.default_rng((run.seed, 1))
    jet, steady = _scatter(run)
    module, is_gap = _modules(detector.shape, detector.module, detector.gap)
    offset = detector.pedestal + detector.dark_spread * rng.standard_normal(detector.shape)
    hot = np.flatnonzero(rng.random(offset.size) < run.hot_fraction)
    offset.flat[hot] += np.exp(rng.uniform(np.log(100), np.log(4000), hot.size))
    is_gap |= run.geometry.radius(detector.shape) < detector.hole
    mask = np.where(is_gap, np.uint32(MISSING), np.uint32(0))
    mask.flat[hot[rng.random(hot.size) < run.hot_known]] |= HOT
    gain = detector.gain * (1 + detector.gain_spread * rng.standard_normal(detector.shape))
    return Maps(jet, steady, gain.astype(np.float32), offset.astype(np.float32), module, mask)


def _begin(run: Run, index: int) -> tuple[np.random.Generator, bool]:
    """The random numbers of a frame, and whether it is a hit."""
    rng = np.random.Generator(np.random.SFC64((run.seed, 2, index)))
    return rng, bool(rng.random() < run.hit_rate)


def _scatter(run: Run) -> tuple[Float32Array, Float32Array]:
    """Photons of the jet and of all else: ring, small angles, streak and flat, polarised along x, over the solid angle of a pixel."""
    scatter, geometry, detector = run.experiment.scatter, run.geometry, run.experiment.detector
    radius = geometry.radius(detector.shape)
    s = geometry.q(radius) / (2e10 * np.pi)
    two_theta = np.arctan(radius * detector.pixel_size / detector.distance)
    y, x = np.indices(detector.shape) - np.reshape(geometry.beam_centre, (2, 1, 1))
    azimuth = np.arctan2(y, x)
    solid_angle = np.cos(two_theta) ** 3 * (1 - (np.sin(two_theta) * np.cos(azimuth)) ** 2)
    ring = scatter.ring * run.ring * np.exp(-(((s - 1 / scatter.ring_spacing) / scatter.ring_width) ** 2) / 2)
    centre = scatter.centre * run.centre / (1 + (s / scatter.centre_width) ** scatter.centre_power)
    along = np.exp(-((np.sin(azimuth - run.streak_angle) / scatter.streak_width) ** 2) / 2 - s / (3 * scatter.centre_width))
    jet = ring + scatter.streak * run.streak * along + scatter.flat / 2
    return (jet * solid_angle).astype(np.float32), ((centre + scatter.flat / 2) * solid_angle).astype(np.float32)


def _modules(shape: tuple[int, int], module: tuple[int, int], gap: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Number of the module of each pixel, and whether it lies between modules; the beam passes where four of them meet."""
    numbers, gaps = [], []
    for n, size in zip(shape, module, strict=True):
        place = np.arange(n) - n // 2 + gap // 2 + 100 * (size + gap)
        numbers.append(place // (size + gap) - 100 + n // 2 // (size + gap) + 1)
        gaps.append(place % (size + gap) < gap)
    columns = int(numbers[1].max()) + 1
    return numbers[0][:, None] * columns + numbers[1], gaps[0][:, None] | gaps[1]


def _add_spots(photons: Float32Array, spots: Spots, run: Run) -> int:
    """Draw the spots into the image as normalised Gaussians; how many stand out of what was there."""
    detector = run.experiment.detector
    row, column = np.rint(spots.y).astype(np.intp), np.rint(spots.x).astype(np.intp)
    height, width = photons.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column, expected = row[inside], column[inside], spots.photons[inside]
    noise = 9 * (photons[row, column] + (detector.read_noise / detector.gain) ** 2)
    is_seen = (expected > 5 * np.sqrt(noise)) & (run_maps(run).mask[row, column] == 0)

    steps = np.arange(-_REACH, _REACH + 1)
    profile_y = _gaussian(row[:, None] + steps - spots.y[inside, None], detector.point_spread)
    profile_x = _gaussian(column[:, None] + steps - spots.x[inside, None], detector.point_spread)
    values = expected[:, None, None] * profile_y[:, :, None] * profile_x[:, None, :]
    rows, columns = np.broadcast_arrays(row[:, None, None] + steps[:, None], column[:, None, None] + steps)
    drawn = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    np.add.at(photons, (rows[drawn], columns[drawn]), values[drawn].astype(np.float32))
    return int(is_seen.sum())


def _gaussian(distance: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float64]:
    profile = np.exp(-((distance / width) ** 2) / 2)
    normalised: npt.NDArray[np.float64] = profile / profile.sum(axis=1, keepdims=True)
    return normalised


def _detect(photons: Float32Array, run: Run, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    detector, maps = run.experiment.detector, run_maps(run)
    common = detector.common_mode * rng.standard_normal(int(maps.module.max()) + 1)
    signal = poisson(photons, rng)
    signal *= maps.gain
    signal += maps.offset
    signal += normal(photons.shape, rng) * np.float32(detector.read_noise)
    signal += common.astype(np.float32).take(maps.module)
    image = np.clip(np.rint(signal, out=signal), 0, detector.saturation, out=signal).astype(np.uint16)
    image[maps.mask & MISSING != 0] = 0
    return image


def _dataset(run: Run, name: str, spec: Spec) -> sidpy.Dataset:
    chunks = plan_chunks(spec.shape, spec.dtype, min(2, len(spec.axes) - 1))
    array = lazy_array(Simulated(run, name), spec.shape, spec.dtype, chunks, ())
    record = Provenance("given", {"title": name, "reason": "simulated by pycroclass.simulate", "run": asdict(run)})
    return wrap(array, spec, provenance=record, modality="diffraction", source="simulation")
