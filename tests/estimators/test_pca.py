from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import sklearn.decomposition
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import PCA, Project, Reconstruct
from pycroclass.estimators import pca as pca_module
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import data_type
from pycroclass.spec import Axis, AxisKind, Spec


def spectra(n: int = 143, n_features: int = 37, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    weights = random.gamma(2.0, size=(n, 5)) * (9, 6, 4, 2, 1)
    shapes = random.standard_normal((5, n_features))
    return (1000 + weights @ shapes + 0.3 * random.standard_normal((n, n_features))).astype(np.float32)


def assert_same_as_sklearn(array: np.ndarray, project: Project) -> None:
    flat = array.reshape(len(array), -1).astype(np.float64)
    reference = sklearn.decomposition.PCA(project.n_components, svd_solver="full").fit(flat)
    np.testing.assert_allclose(run_plain(project, array), reference.transform(flat), atol=1e-4 * np.abs(reference.transform(flat)).max())
    np.testing.assert_allclose(project.components.values.reshape(project.n_components, -1), reference.components_, atol=1e-4)
    np.testing.assert_allclose(project.explained_variance, reference.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(project.explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int32"])
def test_equals_scikit_learn(dtype: str) -> None:
    array = (spectra() + 500).astype(dtype)
    assert_same_as_sklearn(array, PCA(4).fit(PlainData(array, [10, 11, 100]), spectra_spec(array)))


def test_the_scores_of_float32_equal_those_of_scikit_learn_on_float32() -> None:
    array = spectra()
    project = PCA(4).fit(PlainData(array), spectra_spec(array))
    scores = sklearn.decomposition.PCA(4, svd_solver="full").fit_transform(array)
    np.testing.assert_allclose(run_plain(project, array), scores, atol=1e-4 * np.abs(scores).max())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 142), max_size=12))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    array = spectra()
    whole = PCA(3).fit(PlainData(array), spectra_spec(array))
    cut = PCA(3).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.components.values, whole.components.values, atol=1e-10)
    np.testing.assert_allclose(cut.explained_variance, whole.explained_variance, rtol=1e-10)


def test_wide_items_equal_scikit_learn_without_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca_module, "Scatter", None)
    array = spectra(90, 73 * 61).reshape(90, 73, 61)
    data = PlainData(array, [7, 50])
    project = PCA(4, seed=3).fit(data, image_spec(array))
    assert_same_as_sklearn(array, project)
    assert data.n_passes < 10
    again = PCA(4, seed=3).fit(data, image_spec(array))
    assert again == project


@pytest.mark.parametrize(("n", "k"), [(6, 5), (6, 6), (40, 12)])
def test_the_iteration_agrees_with_the_covariance(monkeypatch: pytest.MonkeyPatch, n: int, k: int) -> None:
    array = np.random.default_rng(1).standard_normal((n, 55)).astype(np.float32)
    exact = PCA(k).fit(PlainData(array), spectra_spec(array))
    monkeypatch.setattr(pca_module, "_WIDE", 10)
    iterated = PCA(k).fit(PlainData(array, [3]), spectra_spec(array))
    rank = min(k, n - 1)
    np.testing.assert_allclose(iterated.components.values[:rank], exact.components.values[:rank], atol=1e-5)
    np.testing.assert_allclose(iterated.explained_variance, exact.explained_variance, atol=1e-6)
    np.testing.assert_allclose(iterated.components.values @ iterated.components.values.T, np.eye(k), atol=1e-9)


