"""Area under the ROC curve and average precision, for many weightings of the same items at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from pycroclass.evaluation.predictions import Booleans, Floats, Integers

_N_AT_ONCE: Final = 1 << 21
"""Weights held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Items in falling order of their score, equal scores together.

    Parameters
    ----------
    order : array of int, shape (n_items,)
    starts : array of int
        First place of each run of equal scores.
    is_positive : array of bool, shape (n_items,)
        In falling order of the score.
    """

    order: Integers
    starts: Integers
    is_positive: Booleans

    @classmethod
    def of(cls, scores: Floats, is_positive: Booleans) -> Self:
        """The ranking of items by their scores."""
        order = np.argsort(-scores, kind="stable")
        is_first = np.concatenate(([True], np.diff(scores[order]) != 0))[: len(scores)]
        return cls(order, np.flatnonzero(is_first), is_positive[order])

    def areas(self, weights: Floats, unit: Integers) -> tuple[Floats, Floats]:
        """Area under the ROC curve and average precision for each weighting; NaN where a side has no weight.

        Equal scores count as half ordered (ROC), and as one threshold (precision), as in scikit-learn. Average precision is
        ``sum_i (R_i - R_(i-1)) P_i`` over thresholds, without interpolation.

        Parameters
        ----------
        weights : array, shape (n_weightings, n_units)
        unit : array of int, shape (n_items,)
            Which weight an item has.
        """
        areas = np.full((2, len(weights)), np.nan)
        if not len(self.order):
            return areas[0], areas[1]
        of_item = unit[self.order]
        step = max(1, _N_AT_ONCE // len(of_item))
        for start in range(0, len(weights), step):
            areas[:, start : start + step] = self._areas(weights[start : start + step, of_item])
        return areas[0], areas[1]

    def _areas(self, weights: Floats) -> Floats:
        positive = np.add.reduceat(weights * self.is_positive, self.starts, axis=1)
        negative = np.add.reduceat(weights * ~self.is_positive, self.starts, axis=1)
        found, alarms = positive.cumsum(1), negative.cumsum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = (negative * (found - positive / 2)).sum(1) / (found[:, -1] * alarms[:, -1])
            precision = np.where(positive > 0, found / (found + alarms), 0.0)
            average = (positive * precision).sum(1) / found[:, -1]
        return np.stack((roc, average))
