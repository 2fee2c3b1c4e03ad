"""Serial crystallography: detector frames of crystals that meet an X-ray pulse, or miss it.

A frame follows from its run and its number alone, so that frames can be made in any order, in any chunks, on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ParameterError
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.simulate.detection import Maps, detect, draw_spots, run_maps
from pycroclass.simulate.diffraction import Spots, diffract
from pycroclass.simulate.noise import Float32Array
from pycroclass.simulate.parameters import Detector, Run
from pycroclass.simulate.shots import FRAMES, Shots, generator, hits, shots
from pycroclass.source import lazy_array, plan_chunks
from pycroclass.spec import Axis, AxisKind, Spec

CLASSES: Final = ("miss", "hit")
PEAK_VALUES: Final = ("fs", "ss", "intensity", "snr")
"""What the table of the true peaks says of each."""

_LEAST_PHOTONS: Final = 1.0
"""Expected of a reflection that counts among the true peaks."""
_LEAST_SNR: Final = 5.0
_AREA: Final = 9
"""Pixels of a spot, over which noise adds up."""
_LABELS_AT_ONCE: Final = 1 << 16
_TRUTHS_AT_ONCE: Final = 2048
"""Frames of which one task tells the truth."""


class Frame(NamedTuple):
    """One simulated frame, and what is true of it.

    Parameters
    ----------
    image : uint16 array, shape (y, x)
        In ADU; 0 between the modules.
    is_hit : bool
        Whether a crystal was in the beam.
    n_peaks : int
        Reflections that stand out of the background by five standard deviations.
    n_lattices : int
        Crystals in the beam.
    flux : float
        Energy of the pulse relative to the experiment's mean.
    peaks : float32 array, shape (n, 4)
        Reflections on good pixels of which at least one photon is expected, the brightest first: ``fs`` (along x) and ``ss``
        (along y) in pixels, an integer being the centre of a pixel; expected ``intensity`` above the background in ADU, in all pixels
        of the spot; ``snr``, those photons over the standard deviation of background and read noise in 9 pixels.
    """

    image: npt.NDArray[np.uint16]
    is_hit: bool
    n_peaks: int
    n_lattices: int
    flux: float
    peaks: Float32Array


def simulate_frame(run: Run, index: int) -> Frame:
    """One frame of a run.

    Expected photons are those of the scatter and, in a hit, of the Bragg spots; the detector counts them (Poisson), multiplies them by
    its gain, and adds pedestal, dark level, common mode of each module and read noise.

    Parameters
    ----------
    run : Run
    index : int
        Number of the frame, from 0.

    Returns
    -------
    Frame

    Raises
    ------
    ParameterError
        If the number is negative.

    Examples
    --------
    >>> from pycroclass.simulate import draw_run
    >>> frame = simulate_frame(draw_run(seed=1), 7)
    >>> frame.image.shape, frame.image.dtype
    ((350, 350), dtype('uint16'))
    """
    scene = _Scene.of(run, index)
    photons = scene.background()
    peaks = scene.peaks(photons)
    if scene.spots is not None:
        draw_spots(photons, scene.spots, run.experiment.detector)
        photons *= scene.maps.lit
    shot = scene.shot
    is_hit, n_lattices, flux = bool(shot.is_hit[0]), int(shot.n_lattices[0]), float(shot.pulse[0])
    return Frame(detect(photons, run.experiment.detector, scene.maps, scene.rng), is_hit, _n_clear(peaks), n_lattices, flux, peaks)


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
    >>> from pycroclass.simulate import draw_run
    >>> run = simulate_run(draw_run(seed=1), 1000)
    >>> run["image"].shape, run["label"].metadata["classes"]
    ((1000, 350, 350), ['miss', 'hit'])
    """
    detector, geometry = run.experiment.detector, run.geometry
    frame = _frames(n_frames)
    plane = tuple(
        Axis(name, n, AxisKind.SPATIAL, units="m", step=detector.pixel_size) for name, n in zip("yx", detector.shape, strict=True)
    )
    specs = {
        "image": Spec((frame, *plane), np.dtype("u2"), "intensity", "ADU", "image", geometry, CLASSES),
        "label": _spec_of_labels(frame),
        "mask": Spec(plane, np.dtype("u4"), "mask", title="mask", geometry=geometry),
    }
    datasets = {name: _dataset(run, name, spec) for name, spec in specs.items()}
    datasets["image"].metadata["labels"] = _labels(run, 0, n_frames).tolist()
    return datasets


