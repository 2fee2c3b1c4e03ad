"""The metrics of a classification as values, with how many items they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pycroclass.errors import ParameterError
from pycroclass.evaluation.measures import OF_CLASS, SUMMARY, Sums, key
from pycroclass.evaluation.predictions import Floats, Integers, Predictions


@dataclass(frozen=True)
class ClassMetrics:
    """How well one class is told from the rest; NaN where that is not defined.

    Parameters
    ----------
    support : int
        Items that are of the class.
    predicted : int
        Items that were given the class.
    precision : float
        Of the items given the class, the share that is of it.
    recall : float
        Of the items of the class, the share that was given it; also called sensitivity.
    specificity : float
        Of the items of other classes, the share that was not given the class.
    f1, roc_auc, average_precision : float
    """

    support: int
    predicted: int
    precision: float
    recall: float
    specificity: float
    f1: float
    roc_auc: float
    average_precision: float

    @property
    def sensitivity(self) -> float:
        """The recall by its other name."""
        return self.recall

    def f_beta(self, beta: float) -> float:
        """Weighted harmonic mean of precision and recall: ``(1 + beta²) P R / (beta² P + R)``; recall counts ``beta`` times as much.

        0 where no answer is right; NaN where the class occurs neither in truth nor in answers.
        """
        right = self.recall * self.support if self.support else 0.0
        denominator = beta**2 * self.support + self.predicted
        return (1 + beta**2) * right / denominator if denominator else float("nan")


@dataclass(frozen=True)
class Metrics:
    """All metrics of one set of items; NaN where one is not defined, as the ROC AUC of a set of one class.

    Parameters
    ----------
    support : int
        Number of items.
    n_groups : int
        Number of groups that the items come from; 0 where groups are not known.
    classes : tuple of str
    confusion : tuple of tuple of int, shape (n_classes, n_classes)
        Rows: true class; columns: class given.
    uncertain : tuple of int
        Items of each true class that were left uncertain.
    per_class : mapping of str to ClassMetrics
    accuracy, balanced_accuracy : float
        Balanced: the mean recall of the classes that occur.
    macro_f1, micro_f1 : float
    mcc : float
        Correlation coefficient of Matthews, for any number of classes (Gorodkin, Comput. Biol. Chem. 28, 367, 2004).
    kappa, kappa_linear, kappa_quadratic : float
        Of Cohen; the weighted ones take the classes as ordered.
    roc_auc, average_precision : float
        Mean over the classes, each against the rest.
    log_loss : float
        Natural logarithm.
    brier : float
        Summed over classes, halved where there are two.
    ece : float
        Expected calibration error of the most probable class, 15 bins of equal width.
    coverage : float
        Share of the items that were not left uncertain. Uncertain items count as not found in all metrics but the weighted kappas.
    """

    support: int
    n_groups: int
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    uncertain: tuple[int, ...]
    per_class: Mapping[str, ClassMetrics]
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    micro_f1: float
    mcc: float
    kappa: float
    kappa_linear: float
    kappa_quadratic: float
    roc_auc: float
    average_precision: float
    log_loss: float
    brier: float
    ece: float
    coverage: float

    @property
    def confusion_rows(self) -> Floats:
        """Share of the items of each true class that was given each class; a row misses what was left uncertain."""
        counts = np.array(self.confusion, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows: Floats = counts / (counts.sum(1) + np.array(self.uncertain))[:, None]
        return rows

    def precision_at_prior(self, prior: Mapping[str, float]) -> dict[str, float]:
        """The precision of each class where the classes have other shares than here, if each still looks the same.

        Parameters
        ----------
        prior : mapping of str to float
            Share of each class where the classifier will be used.

        Raises
        ------
        ParameterError
            If a class is missing, or the shares do not add up to 1.
        """
        shares = np.array([prior.get(name, np.nan) for name in self.classes])
        if set(prior) != set(self.classes) or not ((shares >= 0).all() and np.isclose(shares.sum(), 1)):
            raise ParameterError(f"wanted a share for each of {', '.join(self.classes)}, which add up to 1; got {dict(prior)}")
        given = shares[:, None] * self.confusion_rows
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.diagonal(given) / np.nansum(given, axis=0)
        return dict(zip(self.classes, precision.tolist(), strict=True))

    def values(self) -> dict[str, float]:
        """All metrics by name, those of a class as ``recall[crystal]``."""
        found = {name: getattr(self, name) for name in SUMMARY}
        for metric in OF_CLASS:
            found |= {key(metric, name): getattr(of_class, metric) for name, of_class in self.per_class.items()}
        return found


def metrics_of(predictions: Predictions) -> Metrics:
    """All metrics of some predictions.

    Examples
    --------
    >>> found = metrics_of(Predictions([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1], ("miss", "hit")))
    >>> round(found.accuracy, 3), found.per_class["hit"].recall, found.confusion
    (0.667, 1.0, ((1, 1), (0, 1)))
    """
    sums = Sums.of(predictions, np.zeros(predictions.n_items, np.int64), 1)
    return weighted(sums, np.ones((1, 1)), [len(predictions.group_names)])[0]


def weighted(sums: Sums, weights: Floats, n_groups: list[int]) -> list[Metrics]:
    """The metrics for each weighting with whole numbers, given how many groups each has."""
    found = sums.measures(weights)
    tables = np.tensordot(weights, sums.confusion, axes=1).round().astype(np.int64)
    return [
        _metrics(table, sums.classes, {name: float(values[i]) for name, values in found.items()}, n)
        for i, (table, n) in enumerate(zip(tables, n_groups, strict=True))
    ]


def _metrics(table: Integers, classes: tuple[str, ...], values: Mapping[str, float], n_groups: int) -> Metrics:
    k = len(classes)
    per_class = {
        name: ClassMetrics(int(table[i].sum()), int(table[:, i].sum()), **{metric: values[key(metric, name)] for metric in OF_CLASS})
        for i, name in enumerate(classes)
    }
    return Metrics(
        int(table.sum()),
        n_groups,
        classes,
        tuple(tuple(row) for row in table[:, :k].tolist()),
        tuple(table[:, k].tolist()),
        per_class,
        **{name: values[name] for name in SUMMARY},
    )