def test_restarts_lead_to_the_same_components(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(1).standard_normal((90, 120)).astype(np.float32)
    exact = PCA(3).fit(PlainData(array), spectra_spec(array))
    monkeypatch.setattr(pca_module, "_WIDE", 10)
    monkeypatch.setattr(pca_module, "_BASIS_VALUES", 1)
    data = PlainData(array)
    restarted = PCA(3).fit(data, spectra_spec(array))
    np.testing.assert_allclose(restarted.components.values, exact.components.values, atol=1e-4)
    assert data.n_passes > 6


def test_too_few_passes_are_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(pca_module, "_WIDE", 10)
    monkeypatch.setattr(pca_module, "_MAX_PASSES", 2)
    array = np.random.default_rng(1).standard_normal((90, 120)).astype(np.float32)
    PCA(3).fit(PlainData(array), spectra_spec(array))
    assert "stopped after 2 passes" in caplog.text


def test_a_large_offset_costs_no_digits() -> None:
    array = np.float64(1e8) + spectra().astype(np.float64)
    assert_same_as_sklearn(array, PCA(4).fit(PlainData(array, [20]), spectra_spec(array)))


def test_what_comes_out_is_described() -> None:
    array = spectra()
    spec = spectra_spec(array, title="core loss")
    project = PCA(3).fit(PlainData(array), spec)
    scores = project.output(spec)
    assert isinstance(scores, Spec)
    assert (scores.names, scores.shape, scores.dtype, scores.units) == (("component",), (3,), np.dtype("float32"), "counts")
    assert scores["component"].kind is AxisKind.SPECTRAL
    assert scores["component"].values.tolist() == [1, 2, 3]
    values, meaning = project.described_components()
    assert (values.shape, values.dtype) == ((3, 37), np.dtype("float32"))
    assert meaning.axes[1] == spec.axes[0]
    assert data_type(meaning) == "SPECTRUM"


def test_components_of_images_are_a_stack_of_images() -> None:
    array = spectra(20, 6 * 5).reshape(20, 6, 5)
    _, meaning = PCA(2).fit(PlainData(array), image_spec(array)).described_components()
    assert meaning.names == ("component", "y", "x")
    assert data_type(meaning) == "IMAGE_STACK"


def test_the_inverse_gives_back_items_with_their_axes() -> None:
    array = spectra(20, 6 * 5).reshape(20, 6, 5)
    spec = image_spec(array)
    project = PCA(19).fit(PlainData(array), spec)
    back = project.inverse
    scores = project.output(spec)
    assert back.output(scores).axes == spec.axes
    np.testing.assert_allclose(run_plain(back, run_plain(project, array)), array, atol=2e-3)


def test_json_and_pickle_round_trip() -> None:
    array = spectra()
    project = PCA(3).fit(PlainData(array), spectra_spec(array))
    for operator in (project, project.inverse, PCA(3, seed=4)):
        steps, arrays = to_dict(operator)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == operator
        assert pickle.loads(pickle.dumps(operator)) == operator
    explicit = Axis("q", 2, explicit=np.array([1.0, 5.0]))
    steps, arrays = to_dict(Reconstruct([0.0, 0.0], [[1.0, 0.0]], (explicit,)))
    (again,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert again.item == (explicit,)


@pytest.mark.parametrize(
    ("array", "k", "error", "words"),
    [
        (spectra(5), 6, ParameterError, "at most 5"),
        (spectra(50, 3), 4, ParameterError, "at most 3"),
        (spectra(1), 1, DataError, "two items"),
        (np.full((9, 4), 0.1, "float32"), 1, DataError, "equal"),
        (np.zeros((9, 5000), "float32"), 1, DataError, "equal"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), 1, DataError, "NaN"),
        (spectra().astype("complex64"), 1, DataError, "complex"),
    ],
)
def test_bad_data(array: np.ndarray, k: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PCA(k).fit(PlainData(array), spectra_spec(array))


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None])
def test_bad_number_of_components(k: object) -> None:
    with pytest.raises(ParameterError, match="n_components"):
        PCA(k)  # type: ignore[arg-type]


def test_items_of_another_shape_are_refused() -> None:
    array = spectra()
    project = PCA(3).fit(PlainData(array), spectra_spec(array))
    with pytest.raises(AxisError, match="energy 36"):
        project.output(spectra_spec(array[:, :36]))
    with pytest.raises(AxisError, match="3 scores"):
        project.inverse.output(spectra_spec(array))
    with pytest.raises(ParameterError, match="shape"):
        Project([0.0], [[1.0, 2.0]], (1.0,), 1.0, (Axis("e", 1),))
    with pytest.raises(ParameterError, match="variances"):
        Project([0.0], [[1.0]], (1.0, 2.0), 1.0, (Axis("e", 1),))


def test_axes_go_to_the_fitted_operator() -> None:
    array = spectra()
    assert PCA(2, axes="energy").fit(PlainData(array), spectra_spec(array)).axes == ("energy",)