def simulate_truth(run: Run, n_frames: int, *, n_slots: int = 256) -> dict[str, sidpy.Dataset]:
    """What is true of the frames of a run, as lazy datasets: to test finders of hits and of peaks with.

    No frame is made for it.

    Parameters
    ----------
    run : Run
    n_frames : int
    n_slots : int
        Peaks of each frame that the table has room for.

    Returns
    -------
    dict of str to sidpy.Dataset
        Of each frame ``label`` (miss or hit), ``n_lattices``, ``flux`` (relative to the experiment's mean), ``n_peaks`` (those with
        an snr of at least 5), and ``peaks`` (frame, peak, value): ``fs``, ``ss``, ``intensity`` and ``snr`` of its brightest reflections,
        see `Frame`, NaN where there are no more.

    Raises
    ------
    ParameterError
        If there is not at least one frame and one slot.

    Examples
    --------
    >>> from pycroclass.simulate import draw_run
    >>> truth = simulate_truth(draw_run(seed=1, hit_rate=1.0), 3)
    >>> truth["peaks"].shape, truth["peaks"].metadata["values"]
    ((3, 256, 4), ['fs', 'ss', 'intensity', 'snr'])
    """
    if n_slots < 1:
        raise ParameterError(f"the table of peaks has at least one slot, got n_slots={n_slots}")
    frame = _frames(n_frames)
    table = (frame, Axis("peak", n_slots), Axis("value", len(PEAK_VALUES), AxisKind.CHANNEL))
    specs = {
        "label": _spec_of_labels(frame),
        "n_lattices": Spec((frame,), np.dtype("i4"), "count", title="n_lattices"),
        "flux": Spec((frame,), np.dtype("f4"), "relative pulse energy", title="flux"),
        "n_peaks": Spec((frame,), np.dtype("i4"), "count", title="n_peaks"),
        "peaks": Spec(table, np.dtype("f4"), "peaks", title="peaks"),
    }
    datasets = {name: _dataset(run, name, spec) for name, spec in specs.items()}
    datasets["peaks"].metadata["values"] = list(PEAK_VALUES)
    return datasets


