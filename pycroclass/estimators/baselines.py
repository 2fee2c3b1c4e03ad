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
from pycroclass.reduction import hash_uniform

_MOST_ITEMS: Final = 4000
"""Items to learn from, for a kernel machine slows down with their square."""
_SIDE: Final = 64
_CELL: Final = 8
_N_DIRECTIONS: Final = 9
_N_RADII: Final = 24
_N_POINTS: Final = 128
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
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
    """Of ``(batch, channel, y, x)``; shapes are those of the mean over the channels."""
    grey = images.mean(1)
    quantiles = torch.quantile(images.flatten(2), torch.tensor(_QUANTILES), dim=2).permute(1, 2, 0).flatten(1)
    return torch.cat((quantiles, _radial_profile(grey), _binary_patterns(grey), _oriented_gradients(grey)), 1)


def _radial_profile(images: torch.Tensor) -> torch.Tensor:
    """Mean in rings around the centre, shape ``(batch, 24)``."""
    y, x = (torch.arange(size) - (size - 1) / 2 for size in images.shape[-2:])
    radius = torch.hypot(y[:, None], x[None])
    ring = (radius / radius.max().clamp_min(1) * _N_RADII).long().clamp_max(_N_RADII - 1).flatten()
    sums = torch.zeros(len(images), _N_RADII).index_add_(1, ring, images.flatten(1))
    return sums / torch.bincount(ring, minlength=_N_RADII).clamp_min(1)


def _binary_patterns(images: torch.Tensor) -> torch.Tensor:
    """Histogram of uniform local binary patterns of the eight neighbours (Ojala et al., TPAMI 2002), shape (batch, 10)."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    height, width = images.shape[-2:]
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    bits = torch.stack([padded[:, y : y + height, x : x + width] >= images for y, x in ring]).long()
    n_changes = (bits != bits.roll(1, 0)).sum(0)
    pattern = torch.where(n_changes <= 2, bits.sum(0), len(ring) + 1).flatten(1)
    return F.one_hot(pattern, len(ring) + 2).float().mean(1)


def _oriented_gradients(images: torch.Tensor) -> torch.Tensor:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of the image at 64 x 64, in cells of 8, normalised over the whole."""
    small = F.interpolate(images[:, None], (_SIDE, _SIDE), mode="bilinear", antialias=True)[:, 0]
    y, x = torch.gradient(small, dim=(1, 2))
    strength = torch.hypot(y, x)
    direction = (torch.atan2(y, x) % math.pi / math.pi * _N_DIRECTIONS).long().clamp_max(_N_DIRECTIONS - 1)
    votes = F.one_hot(direction, _N_DIRECTIONS).float() * strength[..., None]
    cells: torch.Tensor = F.avg_pool2d(votes.permute(0, 3, 1, 2), _CELL).flatten(1)
    return F.normalize(cells, dim=1, eps=1e-6)
