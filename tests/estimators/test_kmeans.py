from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from sklearn.datasets import make_blobs

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import KMeans, NearestCentre
from pycroclass.estimators import kmeans as kmeans_module
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis, Spec


def blobs(n: int = 701, n_features: int = 5, k: int = 6, *, spread: float = 2.5, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    points, _ = make_blobs(n, n_features, centers=k, cluster_std=spread, random_state=seed)
    return (points + offset).astype(np.float32)


def inertia_of(array: np.ndarray, nearest: NearestCentre) -> float:
    rows, centres = array.reshape(len(array), -1).astype(np.float64), nearest.centres.values.reshape(nearest.n_clusters, -1)
    return float(np.square(rows[:, None] - centres).sum(2).min(1).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("offset", [0.0, 5e3])
def test_labels_equal_scikit_learn_from_the_same_start(seed: int, offset: float) -> None:
    array = blobs(spread=4.0, offset=offset)
    start = array[np.random.default_rng(seed).choice(len(array), 8, replace=False)]
    fitted = KMeans(8, init=start).fit(PlainData(array, [100, 350]), spectra_spec(array))
    reference = sklearn.cluster.KMeans(8, init=start, n_init=1).fit(array.astype(np.float64))
    np.testing.assert_array_equal(run_plain(fitted, array), reference.labels_)
    np.testing.assert_allclose(fitted.centres.values, reference.cluster_centers_, rtol=1e-6, atol=1e-6)
    assert fitted.inertia == pytest.approx(reference.inertia_, rel=1e-6)
    assert fitted.n_iterations == reference.n_iter_


def test_empty_clusters_are_relocated_as_in_scikit_learn() -> None:
    array = blobs()
    start = np.vstack([array[:4], np.full((3, 5), 1e3)]).astype(np.float32)
    fitted = KMeans(7, init=start).fit(PlainData(array, [200]), spectra_spec(array))
    reference = sklearn.cluster.KMeans(7, init=start, n_init=1).fit(array.astype(np.float64))
    assert fitted.inertia == pytest.approx(reference.inertia_, rel=1e-6)


@pytest.mark.parametrize(
    ("init", "k", "spread", "factor"),
    [
        ("k-means++", 6, 1.0, 1.001),
        ("k-means||", 6, 1.0, 1.001),
        ("k-means++", 1, 2.0, 1.001),
        ("k-means||", 1, 2.0, 1.001),
        ("k-means++", 12, 4.0, 1.001),
        ("k-means||", 12, 4.0, 1.01),  # clusters that overlap: many optima within a per cent
    ],
)
def test_inertia_is_as_good_as_the_best_of_scikit_learn(init: str, k: int, spread: float, factor: float) -> None:
    array = blobs(k=k, spread=spread)
    fitted = KMeans(k, init=init).fit(PlainData(array, [333]), spectra_spec(array))
    reference = sklearn.cluster.KMeans(k, n_init=10, random_state=0).fit(array.astype(np.float64))
    assert fitted.inertia <= factor * reference.inertia_
    assert fitted.inertia == pytest.approx(inertia_of(array, fitted), rel=1e-9)


def test_a_sample_smaller_than_the_data_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans_module, "_SAMPLE_VALUES", 500)
    array = blobs(3001)
    data = PlainData(array, [1000, 2000])
    fitted = KMeans(6, seed=2).fit(data, spectra_spec(array))
    reference = sklearn.cluster.KMeans(6, n_init=10, random_state=0).fit(array.astype(np.float64))
    assert fitted.inertia <= 1.001 * reference.inertia_
    assert data.n_passes < 30


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 300), max_size=8))
def test_chunks_make_no_difference(init: str, cuts: list[int]) -> None:
    array = blobs(301)
    whole = KMeans(5, n_init=3, init=init).fit(PlainData(array), spectra_spec(array))
    cut = KMeans(5, n_init=3, init=init).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.centres.values, whole.centres.values, atol=1e-9)
    np.testing.assert_array_equal(run_plain(cut, array), run_plain(whole, array))


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_the_seed_decides(init: str) -> None:
    array = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)

    def fitted(seed: int) -> NearestCentre:
        return KMeans(9, seed=seed, n_init=1, init=init).fit(PlainData(array), spectra_spec(array))

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


