"""Bad pixels of a run with hits among its frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sidpy

import pycroclass as pc
from pycroclass.errors import AxisError
from pycroclass.hits import run_mask
from pycroclass.operators import HitFeatures, PeakFinder8
from pycroclass.simulate import CSPAD, draw_run, simulate_run
from pycroclass.simulate.detection import run_maps

RUN = replace(draw_run(seed=3, hit_rate=0.4, experiment=CSPAD), hot_fraction=4e-4, hot_known=0.0)


@pytest.fixture(scope="module")
def made() -> dict[str, sidpy.Dataset]:
    return simulate_run(RUN, 60)


def test_hot_pixels_are_found_and_reflections_are_not(made: dict[str, sidpy.Dataset]) -> None:
    known = np.asarray(made["mask"]) != 0
    found = run_mask(made["image"], made["mask"]).mask.values
    is_hot = (run_maps(RUN).offset > RUN.experiment.detector.pedestal + 80) & ~known
    assert is_hot.sum() > 20
    assert found[known].all()
    assert found[is_hot].mean() > 0.95
    assert (found & ~known & ~is_hot).sum() < 2e-4 * found.size
    plain = pc.fit(pc.MaskPixels(known) | pc.DefectMask(), made["image"])[-1].mask.values & ~known
    assert (plain & ~is_hot).sum() > 3 * (found & ~known & ~is_hot).sum()  # reflections, which the mean over all frames holds in full


def test_the_streak_of_the_jet_is_masked_with_its_noise() -> None:
    """Where it is bright, means over boxes make peaks on it in misses; where it is dark there is none to mask."""
    bright = replace(draw_run(seed=51, hit_rate=0.3, experiment=CSPAD), hot_fraction=0.0)
    finder = HitFeatures(PeakFinder8(0, min_snr=6, max_pixels=50), boxes=(3,))
    n_found = {}
    for run in (bright, replace(bright, streak=0.0)):
        made = simulate_run(run, 40)
        known, is_miss = np.asarray(made["mask"]) != 0, np.asarray(made["label"]) == 0
        mask = run_mask(made["image"], known).mask.values
        y, x = np.indices(mask.shape) - np.reshape(run.geometry.beam_centre, (2, 1, 1))
        off = np.abs(np.sin(np.arctan2(y, x) - run.streak_angle))
        for name, bad in (("with", mask), ("without", mask & (off > np.sin(0.2)) | known)):
            frames = pc.MaskPixels(bad, fill=np.nan)(made["image"])
            n_found[run is bright, name] = np.expm1(np.asarray(finder(frames))[is_miss, 0]).sum()
        assert mask[off < np.sin(0.02)].all() == (run is bright)
        assert (mask & ~known)[off > np.sin(0.2)].mean() < 2e-3
    assert n_found[True, "without"] > 10
    assert n_found[True, "with"] < 0.2 * n_found[True, "without"]
    assert n_found[False, "with"] == n_found[False, "without"]


def test_bad_pixels_become_nan(made: dict[str, sidpy.Dataset]) -> None:
    mend = run_mask(made["image"], made["mask"], n_frames=20)
    frame = np.asarray(mend(pc.take(made["image"], [5])))[0]
    np.testing.assert_array_equal(np.isnan(frame), mend.mask.values)


def test_needs_a_beam_centre(made: dict[str, sidpy.Dataset]) -> None:
    frames = pc.take(made["image"], np.arange(12))
    del frames.metadata["geometry"]
    with pytest.raises(AxisError, match="beam centre"):
        run_mask(frames)
