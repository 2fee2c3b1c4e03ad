"""Decompositions and k-means of real spectra, read in blocks, against scikit-learn on the whole array."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sidpy
import sklearn.cluster
import sklearn.decomposition
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from test_real_clusters import be_pfm, bfo, bladder, eels, layers, sts

import pycroclass as pc

pytestmark = pytest.mark.shared

Opener = Callable[[Path], sidpy.Dataset]

SMALL = pc.Execution(block_bytes=1 << 16)
"""Many blocks, of even the smallest of these data."""


def rows_of(dataset: sidpy.Dataset) -> np.ndarray:
    """All items at once, float64, shape (item, feature)."""
    return np.asarray(dataset.compute(), np.float64).reshape(-1, dataset.shape[-1])


@pytest.mark.parametrize("data", [be_pfm, bladder, layers])  # the last has more features than a covariance is formed of
def test_principal_components_are_those_of_scikit_learn(shared: Path, data: Opener) -> None:
    dataset = data(shared)
    model = pc.fit(pc.PCA(5), dataset, execution=SMALL)
    reference = sklearn.decomposition.PCA(5, svd_solver="full")
    theirs = reference.fit_transform(rows_of(dataset))
    np.testing.assert_allclose(model[0].components.values, reference.components_, atol=1e-5)
    np.testing.assert_allclose(rows_of(model(dataset)), theirs, atol=1e-5 * np.abs(theirs).max())
    np.testing.assert_allclose(model[0].explained_variance, reference.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(model[0].explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-6)


@pytest.mark.parametrize("data", [eels, sts, bfo, be_pfm, bladder, layers])
def test_clusters_from_the_same_start_are_those_of_scikit_learn(shared: Path, data: Opener) -> None:
    dataset = data(shared)
    rows = rows_of(dataset)
    start = rows[np.linspace(0, len(rows) - 1, 4).astype(int)]
    model = pc.fit(pc.KMeans(4, init=start), dataset, execution=SMALL)
    reference = sklearn.cluster.KMeans(4, init=start, n_init=1).fit(rows)
    assert model[0].inertia == pytest.approx(reference.inertia_, rel=1e-6)
    assert adjusted_rand_score(reference.labels_, np.asarray(model(dataset)).ravel()) == 1


@pytest.mark.parametrize("data", [sts, bfo, be_pfm, layers])
def test_factors_leave_no_more_than_those_of_scikit_learn(shared: Path, data: Opener) -> None:
    dataset = data(shared)
    rows = rows_of(dataset).clip(0)
    model = pc.fit(pc.Clip(low=0) | pc.NMF(4), dataset, execution=SMALL)
    left = rows - rows_of(model(dataset)) @ model[-1].components.values
    assert np.square(left).sum() / 2 <= 1.01 * min(objective(rows, init) for init in ("nndsvda", "random"))


def objective(rows: np.ndarray, init: str) -> float:
    """What scikit-learn's four factors leave; of BFO its best start is not the one of the singular vectors."""
    reference = sklearn.decomposition.NMF(4, init=init, max_iter=4000, tol=1e-7, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of so small a tolerance
        return float(reference.fit(rows).reconstruction_err_ ** 2 / 2)


# As many as scikit-learn finds alike from each of 16 starts: with one more it ends in different sources, from one start or another.
@pytest.mark.parametrize(("data", "k"), [(sts, 3), (bfo, 4), (be_pfm, 2), (bladder, 5)])
def test_sources_are_those_of_scikit_learn(shared: Path, data: Opener, k: int) -> None:
    dataset = data(shared)
    rows = rows_of(dataset)
    to_the_end = pc.ICA(k, tolerance=1e-8, max_iterations=2000)  # of BFO there is a plateau, where a step turns by 1e-6
    found = rows_of(pc.fit(to_the_end, dataset, execution=SMALL)(dataset))
    theirs, again = (
        sklearn.decomposition.FastICA(k, whiten="unit-variance", tol=1e-8, max_iter=2000, random_state=seed).fit_transform(rows)
        for seed in (0, 1)
    )
    assert worst_match(again, theirs) >= 0.99
    assert worst_match(found, theirs) >= 0.99


def worst_match(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest |correlation| of columns of both after the best matching."""
    alike = np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :])
    return float(alike[linear_sum_assignment(-alike)].min())