def test_clusters_are_numbered_from_the_largest() -> None:
    array = np.repeat(np.array([[0.0], [50.0], [9.0], [30.0]], "float32"), [3, 9, 20, 9], axis=0)
    fitted = KMeans(4).fit(PlainData(array), spectra_spec(array))
    assert fitted.centres.values.ravel().round(9).tolist() == [9.0, 30.0, 50.0, 0.0]
    start = [[1.0], [51.0], [10.0], [31.0]]
    assert KMeans(4, init=start).fit(PlainData(array), spectra_spec(array)).centres.values.ravel().round(9).tolist() == [
        0.0,
        50.0,
        9.0,
        30.0,
    ]


def test_labels_and_centres_are_described() -> None:
    array = blobs()
    fitted = KMeans(3).fit(PlainData(array), spectra_spec(array))
    labels = fitted.output(spectra_spec(array))
    assert isinstance(labels, Spec)
    assert (labels.shape, labels.dtype, labels.quantity) == ((), np.dtype("int32"), "label")
    assert labels.classes == ("cluster 0", "cluster 1", "cluster 2")
    assert run_plain(fitted, array).dtype == np.int32
    values, meaning = fitted.described_centres()
    assert values.shape == (3, 5)
    assert meaning.names == ("cluster", "energy")


def test_images_are_clustered_as_they_are() -> None:
    array = blobs(90, 12, 3, spread=0.5).reshape(90, 3, 4)
    fitted = KMeans(3).fit(PlainData(array, [40]), image_spec(array))
    assert fitted.centres.shape == (3, 3, 4)
    assert np.bincount(run_plain(fitted, array)).tolist() == [30, 30, 30]
    again = KMeans(3, init=fitted.centres).fit(PlainData(array), image_spec(array))
    assert again.n_iterations == 1


def test_rare_items_that_the_sample_missed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans_module, "_SAMPLE_VALUES", 40)
    array = np.zeros((2000, 2), np.float32)
    array[[77, 1500]] = [[5, 5], [-8, 1]]
    fitted = KMeans(3).fit(PlainData(array, [900]), spectra_spec(array))
    assert fitted.inertia == 0
    assert np.bincount(run_plain(fitted, array)).tolist() == [1998, 1, 1]


def test_json_round_trip() -> None:
    array = blobs()
    for step in (KMeans(3, init=array[:3]), KMeans(2), KMeans(3).fit(PlainData(array), spectra_spec(array))):
        steps, arrays = to_dict(step)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == step


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
@pytest.mark.parametrize(
    ("array", "k", "error", "words"),
    [
        (blobs(5), 6, ParameterError, "5 items"),
        (np.repeat(blobs(3), 20, axis=0), 4, DataError, "fewer different items"),
        (np.ones((9, 4), "float32"), 2, DataError, "fewer different items"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), 2, DataError, "NaN"),
        (blobs().astype("complex64"), 2, DataError, "complex"),
    ],
)
def test_bad_data(array: np.ndarray, k: int, error: type[Exception], words: str, init: str) -> None:
    with pytest.raises(error, match=words):
        KMeans(k, init=init).fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_clusters": 0},
        {"n_clusters": 2.5},
        {"n_init": 0},
        {"max_iterations": 0},
        {"seed": -1},
        {"tolerance": -1.0},
        {"tolerance": np.nan},
        {"init": "random"},
        {"init": [[1.0], [2.0]]},
        {"init": [[1.0], [2.0], [np.inf]]},
    ],
)
def test_bad_parameters(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        KMeans(**{"n_clusters": 3, **changes})  # type: ignore[arg-type]


def test_shapes_that_do_not_fit() -> None:
    array = blobs()
    with pytest.raises(ParameterError, match="centres of shape"):
        KMeans(2, init=[[1.0], [2.0]]).fit(PlainData(array), spectra_spec(array))
    fitted = KMeans(2).fit(PlainData(array), spectra_spec(array))
    with pytest.raises(AxisError, match="energy 4"):
        fitted.output(spectra_spec(array[:, :4]))
    with pytest.raises(ParameterError, match="n_clusters"):
        NearestCentre([[1.0, 2.0]], 0.0, 1, (Axis("e", 1),))
