"""Intervals: those of scipy where items are independent, and honest where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn, sorted_as
from scipy import stats

from pycroclass.evaluation.bootstrap import draws, intervals, resampled, within
from pycroclass.evaluation.evaluation import evaluation_of
from pycroclass.evaluation.gap import gaps
from pycroclass.evaluation.measures import Sums
from pycroclass.evaluation.predictions import Predictions


def clustered(seed: int, n_groups: int = 25, n_each: int = 20, spread: float = 1.0) -> Predictions:
    """Groups of which some are easier than others."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0.8, spread, n_groups).repeat(n_each)
    right = rng.uniform(size=len(ease)) < stats.norm.cdf(ease)
    labels = rng.integers(0, 2, len(ease))
    given = np.where(right, labels, 1 - labels)
    return Predictions(np.eye(2)[given], labels, ("a", "b"), groups=np.arange(n_groups).repeat(n_each))


def test_resamples_draw_as_many_groups_as_there_are() -> None:
    weights = resampled(7, 5000, seed=0)
    assert (weights.sum(1) == 7).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.06)
    np.testing.assert_allclose(weights.var(0), 6 / 7, atol=0.06)
    assert (weights == resampled(7, 5000, seed=0)).all()
    assert (weights != resampled(7, 5000, seed=1)).any()


def test_interval_equals_that_of_scipy() -> None:
    """scipy resamples the mean of each group, equally large ones, which is what ours does for the accuracy."""
    predictions = clustered(0)
    of_group = (predictions.label == predictions.labels).reshape(25, 20).mean(1)
    wanted = stats.bootstrap((of_group,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    found = evaluation_of(predictions, n_bootstrap=5000).intervals["accuracy"]
    assert (found.low, found.high) == pytest.approx(wanted, abs=0.006)


def test_intervals_over_groups_hold_what_they_promise_and_those_over_items_do_not() -> None:
    truth = stats.norm.cdf(0.8 / np.sqrt(2))
    is_in: dict[str, list[bool]] = {"groups": [], "items": []}
    for seed in range(100):
        predictions = clustered(seed, n_each=10)
        alone = Predictions(predictions.probability, predictions.labels, predictions.classes)
        for name, which in (("groups", predictions), ("items", alone)):
            found = evaluation_of(which, n_bootstrap=100, seed=seed).intervals["accuracy"]
            is_in[name].append(found.low <= truth <= found.high)
    assert np.mean(is_in["groups"]) > 0.88
    assert np.mean(is_in["items"]) < 0.8


def test_the_calibration_error_has_no_interval() -> None:
    """Of a calibrated classifier most resamples are larger than the value itself."""
    confidence = np.random.default_rng(1).uniform(0.5, 1, 300)
    right = np.random.default_rng(2).uniform(size=300) < confidence
    predictions = Predictions(np.stack([confidence, 1 - confidence], 1), np.where(right, 0, 1), ("a", "b"), groups=np.arange(300) % 20)
    found = evaluation_of(predictions, n_bootstrap=200)
    resamples = draws(Sums.of(predictions, np.arange(300), 300), n=200, seed=0)["ece"]
    assert (resamples > found.pooled.ece).mean() > 0.8  # one half, were it not biased
    assert "ece" not in found.intervals
    assert "brier" in found.intervals
    assert np.isnan(gaps(predictions, predictions, n_bootstrap=20)["ece"].interval.low)


def test_one_group_has_no_interval() -> None:
    predictions = drawn(50, n_groups=1)
    found = evaluation_of(predictions)
    assert found.intervals == {}
    assert set(found.group_intervals["run 0"]) >= {"accuracy", "recall[crystal]"}


def test_a_metric_that_is_rarely_defined_has_no_interval() -> None:
    half = np.array([np.nan, 1.0] * 50)
    most = np.where(np.arange(100) < 5, np.nan, np.arange(100))
    found = intervals({"half": half, "most": most})
    assert np.isnan(found["half"].low)
    assert (found["most"].low, found["most"].high) == pytest.approx(tuple(np.quantile(np.arange(5, 100), [0.025, 0.975])))


def test_interval_within_a_group_equals_the_binomial() -> None:
    table = np.array([[70, 10, 0], [0, 20, 0]])
    found = within(table, ("a", "b"), n=20_000, seed=0)["accuracy"]
    assert (found.low, found.high) == pytest.approx(tuple(stats.binom.ppf([0.025, 0.975], 100, 0.9) / 100), abs=0.011)
    assert within(table * 0, ("a", "b"), n=10, seed=0) == {}


def test_per_group_numbers_are_those_of_the_group_alone() -> None:
    predictions = drawn(300, 3)
    found = evaluation_of(predictions, n_bootstrap=0)
    assert list(found.per_group) == list(predictions.group_names)
    for name, metrics in found.per_group.items():
        alone = evaluation_of(predictions.take(predictions.groups == name), n_bootstrap=0).pooled
        assert metrics.confusion == alone.confusion
        assert metrics.values() == pytest.approx(alone.values(), nan_ok=True)
    assert sum(metrics.support for metrics in found.per_group.values()) == found.pooled.support == 300


def test_gap_is_paired_by_group() -> None:
    """Groups differ much, but each loses the same outside: the difference is sure though neither side is."""
    rng = np.random.default_rng(0)
    sides = []
    for loss in (0.0, 0.15):
        labels = np.tile([0, 1], 500)
        groups = np.repeat(np.arange(10), 100)
        level = np.linspace(0.6, 0.95, 10)[groups] - loss
        right = rng.permuted((np.tile((np.arange(100) + 0.5) / 100, 10) < level).reshape(10, 100), axis=1).ravel()
        given = np.where(right, labels, 1 - labels)
        sides.append(Predictions(np.eye(2)[given], labels, ("a", "b"), groups=groups))
    found = gaps(*sides)["accuracy"]
    assert found.difference == pytest.approx(0.15, abs=0.01)
    assert 0.13 < found.interval.low < found.interval.high < 0.17
    alone = evaluation_of(sides[0]).intervals["accuracy"]
    assert alone.high - alone.low > 0.1


def test_gap_of_a_group_that_is_only_on_one_side() -> None:
    inside, outside = sorted_as([[9, 1], [1, 9]]), sorted_as([[5, 5], [5, 5]])
    inside = Predictions(inside.probability, inside.labels, inside.classes, groups=["a", "b"] * 10)
    outside = Predictions(outside.probability, outside.labels, outside.classes, groups=["c", "d"] * 10)
    found = gaps(inside, outside)["accuracy"]
    assert (found.inside, found.outside, found.difference) == pytest.approx((0.9, 0.5, 0.4))
