"""The threshold that reaches a target, from scores of items that took no part in training.

Every threshold that can be promised is an order statistic of ``n`` scores: the share of new scores below the k-th smallest follows the
distribution Beta(k, n − k + 1), whatever the distribution of the scores (David and Nagaraja, *Order Statistics*, 2003, section 2.5). So

* ``empirical``: k = ⌊(1 − s) n⌋ + 1 reaches the target on these items, and on new ones about half of the time;
* ``conformal``: k = ⌊(1 − s)(n + 1)⌋ reaches it on average over repetitions (Vovk, Gammerman and Shafer, 2005);
* ``bound``: the largest k with P(Bin(n, 1 − s) ≥ k) ≥ c reaches it with confidence c (Wilks, Ann. Math. Stat. 12, 91, 1941).

Items must be independent. Where they come in groups, find thresholds on `Predictions.one_of_each_group`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from scipy import stats

from pycroclass.errors import DataError, ParameterError
from pycroclass.evaluation.operating import OperatingPoint
from pycroclass.evaluation.predictions import Booleans, Floats, Predictions

log = logging.getLogger(__name__)

Quantity = Literal["sensitivity", "specificity", "precision", "workload"]
Guarantee = Literal["empirical", "conformal", "bound"]
_N_TRIED: Final = 10
"""Thresholds among which the one that is sure of a precision is looked for."""
_ROUNDING: Final = 1e-9
"""0.1 is a little less than 1 - 0.9, which must not cost a rank."""


@dataclass(frozen=True)
class Target:
    """What a threshold must reach, and how surely.

    Parameters
    ----------
    quantity : {"sensitivity", "specificity", "precision", "workload"}
        Share of the items of the class that is found, at least; share of the other items that is passed over, at least; share of what
        is found that is of the class, at least; share of all items that is found, at most.
    value : float
        Between 0 and 1.
    guarantee : {"bound", "conformal", "empirical"}
        On new items with ``confidence``; on average over repetitions (not for precision); on these items only.
    confidence : float
        Of ``bound``.

    Examples
    --------
    >>> print(Target("sensitivity", 0.98))
    sensitivity at least 0.98 with confidence 0.95
    """

    quantity: Quantity
    value: float
    guarantee: Guarantee = "bound"
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, kinds in (("quantity", get_args(Quantity)), ("guarantee", get_args(Guarantee))):
            if getattr(self, name) not in kinds:
                raise ParameterError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")
        for name in ("value", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if (self.quantity, self.guarantee) == ("precision", "conformal"):
            raise ParameterError("no threshold has a conformal guarantee of precision; take guarantee='bound' or 'empirical'")

    def __str__(self) -> str:
        sense = "at most" if self.quantity == "workload" else "at least"
        how = {"empirical": "on the items it was found on", "conformal": "on average", "bound": f"with confidence {self.confidence:g}"}
        return f"{self.quantity} {sense} {self.value:g} {how[self.guarantee]}"


def operating_point(predictions: Predictions, positive: str, target: Target) -> OperatingPoint:
    """The operating point that reaches a target with as little effort, or as many finds, as possible.

    Parameters
    ----------
    predictions : Predictions
        Of independent items that took no part in training, and will take none in the evaluation.
    positive : str
        The class to be found.
    target : Target

    Raises
    ------
    DataError
        If no item is of the class, or no threshold reaches the precision.

    Examples
    --------
    >>> p = np.linspace(0, 1, 100)
    >>> found = operating_point(Predictions(np.stack([1 - p, p], 1), p > 0.5, ("miss", "hit")), "hit", Target("sensitivity", 0.9))
    >>> round(found.threshold, 3), found.origin
    (0.515, 'sensitivity at least 0.9 with confidence 0.95, from 50 of 100 items')
    """
    c = predictions.class_index(positive)
    scores, is_positive = predictions.probability[:, c], predictions.labels == c
    if not is_positive.any():
        raise DataError(f"no item is of the class {positive!r}: there is nothing to find a threshold from")
    threshold = threshold_for(scores, is_positive, target)
    if math.isinf(threshold):
        what = "every item counts as found" if threshold < 0 else "nothing is found"
        log.warning("%d items, %d of them %r, are too few for %s: %s", len(scores), is_positive.sum(), positive, target, what)
    return OperatingPoint(positive, threshold, f"{target}, from {int(is_positive.sum())} of {len(scores)} items")


def threshold_for(scores: Floats, is_positive: Booleans, target: Target) -> float:
    """The threshold that reaches a target, where items with a score of at least the threshold are found.

    Parameters
    ----------
    scores : array, shape (n_items,)
        Higher where an item is more likely of the class.
    is_positive : array of bool, shape (n_items,)
        Whether it is.
    target : Target

    Returns
    -------
    float
        ``-inf`` where the items are too few to leave out any; ``inf`` where they are too few to allow any work.

    Raises
    ------
    DataError
        If no threshold reaches the precision.
    """
    match target.quantity:
        case "sensitivity":
            positive = np.sort(scores[is_positive])
            k = rank(len(positive), 1 - target.value, target)
            return float(positive[k - 1]) if k else -math.inf
        case "specificity":
            return _passing_over(scores[~is_positive], 1 - target.value, target)
        case "workload":
            return _passing_over(scores, target.value, target)
        case "precision" if target.guarantee == "empirical":
            return _precise(scores, is_positive, target.value)
        case "precision":
            return _surely_precise(scores, is_positive, target.value, target.confidence)


def rank(n: int, share: float, target: Target) -> int:
    """Which of ``n`` scores in order leaves a ``share`` of new scores on its far side, by the guarantee of the target; 0 for none.

    Examples
    --------
    >>> [rank(200, 0.02, Target("sensitivity", 0.98, kind)) for kind in ("empirical", "conformal", "bound")]
    [5, 4, 1]
    """
    match target.guarantee:
        case "empirical":
            return min(math.floor(share * n + _ROUNDING) + 1, n)
        case "conformal":
            return math.floor(share * (n + 1) + _ROUNDING)
        case "bound":
            k = int(stats.binom.ppf(1 - target.confidence, n, share)) + 1
            return k if stats.binom.sf(k - 1, n, share) >= target.confidence else k - 1


def _passing_over(scores: Floats, share: float, target: Target) -> float:
    """The threshold from which on no more than a share of such scores is found; `inf` where they are too few."""
    k = rank(len(scores), share, target)
    return _above(scores, k) if k else math.inf


def _above(scores: Floats, k: int) -> float:
    """The least threshold that is above the k-th largest score."""
    return float(np.nextafter(np.sort(scores)[len(scores) - k], math.inf))


def _precise(scores: Floats, is_positive: Booleans, precision: float) -> float:
    """The least score from which on the precision is reached on these items."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    reached = is_positive[order].cumsum() >= precision * np.arange(1, len(order) + 1) - _ROUNDING
    reached &= np.append(np.diff(falling) != 0, True)  # items with equal scores are found together
    if not reached.any():
        raise DataError(f"no threshold has a precision of {precision:g} on {len(scores)} items; ask for less")
    return float(falling[np.flatnonzero(reached)[-1]])


def _surely_precise(scores: Floats, is_positive: Booleans, precision: float, confidence: float) -> float:
    """The least of some thresholds for which a precision below the target is refuted, each tested at its share of the error.

    The thresholds are set by ranks, not by labels, and lie above a score: given that score, the items above it are independent draws, so
    that the hits among them are binomial (Angelopoulos et al., Ann. Appl. Stat. 19, 1641, 2025, with Bonferroni's correction).
    """
    n, error = len(scores), (1 - confidence) / _N_TRIED
    fewest = math.ceil(math.log(error) / math.log(precision))
    if fewest < n:
        for k in np.unique(np.geomspace(fewest + 1, n, _N_TRIED).astype(np.int64))[::-1]:
            threshold = _above(scores, int(k))
            is_found = scores >= threshold
            if stats.binom.sf(is_positive[is_found].sum() - 1, is_found.sum(), precision) <= error:
                return threshold
    raise DataError(
        f"no threshold has a precision of at least {precision:g} with confidence {confidence:g} on {n} items. "
        f"The least that could do is {fewest + 1} items found without an error: give more items, or ask for less."
    )
