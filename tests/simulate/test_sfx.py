from __future__ import annotations

import pickle
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import sidpy
from hypothesis import given
from hypothesis import strategies as st

import pycroclass as pc
from pycroclass.errors import ParameterError
from pycroclass.simulate import (
    CCD,
    CSPAD,
    EXPERIMENTS,
    SETTINGS,
    Crystal,
    Detector,
    Experiment,
    Ring,
    Run,
    Scatter,
    draw_run,
    simulate_frame,
    simulate_run,
    simulate_truth,
)
from pycroclass.simulate.detection import HOT, MISSING, SHADOWED, draw_spots, run_maps
from pycroclass.simulate.diffraction import Spots
from pycroclass.simulate.sfx import Simulated
from pycroclass.simulate.shots import hits, shots
from pycroclass.source import source_of

SMALL = Experiment(Detector(shape=(101, 87), module=(40, 50), gap=5, hole=6))
RUN = draw_run(seed=11, hit_rate=0.4, experiment=SMALL)


# ---- a frame follows from seeds and number


def test_a_frame_follows_from_run_and_number() -> None:
    first = [simulate_frame(RUN, i) for i in (5, 3)]
    run_maps.cache_clear()
    again = [simulate_frame(pickle.loads(pickle.dumps(RUN)), i) for i in (3, 5)][::-1]
    for a, b in zip(first, again, strict=True):
        for mine, yours in zip(a, b, strict=True):
            np.testing.assert_array_equal(mine, yours)
    assert not np.array_equal(first[0].image, first[1].image)
    others = replace(RUN, seed=12), replace(RUN, experiment=replace(SMALL, seed=1))
    assert all(not np.array_equal(first[0].image, simulate_frame(run, 5).image) for run in others)


