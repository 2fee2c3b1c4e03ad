"""Every metric of a classification, for many weightings of the items at once.

The pooled numbers, those of each group, and those of a thousand resamples of the groups differ in the weights of the groups alone. So
there is one implementation, which takes a matrix of weights; its plain twin, scikit-learn on the weighted items, is in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from pycroclass.evaluation.predictions import Floats, Integers, Predictions
from pycroclass.evaluation.ranking import Ranking

N_BINS: Final = 15
"""Bins of equal width of the expected calibration error."""
SUMMARY: Final = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "micro_f1",
    "mcc",
    "kappa",
    "kappa_linear",
    "kappa_quadratic",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "ece",
    "coverage",
)
"""Metrics of all classes together."""
OF_CLASS: Final = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
"""Metrics of one class against the rest."""


def key(metric: str, name: str) -> str:
    """How a metric of one class is called among all metrics.

    Examples
    --------
    >>> key("recall", "crystal")
    'recall[crystal]'
    """
    return f"{metric}[{name}]"


@dataclass(frozen=True, eq=False)
class Sums:
    """What the metrics follow from, summed over the items of each unit (a group, or an item).

    Parameters
    ----------
    classes : tuple of str
    unit : array of int, shape (n_items,)
    confusion : array, shape (n_units, n_classes, n_classes + 1)
        True class by given class; the last column counts the undecided.
    losses : array, shape (n_units, 2)
        Logarithmic loss and Brier score.
    excess : array, shape (n_units, N_BINS)
        Right answers less confidence, in bins of the confidence.
    rankings : tuple of Ranking
        For each class against the rest.
    """

    classes: tuple[str, ...]
    unit: Integers
    confusion: Floats
    losses: Floats
    excess: Floats
    rankings: tuple[Ranking, ...]

    @classmethod
    def of(cls, predictions: Predictions, unit: Integers, n_units: int) -> Self:
        """The sums of items that belong to units numbered from 0."""
        k = predictions.n_classes
        truth, confidence = predictions.labels, predictions.confidence
        excess = (predictions.most_probable == truth) - confidence
        rankings = [Ranking.of(predictions.probability[:, c], truth == c) for c in range(k)]
        return cls(
            predictions.classes,
            unit,
            _counted(n_units, k * (k + 1), unit, truth * (k + 1) + predictions.label).reshape(n_units, k, k + 1),
            np.stack([np.bincount(unit, loss, n_units) for loss in _losses(predictions)], axis=1),
            _counted(n_units, N_BINS, unit, bins_of(confidence), excess),
            tuple(rankings),
        )

    def measures(self, weights: Floats) -> dict[str, Floats]:
        """Every metric for each weighting, by name; NaN where it is not defined.

        Parameters
        ----------
        weights : array, shape (n_weightings, n_units)
        """
        confusion = np.tensordot(weights, self.confusion, axes=1)
        n = confusion.sum((1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            found = of_confusion(confusion, self.classes)
            losses = weights @ self.losses / n[:, None]
            found["ece"] = np.abs(weights @ self.excess).sum(1) / n
        found["log_loss"], found["brier"] = losses.T
        areas = np.array([ranking.areas(weights, self.unit) for ranking in self.rankings])
        for place, name in enumerate(("roc_auc", "average_precision")):
            found[name] = mean_of_defined(areas[:, place].T)
            found |= {key(name, c): areas[i, place] for i, c in enumerate(self.classes)}
        return found


def of_confusion(confusion: Floats, classes: tuple[str, ...]) -> dict[str, Floats]:
    """The metrics that follow from confusion tables alone.

    Parameters
    ----------
    confusion : array, shape (n_tables, n_classes, n_classes + 1)
        True class by given class; the last column counts items that were left uncertain. They count as not found, and as a class of
        their own in the coefficients of Matthews and Cohen; the weighted kappas leave them out, because they have no place in the order.
    classes : tuple of str

    Returns
    -------
    dict of str to array of float, shape (n_tables,)

    Examples
    --------
    >>> of_confusion(np.array([[[20.0, 5, 0], [10, 15, 0]]]), ("no", "yes"))["kappa"].round(3).tolist()
    [0.4]
    """
    k = len(classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support, given = confusion.sum(2), confusion.sum(1)
    predicted, n = given[:, :k], support.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_class = {
            "precision": right / predicted,
            "recall": right / support,
            "specificity": 1 - (predicted - right) / (n[:, None] - support),
            "f1": 2 * right / (support + predicted),
        }
        correct = right.sum(1)
        chance = (support * predicted).sum(1)
        found = {
            "accuracy": correct / n,
            "balanced_accuracy": mean_of_defined(of_class["recall"]),
            "macro_f1": mean_of_defined(of_class["f1"]),
            "micro_f1": 2 * correct / (n + predicted.sum(1)),
            "mcc": (correct * n - chance) / np.sqrt((n**2 - (given**2).sum(1)) * (n**2 - (support**2).sum(1))),
            "kappa": (correct * n - chance) / (n**2 - chance),
            "kappa_linear": _weighted_kappa(confusion[:, :, :k], 1),
            "kappa_quadratic": _weighted_kappa(confusion[:, :, :k], 2),
            "coverage": predicted.sum(1) / n,
        }
    found |= {key(metric, name): values[:, i] for metric, values in of_class.items() for i, name in enumerate(classes)}
    return found


def bins_of(confidence: Floats) -> Integers:
    """Number of the bin of each confidence; a bin holds its upper edge, and the first holds 0."""
    return (np.ceil(confidence * N_BINS).astype(np.int64) - 1).clip(0, N_BINS - 1)


def mean_of_defined(values: Floats) -> Floats:
    """The mean of each row without its NaN; NaN where nothing is left."""
    is_defined = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(is_defined, values, 0.0).sum(1) / is_defined.sum(1)
    return mean


def _weighted_kappa(confusion: Floats, power: int) -> Floats:
    k = confusion.shape[1]
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(np.float64) ** power
    observed = (distance * confusion).sum((1, 2))
    expected = np.einsum("ij,bi,bj->b", distance, confusion.sum(2), confusion.sum(1)) / confusion.sum((1, 2))
    kappa: Floats = 1 - observed / expected
    return kappa


def _losses(predictions: Predictions) -> tuple[Floats, Floats]:
    """Logarithmic loss of each item, at most that of the smallest step of float64, and its Brier score, halved for two classes."""
    items = np.arange(predictions.n_items)
    of_truth = predictions.probability[items, predictions.labels]
    difference = predictions.probability.copy()
    difference[items, predictions.labels] -= 1
    brier = (difference**2).sum(1) / (2 if predictions.n_classes == 2 else 1)
    return -np.log(of_truth.clip(np.finfo(np.float64).eps)), brier


def _counted(n_units: int, n_columns: int, unit: Integers, column: Integers, values: Floats | None = None) -> Floats:
    counts = np.bincount(unit * n_columns + column, values, n_units * n_columns)
    return counts.reshape(n_units, n_columns).astype(np.float64)
