"""Fast detector noise: random numbers looked up in tables of their distribution."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import poisson as poisson_distribution

Float32Array = npt.NDArray[np.float32]

_LIMIT: Final = 40.0
_LEVELS: Final = 256
_BITS: Final = 14
_STEP: Final = np.sqrt(_LIMIT) / (_LEVELS - 1)


def poisson(rate: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Poisson counts for each rate, as ``rng.poisson`` gives them but five times as fast.

    Rates up to 40 are looked up: 256 tables of 16 384 quantiles, evenly spaced in the square root of the rate; one of the two
    neighbouring tables is chosen at random so that the mean is right to 2e-4 (the tails are cut at 3e-5). Larger rates are drawn exactly.

    Parameters
    ----------
    rate : float32 array
        Not negative.
    rng : numpy.random.Generator

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> counts = poisson(np.full(100_000, 2.5, np.float32), rng)
    >>> bool(abs(counts.mean() - 2.5) < 0.02), bool(abs(counts.var() - 2.5) < 0.05)
    (True, True)
    """
    bits = rng.integers(0, 1 << 32, rate.shape, dtype=np.uint32)
    level = np.sqrt(rate)
    level *= np.float32(1 / _STEP)
    level += (bits >> _BITS) * np.float32(2.0 ** (_BITS - 32))
    table = np.minimum(level, _LEVELS - 1).astype(np.int32)
    table <<= _BITS
    table |= (bits & ((1 << _BITS) - 1)).astype(np.int32)
    counts = _poisson_quantiles().take(table).astype(np.float32)
    bright = np.nonzero(rate > _LIMIT)
    counts[bright] = rng.poisson(rate[bright])
    return counts


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
    """Standard normal numbers, looked up among 65 536 quantiles.

    Examples
    --------
    >>> abs(float(normal((100_000,), np.random.default_rng(0)).std()) - 1) < 0.01
    True
    """
    return _normal_quantiles().take(rng.integers(0, 1 << 16, shape, dtype=np.uint16))


@cache
def _poisson_quantiles() -> npt.NDArray[np.uint8]:
    middles = (np.arange(1 << _BITS) + 0.5) / (1 << _BITS)
    counts = np.arange(128)
    rates = (_STEP * np.arange(_LEVELS)) ** 2
    rows = [np.searchsorted(poisson_distribution.cdf(counts, rate), middles) for rate in rates]
    table: npt.NDArray[Any] = np.concatenate(rows).astype(np.uint8)
    return table


@cache
def _normal_quantiles() -> Float32Array:
    quantiles: Float32Array = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)
    return quantiles
