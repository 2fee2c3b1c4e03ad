"""Baselines: each sees what it is for, and nothing that it should not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from plain_data import PlainData

from pycroclass.estimators import baselines
from pycroclass.estimators._batches import LabelledItems
from pycroclass.estimators.baselines import score_baselines

N = 120
LABELS = np.arange(N) % 2


def scores(values: npt.NDArray[np.float32]) -> dict[str, float]:
    items = LabelledItems.over(PlainData(values), LABELS, 1 << 30)
    found = score_baselines(items, np.arange(0, N - 40), np.arange(N - 40, N), ("a", "b"), seed=0)
    assert {score["n_training"] for score in found.values()} == {N - 40}
    return {name: score["balanced_accuracy"] for name, score in found.items()}


def noise(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_brightness_is_seen_by_all() -> None:
    found = scores(noise(N, 1, 20, 22) + LABELS[:, None, None, None].astype(np.float32))
    assert set(found) == {"total intensity", "logistic regression", "linear SVM", "kernel SVM", "random forest"}
    assert min(found.values()) == 1


def test_direction_is_seen_by_all_but_total_intensity() -> None:
    stripes = np.sin(np.arange(24) * 1.1)
    values = noise(N, 1, 24, 24) + 1.5 * np.where(LABELS[:, None, None] == 1, stripes[:, None], stripes[None, :])[:, None].astype(
        np.float32
    )
    found = scores(values - values.mean((1, 2, 3), keepdims=True))
    assert found.pop("total intensity") < 0.7
    assert min(found.values()) > 0.95


def test_spectra_and_labels_without_meaning() -> None:
    peak = np.exp(-(((np.arange(200) - np.where(LABELS == 1, 60, 120)[:, None]) / 8) ** 2)).astype(np.float32)
    assert scores(0.3 * noise(N, 200) + 3 * peak)["linear SVM"] == 1
    assert max(scores(noise(N, 200)).values()) < 0.75


def test_of_many_items_some_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_MOST_ITEMS", 30)
    values = noise(N, 1, 10, 10) + LABELS[:, None, None, None]
    items = LabelledItems.over(PlainData(values.astype(np.float32), cuts=(13, 50, 90)), LABELS, 1 << 10)  # in several pools
    found = score_baselines(items, np.arange(80), np.arange(80, N), ("a", "b"), seed=0)
    assert {score["n_training"] for score in found.values()} == {30}
    assert found["total intensity"]["balanced_accuracy"] > 0.9


def test_of_a_rare_class_all_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_MOST_ITEMS", 30)
    rare = np.argsort(baselines.hash_uniform(np.arange(80), 0))[-3:]  # would come last
    labels = np.isin(np.arange(N), [*rare, 90, 100]).astype(np.int64)
    chosen = baselines._chosen(np.arange(80), labels[:80], 0)
    assert len(chosen) == len(set(chosen)) == 30
    assert set(rare) <= set(chosen)
    items = LabelledItems.over(PlainData((noise(N, 1, 10, 10) + 3 * labels[:, None, None, None]).astype(np.float32)), labels, 1 << 30)
    found = score_baselines(items, np.arange(80), np.arange(80, N), ("a", "b"), seed=0)
    assert found["total intensity"]["balanced_accuracy"] > 0.9
