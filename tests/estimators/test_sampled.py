"""Clusters of a sample, told for all items; and how sure the nearest centre is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn.cluster
import torch
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import HDBSCAN, Agglomerative, CentreConfidence, KMeans, NearestItem
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis


def moons(n: int = 600, *, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    points, truth = make_moons(n, noise=0.06, random_state=0)
    return (points + offset).astype(np.float32), truth


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(adjusted_rand_score(a, b) == 1.0)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_hdbscan_of_the_sample_is_that_of_scikit_learn(offset: float) -> None:
    array, _ = moons(offset=offset)
    array = np.vstack([array, np.array([[5.0, 5.0]], np.float32) + np.float32(offset)])
    fitted = HDBSCAN(20).fit(PlainData(array, [100]), spectra_spec(array))
    wanted = sklearn.cluster.HDBSCAN(20, copy=True).fit_predict(array.astype(np.float64))
    labels = run_plain(fitted, array)
    assert same_partition(labels, wanted)
    np.testing.assert_array_equal(labels == -1, wanted == -1)
    assert labels[-1] == -1


def test_hdbscan_tells_moons_from_a_sample_of_them() -> None:
    array, truth = moons(4000)
    fitted = HDBSCAN(20, sample_size=500).fit(PlainData(array, [1111]), spectra_spec(array))
    labels = run_plain(fitted, array)
    assert fitted.n_clusters == 2
    assert (labels >= 0).mean() > 0.97
    assert adjusted_rand_score(truth[labels >= 0], labels[labels >= 0]) > 0.99
    far = np.array([[9.0, 9.0], [-5.0, 0.0], [np.nan, 0.0]], np.float32)
    assert run_plain(fitted, far).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("linkage", ["ward", "average", "complete", "single"])
def test_agglomerative_of_the_sample_is_that_of_scikit_learn(linkage: str) -> None:
    array, _ = moons()
    fitted = Agglomerative(3, linkage).fit(PlainData(array, [333]), spectra_spec(array))
    wanted = sklearn.cluster.AgglomerativeClustering(3, linkage=linkage).fit_predict(array.astype(np.float64))
    labels = run_plain(fitted, array)
    assert same_partition(labels, wanted)
    assert np.all(np.diff(np.bincount(labels)) <= 0)


def test_agglomerative_tells_all_items_from_a_sample() -> None:
    points, truth = make_blobs(3000, 5, centers=4, cluster_std=1.0, random_state=2)
    array = points.astype(np.float32)
    data = PlainData(array, [500, 700])
    fitted = Agglomerative(4, sample_size=200).fit(data, spectra_spec(array))
    assert fitted.known.shape == (200, 5)
    assert adjusted_rand_score(truth, run_plain(fitted, array)) > 0.99


@pytest.mark.parametrize("estimator", [HDBSCAN(15, sample_size=300), Agglomerative(3, sample_size=300)])
def test_chunks_make_no_difference_but_the_seed_does(estimator: HDBSCAN | Agglomerative) -> None:
    array, _ = moons(2000)
    whole = estimator.fit(PlainData(array), spectra_spec(array))
    assert estimator.fit(PlainData(array, [3, 77, 1999]), spectra_spec(array)) == whole
    assert replace(estimator, seed=5).fit(PlainData(array), spectra_spec(array)) != whole


def test_the_nearest_item_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    known, labels = random.standard_normal((50, 3)) + 1e4, random.integers(-1, 3, 50)
    reach = np.array([0.4, 0.8, np.inf])
    others = (random.standard_normal((400, 3)) + 1e4).astype(np.float64)
    nearest = NearestItem(known, labels, reach, (Axis("energy", 3),))
    distance = cdist(others, known)
    wanted = labels[distance.argmin(1)]
    wanted = np.where((wanted >= 0) & (distance.min(1) <= reach[wanted]), wanted, -1)
    np.testing.assert_array_equal(run_plain(nearest, others), wanted)
    assert {-1, 0, 1, 2} == set(wanted.tolist())


def test_meaning_json_and_images() -> None:
    array = moons(60)[0].reshape(60, 1, 2)
    fitted = Agglomerative(2).fit(PlainData(array, [20]), image_spec(array))
    out = fitted.output(image_spec(array))
    assert (out.shape, out.dtype, out.quantity, out.classes) == ((), np.dtype("int32"), "label", ("cluster 0", "cluster 1"))
    for step in (HDBSCAN(4, min_samples=2), Agglomerative(2, "average"), fitted):
        steps, arrays = to_dict(step)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == step
    with pytest.raises(AxisError, match="x 3"):
        fitted.output(image_spec(np.zeros((5, 1, 3))))
    with pytest.raises(ParameterError, match="reach"):
        NearestItem([[0.0]], [0, 1], [1.0], (Axis("e", 1),))
    with pytest.raises(ParameterError, match="beyond"):
        NearestItem([[0.0]], [1], [1.0], (Axis("e", 1),))


@pytest.mark.parametrize("estimator", [HDBSCAN(5), Agglomerative(5)])
@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (moons(4)[0], ParameterError, "4 items"),
        (np.full((40, 3), np.nan), DataError, "NaN or inf"),
        (moons()[0].astype("complex64"), DataError, "complex"),
    ],
)
def test_bad_data(estimator: HDBSCAN | Agglomerative, array: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        estimator.fit(PlainData(array), spectra_spec(array))


def test_nothing_but_noise() -> None:
    array = np.random.default_rng(0).uniform(size=(60, 5)).astype(np.float32)
    with pytest.raises(DataError, match="noise"):
        HDBSCAN(25).fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: HDBSCAN(1), "min_cluster_size"),
        (lambda: HDBSCAN(5, min_samples=-1), "min_samples"),
        (lambda: HDBSCAN(5, sample_size=0), "sample_size"),
        (lambda: HDBSCAN(5, seed=-1), "seed"),
        (lambda: Agglomerative(0), "n_clusters"),
        (lambda: Agglomerative(2, "centroid"), "linkage"),
        (lambda: Agglomerative(2, seed=-1), "seed"),
    ],
)
def test_bad_parameters(make: object, word: str) -> None:
    with pytest.raises(ParameterError, match=word):
        make()  # type: ignore[operator]


def test_confidence_is_the_simplified_silhouette() -> None:
    array = make_blobs(500, 4, centers=3, cluster_std=2.0, random_state=0)[0].astype(np.float32) + 100
    fitted = KMeans(3).fit(PlainData(array), spectra_spec(array))
    found = fitted.confidence.transform(torch.from_numpy(array))
    assert isinstance(found, dict)
    distances = np.sort(cdist(array, fitted.centres.values), axis=1)
    np.testing.assert_array_equal(found["label"], run_plain(fitted, array))
    np.testing.assert_allclose(found["confidence"], 1 - distances[:, 0] / distances[:, 1], atol=1e-5)
    full = silhouette_samples(array, run_plain(fitted, array))
    assert np.corrcoef(full, found["confidence"])[0, 1] > 0.9


def test_confidence_of_odd_items() -> None:
    sure = CentreConfidence([[0.0, 0.0], [4.0, 0.0]], (Axis("energy", 2),))
    found = sure.transform(torch.tensor([[0.0, 0.0], [2.0, 9.0], [torch.nan, 0.0]]))
    assert found["label"].tolist() == [0, 0, -1]
    assert found["confidence"].isnan().tolist() == [False, False, True]
    assert found["confidence"][:2].tolist() == [1.0, 0.0]
    equal = CentreConfidence([[1.0], [1.0]], (Axis("energy", 1),)).transform(torch.tensor([[1.0], [3.0]]))
    assert equal["confidence"].tolist() == [0.0, 0.0]
    with pytest.raises(ParameterError, match="two centres"):
        CentreConfidence([[1.0]], (Axis("energy", 1),))
    steps, arrays = to_dict(sure)
    assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == sure