@dataclass(frozen=True)
class Simulated:
    """Makes a part of the images, of the mask, or of what is true of the frames of a run.

    Parameters
    ----------
    run : Run
    name : str
        ``image``, ``mask``, or a name that `simulate_truth` gives.
    frames : range or tuple of int
        Numbers of the frames in the run.
    """

    run: Run
    name: str
    frames: range | tuple[int, ...]

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part."""
        if self.name == "mask":
            return run_maps(self.run).mask[slices]
        first, *rest = slices
        frames = self.frames[first]
        match self.name:
            case "image":
                return np.stack([simulate_frame(self.run, index).image[tuple(rest)] for index in frames])
            case "n_peaks":
                return np.array([_n_clear(_true_peaks(self.run, index)) for index in frames], np.int32)
            case "peaks":
                return np.stack([_padded(_true_peaks(self.run, index), rest[0].stop)[tuple(rest)] for index in frames])
        return np.concatenate([_of_shots(self.run, self.name, *ends) for ends in _stretches(frames)])

    def taken(self, numbers: npt.NDArray[np.int64]) -> Simulated:
        """What makes these frames."""
        return replace(self, frames=tuple(self.frames[i] for i in numbers))

    def narrowed(self, part: tuple[slice, ...]) -> tuple[Simulated, tuple[slice, ...]]:
        """What makes this part alone, so that a task carries the numbers of its own frames only."""
        if self.name == "mask":
            return self, part
        some = self.frames[part[0]]
        return replace(self, frames=some), (slice(0, len(some)), *part[1:])


def _of_shots(run: Run, name: str, start: int, stop: int) -> npt.NDArray[Any]:
    """What is drawn for many shots at once: label, number of lattices or flux."""
    if name == "label":
        return _labels(run, start, stop)
    many = shots(run, start, stop)
    return many.n_lattices if name == "n_lattices" else many.pulse.astype(np.float32)


def _stretches(frames: range | tuple[int, ...]) -> list[tuple[int, int]]:
    """First number and that behind the last of frames in order."""
    if isinstance(frames, range) and frames.step == 1:
        return [(frames.start, frames.stop)]
    return [(index, index + 1) for index in frames]


@dataclass(frozen=True, eq=False)
class _Scene:
    """What one pulse meets: all of a frame but its noise."""

    detector: Detector
    maps: Maps
    shot: Shots
    spots: Spots | None
    rng: np.random.Generator

    @classmethod
    def of(cls, run: Run, index: int) -> _Scene:
        if index < 0:
            raise ParameterError(f"frames have numbers from 0, got {index}")
        shot, rng = shots(run, index, index + 1), generator(run, FRAMES, index)
        spots = diffract(run, int(shot.n_lattices[0]), float(shot.pulse[0]), rng) if shot.is_hit[0] else None
        return cls(run.experiment.detector, run_maps(run), shot, spots, rng)

    def background(self) -> Float32Array:
        """Photons expected without crystals, shape (y, x)."""
        (pulse,), (jet,) = self.shot.pulse, self.shot.jet
        photons = self.maps.jet * np.float32(jet * pulse)
        photons += self.maps.steady * np.float32(pulse)
        return photons

    def peaks(self, background: Float32Array | None = None) -> Float32Array:
        """The true peaks, see `Frame`; ``background`` if it is known already."""
        if self.spots is None:
            return np.empty((0, len(PEAK_VALUES)), np.float32)
        maps, detector, spots = self.maps, self.detector, self.spots
        seen = np.flatnonzero(spots.photons >= _LEAST_PHOTONS)
        seen = seen[np.argsort(-spots.photons[seen], kind="stable")]
        place = np.rint([spots.y[seen], spots.x[seen]]).astype(np.intp)
        inside = np.all((place >= 0) & (place < np.reshape(detector.shape, (2, 1))), axis=0)
        inside[inside] = maps.mask[tuple(place[:, inside])] == 0
        seen, (row, column) = seen[inside], place[:, inside]
        (pulse,), (jet,) = self.shot.pulse, self.shot.jet
        around = maps.jet[row, column] * (jet * pulse) + maps.steady[row, column] * pulse if background is None else background[row, column]
        photons = spots.photons[seen]
        snr = photons / np.sqrt(_AREA * (around + (detector.read_noise / detector.gain) ** 2))
        return np.stack([spots.x[seen], spots.y[seen], photons * detector.gain, snr], axis=1).astype(np.float32)


def _true_peaks(run: Run, index: int) -> Float32Array:
    return _Scene.of(run, index).peaks()


def _n_clear(peaks: Float32Array) -> int:
    return int((peaks[:, PEAK_VALUES.index("snr")] >= _LEAST_SNR).sum())


def _padded(peaks: Float32Array, n_slots: int) -> Float32Array:
    table = np.full((n_slots, len(PEAK_VALUES)), np.nan, np.float32)
    kept = peaks[:n_slots]
    table[: len(kept)] = kept
    return table


def _labels(run: Run, start: int, stop: int) -> npt.NDArray[np.int32]:
    labels = np.empty(stop - start, np.int32)
    for first in range(start, stop, _LABELS_AT_ONCE):
        last = min(first + _LABELS_AT_ONCE, stop)
        labels[first - start : last - start] = hits(run, first, last)
    return labels


def _frames(n_frames: int) -> Axis:
    if n_frames < 1:
        raise ParameterError(f"a run has at least one frame, got n_frames={n_frames}")
    return Axis("frame", n_frames, AxisKind.TEMPORAL)


def _spec_of_labels(frame: Axis) -> Spec:
    return Spec((frame,), np.dtype("i4"), "class", title="label", classes=CLASSES)


def _dataset(run: Run, name: str, spec: Spec) -> sidpy.Dataset:
    n_core = len(spec.axes) if name == "mask" else len(spec.axes) - 1
    n_bytes = None if name in ("image", "mask") else _TRUTHS_AT_ONCE * math.prod(spec.shape[1:]) * spec.dtype.itemsize
    chunks = plan_chunks(spec.shape, spec.dtype, n_core, n_bytes=n_bytes)
    array = lazy_array(Simulated(run, name, range(spec.shape[0])), spec.shape, spec.dtype, chunks, ())
    return wrap(array, spec, provenance=_record(run, name), modality="diffraction", source="simulation")


def _record(run: Run, name: str) -> Provenance:
    parameters: Mapping[str, Any] = {"title": name, "reason": "simulated by pycroclass.simulate", "run": asdict(run)}
    return Provenance("given", parameters)
