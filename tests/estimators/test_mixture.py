"""Gaussian mixtures against scikit-learn on the whole array."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import sklearn.mixture
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from scipy.stats import multivariate_normal

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import GaussianMembership, GaussianMixture, KMeans
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis

THEIRS = {"full": "full", "tied": "tied", "diagonal": "diag"}
each_covariance = pytest.mark.parametrize("covariance", THEIRS)


def clouds(sizes: tuple[int, ...] = (300, 200, 150), n_features: int = 4, *, apart: float = 6.0, seed: int = 0) -> np.ndarray:
    """Gaussian clusters of different form that overlap a little, shuffled."""
    random = np.random.default_rng(seed)
    parts = []
    for size in sizes:
        form = random.standard_normal((n_features, n_features))
        parts.append(random.standard_normal((size, n_features)) @ form + apart * random.standard_normal(n_features))
    return random.permutation(np.concatenate(parts)).astype(np.float32)


def answer(fitted: GaussianMembership, array: np.ndarray) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in fitted.transform(torch.from_numpy(array)).items()}


@each_covariance
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_converged_it_equals_scikit_learn(covariance: str, offset: float) -> None:
    array = clouds() + np.float32(offset)
    rows = array.astype(np.float64)
    exact = GaussianMixture(3, covariance, tolerance=1e-10, max_iterations=1000, regularisation=0.0)
    fitted = exact.fit(PlainData(array, [100, 350]), spectra_spec(array))
    theirs = sklearn.mixture.GaussianMixture(
        3, covariance_type=THEIRS[covariance], tol=1e-10, max_iter=1000, reg_covar=0, n_init=3, random_state=0
    ).fit(rows)
    assert fitted.log_likelihood == pytest.approx(theirs.score(rows), rel=1e-6)
    order = np.argsort(-theirs.weights_)
    np.testing.assert_allclose(fitted.weights.values, theirs.weights_[order], rtol=1e-4)
    np.testing.assert_allclose(fitted.means.values, theirs.means_[order], rtol=1e-4, atol=1e-3)
    wanted = theirs.covariances_[None] if covariance == "tied" else theirs.covariances_[order]
    np.testing.assert_allclose(fitted.covariances, wanted, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(answer(fitted, array)["label"], np.argsort(order)[theirs.predict(rows)])
    np.testing.assert_allclose(answer(fitted, array)["probability"], theirs.predict_proba(rows)[:, order], atol=1e-3)
    assert fitted.n_parameters == theirs._n_parameters()
    assert fitted.bic == pytest.approx(theirs.bic(rows), rel=1e-5)
    assert fitted.aic == pytest.approx(theirs.aic(rows), rel=1e-5)


@each_covariance
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_each_pass_is_that_of_scikit_learn(covariance: str) -> None:
    array = clouds(apart=1.5)
    rows = array.astype(np.float64)
    few = GaussianMixture(3, covariance, n_init=1, max_iterations=4, tolerance=0.0, regularisation=0.0)
    fitted = few.fit(PlainData(array, [200]), spectra_spec(array))
    labels = run_plain(KMeans(3, n_init=1).fit(PlainData(array), spectra_spec(array)), array)
    parts = [rows[labels == label] for label in range(3)]
    weights = np.array([len(part) / len(rows) for part in parts])
    covariances = np.array([np.cov(part.T, bias=True) for part in parts])
    precisions = {
        "full": np.linalg.inv(covariances),
        "tied": np.linalg.inv(np.tensordot(weights, covariances, 1)),
        "diagonal": 1 / covariances.diagonal(axis1=1, axis2=2),
    }[covariance]
    theirs = sklearn.mixture.GaussianMixture(
        3,
        covariance_type=THEIRS[covariance],
        max_iter=3,
        tol=0,
        reg_covar=0,
        weights_init=weights,
        means_init=np.array([part.mean(0) for part in parts]),
        precisions_init=precisions,
    ).fit(rows)
    order = np.argsort(-theirs.weights_)
    np.testing.assert_allclose(fitted.means.values, theirs.means_[order], rtol=1e-8)
    wanted = theirs.covariances_[None] if covariance == "tied" else theirs.covariances_[order]
    np.testing.assert_allclose(fitted.covariances, wanted, rtol=1e-8, atol=1e-10)


@each_covariance
def test_with_its_defaults_the_likelihood_is_that_of_scikit_learn(covariance: str) -> None:
    array = clouds((400, 300, 200, 100), 6, seed=3)
    rows = array.astype(np.float64)
    fitted = GaussianMixture(4, covariance, regularisation=0.0).fit(PlainData(array), spectra_spec(array))
    theirs = sklearn.mixture.GaussianMixture(4, covariance_type=THEIRS[covariance], reg_covar=0, n_init=3, random_state=0).fit(rows)
    assert fitted.log_likelihood == pytest.approx(theirs.score(rows), rel=1e-3)


@each_covariance
def test_answers_are_those_of_scipy(covariance: str) -> None:
    array = clouds()
    fitted = GaussianMixture(3, covariance).fit(PlainData(array), spectra_spec(array))
    covariances = fitted.covariances
    matrices = [np.diag(c) for c in covariances] if covariance == "diagonal" else np.broadcast_to(covariances, (3, 4, 4))
    densities = [multivariate_normal(m, c).pdf(array) for m, c in zip(fitted.means.values, matrices, strict=True)]
    joint = fitted.weights.values * np.transpose(densities)
    found = answer(fitted, array)
    np.testing.assert_allclose(found["probability"], joint / joint.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(found["log_density"], np.log(joint.sum(1)), rtol=1e-5)
    np.testing.assert_array_equal(found["label"], joint.argmax(1))
    np.testing.assert_array_equal(found["confidence"], found["probability"].max(1))
    assert np.log(joint.sum(1)).mean() == pytest.approx(fitted.log_likelihood, rel=1e-6)


@each_covariance
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 300), max_size=6))
def test_chunks_make_no_difference(covariance: str, cuts: list[int]) -> None:
    array = clouds((120, 110, 71))
    whole = GaussianMixture(3, covariance).fit(PlainData(array), spectra_spec(array))
    cut = GaussianMixture(3, covariance).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.means.values, whole.means.values, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cut.whitening.values, whole.whitening.values, rtol=1e-7, atol=1e-9)
    assert cut.n_iterations == whole.n_iterations


def test_units_make_no_difference() -> None:
    array = clouds().astype(np.float64)
    plain = GaussianMixture(3).fit(PlainData(array), spectra_spec(array))
    tiny = GaussianMixture(3).fit(PlainData(1e-12 * array), spectra_spec(array))
    np.testing.assert_allclose(tiny.means.values, 1e-12 * plain.means.values, rtol=1e-6)
    np.testing.assert_array_equal(answer(tiny, 1e-12 * array)["label"], answer(plain, array)["label"])


def test_clusters_are_numbered_from_the_largest() -> None:
    array = clouds((50, 400, 150), apart=12)
    fitted = GaussianMixture(3).fit(PlainData(array), spectra_spec(array))
    assert np.all(np.diff(fitted.weights.values) < 0)
    assert np.bincount(answer(fitted, array)["label"]).tolist() == [400, 150, 50]


def test_an_item_like_none_has_a_low_density() -> None:
    array = clouds()
    fitted = GaussianMixture(3).fit(PlainData(array), spectra_spec(array))
    strange = answer(fitted, np.full((1, 4), 500, np.float32))
    assert strange["log_density"][0] < answer(fitted, array)["log_density"].min() - 100
    assert strange["confidence"][0] > 0.99


def test_what_is_not_finite_has_no_label() -> None:
    array = clouds()
    fitted = GaussianMixture(3).fit(PlainData(array), spectra_spec(array))
    array[[3, 5], [0, 1]] = np.nan, np.inf
    found = answer(fitted, array[:7])
    bad = [False, False, False, True, False, True, False]
    assert (found["label"] == -1).tolist() == bad
    for name in ("confidence", "log_density"):
        assert np.isnan(found[name]).tolist() == bad
    assert np.isnan(found["probability"]).all(1).tolist() == bad


def test_answers_are_described() -> None:
    array = clouds()
    fitted = GaussianMixture(2).fit(PlainData(array), spectra_spec(array))
    outputs = fitted.output(spectra_spec(array))
    found = answer(fitted, array)
    assert list(outputs) == list(found) == ["probability", "label", "confidence", "log_density"]
    assert {name: (spec.shape, spec.dtype) for name, spec in outputs.items()} == {n: (v.shape[1:], v.dtype) for n, v in found.items()}
    assert outputs["label"].classes == outputs["probability"].classes == ("cluster 0", "cluster 1")
    values, meaning = fitted.described_centres()
    assert (values.shape, meaning.names, meaning["energy"].units) == ((2, 4), ("cluster", "energy"), "eV")


def test_images_are_clustered_as_they_are() -> None:
    array = clouds((60, 40), 6).reshape(100, 2, 3)
    fitted = GaussianMixture(2, "diagonal").fit(PlainData(array, [30]), image_spec(array))
    assert fitted.means.shape == (2, 2, 3)
    assert answer(fitted, array)["label"].shape == (100,)


def test_json_round_trip() -> None:
    array = clouds()
    for step in (GaussianMixture(2, "tied"), GaussianMixture(2, "tied").fit(PlainData(array), spectra_spec(array))):
        steps, arrays = to_dict(step)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == step


def test_it_says_when_it_has_not_converged(caplog: pytest.LogCaptureFixture) -> None:
    array = clouds(apart=1.0)
    with caplog.at_level(logging.WARNING):
        GaussianMixture(3, max_iterations=2, tolerance=0.0).fit(PlainData(array), spectra_spec(array))
    assert "before it converged" in caplog.text


@pytest.mark.parametrize(
    ("array", "covariance", "error", "words"),
    [
        (clouds((3,)), "full", ParameterError, "3 items"),
        (np.hstack([clouds(), clouds()]), "full", DataError, "no extent"),
        (np.hstack([clouds(), np.ones((650, 1), np.float32)]), "diagonal", DataError, "no extent"),
        (np.full((9, 4), np.nan), "full", DataError, "NaN"),
        (clouds().astype("complex64"), "full", DataError, "complex"),
        (np.ones((9, 2049), np.float32), "tied", ParameterError, "PCA"),
    ],
)
def test_bad_data(array: np.ndarray, covariance: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        GaussianMixture(4, covariance, regularisation=0.0).fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_clusters": 0},
        {"covariance": "diag"},
        {"seed": -1},
        {"n_init": 0},
        {"max_iterations": 0},
        {"tolerance": -1},
        {"regularisation": np.nan},
    ],
)
def test_bad_parameters(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        GaussianMixture(**{"n_clusters": 3, **changes})  # type: ignore[arg-type]


def test_shapes_that_do_not_fit() -> None:
    array = clouds()
    with pytest.raises(AxisError, match="energy 3"):
        GaussianMixture(2).fit(PlainData(array), spectra_spec(array)).output(spectra_spec(array[:, :3]))
    with pytest.raises(ParameterError, match="whitening"):
        GaussianMembership([1.0], [[0.0]], [[1.0, 2.0]], 0.0, 1, 1, (Axis("e", 1),))
