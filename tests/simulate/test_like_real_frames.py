"""The simulated CSPAD beside the real one, by the functions of ``examples/compare_simulated_frames.py``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pycroclass.simulate import Run
from pycroclass.simulate.layout import places_of_modules

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import compare_simulated_frames
    finally:
        sys.path.remove(str(EXAMPLES))
    module: ModuleType = compare_simulated_frames
    return module


def test_the_measures_find_what_was_put_in(compare: ModuleType) -> None:
    """Counted peaks, brightness of the ring and photon gain of frames whose truth is known."""
    crop = replace(compare.WHOLE, detector=replace(compare.WHOLE.detector, shape=(900, 900)))
    run = Run(seed=3, hit_rate=1.0, pulse_shape=1e6, jet_spread=0.0, hot_fraction=0.0, experiment=crop)
    view = compare.simulated(run, 1)
    frame = compare.simulate_frame(run, 1)
    found, truth = compare.peaks(view), frame.peaks[frame.peaks[:, 2] > 600]
    distance = np.hypot(*(truth[:, None, :2] - found.table[None, :, 1::-1]).transpose(2, 0, 1)).min(1)
    assert len(truth) > 20
    assert (distance < 1).mean() > 0.85
    wrong = np.hypot(*(found.table[:, None, 1::-1] - frame.peaks[None, :, :2]).transpose(2, 0, 1)).min(1) > 2
    assert wrong.mean() < 0.1
    level, spread = compare.noise(view)
    assert abs(np.polyfit(level[1:-1], spread[1:-1] ** 2, 1)[0] - crop.detector.gain) < 0.8


@pytest.mark.shared
def test_background_noise_and_peaks_are_like_those_of_real_frames(compare: ModuleType, shared: Path) -> None:
    frames = [compare.real(path) for path in sorted((shared / "diffraction/cspad").glob("cspad_assembled_*.npz"))]
    typical = Run(seed=3, hit_rate=1.0, pulse_shape=40.0, jet_spread=0.1, experiment=compare.WHOLE)
    mine = [compare.simulated(typical, i) for i in range(1, 5)]
    modules = places_of_modules(compare.WHOLE.detector)
    assert np.mean([frames[0].good[place].mean() for place in modules]) > 0.97
    measured = {}
    for name, views in (("real", frames), ("simulated", mine)):
        medians = [compare.rings(view, 20)[0] for view in views]
        slopes = [np.polyfit(*(np.array([one[1:-1], two[1:-1] ** 2])), 1)[0] for one, two in map(compare.noise, views)]
        found = [compare.peaks(view) for view in views]
        shapes = [compare.shape_of_peaks(view, peaks)[:2] for view, peaks in zip(views, found, strict=True)]
        counts = [(len(peaks), compare.in_centre(peaks, view)) for view, peaks in zip(views, found, strict=True)]
        measured[name] = (
            np.mean([20 * np.nanargmax(m) + 10 for m in medians]),
            np.mean([np.nanmax(m) for m in medians]),
            np.mean([m[5] / np.nanmax(m) for m in medians]),
            np.mean(slopes),
            np.mean(shapes, axis=0)[0],
            np.mean(shapes, axis=0)[1],
        )
        assert min(n for n, _ in counts) >= 20
        measured[f"{name} counts"] = np.array(counts)
    ring, brightness, inside, slope, middle, beside = (b / a for a, b in zip(measured["real"], measured["simulated"], strict=True))
    assert abs(ring - 1) < 0.05
    assert 0.6 < brightness < 1.5
    assert 0.7 < inside < 1.6
    assert abs(slope - 1) < 0.15
    assert abs(middle - 1) < 0.25
    assert 0.4 < beside < 2
    real, simulated = measured["real counts"], measured["simulated counts"]
    assert (simulated.min(0) < real.max(0)).all()
    assert (simulated.max(0) > real.min(0)).all()
