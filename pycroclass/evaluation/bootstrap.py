"""How far a metric could be off: intervals by resampling groups, not items.

Items of one group (a run, a plate) resemble each other, so that resampling them one by one pretends to more evidence than there is. The
groups are what repeats independently: they are drawn with replacement, each with all its items (Davison and Hinkley, *Bootstrap Methods
and their Application*, 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pycroclass.evaluation.measures import Sums, of_confusion
from pycroclass.evaluation.predictions import Floats, Integers

LEVEL: Final = 0.95
"""Of every interval."""
_MOST_UNDEFINED: Final = 0.1
_GROWS: Final = ("ece",)
"""What resampling makes larger, because every gap counts as positive: its resamples lie beside the value, and bound nothing."""
_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class Interval:
    """Bounds between which a metric lies with a confidence of 95 %; NaN where that cannot be told.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float


def resampled(n_units: int, n: int, seed: int) -> Floats:
    """How often each unit was drawn in each of ``n`` resamples, shape ``(n, n_units)``."""
    drawn = np.random.default_rng(seed).integers(n_units, size=(n, n_units))
    rows = np.arange(n)[:, None] * n_units
    counts: Floats = np.bincount((rows + drawn).ravel(), minlength=n * n_units).reshape(n, n_units).astype(np.float64)
    return counts


def draws(sums: Sums, *, n: int, seed: int) -> dict[str, Floats]:
    """Each metric in ``n`` resamples of the units, by name."""
    n_units = len(sums.confusion)
    step = max(1, _AT_ONCE // max(n_units, 1))
    parts = [sums.measures(resampled(n_units, min(step, n - start), seed + start)) for start in range(0, n, step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def intervals(found: Mapping[str, Floats]) -> dict[str, Interval]:
    """The percentile interval of each metric: between the quantiles 0.025 and 0.975 of its resamples.

    Resamples in which a metric is not defined, because a class is missing, are left out; where they are more than a tenth, there is no
    interval. There is none of the calibration error either, which is larger in resamples than it is.

    Parameters
    ----------
    found : mapping of str to array
        From `draws`.
    """
    found = {name: values for name, values in found.items() if name not in _GROWS}
    table = np.sort(np.stack(list(found.values())), axis=1)  # NaN last
    n_defined = np.isfinite(table).sum(1)
    bounds = [_quantile(table, n_defined, (1 + side * LEVEL) / 2) for side in (-1, 1)]
    is_known = (n_defined > 0) & (n_defined >= (1 - _MOST_UNDEFINED) * table.shape[1])
    low, high = (np.where(is_known, bound, np.nan).tolist() for bound in bounds)
    return dict(zip(found, map(Interval, low, high), strict=True))


def within(confusion: Integers, classes: tuple[str, ...], *, n: int, seed: int) -> dict[str, Interval]:
    """Intervals of the metrics of one group, as if its items were independent: what can be said about this group alone.

    To resample items is to draw a confusion table from the multinomial distribution of the one seen.

    Parameters
    ----------
    confusion : array of int, shape (n_classes, n_classes + 1)
    """
    total = int(confusion.sum())
    if total == 0 or n == 0:
        return {}
    tables = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=n).reshape(n, *confusion.shape)
    return intervals(of_confusion(tables.astype(np.float64), classes))


def _quantile(table: Floats, n_defined: Integers, q: float) -> Floats:
    """The quantile of the defined values of each row, which come first and in order; between two, in proportion."""
    place = q * (n_defined - 1).clip(0)
    below = np.floor(place).astype(np.int64)
    low, high = (np.take_along_axis(table, at[:, None], axis=1)[:, 0] for at in (below, np.minimum(below + 1, (n_defined - 1).clip(0))))
    quantile: Floats = low + (place - below) * (high - low)
    return quantile
