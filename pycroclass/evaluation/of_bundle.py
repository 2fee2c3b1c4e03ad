"""From a bundle and labelled data to an evaluation."""

from __future__ import annotations

import logging
import platform
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import dask
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass._version import __version__
from pycroclass.api import classify
from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.data_record import data_record
from pycroclass.errors import DataError, ParameterError
from pycroclass.evaluation.evaluation import Evaluation, evaluation_of
from pycroclass.evaluation.operating import OperatingPoint
from pycroclass.evaluation.predictions import Booleans, Integers, Predictions
from pycroclass.operators.decide import ClassThreshold
from pycroclass.per_item import column, columns
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.stage import Execution

log = logging.getLogger(__name__)

_VERSIONED: Final = ("torch", "numpy", "scikit-learn")
_NO_CLASS: Final = -1


def evaluate(
    bundle: Bundle,
    dataset: sidpy.Dataset,
    *,
    labels: npt.ArrayLike | sidpy.Dataset | None = None,
    groups: str | npt.ArrayLike | None = None,
    prior: float | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    execution: Execution | None = None,
) -> Evaluation:
    """Measure how good a bundle is on labelled data that it has not seen.

    Items without a true class are left out. So are items for which the bundle has no answer, because they hold NaN; both are counted
    in the provenance and in the log.

    Parameters
    ----------
    bundle : Bundle
    dataset : sidpy.Dataset
        One item for each position on its navigation axes.
    labels : array of int or str, shape of the navigation axes, optional
        True class of each item: its number (-1 is none) or its name. By default those of the dataset.
    groups : str or array, optional
        What items share that makes them resemble each other: a run, a plate, a patient. Name of a per-item column, or a value for each
        item. Intervals then come from resampling the groups; without them they are too narrow if items resemble each other.
    prior : float, optional
        Share of the class of the bundle's threshold where the bundle will be used, for the precision to expect there; by default that of
        these items.
    n_bootstrap : int
        Resamples for the intervals; 0 for none.
    seed : int
        Of the resamples.
    execution : Execution, optional
        Device and block sizes.

    Returns
    -------
    Evaluation
        With the operating point of the bundle, where it has one.

    Raises
    ------
    BundleError
        If the bundle was made for other data.
    DataError
        If labels or groups are missing or do not fit, or the bundle sorts no items.
    ParameterError
        If there is a prior, and the bundle ends with no threshold, or it is no share.
    """
    point = _point(bundle)
    if prior is not None and point is None:
        raise ParameterError("a prior is for a bundle that ends with a ClassThreshold; see Metrics.precision_at_prior for all classes")
    truth = _truth(bundle, dataset, labels)
    probability, decided = _answers(bundle, dataset, execution)
    if len(truth) != len(probability):
        raise DataError(f"there are {len(truth)} labels for {len(probability)} items; give one for each item")
    is_labelled, is_answered = truth >= 0, np.isfinite(probability).all(1)
    _warn(len(truth), is_labelled, is_answered)
    use = is_labelled & is_answered
    predictions = Predictions(
        probability[use],
        truth[use],
        bundle.classes,
        groups=None if groups is None else _per_item("groups", dataset, groups, len(truth))[use],
        names=_per_item("names", dataset, dataset.metadata["files"], len(truth))[use] if "files" in dataset.metadata else None,
        decided=decided[use] if (decided[use] != probability[use].argmax(1)).any() else None,
    )
    record = {
        "bundle": {"digest": bundle.digest, "classes": list(bundle.classes)},
        "data": data_record(dataset),
        "labels": ArrayValue(truth).digest,
        "groups": groups if isinstance(groups, str) else ("given" if groups is not None else None),
        "n_items": len(truth),
        "n_unlabelled": int((~is_labelled).sum()),
        "n_unanswered": int((is_labelled & ~is_answered).sum()),
        "versions": {"python": platform.python_version(), "pycroclass": __version__, **{name: version(name) for name in _VERSIONED}},
    }
    found = evaluation_of(predictions, n_bootstrap=n_bootstrap, seed=seed, provenance=record)
    return found if point is None else found.at([point], prior=prior)


