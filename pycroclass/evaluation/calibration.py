"""Mending probabilities with items that took no part in training, and putting the mend into a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.isotonic import IsotonicRegression

from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.evaluation.predictions import Floats, Predictions
from pycroclass.evaluation.thresholds import Guarantee, Target, threshold_for
from pycroclass.operator import Operator
from pycroclass.operators.calibrate import IsotonicScale, TemperatureScale
from pycroclass.operators.decide import ClassThreshold, SureClass
from pycroclass.serialize import to_dict

_LEAST: Final = 1e-38
_RANGE: Final = (1e-3, 1e3)


def fit_temperature(predictions: Predictions) -> TemperatureScale:
    """The temperature with the least logarithmic loss (Guo et al., ICML 2017).

    One number, so that some hundred items are enough; the order of the probabilities of an item does not change.

    Raises
    ------
    DataError
        If there are no items, or none is best, because all items are right, or the probabilities are worse than a guess.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logits, labels = rng.normal(size=(2000, 3)), []
    >>> labels = [rng.choice(3, p=np.exp(z) / np.exp(z).sum()) for z in logits]
    >>> too_sure = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
    >>> round(fit_temperature(Predictions(too_sure, labels, ("a", "b", "c"))).temperature, 1)
    2.0
    """
    if predictions.n_items == 0:
        raise DataError("there are no items to find a temperature from")
    logits = np.log(predictions.probability.clip(_LEAST))
    of_truth = logits[np.arange(predictions.n_items), predictions.labels]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(scale * logits, axis=1) - scale * of_truth))

    if (of_truth >= logits.max(1)).all() or of_truth.mean() <= logits.mean():
        what = "all are right, so that no certainty is too much" if of_truth.mean() > logits.mean() else "guessing is better"
        raise DataError(f"no temperature is best on {predictions.n_items} items: {what}. Give more, and harder ones.")
    best = minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded", options={"xatol": 1e-6}).x
    return TemperatureScale(float(np.exp(best)))


def fit_isotonic(predictions: Predictions) -> IsotonicScale:
    """For each class the rising curve of least squares from its probability to its frequency (Zadrozny and Elkan, KDD 2002).

    It takes any shape, and needs about a thousand items to do so without following their noise.

    Raises
    ------
    DataError
        If a class has no item, or all.
    """
    counts = np.bincount(predictions.labels, minlength=predictions.n_classes)
    if not ((counts > 0) & (counts < predictions.n_items)).all():
        raise DataError(f"each class needs items, got {dict(zip(predictions.classes, counts.tolist(), strict=True))}")
    curves = [_curve(predictions.probability[:, c], predictions.labels == c) for c in range(predictions.n_classes)]
    longest = max(2, *(len(x) for x, _ in curves))
    padded = [[np.pad(part, (0, longest - len(part)), mode="edge") for part in curve] for curve in curves]
    scores, values = (ArrayValue(parts) for parts in zip(*padded, strict=True))
    return IsotonicScale(scores, values)


def sure_class(predictions: Predictions, sensitivity: float, *, guarantee: Guarantee = "conformal", confidence: float = 0.95) -> SureClass:
    """Thresholds below which a class is ruled out, so that a share of the items of each class keeps its class among the possible ones.

    An item is uncertain where several classes remain possible, or none.

    Parameters
    ----------
    predictions : Predictions
        Of independent items that took no part in training.
    sensitivity : float
        The share, for each class.
    guarantee : {"conformal", "bound", "empirical"}
        On average over repetitions; with ``confidence``; on these items only.
    confidence : float
        Of ``bound``, for each class.

    Raises
    ------
    DataError
        If a class has no items.
    """
    target = Target("sensitivity", sensitivity, guarantee, confidence)
    if missing := [name for c, name in enumerate(predictions.classes) if not (predictions.labels == c).any()]:
        raise DataError(f"no item is of the class {', '.join(missing)}: there is nothing to find a threshold from")
    thresholds = [threshold_for(predictions.probability[:, c], predictions.labels == c, target) for c in range(predictions.n_classes)]
    return SureClass(tuple(thresholds))


def with_step(bundle: Bundle, step: Operator, *, found_on: Evaluation) -> Bundle:
    """A bundle that goes one step further, such as a `TemperatureScale` or a `ClassThreshold`, and says which data it was found on.

    Calibrate first: thresholds belong to the probabilities that they were found on, and a step behind them would undo what they decide.

    Parameters
    ----------
    bundle : Bundle
    step : Operator
        Takes the probabilities of the bundle.
    found_on : Evaluation
        Of this bundle, on items that took no part in training and will take none in the evaluation.

    Raises
    ------
    DataError
        If the evaluation is of another bundle, or the bundle ends with a step that decides the label.
    """
    of = found_on.provenance.get("bundle", {}).get("digest")
    if of != bundle.digest:
        raise DataError(
            f"the evaluation is of the bundle {of}, not of {bundle.digest}; evaluate this one on the data to find the step from"
        )
    last = bundle.pipeline.steps()[-1]
    if isinstance(last, ClassThreshold | SureClass):
        raise DataError(
            f"the bundle decides by {type(last).__name__}, which {type(step).__name__} behind it would undo; "
            "add the step to the bundle as it was before, and decide last"
        )
    entry: dict[str, Any] = {"step": to_dict(step)[0], "items": found_on.predictions.n_items, "evaluation": dict(found_on.provenance)}
    training = {**bundle.training, "after_training": [*bundle.training.get("after_training", []), entry]}
    return replace(bundle, pipeline=bundle.pipeline | step, training=training)


def _curve(scores: Floats, is_positive: Any) -> tuple[Floats, Floats]:
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, is_positive.astype(np.float64))
    return fitted.X_thresholds_.clip(0, 1), np.maximum.accumulate(fitted.y_thresholds_)
