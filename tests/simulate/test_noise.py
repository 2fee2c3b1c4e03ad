from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pycroclass.simulate.noise import normal, poisson


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.7, 2.5, 11.1, 39.9, 40.1, 300.0])
def test_poisson_is_as_numpy_draws_it(rate: float) -> None:
    n = 200_000
    counts = poisson(np.full(n, rate, np.float32), np.random.default_rng(1))
    assert abs(counts.mean() - rate) <= 4 * np.sqrt(rate / n) + 2e-4
    assert abs(counts.var() - rate) <= 4 * np.sqrt((rate + 3 * rate**2) / n) + 0.003 * rate
    top = int(stats.poisson.ppf(0.999, rate)) + 1
    expected = stats.poisson.pmf(np.arange(top), rate)
    found = np.bincount(counts.astype(int), minlength=top)[:top] / n
    assert np.abs(found - expected).max() < 0.004


def test_poisson_follows_each_rate() -> None:
    rates = np.linspace(0, 60, 100_003, dtype=np.float32)
    counts = poisson(rates, np.random.default_rng(2))
    slope, offset = np.polyfit(rates, counts, 1)
    assert abs(slope - 1) < 0.005
    assert abs(offset) < 0.05


def test_normal_is_normal() -> None:
    values = normal((300, 400), np.random.default_rng(3))
    assert stats.kstest(values.ravel()[:20_000], "norm").pvalue > 1e-3
    assert values.dtype == np.float32


@pytest.mark.parametrize(("rate", "least"), [(0.1, 4), (0.5, 6), (2.5, 12), (20.0, 42)])
def test_rare_counts_come_as_rarely_as_they_should(rate: float, least: int) -> None:
    """Far beyond the last of the 16 384 quantiles: what a peak finder would take for a faint peak."""
    n = 8_000_000
    expected = n * stats.poisson.sf(least - 1, rate)
    assert 3 < expected < n / 16384
    found = int((poisson(np.full(n, rate, np.float32), np.random.default_rng(4)) >= least).sum())
    assert abs(found - expected) <= 4 * np.sqrt(expected) + 0.02 * expected


@pytest.mark.parametrize("n", [1, 7, 32_768, 32_769, 100_001])
def test_any_number_of_pixels(n: int) -> None:
    whole = poisson(np.full(n, 3.0, np.float32), np.random.default_rng(5))
    assert whole.shape == normal((n,), np.random.default_rng(5)).shape == (n,)
    assert abs(whole.mean() - 3) < 6 / np.sqrt(n)
