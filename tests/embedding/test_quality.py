"""Measures of clusters and maps: against scikit-learn, or against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import manifold, metrics
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from pycroclass.embedding import cluster_agreement, neighbour_accuracy, trustworthiness
from pycroclass.errors import DataError, ParameterError

RNG = np.random.default_rng(0)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), k=st.integers(1, 4))
def test_agreement_equals_its_definitions(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    label, truth = rng.integers(0, k, 40), rng.integers(0, 4, 40)
    found = cluster_agreement(label, truth)
    assert found.ami == pytest.approx(metrics.adjusted_mutual_info_score(truth, label))
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(truth, label))
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(truth, label))
    best = max((np.array(order)[label] == truth).mean() for order in permutations(range(4)))
    assert found.hungarian_accuracy == pytest.approx(best)
    purity = sum(np.bincount(truth[label == c], minlength=1).max() for c in np.unique(label)) / 40
    assert found.purity == pytest.approx(purity)


def test_names_of_clusters_do_not_matter() -> None:
    truth = np.array(list("aabbcc"))
    found = cluster_agreement([2, 2, 0, 0, 1, 1], truth)
    assert (found.ami, found.nmi, found.ari, found.purity, found.hungarian_accuracy) == (1, 1, 1, 1, 1)
    each_its_own = cluster_agreement(np.arange(6), truth)
    assert each_its_own.purity == 1
    assert each_its_own.ami == pytest.approx(0, abs=1e-6)  # which the purity does not tell


def test_items_without_cluster_or_class_are_left_out() -> None:
    found = cluster_agreement([0, 0, 1, 1, -1, 1], [0, 0, 1, 1, 0, -1])
    assert (found.n_items, found.n_left_out, found.ami) == (4, 2, 1)
    assert cluster_agreement([0, 1, 1], ["a", "b", ""]).n_left_out == 1
    with pytest.raises(DataError, match="no item has both"):
        cluster_agreement([-1, 0], [0, -1])
    with pytest.raises(DataError, match="got 2 clusters and 3 classes"):
        cluster_agreement([0, 0], [0, 1, 1])


def test_trustworthiness_equals_scikit_learn() -> None:
    rows, places = RNG.normal(size=(50, 6)), RNG.normal(size=(50, 2))
    assert trustworthiness(rows, places, n_neighbours=7) == pytest.approx(manifold.trustworthiness(rows, places, n_neighbors=7))
    assert trustworthiness(rows, 2 * rows + 1) == 1
    with pytest.raises(ParameterError, match="less than half of 50"):
        trustworthiness(rows, places, n_neighbours=25)


def test_neighbour_accuracy_equals_leaving_one_out() -> None:
    rows = RNG.normal(size=(60, 3))
    truth = (rows[:, 0] + RNG.normal(0, 0.4, 60) > 0).astype(int)
    wanted = cross_val_score(KNeighborsClassifier(5), rows, truth, cv=LeaveOneOut()).mean()
    assert neighbour_accuracy(rows, truth) == pytest.approx(wanted)
    assert neighbour_accuracy(rows, np.array(["no", "yes"])[truth]) == pytest.approx(wanted)
