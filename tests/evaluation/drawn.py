"""Predictions to test with."""

from __future__ import annotations

import numpy as np

from pycroclass.evaluation.predictions import Predictions

CLASSES = ("clear", "precipitate", "crystal", "other")


def drawn(n: int = 300, k: int = 3, *, seed: int = 0, n_groups: int = 7, skill: float = 1.0, digits: int | None = None) -> Predictions:
    """Softmax of random logits that know the truth a little; rounded to ``digits`` so that scores are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    if digits is not None:
        logits = logits.round(digits)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    groups = np.array([f"run {g}" for g in rng.integers(0, n_groups, n)]) if n_groups else None
    return Predictions(probability, labels, CLASSES[:k], groups=groups, names=[f"{i}.png" for i in range(n)])


def sorted_as(confusion: list[list[int]], classes: tuple[str, ...] = CLASSES) -> Predictions:
    """Sure answers that give this confusion; a last column more than there are classes counts the uncertain."""
    table = np.array(confusion)
    k = len(table)
    truth, given = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
    probability = np.eye(k)[given.clip(max=k - 1)]
    return Predictions(probability, truth, classes[:k], decided=given if table.shape[1] > k else None)
