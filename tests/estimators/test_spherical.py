"""k-means by direction, and in mini-batches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.cluster
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import KMeans, MiniBatchKMeans, NearestDirection, SphericalKMeans
from pycroclass.operator import Operator
from pycroclass.serialize import from_dict, to_dict


def rays(
    sizes: tuple[int, ...] = (250, 180, 120), n_features: int = 7, *, spread: float = 0.15, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Items along a few directions whose strength varies thousandfold, and which direction each has."""
    random = np.random.default_rng(seed)
    directions = np.abs(random.standard_normal((len(sizes), n_features)))
    truth = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    forms = directions[truth] * (1 + spread * random.standard_normal((len(truth), n_features)))
    return (forms * 10 ** random.uniform(0, 3, (len(truth), 1))).astype(np.float32), truth


def plain_spherical(array: np.ndarray, centres: np.ndarray, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The same by the book: cosines, then means brought to length 1."""
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    for _ in range(n):
        labels = (unit @ centres.T).argmax(1)
        sums = np.array([unit[labels == k].sum(0) for k in range(len(centres))])
        centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return labels, centres


def test_strength_does_not_matter() -> None:
    array, truth = rays()
    fitted = SphericalKMeans(3).fit(PlainData(array, [100]), spectra_spec(array))
    labels = run_plain(fitted, array)
    assert adjusted_rand_score(truth, labels) > 0.99
    assert adjusted_rand_score(truth, run_plain(KMeans(3).fit(PlainData(array), spectra_spec(array)), array)) < 0.5
    assert np.all(np.diff(np.bincount(labels)) <= 0)
    np.testing.assert_array_equal(run_plain(fitted, 1e3 * array), labels)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_iteration_of_the_book(seed: int) -> None:
    array, _ = rays(spread=0.5, seed=seed)
    start = array[np.random.default_rng(seed).choice(len(array), 4, replace=False)]
    fitted = SphericalKMeans(4, init=start, tolerance=0.0).fit(PlainData(array, [77, 300]), spectra_spec(array))
    labels, centres = plain_spherical(array.astype(np.float64), start.astype(np.float64))
    np.testing.assert_array_equal(run_plain(fitted, array), labels)
    np.testing.assert_allclose(fitted.centres.values, centres, atol=1e-6)
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    assert fitted.inertia == pytest.approx(float((2 - 2 * (unit @ centres.T).max(1)).sum()), rel=1e-4)


def test_items_of_zeros_have_no_direction() -> None:
    array, _ = rays()
    dark = np.insert(array, [0, 50, 50, 333], 0, axis=0)
    fitted = SphericalKMeans(3).fit(PlainData(dark, [51, 200]), spectra_spec(dark))
    labels = run_plain(fitted, dark)
    assert np.flatnonzero(labels == -1).tolist() == [0, 51, 52, 336]
    clean = SphericalKMeans(3).fit(PlainData(array), spectra_spec(array))
    np.testing.assert_array_equal(labels[labels >= 0], run_plain(clean, array))
    assert fitted.inertia == pytest.approx(clean.inertia, rel=1e-6)
    with pytest.raises(DataError, match="fewer different"):
        SphericalKMeans(2).fit(PlainData(np.outer([1, 2, 3, 0], [1.0, 1.0])), spectra_spec(dark[:4, :2]))


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 300), max_size=6))
def test_chunks_make_no_difference(init: str, cuts: list[int]) -> None:
    array, _ = rays((120, 100, 80))
    whole = SphericalKMeans(3, n_init=2, init=init).fit(PlainData(array), spectra_spec(array))
    cut = SphericalKMeans(3, n_init=2, init=init).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.centres.values, whole.centres.values, atol=1e-9)


def test_how_sure_a_direction_is() -> None:
    array, _ = rays()
    fitted = SphericalKMeans(3).fit(PlainData(array), spectra_spec(array))
    unit, sure = fitted.confidence.steps()
    assert isinstance(unit, Operator)
    assert isinstance(sure, Operator)
    answer = sure.transform(torch.from_numpy(run_plain(unit, array)))
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["label"], run_plain(fitted, array))
    assert 0 <= answer["confidence"].min() <= answer["confidence"].max() <= 1


def test_images_and_json() -> None:
    array = rays((40, 30), 12, spread=0.05)[0].reshape(70, 3, 4)
    fitted = SphericalKMeans(2).fit(PlainData(array, [40]), image_spec(array))
    assert np.bincount(run_plain(fitted, array)).tolist() == [40, 30]
    for step in (SphericalKMeans(2, init=array[:2]), MiniBatchKMeans(3), fitted):
        steps, arrays = to_dict(step)
        (back,) = from_dict(json.loads(json.dumps(steps)), arrays)
        assert back == step
    assert isinstance(back, NearestDirection)


def blobs(n: int = 3000, k: int = 5, *, spread: float = 1.0, offset: float = 0.0) -> np.ndarray:
    points, _ = make_blobs(n, 4, centers=k, cluster_std=spread, random_state=1)
    return (points + offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_mini_batches_come_close_to_all_items(offset: float) -> None:
    array = blobs(offset=offset)
    data = PlainData(array, [1000])
    fitted = MiniBatchKMeans(5, batch_size=100, sample_size=1000).fit(data, spectra_spec(array))
    reference = sklearn.cluster.KMeans(5, n_init=5, random_state=0).fit(array.astype(np.float64))
    assert data.n_passes == 1
    assert fitted.inertia <= 1.05 * reference.inertia_
    labels = run_plain(fitted, array)
    away = array.astype(np.float64) - fitted.centres.values[labels]
    assert fitted.inertia == pytest.approx(float(np.square(away).sum()), rel=1e-6)
    assert np.all(np.diff(np.bincount(labels)) <= 0)
    assert adjusted_rand_score(reference.labels_, labels) > 0.98


def test_mini_batches_do_not_depend_on_chunks() -> None:
    array = blobs()
    one, other = (MiniBatchKMeans(5, sample_size=500).fit(PlainData(array, cuts), spectra_spec(array)) for cuts in ([], [7, 1900]))
    np.testing.assert_allclose(one.centres.values, other.centres.values, rtol=1e-12)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (blobs(4), ParameterError, "4 items"),
        (np.ones((40, 3), np.float32), DataError, "have items"),
        (np.full((40, 3), np.inf), DataError, "NaN or inf"),
        (blobs().astype("complex64"), DataError, "complex"),
    ],
)
def test_mini_batches_bad_data(array: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        MiniBatchKMeans(5).fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize("name", ["n_clusters", "n_init", "batch_size", "sample_size", "seed"])
def test_mini_batches_bad_parameters(name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        MiniBatchKMeans(**{"n_clusters": 3, name: -1})