def test_another_process_makes_the_same_frames() -> None:
    code = (
        "from hashlib import sha256; from pycroclass.simulate import *\n"
        "run = draw_run(seed=3, hit_rate=0.5)\n"
        "frames = simulate_run(run, 900)['image'][895:900].compute()\n"
        "print(sha256(frames.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    run = draw_run(seed=3, hit_rate=0.5)
    here = np.stack([simulate_frame(run, i).image for i in range(895, 900)])
    assert there == sha256(here.tobytes()).hexdigest()


@given(start=st.integers(0, 8), n=st.integers(1, 8), block=st.integers(1, 9), y=st.integers(0, 90), x=st.integers(0, 80))
def test_frames_do_not_depend_on_chunks(start: int, n: int, block: int, y: int, x: int) -> None:
    whole = _nine()
    array = pc.sid.unwrap(simulate_run(RUN, 9)["image"])[0]
    source = source_of(array)
    assert source is not None
    along = (block,) * (9 // block) + ((9 % block,) if 9 % block else ())
    other = source.lazy((along, (60, 41), (87,)))
    np.testing.assert_array_equal(other[start : start + n, y:, :x].compute(scheduler="sync"), whole[start : start + n, y:, :x])


_KEPT: list[np.ndarray] = []


def _nine() -> np.ndarray:
    """Nine frames one by one, made once."""
    if not _KEPT:
        _KEPT.append(np.stack([simulate_frame(RUN, i).image for i in range(9)]))
    return _KEPT[0]


@given(start=st.integers(0, 2**40), n=st.integers(1, 20), k=st.integers(0, 19))
def test_shots_do_not_depend_on_what_was_asked_for(start: int, n: int, k: int) -> None:
    some, one = shots(RUN, start, start + n), shots(RUN, start + k % n, start + k % n + 1)
    for name in ("is_hit", "n_lattices", "pulse", "jet"):
        assert getattr(some, name)[k % n] == getattr(one, name)[0]
    np.testing.assert_array_equal(hits(RUN, start, start + n), some.is_hit)


def test_a_million_frames_cost_nothing_until_they_are_needed() -> None:
    simulate_run(RUN, 10)
    tracemalloc.start()
    start = time.perf_counter()
    datasets = simulate_run(draw_run(seed=1), 1_000_000)
    truth = simulate_truth(draw_run(seed=1), 1_000_000)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert datasets["image"].shape == (1_000_000, 350, 350)
    assert (len(datasets["image"].metadata["labels"]), truth["peaks"].shape) == (1_000_000, (1_000_000, 256, 4))
    assert peak < 250e6
    assert seconds < 10  # with tracing; a second without
    last = np.asarray(datasets["image"][999_999])
    np.testing.assert_array_equal(last, simulate_frame(draw_run(seed=1), 999_999).image)


# ---- what is true of it


def test_labels_are_the_truth() -> None:
    datasets, truth = simulate_run(RUN, 25), simulate_truth(RUN, 25, n_slots=40)
    frames = [simulate_frame(RUN, i) for i in range(25)]
    labels = [int(frame.is_hit) for frame in frames]
    for found in (datasets["label"].compute(), truth["label"].compute(), pc.column(datasets["image"], "labels")):
        assert np.asarray(found).tolist() == labels
    for name in ("n_lattices", "flux", "n_peaks"):
        np.testing.assert_allclose(truth[name].compute(), [getattr(frame, name) for frame in frames], rtol=1e-6)
    assert datasets["label"].metadata["classes"] == ["miss", "hit"]
    assert datasets["image"].metadata["geometry"] == RUN.geometry.to_dict()
    table = truth["peaks"].compute()
    for frame, row in zip(frames, np.asarray(table), strict=True):
        n = min(40, len(frame.peaks))
        np.testing.assert_allclose(row[:n], frame.peaks[:n], rtol=1e-5)
        assert np.isnan(row[n:]).all()
        assert (frame.n_lattices > 0) == frame.is_hit
        assert frame.is_hit or not len(frame.peaks)


def test_peaks_are_where_the_truth_says_and_as_bright() -> None:
    """Of bright spots that stand alone the summed signal is the expected one, and its centre of mass the place."""
    crystal = Crystal(amplitude=2000.0, extra_lattices=0.0)
    detector = Detector(common_mode=0.0, dark_spread=0.0, gain_spread=0.0, read_noise=0.5)
    experiment = Experiment(detector, crystal, Scatter(rings=(), centre=2.0, streak=0.0, flat=0.2))
    quiet = Run(seed=2, hit_rate=1.0, jet_spread=0.0, hot_fraction=0.0, experiment=experiment)
    maps, places, ratios = run_maps(quiet), [], []
    y, x = np.indices(detector.shape)
    for index in range(12):
        frame = simulate_frame(quiet, index)
        (pulse,) = shots(quiet, index, index + 1).pulse
        signal = frame.image - detector.pedestal - detector.gain * pulse * (maps.jet + maps.steady)
        for fs, ss, intensity, snr in frame.peaks.tolist():
            around = pulse * (maps.jet + maps.steady)[round(ss), round(fs)]
            np.testing.assert_allclose(snr, intensity / 6.3 / np.sqrt(9 * (around + (0.5 / 6.3) ** 2)), rtol=1e-3)
            others = np.hypot(frame.peaks[:, 0] - fs, frame.peaks[:, 1] - ss)
            window = (slice(round(ss) - 5, round(ss) + 6), slice(round(fs) - 5, round(fs) + 6))
            stands_alone = np.sum(others < 12) == 1 and maps.mask[window].size == 121 and not maps.mask[window].any()
            if intensity < 300 * detector.gain or not stands_alone:
                continue
            total = signal[window].sum()
            ratios.append(total / intensity)
            places.append([(signal * x)[window].sum() / total - fs, (signal * y)[window].sum() / total - ss])
    assert len(ratios) > 20
    np.testing.assert_allclose(np.mean(ratios), 1, atol=0.01)
    np.testing.assert_allclose(np.mean(places, axis=0), 0, atol=0.03)
    assert np.abs(places).max() < 0.3


def test_a_spot_keeps_its_photons_and_its_width() -> None:
    image = np.zeros((31, 31), np.float32)
    spots = Spots(np.array([15.3]), np.array([14.8]), np.array([1000.0]), np.array([0.4]))
    draw_spots(image, spots, Detector(point_spread=0.6))
    y, x = np.indices(image.shape)
    np.testing.assert_allclose(image.sum(), 1000, rtol=1e-5)
    np.testing.assert_allclose([(image * y).sum() / 1000, (image * x).sum() / 1000], [15.3, 14.8], atol=1e-3)
    variance = (image * (y - 15.3) ** 2).sum() / 1000
    np.testing.assert_allclose(variance, 0.4**2 + 0.6**2 + 1 / 12, rtol=1e-3)  # Sheppard: that of a pixel adds


def test_spots_across_the_edge_are_drawn_in_part() -> None:
    image, whole = np.zeros((10, 10), np.float32), np.zeros((30, 30), np.float32)
    y, x = np.array([-1.2, 9.4, 4.0]), np.array([3.0, 9.6, 11.9])
    draw_spots(image, Spots(y, x, np.full(3, 50.0), np.full(3, 0.3)), Detector())
    draw_spots(whole, Spots(y + 10, x + 10, np.full(3, 50.0), np.full(3, 0.3)), Detector())
    np.testing.assert_array_equal(image, whole[10:20, 10:20])
    assert 10 < image.sum() < 75


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_part_of_hits(rate: float) -> None:
    labels = simulate_run(draw_run(seed=2, hit_rate=rate, experiment=SMALL), 20_000)["label"].compute()
    assert abs(labels.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / 20_000)


def test_shots_are_distributed_as_stated() -> None:
    crystal = Crystal(extra_lattices=0.3)
    run = Run(seed=5, hit_rate=0.5, pulse=1.7, pulse_shape=8.0, jet_spread=0.4, jet_missed=0.1, experiment=Experiment(crystal=crystal))
    many = shots(run, 0, 200_000)
    np.testing.assert_allclose([many.pulse.mean(), many.pulse.var()], [1.7, 1.7**2 / 8], rtol=0.02)
    hit, missed = many.is_hit, many.jet == 0
    np.testing.assert_allclose(missed[~hit].mean(), 0.1, atol=0.004)
    assert not missed[hit].any()
    for some in (hit, ~hit & ~missed):
        logarithm = np.log(many.jet[some])
        np.testing.assert_allclose([logarithm.mean(), logarithm.std()], [0, 0.4], atol=0.01)
    np.testing.assert_allclose([many.n_lattices[hit].mean() - 1, many.n_lattices[hit].var()], 0.3, atol=0.01)
    assert not many.n_lattices[~hit].any()
    assert abs(np.corrcoef(many.pulse, hit)[0, 1]) < 0.01
    always = shots(replace(run, jet_missed=1.0), 0, 500)
    np.testing.assert_array_equal(always.jet == 0, ~always.is_hit)


# ---- light and detector


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


def test_common_mode_moves_whole_modules() -> None:
    detector = replace(SMALL.detector, common_mode=6.0, read_noise=0.0, dark_spread=0.0, pedestal=60.0)
    dark = Run(seed=4, hit_rate=0.0, pulse=0.0, hot_fraction=0.0, experiment=Experiment(detector))
    levels = []
    for index in range(60):
        image = simulate_frame(dark, index).image
        of_modules = [np.unique(image[place][image[place] > 0]) for place in run_maps(dark).modules]
        assert all(len(level) == 1 for level in of_modules)
        levels.append([int(level[0]) for level in of_modules])
    spread = np.array(levels) - detector.pedestal
    np.testing.assert_allclose(spread.std(), 6.0, rtol=0.1)
    assert np.abs(np.corrcoef(spread.T) - np.eye(spread.shape[1])).max() < 0.5


def test_scatter_is_the_formula_written_out_for_one_pixel() -> None:
    scatter = Scatter(rings=(Ring(4.0, 3.6, 0.05),), centre=10.0, streak=3.0, flat=0.6)
    run = Run(seed=0, ring=1.5, centre=0.5, streak=2.0, streak_angle=0.4, beam_shift=(2.0, -3.0), experiment=Experiment(scatter=scatter))
    maps = run_maps(run)
    row, column = 300, 40
    dx, dy = (column - (174.5 - 3.0)) * 109.92e-6, (row - (174.5 + 2.0)) * 109.92e-6
    to_pixel = np.array([dx, dy, 0.1301])
    direction = to_pixel / np.linalg.norm(to_pixel)
    s = np.linalg.norm(direction - [0, 0, 1]) / 1.271876
    polarisation = 1 - direction[0] ** 2
    solid_angle = direction[2] ** 3
    ring = 1.5 * 4.0 * np.exp(-((s - 1 / 3.6) ** 2) / (2 * 0.05**2))
    azimuth = np.arctan2(dy, dx)
    streak = 2.0 * 3.0 * np.exp(-(np.sin(azimuth - 0.4) ** 2) / (2 * 0.035**2)) * np.exp(-s / 0.036)
    centre = 0.5 * 10.0 / (1 + (s / 0.012) ** 3)
    np.testing.assert_allclose(maps.jet[row, column], (ring + streak + 0.3) * polarisation * solid_angle, rtol=1e-5)
    np.testing.assert_allclose(maps.steady[row, column], (centre + 0.3) * polarisation * solid_angle, rtol=1e-5)


def test_hits_are_brighter_in_few_pixels_only() -> None:
    clean = replace(draw_run(seed=5, hit_rate=0.5), hot_fraction=0.0, jet_missed=0.0, crystal=1.0, pulse=1.0)
    frames = [simulate_frame(clean, i) for i in range(60)]
    good = run_maps(clean).mask == 0
    peaks = {is_hit: np.array([f.n_peaks for f in frames if f.is_hit is is_hit]) for is_hit in (True, False)}
    bright = {is_hit: np.array([(f.image[good] > 250).mean() for f in frames if f.is_hit is is_hit]) for is_hit in (True, False)}
    assert not peaks[False].any()
    assert 3 < np.median(peaks[True]) < 60
    assert peaks[True].min() < 8  # weak hits
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


def test_a_beamstop_is_dark_but_its_pixels_are_read() -> None:
    run = replace(draw_run(seed=6, experiment=CCD, hit_rate=1.0), hot_fraction=0.0)
    maps, image = run_maps(run), simulate_frame(run, 0).image.astype(float)
    shadow, lit = maps.mask == SHADOWED, maps.mask == 0
    assert shadow[175, 175]
    assert shadow[330, 170:180].any()
    assert not maps.mask[20, 175]
    np.testing.assert_allclose(image[shadow].mean(), CCD.detector.pedestal, atol=0.5)
    assert image[lit].mean() > CCD.detector.pedestal + 5


def test_saturation_cuts() -> None:
    detector = replace(SMALL.detector, saturation=60.0)
    bright = Run(seed=1, pulse=40.0, hot_fraction=0.0, experiment=Experiment(detector))
    image = simulate_frame(bright, 0).image
    assert image.max() == 60
    assert (image == 60).mean() > 0.05


# ---- experiments, settings, bad input


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_make_frames_with_hits_that_show(name: str) -> None:
    run = replace(draw_run(seed=3, hit_rate=1.0, experiment=EXPERIMENTS[name]), crystal=1.0, pulse=1.0)
    n_peaks = [simulate_frame(run, i).n_peaks for i in range(12)]
    assert 4 < np.median(n_peaks) < 200
    image = simulate_run(run, 4)["image"]
    assert isinstance(image, sidpy.Dataset)
    assert image.metadata["geometry"]["wavelength"] == EXPERIMENTS[name].wavelength
    assert (image.units, image.y.units, image.data_type.name) == ("ADU", "m", "IMAGE_STACK")


def test_settings_change_defects_and_crystals_alone() -> None:
    plain = draw_run(seed=9)
    s1, s2, s3 = (draw_run(seed=9, setting=SETTINGS[name]) for name in ("S1", "S2", "S3"))
    assert (s1.hot_fraction, s1.hot_known, s1.hot_limit) == (plain.hot_fraction, 0.0, 8000.0)
    np.testing.assert_allclose([s3.hot_fraction / s1.hot_fraction, s3.crystal / s1.crystal, s2.crystal / s1.crystal], [0.1, 1.4, 2.5])
    assert s3.hot_limit == 1500
    assert (replace(s2, crystal=0, hot_known=0.9, hot_limit=4000.0)) == replace(plain, crystal=0)
    full = run_maps(replace(s2, hot_fraction=3e-3))
    hot = full.offset > 90
    assert hot.sum() > 200
    assert (full.mask[hot] & HOT).all()
    assert not (run_maps(replace(s1, hot_fraction=3e-3)).mask & HOT).any()


def test_a_whole_detector() -> None:
    whole = replace(CSPAD, detector=replace(CSPAD.detector, shape=(1750, 1750)))
    run = replace(draw_run(seed=3, hit_rate=1.0, experiment=whole), crystal=1.0, pulse=1.0)
    frame = simulate_frame(run, 1)
    assert frame.image.shape == (1750, 1750)
    assert frame.n_peaks > 20


@pytest.mark.parametrize("changes", [{"hit_rate": 1.2}, {"hot_fraction": -0.1}])
def test_impossible_parts_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="from 0 to 1"):
        replace(draw_run(seed=1), **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Run(seed=-1), "seed must be a whole number"),
        (lambda: Run(seed=1, pulse=-1.0), "pulse of Run must not be negative"),
        (lambda: Detector(gain=0.0), "gain of Detector must be positive"),
        (lambda: Detector(shape=(0, 5)), "at least one pixel"),
        (lambda: Experiment(wavelength=float("nan")), "wavelength of Experiment"),
        (lambda: Crystal(domain=(500.0, 300.0)), "range"),
        (lambda: Ring(1.0, 0.0, 0.1), "spacing"),
        (lambda: simulate_run(RUN, 0), "at least one frame"),
        (lambda: simulate_truth(RUN, 5, n_slots=0), "at least one slot"),
        (lambda: simulate_frame(RUN, -1), "numbers from 0"),
    ],
)
def test_bad_input_is_refused(make: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()  # type: ignore[operator]


def test_a_loader_travels() -> None:
    loader = pickle.loads(pickle.dumps(Simulated(RUN, "peaks", range(9))))
    part = (slice(2, 4), slice(0, 7), slice(0, 2))
    np.testing.assert_array_equal(loader(part), Simulated(RUN, "peaks", range(9))(part))


@given(numbers=st.lists(st.integers(0, 8), min_size=1, max_size=6))
def test_frames_taken_are_made_alone(numbers: list[int]) -> None:
    taken = pc.take(simulate_run(RUN, 9)["image"], numbers)
    source = source_of(pc.sid.unwrap(taken)[0])
    assert source is not None
    assert source.load.frames == tuple(numbers)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.asarray(taken), _nine()[numbers])


def test_truth_of_frames_taken() -> None:
    truth, numbers = simulate_truth(RUN, 9, n_slots=30), [7, 2, 2, 0]
    for dataset in truth.values():
        np.testing.assert_array_equal(np.asarray(pc.take(dataset, numbers)), np.asarray(dataset)[numbers])
