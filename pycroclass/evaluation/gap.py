"""How much worse a classifier is on groups that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycroclass.evaluation.bootstrap import Interval, intervals, resampled
from pycroclass.evaluation.measures import Sums
from pycroclass.evaluation.predictions import Integers, Predictions


@dataclass(frozen=True)
class Gap:
    """One metric on items of groups that were learned from, and on those of other groups.

    Parameters
    ----------
    inside, outside : float
    difference : float
        ``inside - outside``.
    interval : Interval
        Of the difference; the groups resampled, the same on both sides.
    """

    inside: float
    outside: float
    difference: float
    interval: Interval


def gaps(inside: Predictions, outside: Predictions, *, n_bootstrap: int = 1000, seed: int = 0) -> dict[str, Gap]:
    """The gap of each metric, by name.

    Parameters
    ----------
    inside, outside : Predictions
        With groups. Groups that are on both sides are resampled together, so that what makes a group easy or hard cancels.
    n_bootstrap, seed : int

    Examples
    --------
    >>> seen = Predictions([[0.9, 0.1], [0.2, 0.8]] * 2, [0, 1] * 2, ("miss", "hit"), groups=["a", "a", "b", "b"])
    >>> new = Predictions([[0.9, 0.1], [0.7, 0.3]] * 2, [0, 1] * 2, ("miss", "hit"), groups=["a", "a", "b", "b"])
    >>> gaps(seen, new, n_bootstrap=10)["accuracy"].difference
    0.5
    """
    names = tuple(dict.fromkeys((*inside.group_names, *outside.group_names)))
    sums = [Sums.of(side, _units(side, names), len(names)) for side in (inside, outside)]
    here, there = (side.measures(np.ones((1, len(names)))) for side in sums)
    bounds = {}
    if n_bootstrap and len(names) > 1:
        weights = resampled(len(names), n_bootstrap, seed)
        drawn = [side.measures(weights) for side in sums]
        bounds = intervals({name: drawn[0][name] - drawn[1][name] for name in here})
    unknown = Interval(float("nan"), float("nan"))
    return {
        name: Gap(float(here[name][0]), float(there[name][0]), float(here[name][0] - there[name][0]), bounds.get(name, unknown))
        for name in here
    }


def _units(predictions: Predictions, names: tuple[str, ...]) -> Integers:
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[name] for name in (() if predictions.groups is None else predictions.groups.tolist())], np.int64)
