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
from pycroclass.estimators import PCA, SVD, Misfit, PoissonPCA, PoissonScale, WeighCounts
from pycroclass.estimators import pca as pca_module
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis


def counts(n: int = 400, n_features: int = 60, seed: int = 0) -> np.ndarray:
    """Two components of very different strength, and a channel that never counts."""
    random = np.random.default_rng(seed)
    x = np.arange(n_features)
    shapes = np.stack([200 * np.exp(-x / 9), 6 * np.exp(-(((x - 45) / 4) ** 2))])
    expected = random.uniform(0.2, 1, (n, 2)) @ shapes
    expected[:, 30] = 0
    return random.poisson(expected).astype(np.float32)


def weighted(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keenan and Kotula's weighted matrix, and the weights of rows and columns, in memory."""
    rows = array.reshape(len(array), -1).astype(np.float64)
    of_row, of_column = np.sqrt(rows.mean(1) / rows.mean()), np.sqrt(rows.mean(0))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(rows / np.outer(of_row, of_column)), of_row, of_column


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_equals_the_weighted_svd_in_memory(dtype: str) -> None:
    array = counts().astype(dtype)
    fitted = PoissonPCA(2).fit(PlainData(array, [10, 200]), spectra_spec(array))
    matrix, of_row, of_column = weighted(array)
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(fitted.explained_variance, singular[:2] ** 2 / len(array), rtol=1e-5)
    assert fitted.total_variance == pytest.approx(np.square(matrix).sum() / len(array), rel=1e-5)
    wanted = of_row[:, None] * (left[:, :2] * singular[:2] @ right[:2]) * of_column  # weights undone
    np.testing.assert_allclose(run_plain(fitted.inverse, run_plain(fitted, array)), wanted, atol=1e-3 * array.max())


def test_a_weak_component_is_found_that_squares_lose() -> None:
    array = counts()
    weak = np.exp(-(((np.arange(60) - 45) / 4) ** 2))
    weak[30] = 0
    found = {
        kind: np.abs(np.corrcoef(kind(2).fit(PlainData(array), spectra_spec(array)).components.values[1], weak)[0, 1])
        for kind in (SVD, PoissonPCA)
    }
    assert found[PoissonPCA] > 0.8 > 0.3 > found[SVD]


def test_scaled_noise_has_a_variance_of_one() -> None:
    random = np.random.default_rng(0)
    expected = np.outer(random.uniform(0.5, 2, 4000), random.uniform(5, 100, 30))
    array = random.poisson(expected).astype(np.float32)
    scaled = run_plain(PoissonScale().fit(PlainData(array, [9]), spectra_spec(array)), array)
    left = scaled - expected / np.sqrt(expected)
    np.testing.assert_allclose(left.std(0), 1, atol=0.08)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 399), max_size=12))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    array = counts()
    whole = PoissonPCA(2).fit(PlainData(array), spectra_spec(array))
    cut = PoissonPCA(2).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.components.values, whole.components.values, atol=1e-5)


def test_wide_items_are_decomposed_as_narrow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    array = counts().reshape(400, 12, 5)
    narrow = PoissonPCA(2).fit(PlainData(array), image_spec(array))
    monkeypatch.setattr(pca_module, "_WIDE", 20)
    wide = PoissonPCA(2).fit(PlainData(array, [77]), image_spec(array))
    np.testing.assert_allclose(wide.components.values, narrow.components.values, atol=1e-3)
    np.testing.assert_allclose(wide.explained_variance, narrow.explained_variance, rtol=1e-4)


def test_svd_equals_that_in_memory() -> None:
    array = counts()
    fitted = SVD(3).fit(PlainData(array, [10, 200]), spectra_spec(array))
    reference = sklearn.decomposition.TruncatedSVD(3, algorithm="arpack").fit(array.astype(float))
    np.testing.assert_allclose(np.abs(fitted.components.values), np.abs(reference.components_), atol=1e-6)
    np.testing.assert_allclose(fitted.explained_variance, reference.singular_values_**2 / 400, rtol=1e-6)
    assert fitted.total_variance == pytest.approx(np.square(array.astype(float)).sum() / 400)
    assert not fitted.mean.values.any()


def test_misfit_is_what_is_left() -> None:
    array = counts()
    array[5] = np.nan
    fitted = PCA(2).fit(PlainData(np.delete(array, 5, 0)), spectra_spec(array))
    misfit = Misfit(fitted)
    left = array - run_plain(fitted.inverse, run_plain(fitted, array))
    np.testing.assert_allclose(run_plain(misfit, array), np.sqrt(np.square(left).mean(1)), rtol=1e-5)
    spec = misfit.output(spectra_spec(array))
    assert (spec.shape, spec.units, spec.title) == ((), "counts", "residual")


def test_misfit_wants_what_can_be_undone() -> None:
    with pytest.raises(ParameterError, match="no inverse"):
        Misfit(WeighCounts([1.0], (Axis("e", 1),)))
    with pytest.raises(ParameterError, match="one fitted operator"):
        Misfit(PCA(2))  # type: ignore[arg-type]


def test_json_and_pickle_round_trip() -> None:
    array = counts()
    fitted = PoissonPCA(2, axes="energy").fit(PlainData(array), spectra_spec(array))
    scale = PoissonScale(axes="energy").fit(PlainData(array), spectra_spec(array))
    assert fitted.axes == scale.axes == Misfit(fitted).axes == ("energy",)
    for operator in (fitted, scale, Misfit(fitted), PoissonPCA(2), PoissonScale(), SVD(2)):
        steps, arrays = to_dict(operator)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == operator
        assert pickle.loads(pickle.dumps(operator)) == operator


@pytest.mark.parametrize("estimator", [PoissonPCA(2), PoissonScale(), SVD(2)])
@pytest.mark.parametrize(
    ("array", "words"),
    [(np.zeros((9, 4), "float32"), "zero everywhere"), (np.full((9, 4), np.inf), "NaN or inf"), (counts().astype("complex64"), "complex")],
)
def test_bad_data(estimator: PoissonPCA | PoissonScale | SVD, array: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        estimator.fit(PlainData(array), spectra_spec(array))


def test_refusals() -> None:
    array = counts()
    for estimator in (PoissonPCA(61), SVD(61)):
        with pytest.raises(ParameterError, match="at most 60"):
            estimator.fit(PlainData(array), spectra_spec(array))
    with pytest.raises(DataError, match="Clip"):
        PoissonScale().fit(PlainData(array - 1), spectra_spec(array))
    with pytest.raises(ParameterError, match="not all zero"):
        WeighCounts([0.0, 0.0], (Axis("e", 2),))
    with pytest.raises(AxisError, match="energy 60"):
        WeighCounts([1.0], (Axis("e", 1),)).output(spectra_spec(array))
