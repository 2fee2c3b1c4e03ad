"""Whether a probability means what it says: of the items with 80 %, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycroclass.evaluation.measures import N_BINS, bins_of
from pycroclass.evaluation.predictions import Booleans, Floats, Predictions


@dataclass(frozen=True)
class ReliabilityBin:
    """The items whose probability lies in ``(low, high]``; the first bin holds 0 too.

    Parameters
    ----------
    low, high : float
    support : int
    confidence : float
        Their mean probability; NaN in an empty bin.
    accuracy : float
        The share that is what was said; NaN in an empty bin.
    """

    low: float
    high: float
    support: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: probability against frequency, in 15 bins of equal width.

    Parameters
    ----------
    bins : tuple of ReliabilityBin
    ece : float
        Expected calibration error: the mean distance of accuracy from confidence, weighted by support (Guo et al., ICML 2017).
    largest_gap : float
        The largest such distance of a bin.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    largest_gap: float


def reliability_diagram(predictions: Predictions) -> Reliability:
    """The reliability of the most probable class.

    Examples
    --------
    >>> found = reliability_diagram(Predictions([[0.8, 0.2], [0.8, 0.2], [0.1, 0.9]], [0, 1, 1], ("miss", "hit")))
    >>> round(found.ece, 3), round(found.largest_gap, 3)
    (0.233, 0.3)
    """
    return _diagram(predictions.confidence, predictions.most_probable == predictions.labels)


def reliability_of_class(predictions: Predictions, name: str) -> Reliability:
    """The reliability of the probability of one class."""
    c = predictions.class_index(name)
    return _diagram(predictions.probability[:, c], predictions.labels == c)


def _diagram(confidence: Floats, is_right: Booleans) -> Reliability:
    bin_of = bins_of(confidence)
    support = np.bincount(bin_of, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bin_of, values, N_BINS) / support for values in (confidence, is_right)]
    gaps = np.abs(means[0] - means[1])[support > 0]
    edges = np.arange(N_BINS + 1) / N_BINS
    bins = map(ReliabilityBin, *(column.tolist() for column in (edges[:-1], edges[1:], support, *means)))
    ece = float((gaps * support[support > 0]).sum() / support.sum()) if gaps.size else float("nan")
    return Reliability(tuple(bins), ece, float(gaps.max(initial=0.0)))
