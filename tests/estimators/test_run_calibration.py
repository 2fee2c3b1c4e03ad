"""The scale that a run tells without labels, and the runs that are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import sidpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_data import PlainData, spectra_spec

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, OutOfDomainError, ParameterError
from pycroclass.estimators import RunCalibration
from pycroclass.estimators.run_calibration import misses_of, otsu
from pycroclass.operators import LogisticModel
from pycroclass.serialize import from_dict, to_dict

MODEL = LogisticModel([1.0, 0.5], -6.0)
CALIBRATION = RunCalibration(MODEL, [0.0, 1.0], [0.5, 1.0], [6.0, 9.0], 1.0)


def run(n: int = 400, *, hits: float = 0.3, shift: float = 0.0, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two features of misses and hits, and which are hits."""
    rng = np.random.default_rng(seed)
    is_hit = rng.random(n) < hits
    misses = rng.normal([shift, 1 + shift], [0.5 * spread, spread], (n, 2))
    above = rng.uniform([3, 6], [9, 14], (n, 2)) + shift
    return np.where(is_hit[:, None], above, misses).astype(np.float32), is_hit


def fitted(features: np.ndarray, cuts: tuple[int, ...] = (), **changes: Any) -> pc.Pipeline:
    calibration = RunCalibration(MODEL, [0.0, 1.0], [0.5, 1.0], [6.0, 9.0], 1.0, **changes)
    return calibration.fit(PlainData(features, cuts), spectra_spec(features))


def labels(model: pc.Pipeline, features: np.ndarray) -> np.ndarray:
    scale, rule = model
    return rule.transform(scale.transform(torch.from_numpy(features)))["label"].numpy()


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=60))
def test_misses_are_those_of_the_shortest_half(values: list[float]) -> None:
    ordered = sorted(values)
    half = len(ordered) // 2 + 1
    starts = range(len(ordered) - half + 1)
    first = min(starts, key=lambda i: (np.float64(ordered[i + half - 1]) - ordered[i], i))
    m = np.median(ordered[first : first + half])
    location, spread = misses_of(np.array(values)[:, None])
    assert location.item() == m
    assert spread.item() == pytest.approx(1.4826 * np.median([m - v for v in values if v <= m]))


@pytest.mark.parametrize("hits", [0.0, 0.1, 0.3, 0.45])
def test_hits_hardly_move_it(hits: float) -> None:
    features, _ = run(2000, hits=hits)
    location, spread = misses_of(features.astype(np.float64))
    np.testing.assert_allclose(location, [0, 1], atol=0.3)
    np.testing.assert_allclose(spread, [0.5, 1], rtol=0.25)


def test_a_run_that_has_drifted_is_sorted_as_one_that_has_not() -> None:
    """A shift of all features, and misses that spread half as much again, cost an uncalibrated model its specificity."""
    for shift, spread in ((0.0, 1.0), (2.5, 1.0), (-3.0, 1.5)):
        features, is_hit = run(shift=shift, spread=spread)
        called = labels(fitted(features), features) == 1
        assert called[is_hit].mean() > 0.95
        assert called[~is_hit].mean() < 0.03
    drifted, is_hit = run(shift=2.5)
    uncalibrated = labels(fitted(run()[0]), drifted) == 1
    assert uncalibrated[~is_hit].mean() > 0.5


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40))
def test_otsu_leaves_the_least_variance_within_groups(values: list[int]) -> None:
    def within(bound: float) -> float:
        groups = [[v for v in values if v <= bound], [v for v in values if v > bound]]
        return sum(np.square(np.subtract(group, np.mean(group))).sum() for group in groups if group)

    found = otsu(np.array(values, np.float64))
    assert within(found) == pytest.approx(min(map(within, values)), abs=1e-6)


def stands_out(features: np.ndarray) -> np.ndarray:
    """By how many standard deviations of the misses of its run each frame does, in one sum."""
    location, spread = misses_of(features.astype(np.float64))
    sums = (features - location) / np.maximum(spread, [0.5, 1.0]) @ [1.0, 0.5]
    (m,), (s,) = misses_of(sums[:, None])
    return (sums - m) / max(s, 1.0)


def bound_of(features: np.ndarray) -> float:
    """Where a frame becomes a hit: the model's log odds are those standard deviations less the bound."""
    scale, model = fitted(features)
    score = model.transform(scale.transform(torch.from_numpy(features)))["score"].numpy()
    return float(np.median(stands_out(features) - score))


