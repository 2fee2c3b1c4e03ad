from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from pycroclass.errors import ParameterError
from pycroclass.simulate import Detector, Experiment, Run, draw_run, simulate_frame, simulate_run
from pycroclass.simulate.sfx import HOT, MISSING, run_maps

SMALL = Experiment(Detector(shape=(101, 87), module=(40, 50), gap=5, hole=6))


@pytest.fixture
def run() -> Run:
    return draw_run(seed=11, hit_rate=0.4, experiment=SMALL)


def test_a_frame_follows_from_run_and_number(run: Run) -> None:
    first = [simulate_frame(run, i) for i in (5, 3)]
    run_maps.cache_clear()
    again = [simulate_frame(pickle.loads(pickle.dumps(run)), i) for i in (3, 5)][::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert (a.is_hit, a.n_peaks) == (b.is_hit, b.n_peaks)
    assert not np.array_equal(first[0].image, first[1].image)
    assert not np.array_equal(first[0].image, simulate_frame(replace(run, seed=12), 5).image)


def test_frames_do_not_depend_on_chunks(run: Run) -> None:
    datasets = simulate_run(run, 7)
    whole = datasets["image"].compute()
    np.testing.assert_array_equal(np.asarray(datasets["image"][2:5, 10:20]), whole[2:5, 10:20])
    np.testing.assert_array_equal(whole[3], simulate_frame(run, 3).image)
    assert (whole.dtype, whole.shape) == (np.uint16, (7, 101, 87))


def test_labels_are_the_truth(run: Run) -> None:
    datasets = simulate_run(run, 25)
    truth = [int(simulate_frame(run, i).is_hit) for i in range(25)]
    assert datasets["label"].compute().tolist() == datasets["image"].metadata["labels"] == truth
    assert datasets["label"].metadata["classes"] == ["miss", "hit"]
    assert datasets["image"].metadata["geometry"] == run.geometry.to_dict()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_part_of_hits(rate: float) -> None:
    labels = simulate_run(draw_run(seed=2, hit_rate=rate, experiment=SMALL), 2000)["label"].compute()
    assert abs(labels.mean() - rate) <= 3 * np.sqrt(rate * (1 - rate) / 2000)


def test_noise_is_that_of_photons_and_electronics() -> None:
    """Without drift between frames the variance is gain² x photons + read noise², the mean gain x photons + pedestal."""
    detector = replace(SMALL.detector, gain_spread=0.0, dark_spread=0.0, common_mode=0.0, hole=0.0)
    quiet = Run(seed=4, hit_rate=0.0, jet_missed=0.0, jet_spread=0.0, pulse_shape=1e12, hot_fraction=0.0, experiment=Experiment(detector))
    maps = run_maps(quiet)
    good = maps.mask == 0
    photons = (maps.jet + maps.steady)[good]
    frames = np.stack([simulate_frame(quiet, i).image for i in range(400)])[:, good].astype(float)
    mean, variance = frames.mean(0), frames.var(0)
    expected = detector.gain**2 * photons + detector.read_noise**2 + 1 / 12  # rounding to whole ADU
    np.testing.assert_allclose(mean.mean(), (detector.gain * photons + detector.pedestal).mean(), rtol=2e-3)
    np.testing.assert_allclose(variance.mean(), expected.mean(), rtol=2e-2)
    dim, bright = photons < np.quantile(photons, 0.2), photons > np.quantile(photons, 0.98)
    for part in (dim, bright):
        np.testing.assert_allclose(variance[part].mean(), expected[part].mean(), rtol=5e-2)


def test_hits_are_brighter_in_few_pixels_only() -> None:
    clean = replace(draw_run(seed=5, hit_rate=0.5), hot_fraction=0.0, jet_missed=0.0)
    frames = [simulate_frame(clean, i) for i in range(60)]
    good = run_maps(clean).mask == 0
    peaks = {is_hit: np.array([f.n_peaks for f in frames if f.is_hit is is_hit]) for is_hit in (True, False)}
    bright = {is_hit: np.array([(f.image[good] > 250).mean() for f in frames if f.is_hit is is_hit]) for is_hit in (True, False)}
    assert not peaks[False].any()
    assert 3 < np.median(peaks[True]) < 60
    assert peaks[True].min() < 5  # weak hits
    assert np.median(bright[False]) < np.median(bright[True]) < 0.01


def test_mask_names_gaps_hole_and_most_hot_pixels() -> None:
    run = replace(draw_run(seed=6), hot_fraction=2e-3, hot_known=0.7)
    maps = run_maps(run)
    image = simulate_frame(run, 0).image
    known = (maps.mask & HOT).astype(bool)
    assert (image[maps.mask & MISSING != 0] == 0).all()
    assert maps.mask[175, 175] & MISSING
    assert 0.5 < known.sum() / (0.002 * image.size) < 0.9
    assert image[known & (maps.mask & MISSING == 0)].min() > 90


@pytest.mark.parametrize("changes", [{"hit_rate": 1.2}, {"hot_fraction": -0.1}])
def test_impossible_parts_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="from 0 to 1"):
        replace(draw_run(seed=1), **changes)


def test_a_run_without_frames_is_refused(run: Run) -> None:
    with pytest.raises(ParameterError, match="at least one frame"):
        simulate_run(run, 0)
