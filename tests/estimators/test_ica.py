from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import sklearn.decomposition
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, run_plain, spectra_spec
from scipy.optimize import linear_sum_assignment

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import ICA, Project, _held
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis


def sources(n: int = 900, k: int = 3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.laplace(size=n), random.uniform(-2, 2, n), random.gamma(1.0, size=n)][:k], 1)


def mixed(n: int = 900, n_features: int = 23, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed + 1)
    return (500 + sources(n, seed=seed) @ random.normal(size=(3, n_features)) * 9 + random.normal(size=(n, n_features)) / 50).astype(
        np.float32
    )


def worst_match(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest |correlation| of columns of both after the best matching."""
    alike = np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :])
    return float(alike[linear_sum_assignment(-alike)].min())


def test_sources_are_found() -> None:
    array = mixed()
    found = run_plain(ICA(3).fit(PlainData(array, [100]), spectra_spec(array)), array)
    assert worst_match(found, sources()) > 0.99


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_equals_scikit_learn(dtype: str) -> None:
    array = (mixed() * 50).astype(dtype)
    found = run_plain(ICA(3, tolerance=1e-10).fit(PlainData(array, [100]), spectra_spec(array)), array)
    reference = sklearn.decomposition.FastICA(3, whiten="unit-variance", tol=1e-10, max_iter=1000, random_state=0)
    assert worst_match(found, reference.fit_transform(array.astype(float))) > 0.9999


@settings(max_examples=10)
@given(st.lists(st.integers(1, 899), max_size=12))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    array = mixed()
    whole = ICA(3).fit(PlainData(array), spectra_spec(array))
    cut = ICA(3).fit(PlainData(array, cuts), spectra_spec(array))
    np.testing.assert_allclose(cut.components.values, whole.components.values, atol=1e-5)


def test_scores_need_not_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    array = mixed()
    data, streamed = PlainData(array, [100, 400]), PlainData(array, [100, 400])
    kept = ICA(3).fit(data, spectra_spec(array))
    monkeypatch.setattr(_held, "_HELD_VALUES", 0)
    anew = ICA(3).fit(streamed, spectra_spec(array))
    np.testing.assert_allclose(anew.components.values, kept.components.values, atol=1e-5)
    assert (data.n_passes, streamed.n_passes) == (1, 1 + anew.n_iterations)


def test_held_scores_are_cut_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    array = mixed()
    whole = ICA(3).fit(PlainData(array), spectra_spec(array))
    monkeypatch.setattr(_held, "_SLICE", 64)
    np.testing.assert_allclose(ICA(3).fit(PlainData(array), spectra_spec(array)).components.values, whole.components.values, atol=1e-5)


def test_components_and_scores_belong_together() -> None:
    array = mixed().reshape(900, 23, 1)
    fitted = ICA(3).fit(PlainData(array), image_spec(array))
    components, filters = (part.values.reshape(3, -1) for part in (fitted.components, fitted.filters))
    np.testing.assert_allclose(filters @ components.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1)
    assert (components.max(1) == np.abs(components).max(1)).all()
    scores = run_plain(fitted, array)
    np.testing.assert_allclose(np.cov(scores.T), np.diag(fitted.explained_variance), atol=1e-3 * max(fitted.explained_variance))
    assert list(fitted.explained_variance) == sorted(fitted.explained_variance, reverse=True)
    assert sum(fitted.explained_variance_ratio) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(run_plain(fitted.inverse, scores), array, atol=0.2)


def test_the_same_seed_gives_the_same_and_any_seed_the_same_sources() -> None:
    array = mixed()
    a, again, other = (ICA(3, seed=seed).fit(PlainData(array), spectra_spec(array)) for seed in (1, 1, 2))
    assert a == again
    assert worst_match(run_plain(a, array), run_plain(other, array)) > 0.999


def test_gaussian_sources_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    array = np.random.default_rng(0).normal(size=(300, 4))
    ICA(4, max_iterations=3).fit(PlainData(array), spectra_spec(array))
    assert "Gaussian" in caplog.text


def test_json_and_pickle_round_trip() -> None:
    array = mixed()
    for operator in (ICA(3, seed=4), ICA(2, axes="energy").fit(PlainData(array), spectra_spec(array))):
        steps, arrays = to_dict(operator)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == operator
        assert pickle.loads(pickle.dumps(operator)) == operator


def test_refusals() -> None:
    array = np.outer(np.arange(20.0), [1.0, 2.0, 0.5])
    with pytest.raises(DataError, match="n_components=1 or fewer"):
        ICA(2).fit(PlainData(array), spectra_spec(array))
    with pytest.raises(ParameterError, match="at most 3"):
        ICA(4).fit(PlainData(array), spectra_spec(array))
    with pytest.raises(ParameterError, match="tolerance"):
        ICA(2, tolerance=0)
    with pytest.raises(ParameterError, match="filters"):
        Project([0.0], [[1.0]], (1.0,), 1.0, (Axis("e", 1),), [[1.0], [1.0]])
    with pytest.raises(AxisError, match="energy 3"):
        Project([0.0], [[1.0]], (1.0,), 1.0, (Axis("e", 1),), [[1.0]]).output(spectra_spec(array))


@pytest.mark.slow
@pytest.mark.shared
def test_a_real_spectrum_image_is_separated_as_by_scikit_learn(shared: Path) -> None:
    (dataset,) = pc.read(shared / "native/scifidatasets/DMReader_SpectrumImage_SI-EELS.dm3").values()
    array = np.asarray(dataset.compute()).astype(np.float32)
    array = array.reshape(-1, array.shape[-1])
    found = run_plain(ICA(3, tolerance=1e-9).fit(PlainData(array, [1000]), spectra_spec(array)), array)
    reference = sklearn.decomposition.FastICA(3, whiten="unit-variance", tol=1e-9, max_iter=2000, random_state=0)
    assert worst_match(found, reference.fit_transform(array.astype(float))) > 0.99
