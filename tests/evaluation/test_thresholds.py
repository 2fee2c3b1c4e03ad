"""Thresholds reach their targets: by closed forms, and in repetition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pycroclass.errors import DataError, ParameterError
from pycroclass.evaluation.operating import measure
from pycroclass.evaluation.predictions import Predictions
from pycroclass.evaluation.thresholds import Target, operating_point, rank, threshold_for

N_DRAWS = 200
SENSITIVITY = 0.98


def scores_of(rng: np.random.Generator, n_positive: int, n_negative: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores around 2 and 0."""
    is_positive = np.repeat([True, False], [n_positive, n_negative])
    return rng.normal(2.0 * is_positive, 1.0), is_positive


def sensitivity_of(threshold: float) -> float:
    """On the population, not on a sample."""
    return float(stats.norm.sf(threshold, loc=2.0))


@pytest.mark.parametrize("n_positive", [200, 300])
def test_sensitivity_of_98_percent_over_200_draws(n_positive: int) -> None:
    """The conformal threshold keeps it on average, the bound in 95 % of the draws; the empirical one does in about half."""
    rng = np.random.default_rng(0)
    reached: dict[str, list[float]] = {"empirical": [], "conformal": [], "bound": []}
    on_new_items = []
    for _ in range(N_DRAWS):
        scores, is_positive = scores_of(rng, n_positive, 300)
        new, is_new_positive = scores_of(rng, 100, 0)
        for name, values in reached.items():
            threshold = threshold_for(scores, is_positive, Target("sensitivity", SENSITIVITY, name))
            values.append(sensitivity_of(threshold))
            if name == "conformal":
                on_new_items.append((new[is_new_positive] >= threshold).mean())
    for means in (reached["conformal"], on_new_items):
        assert np.mean(means) >= SENSITIVITY - 2 * np.std(means, ddof=1) / math.sqrt(N_DRAWS)
    assert np.mean(np.array(reached["bound"]) >= SENSITIVITY) >= 0.95
    assert np.mean(np.array(reached["empirical"]) >= SENSITIVITY) < 0.75
    assert np.mean(reached["bound"]) < 0.998  # it is not bought by finding everything


@pytest.mark.parametrize("kind", ["empirical", "conformal", "bound"])
@pytest.mark.parametrize(("n", "s"), [(160, 0.98), (500, 0.9), (40, 0.8)])
def test_sensitivity_follows_the_beta_distribution(n: int, s: float, kind: str) -> None:
    """Beyond the k-th of n scores lies a share Beta(n − k + 1, k): its mean, and how often it is enough."""
    target = Target("sensitivity", s, kind)
    rng, k = np.random.default_rng(n), rank(n, 1 - s, Target("sensitivity", s, kind))
    law = stats.beta(n - k + 1, k)
    drawn_scores = np.sort(rng.normal(2, 1, (4000, n)), axis=1)
    reached = [sensitivity_of(threshold_for(row, np.ones(n, bool), target)) for row in drawn_scores[:400]]
    assert stats.kstest(reached, law.cdf).pvalue > 1e-3
    reached = stats.norm.sf(drawn_scores[:, k - 1], loc=2)
    assert np.mean(reached >= s) == pytest.approx(law.sf(s), abs=4 * math.sqrt(0.25 / 4000))
    if kind == "conformal":
        assert law.mean() >= s - 1e-12
        assert stats.beta(n - k, k + 1).mean() < s  # one rank more would be too much
    if kind == "bound":
        assert law.sf(s) >= 0.95
        assert stats.beta(n - k, k + 1).sf(s) < 0.95


