"""What a threshold on the probability of one class costs and brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycroclass.errors import ParameterError
from pycroclass.evaluation.predictions import Predictions


@dataclass(frozen=True)
class OperatingPoint:
    """Items count as of a class where its probability is at least a threshold.

    Parameters
    ----------
    positive : str
        Name of the class.
    threshold : float
        ``-inf``: every item.
    origin : str
        How the threshold was found, in words.
    """

    positive: str
    threshold: float
    origin: str = "given"


@dataclass(frozen=True)
class OperatingMetrics:
    """What an operating point does to some items; NaN where a share is of nothing.

    Parameters
    ----------
    point : OperatingPoint
    support, n_positive : int
        Items, and those of the class.
    sensitivity : float
        Share of the items of the class that is found.
    specificity : float
        Share of the other items that is passed over.
    precision : float
        Share of what is found that is of the class.
    workload : float
        Share of all items that is found.
    prior : float
        Share of the class where the classifier will be used; that of these items unless stated.
    precision_at_prior : float
        The precision to expect there.
    """

    point: OperatingPoint
    support: int
    n_positive: int
    sensitivity: float
    specificity: float
    precision: float
    workload: float
    prior: float
    precision_at_prior: float


def measure(predictions: Predictions, point: OperatingPoint, *, prior: float | None = None) -> OperatingMetrics:
    """Apply an operating point to predictions that took no part in finding it.

    Parameters
    ----------
    predictions : Predictions
    point : OperatingPoint
    prior : float, optional
        Share of the class where the classifier will be used; by default that of the predictions.

    Examples
    --------
    >>> seen = Predictions([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], [0, 0, 1, 1], ("miss", "hit"))
    >>> found = measure(seen, OperatingPoint("hit", 0.25), prior=0.01)
    >>> found.sensitivity, found.specificity, round(found.precision_at_prior, 4)
    (1.0, 0.5, 0.0198)
    """
    c = predictions.class_index(point.positive)
    is_positive, is_found = predictions.labels == c, predictions.probability[:, c] >= point.threshold
    n, n_positive, n_found = len(is_positive), int(is_positive.sum()), int(is_found.sum())
    hits = int((is_positive & is_found).sum())
    sensitivity, specificity = _share(hits, n_positive), 1 - _share(n_found - hits, n - n_positive)
    prior = _share(n_positive, n) if prior is None else prior
    return OperatingMetrics(
        point,
        n,
        n_positive,
        sensitivity,
        specificity,
        _share(hits, n_found),
        _share(n_found, n),
        prior,
        precision_at(prior, sensitivity=sensitivity, specificity=specificity),
    )


def precision_at(prior: float, *, sensitivity: float, specificity: float) -> float:
    """The precision where a share ``prior`` of the items is of the class: ``π s / (π s + (1 − π)(1 − c))``, by Bayes.

    Parameters
    ----------
    prior : float
        π, between 0 and 1.
    sensitivity, specificity : float
        s and c, which a change of the prior leaves as they are if each class looks the same.

    Raises
    ------
    ParameterError
        If the prior is no share.

    Examples
    --------
    >>> round(precision_at(0.05, sensitivity=0.9, specificity=0.95), 4)
    0.4865
    """
    if not (0 <= prior <= 1 or np.isnan(prior)):
        raise ParameterError(f"a prior is a share between 0 and 1, got {prior}")
    found = prior * sensitivity
    return _share(found, found + (1 - prior) * (1 - specificity))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