def _point(bundle: Bundle) -> OperatingPoint | None:
    """The threshold that decides: the last step decides the label, whatever came before."""
    last = bundle.pipeline.steps()[-1]
    if not isinstance(last, ClassThreshold):
        return None
    positive = bundle.classes[last.positive] if isinstance(last.positive, int) else last.positive
    return OperatingPoint(positive, last.threshold, "the bundle")


def _answers(bundle: Bundle, dataset: sidpy.Dataset, execution: Execution | None) -> tuple[npt.NDArray[Any], Integers]:
    """Probability and label of each item; both from one pass."""
    array, spec = unwrap(dataset)
    if spec.classes != bundle.classes:  # labels go by name, so that the dataset may have fewer classes, or another order
        metadata = {name: value for name, value in dataset.metadata.items() if name != "classes"}
        dataset = wrap(array, replace(spec, classes=()), provenance=provenance_of(dataset), metadata=metadata)
    results = classify(dataset, bundle, execution=execution)
    if not {"probability", "label"} <= results.keys():
        raise DataError(f"the bundle gives {', '.join(map(repr, results)) or 'one unnamed result'}, wanted 'probability' and 'label'")
    (probability, meaning), (label, _) = unwrap(results["probability"]), unwrap(results["label"])
    if set(spec.core(bundle.item.domain, bundle.item.core)) & set(meaning.names):
        raise DataError(f"the bundle sorts pixels: its answers have the axes {meaning.names}; wanted one answer for each item")
    values, decided = dask.compute(probability, label)
    return values.reshape(-1, len(bundle.classes)).astype(np.float64), decided.ravel().astype(np.int64)


def _truth(bundle: Bundle, dataset: sidpy.Dataset, labels: npt.ArrayLike | sidpy.Dataset | None) -> Integers:
    """The number of the true class of each item in the order of the bundle; -1 for none."""
    given = columns(dataset).get("labels") if labels is None else labels
    if given is None:
        raise DataError(f"the dataset {dataset.title!r} has no labels. Read a folder per class or a table, or give labels=….")
    values = unwrap(given)[0].compute() if isinstance(given, sidpy.Dataset) else np.asarray(given)
    named_by = unwrap(given if isinstance(given, sidpy.Dataset) else dataset)[1].classes or bundle.classes
    values = values.ravel()
    if values.dtype.kind in "iu":
        if values.size and not _NO_CLASS <= values.min() <= values.max() < len(named_by):
            raise DataError(f"labels run from {values.min()} to {values.max()}, wanted -1 (none) to {len(named_by) - 1} for {named_by}")
        values = np.array([*named_by, ""])[values]
    if values.dtype.kind not in "US":
        raise DataError(f"labels must be whole numbers or names, got {values.dtype}")
    number = {name: i for i, name in enumerate(bundle.classes)} | {"": _NO_CLASS}
    if unknown := sorted(set(values.astype(str).tolist()) - set(number)):
        raise DataError(f"the labels name the classes {unknown}, which the bundle does not know: it has {bundle.classes}")
    return np.array([number[name] for name in values.astype(str).tolist()], np.int64)


def _per_item(what: str, dataset: sidpy.Dataset, given: Any, n_items: int) -> npt.NDArray[np.str_]:
    values = np.asarray(column(dataset, given) if isinstance(given, str) else given).ravel()
    if len(values) != n_items:
        raise DataError(f"there are {len(values)} {what} for {n_items} items; give one for each item")
    return values.astype(str)


def _warn(n: int, is_labelled: Booleans, is_answered: Booleans) -> None:
    if n_unlabelled := int((~is_labelled).sum()):
        log.warning("%d of %d items have no true class and are left out", n_unlabelled, n)
    if n_unanswered := int((is_labelled & ~is_answered).sum()):
        log.warning("%d of %d items hold NaN or inf, get no answer, and are left out", n_unanswered, n)