def with_tail(hits: float, away: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """A run of which a tenth of the misses stand out as none does in the training, and hits more than these."""
    features, is_hit = run(1000, hits=hits)
    rng = np.random.default_rng(1)
    in_tail = ~is_hit & (rng.random(len(features)) < 0.1)
    features[in_tail] += np.array([2.0, 4.0], np.float32) * rng.uniform(0.6, 1.4, (in_tail.sum(), 1)).astype(np.float32)
    features[is_hit] += np.array([away, 2 * away], np.float32)
    return features, is_hit


def test_bound_is_raised_to_where_frames_fall_into_two_groups() -> None:
    features, is_hit = with_tail(0.3)
    assert (stands_out(features)[~is_hit] > -MODEL.bias).mean() > 0.02
    called = labels(fitted(features), features) == 1
    assert called[is_hit].all()
    assert called[~is_hit].mean() < 0.002


@pytest.mark.parametrize("away", [-2.0, 0.0, 3.0, 9.0, 200.0])
@pytest.mark.parametrize("hits", [0.1, 0.4])
def test_bound_is_otsus_near_that_of_the_training(hits: float, away: float) -> None:
    features, _ = with_tail(hits, away)
    groups = otsu(np.sqrt(stands_out(features).clip(0, 100))) ** 2
    assert bound_of(features) == pytest.approx(min(max(groups, 4), 24), rel=1e-4)


def test_a_run_with_hardly_any_hits_keeps_the_bound() -> None:
    for hits in (0.0, 0.01):
        assert bound_of(run(1000, hits=hits)[0]) == pytest.approx(6, rel=1e-5)


def test_few_distinct_values_do_not_make_the_scale_too_fine() -> None:
    features = np.zeros((100, 2), np.float32)
    features[:20] = [9, 12]
    scale, _ = fitted(features)
    np.testing.assert_allclose(1 / scale.factor.values, [0.5, 1.0])
    assert labels(fitted(features), features).sum() == 20


@given(st.sets(st.integers(1, 399), max_size=6))
def test_chunks_make_no_difference(cuts: set[int]) -> None:
    features, _ = run()
    assert fitted(features, tuple(cuts)) == fitted(features)


def test_runs_that_cannot_be_judged_are_refused() -> None:
    near_hits, _ = run(shift=8.0)
    with pytest.raises(OutOfDomainError, match=r"no room .* probability .* Its misses have 0 7.9"):
        fitted(near_hits)
    wide, _ = run(spread=8.0)
    with pytest.raises(OutOfDomainError, match="no room"):
        fitted(wide)
    rich, _ = run(hits=0.5)
    with pytest.raises(OutOfDomainError, match=r"4.% of the frames .* most_hits"):
        fitted(rich, most_hits=0.3)
    assert isinstance(OutOfDomainError("why"), DataError)


def test_mostly_hits() -> None:
    """Where hits crowd around one value they are what most frames look like."""
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal([0, 1], [0.5, 1], (40, 2)), rng.normal([6, 9], [0.5, 1], (360, 2))]).astype(np.float32)
    with pytest.raises(OutOfDomainError):
        fitted(features)


def test_bad_input() -> None:
    features, _ = run(19)
    with pytest.raises(DataError, match="at least 20"):
        fitted(features)
    with pytest.raises(AxisError, match="fitted on items"):
        CALIBRATION.fit(PlainData(features[:, :1]), spectra_spec(features[:, :1]))
    for changes in ({"location": [0.0]}, {"spread": [0.0, 1.0]}, {"typical_hit": [np.nan, 1]}, {"model": pc.Log1p()}, {"most_hits": 1.5}):
        with pytest.raises(ParameterError, match=next(iter(changes))):
            RunCalibration(**{"model": MODEL, "location": [0, 1], "spread": [1, 1], "typical_hit": [6, 9], "score_spread": 1.0, **changes})  # type: ignore[arg-type]


def test_json_gives_it_back() -> None:
    steps, arrays = to_dict(CALIBRATION)
    (back,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert back == CALIBRATION
    assert hash(back) == hash(CALIBRATION)


def test_runs_through_the_engine_in_any_chunks() -> None:
    features, is_hit = run()
    results = []
    for chunks in ((400, 2), (37, 2)):
        table = sidpy.Dataset.from_array(features, chunks=chunks, title="features")
        for i, (name, kind) in enumerate((("frame", "temporal"), ("feature", "spectral"))):
            table.set_dimension(i, sidpy.Dimension(np.arange(features.shape[i]), name=name, dimension_type=kind))
        model = pc.fit(CALIBRATION, table)
        results.append(np.asarray(model(table)["label"]))
    np.testing.assert_array_equal(*results)
    assert (results[0] == is_hit).mean() > 0.97