@settings(max_examples=200, deadline=None, derandomize=True)
@given(n=st.integers(1, 3000), percent=st.integers(50, 99), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_ranks(n: int, percent: int, confidence: float) -> None:
    s = percent / 100
    target = Target("sensitivity", s, "bound", confidence)
    k = rank(n, 1 - s, target)
    tail = stats.binom.sf(np.arange(-1, n + 1), n, 1 - s)  # of at least 0, 1, … n + 1
    assert tail[k] >= confidence or k == 0
    assert tail[k + 1] < confidence
    conformal, empirical = (rank(n, 1 - s, Target("sensitivity", s, kind)) for kind in ("conformal", "empirical"))
    assert conformal == (100 - percent) * (n + 1) // 100
    assert empirical == (100 - percent) * n // 100 + 1
    assert conformal <= empirical


def test_bound_needs_149_items_for_98_percent() -> None:
    """ln 0.05 / ln 0.98 = 148.3."""
    target = Target("sensitivity", 0.98)
    assert (rank(148, 0.02, target), rank(149, 0.02, target)) == (0, 1)


def test_too_few_items_find_everything_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    predictions = drawn(40, 2)
    point = operating_point(predictions, "clear", Target("sensitivity", 0.98))
    assert point.threshold == -math.inf
    assert "too few for sensitivity at least 0.98 with confidence 0.95: every item counts as found" in caplog.text
    assert measure(predictions, point).sensitivity == 1
    assert operating_point(predictions, "clear", Target("workload", 0.01)).threshold == math.inf


def test_origin_is_told() -> None:
    point = operating_point(drawn(300, 2), "clear", Target("sensitivity", 0.9, "conformal"))
    assert point.origin.startswith("sensitivity at least 0.9 on average, from 1")
    assert point.origin.endswith("of 300 items")


@pytest.mark.parametrize("kind", ["empirical", "conformal", "bound"])
def test_workload(kind: str) -> None:
    rng = np.random.default_rng(3)
    target, worked = Target("workload", 0.1, kind), []
    for _ in range(400):
        scores = rng.uniform(size=150)
        threshold = threshold_for(scores, scores > 2, target)
        worked.append(1 - threshold)
    share = np.mean(np.array(worked) <= 0.1)
    assert share >= 0.95 if kind == "bound" else 0.3 < share < 0.7
    if kind == "conformal":
        assert np.mean(worked) <= 0.1 + 2 * np.std(worked) / 20
    if kind == "empirical":
        assert (scores >= threshold).sum() == 15


def test_workload_of_equal_scores_is_never_exceeded() -> None:
    scores = np.array([0.5] * 8 + [0.9] * 2)
    for share, found in ((0.15, 0), (0.25, 2)):
        threshold = threshold_for(scores, scores > 0, Target("workload", share, "empirical"))
        assert (scores >= threshold).sum() == found


def test_precision_on_these_items() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    is_positive = np.array([True, True, False, True, True, False])
    assert threshold_for(scores, is_positive, Target("precision", 0.75, "empirical")) == 0.6
    assert threshold_for(scores, is_positive, Target("precision", 0.6, "empirical")) == 0.5
    assert threshold_for(scores, is_positive, Target("precision", 0.99, "empirical")) == 0.8
    with pytest.raises(DataError, match=r"no threshold has a precision of 0\.99 on 6 items"):
        threshold_for(scores, ~is_positive, Target("precision", 0.99, "empirical"))


def test_precision_is_kept_with_confidence() -> None:
    rng = np.random.default_rng(4)
    target, kept, n_found = Target("precision", 0.8), [], []
    for _ in range(200):
        scores, is_positive = scores_of(rng, 1000, 4000)
        threshold = threshold_for(scores, is_positive, target)
        found = 0.2 * stats.norm.sf(threshold, loc=2), 0.8 * stats.norm.sf(threshold)
        kept.append(found[0] / sum(found))
        n_found.append((scores >= threshold).sum())
    assert np.mean(np.array(kept) >= 0.8) >= 0.95
    assert np.median(n_found) > 100  # it is not bought by finding nothing
    too_few = scores_of(rng, 10, 10)
    with pytest.raises(DataError, match="The least that could do is 25 items found without an error"):
        threshold_for(*too_few, target)


def test_items_of_one_group_promise_too_much_and_one_of_each_does_not() -> None:
    """Forty runs of fifty hits each; the scores of a run move together."""
    target, n_runs = Target("sensitivity", 0.9), 40
    reached: dict[str, list[bool]] = {"all": [], "one of each": []}
    rng = np.random.default_rng(5)
    for seed in range(150):
        scores = rng.normal(0, 1, n_runs).repeat(50) + rng.normal(0, 0.5, n_runs * 50)
        probability = 1 / (1 + np.exp(-scores))
        groups = np.arange(n_runs).repeat(50)
        predictions = Predictions(np.stack([1 - probability, probability], 1), np.ones(len(scores)), ("miss", "hit"), groups=groups)
        for name, items in (("all", predictions), ("one of each", predictions.one_of_each_group(seed=seed))):
            threshold = operating_point(items, "hit", target).threshold
            reached[name].append(stats.norm.sf(np.log(threshold / (1 - threshold)), scale=math.sqrt(1.25)) >= 0.9)
    assert np.mean(reached["all"]) < 0.8
    assert np.mean(reached["one of each"]) >= 0.95


def test_targets_that_mean_nothing() -> None:
    for wrong, message in (
        (("recall", 0.9), "quantity must be one of sensitivity, specificity, precision, workload"),
        (("sensitivity", 1.0), "value must lie between 0 and 1"),
        (("sensitivity", 0.9, "sure"), "guarantee must be one of empirical, conformal, bound"),
        (("precision", 0.9, "conformal"), "no threshold has a conformal guarantee of precision"),
        (("sensitivity", 0.9, "bound", 1.0), "confidence must lie between 0 and 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            Target(*wrong)
    no_hits = drawn(20, 2).take(drawn(20, 2).labels == 0)
    with pytest.raises(DataError, match="no item is of the class 'precipitate'"):
        operating_point(no_hits, "precipitate", Target("sensitivity", 0.9))
