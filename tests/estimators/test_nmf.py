from __future__ import annotations

import json
import lzma
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import sklearn.decomposition
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from sklearn.exceptions import ConvergenceWarning

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import NMF, NonnegativeFit, PoissonFit, PoissonNMF, _nonnegative
from pycroclass.estimators import nmf as nmf_module
from pycroclass.estimators import pca as pca_module
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import data_type
from pycroclass.spec import Axis, Spec

both = pytest.mark.parametrize("estimator", [NMF, PoissonNMF])


def mixtures(n: int = 143, n_features: int = 37, k: int = 3, scale: float = 60, seed: int = 0) -> np.ndarray:
    """Counts of peaks on a falling background."""
    random = np.random.default_rng(seed)
    x = np.linspace(0, 1, n_features)
    peaks = np.exp(-(((x - np.linspace(0.2, 0.9, k)[:, None]) / 0.08) ** 2))
    peaks[0] = (1 + x) ** -3
    return random.poisson(scale * random.gamma(0.8, size=(n, k)) @ peaks).astype(np.float32)


def scikit_learn(array: np.ndarray, k: int, *, poisson: bool = False, l1: float = 0.0) -> float:
    """The objective of scikit-learn's factorisation run to its end, with the penalties."""
    rows = array.reshape(len(array), -1).astype(np.float64)
    how = {"solver": "mu", "beta_loss": "kullback-leibler"} if poisson else {}
    reference = sklearn.decomposition.NMF(k, init="nndsvda", max_iter=4000, tol=1e-7, alpha_W=l1, l1_ratio=1, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        amounts = reference.fit_transform(rows)
    penalty = l1 * (rows.shape[1] * amounts.sum() + len(rows) * reference.components_.sum())
    return float(reference.reconstruction_err_**2 / 2 + penalty)


@pytest.mark.parametrize("l1", [0.0, 0.05])
@both
def test_the_objective_is_that_of_scikit_learn(estimator: type[NMF] | type[PoissonNMF], l1: float) -> None:
    array = mixtures()
    fitted = estimator(3, l1=l1, tolerance=1e-5).fit(PlainData(array, [10, 11, 100]), spectra_spec(array))
    objective = scikit_learn(array, 3, poisson=estimator is PoissonNMF, l1=l1)
    assert 0.98 * objective < fitted.objective < 1.002 * objective  # its steps end earlier where zeros are many


@both
def test_the_objective_is_what_it_says(estimator: type[NMF] | type[PoissonNMF]) -> None:
    array = mixtures()
    fitted = estimator(3).fit(PlainData(array), spectra_spec(array))
    expected = run_plain(fitted, array).astype(float) @ fitted.components.values
    if estimator is NMF:
        wanted = np.square(array - expected).sum() / 2
    else:
        wanted = (scipy.special.xlogy(array, array / expected) - array + expected).sum()
    assert fitted.objective == pytest.approx(wanted, rel=1e-4)


@settings(max_examples=5)
@given(st.lists(st.integers(1, 142), max_size=12))
@both
def test_chunks_make_no_difference(estimator: type[NMF] | type[PoissonNMF], cuts: list[int]) -> None:
    array = mixtures()
    whole = estimator(2, max_iterations=8, tolerance=0).fit(PlainData(array), spectra_spec(array))
    cut = estimator(2, max_iterations=8, tolerance=0).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.components.values, whole.components.values, atol=1e-6)
    np.testing.assert_allclose(run_plain(cut, array), run_plain(whole, array), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
@both
def test_exact_mixtures_leave_nothing(estimator: type[NMF] | type[PoissonNMF], dtype: str) -> None:
    random = np.random.default_rng(4)
    array = (random.integers(0, 9, (80, 2)) @ np.array([[9, 0, 3, 1, 0], [0, 7, 1, 4, 6]])).astype(dtype)
    fitted = estimator(2, max_iterations=400, tolerance=0).fit(PlainData(array, [9]), spectra_spec(array))
    np.testing.assert_allclose(run_plain(fitted.inverse, run_plain(fitted, array)), array, atol=0.1)


def test_wide_items_start_from_the_same_singular_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    array = mixtures(60, 120).reshape(60, 12, 10)
    narrow = NMF(3, tolerance=1e-6).fit(PlainData(array), image_spec(array))
    monkeypatch.setattr(pca_module, "_WIDE", 20)
    monkeypatch.setattr(pca_module, "Scatter", None)
    wide = NMF(3, tolerance=1e-6).fit(PlainData(array, [7]), image_spec(array))
    np.testing.assert_allclose(wide.components.values, narrow.components.values, atol=1e-3 * narrow.components.values.max())


def test_steps_never_raise_the_objective_and_extrapolation_saves_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    array = mixtures()
    quick, slow = PlainData(array), PlainData(array)
    fast = NMF(3, tolerance=1e-6, max_iterations=500).fit(quick, spectra_spec(array))
    monkeypatch.setattr(nmf_module, "_LEAST_STEP", 1.0)
    monkeypatch.setattr(nmf_module.math, "sqrt", lambda x: 1.0)  # a speed of 1 does not extrapolate
    plain = NMF(3, tolerance=1e-6, max_iterations=500).fit(slow, spectra_spec(array))
    assert quick.n_passes < 0.7 * slow.n_passes
    assert fast.objective == pytest.approx(plain.objective, rel=1e-3)


@both
def test_components_sum_to_one_and_fall_in_share(estimator: type[NMF] | type[PoissonNMF]) -> None:
    array = mixtures()
    fitted = estimator(3).fit(PlainData(array), spectra_spec(array))
    np.testing.assert_allclose(fitted.components.values.sum(1), 1)
    shares = run_plain(fitted, array).sum(0)
    assert (np.diff(shares) <= 0).all()
    if estimator is PoissonNMF:
        assert shares.sum() == pytest.approx(array.sum(), rel=1e-3)


def test_a_penalty_makes_amounts_sparse() -> None:
    array = mixtures()
    free, sparse = (NMF(3, l1=l1).fit(PlainData(array), spectra_spec(array)) for l1 in (0.0, 0.5))
    assert (run_plain(sparse, array) == 0).mean() > (run_plain(free, array) == 0).mean()


def test_poisson_finds_a_weak_component_that_squares_lose() -> None:
    random = np.random.default_rng(0)
    x = np.arange(80)
    strong, weak = np.exp(-x / 5) * 9000, 3 * np.exp(-(((x - 60) / 6) ** 2))
    where = random.random(300) < 0.3
    array = random.poisson(random.uniform(0.5, 1.5, (300, 1)) * strong + np.outer(where, weak)).astype(np.float32)
    found = {}
    for estimator in (NMF, PoissonNMF):
        fitted = estimator(2).fit(PlainData(array), spectra_spec(array))
        smooth = run_plain(fitted.inverse, run_plain(fitted, array))
        found[estimator] = np.corrcoef(smooth[:, 50:70].sum(1), where)[0, 1]
    assert found[PoissonNMF] > 0.95 > 0.7 > found[NMF]


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 1000))
def test_least_squares_is_that_of_scipy(k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    spectra, rows = random.normal(size=(k, 12)), random.normal(size=(15, 12))
    ours = _nonnegative.least_squares(torch.from_numpy(spectra @ spectra.T), torch.from_numpy(rows @ spectra.T)).numpy()
    np.testing.assert_allclose(ours, [scipy.optimize.nnls(spectra.T, row)[0] for row in rows], atol=1e-9)


def test_least_squares_of_equal_and_absent_components() -> None:
    spectra = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    amounts = _nonnegative.least_squares(spectra @ spectra.T, torch.tensor([[3.0, 6.0]], dtype=torch.float64) @ spectra.T)
    np.testing.assert_allclose(amounts @ spectra, [[3.0, 6.0]], rtol=1e-9)


def test_many_components_are_told_apart_as_few() -> None:
    random = np.random.default_rng(0)
    spectra, rows = random.random((60, 80)), random.normal(size=(7, 80))
    ours = _nonnegative.least_squares(torch.from_numpy(spectra @ spectra.T), torch.from_numpy(rows @ spectra.T)).numpy()
    np.testing.assert_allclose(ours, [scipy.optimize.nnls(spectra.T, row)[0] for row in rows], atol=1e-8)


@pytest.mark.parametrize("scale", [0.3, 5, 500])
def test_poisson_amounts_are_of_maximum_likelihood(scale: float) -> None:
    random = np.random.default_rng(1)
    spectra = random.gamma(0.7, size=(4, 30))
    rows = random.poisson(scale * random.gamma(0.5, size=(12, 4)) @ spectra).astype(float)
    penalty = np.array([0.0, 0.5, 0.0, 0.1])

    def cost(amounts: np.ndarray, row: np.ndarray) -> float:
        expected = amounts @ spectra + 1e-300
        return float((expected - row * np.log(expected)).sum() + penalty @ amounts)

    def slope(amounts: np.ndarray, row: np.ndarray) -> np.ndarray:
        return spectra @ (1 - row / (amounts @ spectra + 1e-300)) + penalty

    ours = _nonnegative.poisson(*(torch.from_numpy(part) for part in (rows, spectra, penalty))).numpy()
    for row, amounts in zip(rows, ours):
        start = np.full(4, max(row.mean(), 0.1))
        theirs = scipy.optimize.minimize(cost, start, (row,), "L-BFGS-B", slope, bounds=[(1e-9, None)] * 4, options={"ftol": 1e-14})
        assert cost(amounts, row) <= theirs.fun + 1e-6 * max(1, abs(theirs.fun))


def test_items_without_an_answer_are_nan() -> None:
    rows = torch.tensor([[1.0, 1.0], [torch.nan, 1.0], [torch.inf, 1.0], [-1.0, 1.0], [0.0, 0.0]])
    least, likely = (kind([[0.5, 0.5]], 0.0, 0.0, 1, (Axis("e", 2),)).transform(rows) for kind in (NonnegativeFit, PoissonFit))
    assert least.isnan()[:, 0].tolist() == [False, True, True, False, False]
    assert likely.isnan()[:, 0].tolist() == [False, True, True, True, False]
    assert least[4] == likely[4] == 0


def test_what_comes_out_is_described() -> None:
    array = mixtures()
    spec = spectra_spec(array)
    fitted = NMF(2).fit(PlainData(array), spec)
    amounts = fitted.output(spec)
    assert isinstance(amounts, Spec)
    assert (amounts.names, amounts.shape, amounts.dtype, amounts.units) == (("component",), (2,), np.dtype("float32"), "counts")
    values, meaning = fitted.described_components()
    assert (values.shape, meaning.axes[1], data_type(meaning)) == ((2, 37), spec.axes[0], "SPECTRUM")
    assert fitted.inverse.output(amounts).axes == spec.axes


@both
def test_json_and_pickle_round_trip(estimator: type[NMF] | type[PoissonNMF]) -> None:
    array = mixtures(30)
    for operator in (estimator(2, l1=0.1), estimator(2, axes="energy", max_iterations=3).fit(PlainData(array), spectra_spec(array))):
        steps, arrays = to_dict(operator)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == operator
        assert pickle.loads(pickle.dumps(operator)) == operator
    assert operator.axes == ("energy",)


@pytest.mark.parametrize(
    ("array", "k", "error", "words"),
    [
        (mixtures(5), 6, ParameterError, "at most 5"),
        (mixtures(50, 4), 5, ParameterError, "at most 4"),
        (mixtures() - 1, 2, DataError, "Clip"),
        (np.zeros((9, 4), "float32"), 1, DataError, "zero everywhere"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), 1, DataError, "NaN"),
        (mixtures().astype("complex64"), 1, DataError, "complex"),
    ],
)
@both
def test_bad_data(estimator: type[NMF], array: np.ndarray, k: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        estimator(k).fit(PlainData(array), spectra_spec(array))


def test_bad_parameters() -> None:
    with pytest.raises(ParameterError, match="n_components"):
        NMF(0)
    with pytest.raises(ParameterError, match="l1"):
        NMF(2, l1=-1)
    with pytest.raises(ParameterError, match="tolerance"):
        NMF(2, tolerance=np.nan)
    with pytest.raises(ParameterError, match="shape"):
        NonnegativeFit([[1.0]], 0.0, 0.0, 1, (Axis("e", 2),))
    with pytest.raises(ParameterError, match="at least zero"):
        PoissonFit([[1.0, -1.0]], 0.0, 0.0, 1, (Axis("e", 2),))
    with pytest.raises(AxisError, match="energy 37"):
        NonnegativeFit([[1.0, 1.0]], 0.0, 0.0, 1, (Axis("e", 2),)).output(spectra_spec(mixtures()))


def test_components_that_are_not_there_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    array = np.outer(np.arange(1, 9), [1.0, 2.0, 3.0]).astype("float32")
    fitted = PoissonNMF(1, max_iterations=1).fit(PlainData(array), spectra_spec(array))
    assert "raise max_iterations" in caplog.text
    assert fitted.n_components == 1


def real(shared: Path, name: str) -> np.ndarray:
    """Spectra (item, feature) of a real map, none below zero."""
    if name == "eels":
        (dataset,) = pc.read(shared / "native/scifidatasets/DMReader_SpectrumImage_SI-EELS.dm3").values()
        array = np.asarray(dataset.compute())
        return np.clip(array.reshape(-1, array.shape[-1])[:, ::4], 0, None).astype(np.float32)
    with lzma.open(shared / f"raman_maps/{name}.csv.xz", "rt") as file:
        _, *rows = (line.split(",") for line in file)
    return np.array([row[:-3] for row in rows], np.float32).clip(0)  # the last are x, y and a label


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["eels", "bladder"])
@both
def test_real_spectra_are_factorised_as_well_as_by_scikit_learn(shared: Path, estimator: type[NMF], name: str) -> None:
    array = real(shared, name)
    fitted = estimator(4).fit(PlainData(array, [len(array) // 3]), spectra_spec(array))
    objective = scikit_learn(array, 4, poisson=estimator is PoissonNMF)
    assert fitted.objective <= 1.01 * objective
