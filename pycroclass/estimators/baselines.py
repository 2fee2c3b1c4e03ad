"""What simple methods make of the same items: a network that does not beat them is not needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from pycroclass.estimators._batches import LabelledItems
from pycroclass.operators.image_features import FEATURES, joined_features
from pycroclass.reduction import hash_uniform

_MOST_ITEMS: Final = 4000
"""Items to learn from, for a kernel machine slows down with their square."""
_N_POINTS: Final = 128
_CHUNK: Final = 64

Integers = npt.NDArray[np.int64]


def score_baselines(
    items: LabelledItems, training: Integers, validation: Integers, classes: tuple[str, ...], *, seed: int
) -> dict[str, dict[str, Any]]:
    """Train simple methods on the training items and measure them on the validation items.

    ``total intensity`` is a logistic regression of the mean of an item and nothing else. The others see quantiles, radial profile,
    histograms of local binary patterns and of oriented gradients of an image, or a spectrum in up to 128 bins: logistic regression,
    linear and kernel support vector machine, random forest. Each class weighs the same.

    Parameters
    ----------
    items : LabelledItems
    training, validation : int64 array
        Numbers of items. Of more than 4000 to learn from, some are chosen by their hash; of a rare class, all.
    classes : tuple of str
    seed : int

    Returns
    -------
    dict of str to dict
        By name: accuracy, balanced accuracy, and how many items were learned from; JSON-ready.
    """
    if len(training) > _MOST_ITEMS:
        training = _chosen(training, items.labels[training], seed)
    numbers, rows = _features(items, np.union1d(training, validation))
    learn, judge = np.searchsorted(numbers, training), np.searchsorted(numbers, validation)
    scores = {}
    for name, (columns, model) in _methods(seed).items():
        known = rows[:, columns]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(known[learn], items.labels[training])
        found = model.predict(known[judge])
        truth = items.labels[validation]
        scores[name] = {
            "accuracy": float(accuracy_score(truth, found)),
            "balanced_accuracy": float(balanced_accuracy_score(truth, found)),
            "n_training": len(training),
        }
    return scores


def _chosen(numbers: Integers, labels: Integers, seed: int) -> Integers:
    """4000 of many items by their hash, and before all others of each class up to half of an equal share."""
    order = np.argsort(hash_uniform(numbers, seed), kind="stable")
    classes = np.unique(labels)
    first = np.concatenate([order[labels[order] == one][: _MOST_ITEMS // (2 * len(classes))] for one in classes])
    rest = order[~np.isin(order, first)]
    return np.sort(numbers[np.concatenate((first, rest))[:_MOST_ITEMS]])


def _methods(seed: int) -> Mapping[str, tuple[slice, Any]]:
    total, rest = slice(0, 1), slice(1, None)
    balanced: dict[str, Any] = {"class_weight": "balanced"}

    def scaled(model: Any) -> Any:
        return make_pipeline(StandardScaler(), model)

    return {
        "total intensity": (total, scaled(LogisticRegression(**balanced))),
        "logistic regression": (rest, scaled(LogisticRegression(max_iter=500, **balanced))),
        "linear SVM": (rest, scaled(LinearSVC(C=0.01, random_state=seed, **balanced))),
        "kernel SVM": (rest, scaled(SVC(**balanced))),
        "random forest": (rest, RandomForestClassifier(200, random_state=seed, **balanced)),
    }


def _features(items: LabelledItems, numbers: Integers) -> tuple[Integers, npt.NDArray[np.float64]]:
    """Rows of features of the items with these numbers, in their order; the first column is the total intensity."""
    found, rows = [], []
    for pool, index in items.pools(None):
        places = np.flatnonzero(np.isin(index, numbers))
        for some in np.array_split(places, math.ceil(len(places) / _CHUNK)) if len(places) else ():
            block = pool[torch.from_numpy(some)].float()
            describe: Callable[[torch.Tensor], torch.Tensor] = _of_spectra if block.ndim == 2 else _of_images
            rows.append(torch.cat((block.flatten(1).mean(1, keepdim=True), describe(block)), 1).double().numpy())
            found.append(index[some])
    order = np.argsort(np.concatenate(found))
    return np.concatenate(found)[order], np.concatenate(rows)[order]


def _of_spectra(spectra: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool1d(spectra[:, None], min(_N_POINTS, spectra.shape[1]))[:, 0]


def _of_images(images: torch.Tensor) -> torch.Tensor:
    return joined_features(images, FEATURES)
