from __future__ import annotations

import json
import lzma
import pickle
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec, spectra_spec

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import NFINDR, VCA
from pycroclass.estimators import endmembers as module
from pycroclass.operators import FCLS, NNLS, UCLS
from pycroclass.provenance import Provenance
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

BOTH = pytest.mark.parametrize("finder", [NFINDR, VCA])


def pure(p: int, n_features: int = 60) -> np.ndarray:
    x = np.linspace(0, 1, n_features)
    random = np.random.default_rng(3)
    return 1 + (np.exp(-(((x - random.random((p, 4, 1))) / 0.08) ** 2)) * random.random((p, 4, 1))).sum(1)


def mixtures(p: int, n: int = 300, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Dirichlet mixtures; the items 11, 22, … are pure, apart from their noise."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(p), n)
    shares[11 * np.arange(1, p + 1)] = np.eye(p)
    return shares @ pure(p) + noise * random.standard_normal((n, 60))


def fitted(finder: NFINDR | VCA, array: np.ndarray, cuts: tuple[int, ...] = ()) -> np.ndarray:
    operator = finder.fit(PlainData(array, cuts), spectra_spec(array))
    return operator.endmembers.values


@BOTH
@pytest.mark.parametrize("p", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_pure_items_are_found_without_noise(finder: type[NFINDR], p: int, seed: int) -> None:
    array = mixtures(p)
    np.testing.assert_allclose(fitted(finder(p, seed=seed), array, (40, 41)), pure(p), atol=1e-10)


@BOTH
def test_abundances_of_a_fit_are_those_of_the_mixture(finder: type[NFINDR]) -> None:
    random = np.random.default_rng(5)
    shares = random.dirichlet(np.ones(4), 200)
    shares[:4] = np.eye(4)
    array = shares @ pure(4)
    operator = finder(4).fit(PlainData(array), spectra_spec(array))
    assert isinstance(operator, FCLS)
    np.testing.assert_allclose(operator.transform(torch.from_numpy(array))["abundance"].numpy(), shares, atol=1e-10)


@BOTH
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 299), max_size=12).map(tuple))
def test_chunks_make_no_difference(finder: type[NFINDR], cuts: tuple[int, ...]) -> None:
    array = mixtures(4, noise=0.02).astype(np.float32)
    np.testing.assert_allclose(fitted(finder(4), array, cuts), fitted(finder(4), array), atol=1e-10)


def volume(points: np.ndarray) -> float:
    return float(abs(np.linalg.det(points[1:] - points[0])))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("p", [2, 4])
def test_no_swap_enlarges_the_simplex_of_nfindr(noise: float, p: int) -> None:
    array = mixtures(p, noise=noise)
    found = fitted(NFINDR(p), array)
    axes = np.linalg.svd(array - array.mean(0), full_matrices=False)[2][: p - 1]
    largest = volume((found - array.mean(0)) @ axes.T)
    for corner in range(p):
        for item in array:
            other = found.copy()
            other[corner] = item
            assert volume((other - array.mean(0)) @ axes.T) <= largest * (1 + 1e-8)


def test_end_members_of_nfindr_are_items_and_come_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    array = mixtures(4, noise=0.05)
    with caplog.at_level("INFO"):
        found = fitted(NFINDR(4), array)
    where = [int(np.flatnonzero((array == member).all(1))[0]) for member in found]
    assert where == sorted(where)
    assert "items " + ", ".join(map(str, where)) in caplog.text


def plain_vca(array: np.ndarray, p: int, seed: int) -> tuple[np.ndarray, bool]:
    """As the authors wrote it down, with all items in memory."""
    n, n_features = array.shape
    mean = array.mean(0)
    inner = axes_of(array - mean, p)
    power, inside = (array**2).sum() / n, (((array - mean) @ inner.T) ** 2).sum() / n + mean @ mean
    ratio = 10 * np.log10((inside - p / n_features * power) / (power - inside))
    clear = ratio > 15 + 10 * np.log10(p)
    if clear:
        axes = axes_of(array, p)
        scores = array @ axes.T
        points, projected = scores / (scores @ scores.mean(0))[:, None], scores @ axes
    else:
        scores = (array - mean) @ inner[: p - 1].T
        points = np.hstack([scores, np.full((n, 1), np.linalg.norm(scores, axis=1).max())])
        projected = scores @ inner[: p - 1] + mean
    random = np.random.default_rng(seed)
    found, indices = np.eye(p)[-1:].T @ np.eye(p)[:1], []
    for i in range(p):
        direction = random.standard_normal(p)
        direction = direction - found @ np.linalg.pinv(found) @ direction
        indices.append(int(np.abs(points @ direction).argmax()))
        found[:, i] = points[indices[-1]]
    return projected[sorted(indices)], bool(clear)


def axes_of(array: np.ndarray, p: int) -> np.ndarray:
    axes = np.linalg.svd(array, full_matrices=False)[2][:p]
    return axes * np.sign(axes[np.arange(p), np.abs(axes).argmax(1)])[:, None]


@pytest.mark.parametrize(("noise", "is_clear"), [(0.001, True), (0.2, False)])
@pytest.mark.parametrize("seed", [0, 3])
def test_vca_equals_its_plain_twin(noise: float, is_clear: bool, seed: int) -> None:
    array = mixtures(4, noise=noise)
    wanted, clear = plain_vca(array, 4, seed)
    assert clear == is_clear
    np.testing.assert_allclose(fitted(VCA(4, seed=seed), array, (100,)), wanted, atol=1e-9)


def test_vca_does_not_care_for_brightness() -> None:
    array = mixtures(4) * np.random.default_rng(0).uniform(0.2, 3, (300, 1))
    found = fitted(VCA(4, abundances="nnls"), array)
    np.testing.assert_allclose(found / found.mean(1, keepdims=True), pure(4) / pure(4).mean(1, keepdims=True), atol=1e-9)


def test_dark_items_are_no_end_members_of_vca() -> None:
    array = mixtures(3)
    array[[0, 5]] = 0
    array[7] *= -1e-9
    np.testing.assert_allclose(fitted(VCA(3), array), pure(3), atol=1e-9)


def test_images_are_unmixed_too() -> None:
    array = (np.random.default_rng(0).dirichlet(np.ones(3), 50) @ pure(3, 3000)).reshape(50, 60, 50)
    array[[4, 9, 30]] = pure(3, 3000).reshape(3, 60, 50)
    operator = NFINDR(3).fit(PlainData(array, [7]), image_spec(array))
    np.testing.assert_allclose(operator.endmembers.values, array[[4, 9, 30]])
    assert operator.described_endmembers()[1].names == ("endmember", "y", "x")


@pytest.mark.parametrize(("name", "wanted"), [("fcls", FCLS), ("nnls", NNLS), ("ucls", UCLS)])
def test_the_method_of_the_abundances_is_chosen(name: str, wanted: type[FCLS]) -> None:
    array = mixtures(3)
    operator = VCA(3, abundances=name, axes="energy").fit(PlainData(array), spectra_spec(array))
    assert type(operator) is wanted
    assert (operator.item, operator.axes) == (spectra_spec(array).axes, ("energy",))


def test_json_and_pickle_round_trip() -> None:
    array = mixtures(3)
    for thing in (NFINDR(3, seed=2), VCA(3, abundances="ucls"), NFINDR(3).fit(PlainData(array), spectra_spec(array))):
        steps, arrays = to_dict(thing)
        assert from_dict(json.loads(json.dumps(steps)), arrays)[0] == thing
        assert pickle.loads(pickle.dumps(thing)) == thing


def test_passes_that_do_not_end_are_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "_GROWTH", -1.0)
    monkeypatch.setattr(module, "_largest_simplex", lambda points, chosen: chosen)
    fitted(NFINDR(3), mixtures(3))
    assert "stopped after 100 passes" in caplog.text


@BOTH
@pytest.mark.parametrize(
    ("array", "p", "error", "words"),
    [
        (mixtures(3, 40)[:2], 3, ParameterError, "at most 2"),
        (mixtures(3), 61, ParameterError, "at most 60"),
        (mixtures(3), 5, DataError, "mixtures of [34] spectra"),
        (np.full((9, 4), np.nan), 2, DataError, "NaN"),
        (mixtures(3).astype("complex64"), 2, DataError, "complex"),
    ],
)
def test_bad_data(finder: type[NFINDR], array: np.ndarray, p: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        finder(p).fit(PlainData(array), spectra_spec(array))


def test_items_that_are_too_wide_for_vca_are_refused() -> None:
    array = np.ones((9, 8193), np.float32)
    with pytest.raises(DataError, match="NFINDR"):
        VCA(2).fit(PlainData(array), spectra_spec(array))


@BOTH
@pytest.mark.parametrize("changes", [{"n_endmembers": 1}, {"n_endmembers": 2.5}, {"abundances": "lasso"}, {"seed": -1}])
def test_bad_parameters(finder: type[NFINDR], changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        finder(**({"n_endmembers": 3} | changes))


@BOTH
def test_a_dataset_is_unmixed_lazily_and_in_any_chunks(finder: type[NFINDR]) -> None:
    array = mixtures(3, noise=0.02).astype(np.float32).reshape(15, 20, 60)
    axes = (Axis("y", 15, "spatial"), Axis("x", 20, "spatial"), *spectra_spec(array.reshape(-1, 60)).axes)
    dataset = wrap(da.from_array(array, (4, 7, 60)), Spec(axes, array.dtype, units="counts"), provenance=Provenance("given", {}))
    model = pc.fit(finder(3), dataset)
    np.testing.assert_allclose(model[0].endmembers.values, fitted(finder(3), array.reshape(-1, 60)), atol=1e-10)
    maps = model(dataset)
    abundance, residual = maps["abundance"], maps["residual"]
    assert (abundance.shape, residual.shape, residual.units) == ((15, 20, 3), (15, 20), "counts")
    mixture = np.asarray(abundance.compute()) @ model[0].endmembers.values
    np.testing.assert_allclose(np.sqrt(((array - mixture) ** 2).mean(2)), np.asarray(residual.compute()), rtol=1e-4, atol=1e-9)
    clusters = pc.fit(model | pc.KMeans(2), dataset)(dataset)
    assert clusters.shape == (15, 20)


@pytest.mark.shared
@BOTH
def test_a_real_spectrum_image(finder: type[NFINDR], shared: Path) -> None:
    (dataset,) = pc.read(shared / "native" / "scifidatasets" / "DMReader_SpectrumImage_SI-EELS.dm3").values()
    model = pc.fit(finder(4, abundances="nnls"), dataset)
    maps = {name: np.asarray(result.compute()) for name, result in model(dataset).items()}
    (operator,) = model
    rows = np.asarray(dataset.compute(), np.float64).reshape(-1, 1024)
    members = operator.endmembers.values
    theirs = [scipy.optimize.nnls(members.T, row) for row in rows]
    abundance = np.array([x for x, _ in theirs])
    assert maps["abundance"].shape == (49, 6, 4)
    np.testing.assert_allclose(maps["abundance"].reshape(-1, 4), abundance, atol=1e-5 * abundance.max())
    np.testing.assert_allclose(maps["residual"].ravel(), [error / 32 for _, error in theirs], rtol=1e-5, atol=1e-9)
    if finder is VCA:
        np.testing.assert_allclose(members, plain_vca(rows, 4, 0)[0], atol=1e-6 * rows.max())


@pytest.mark.shared
@BOTH
def test_lipid_and_protein_of_a_cell(finder: type[NFINDR], shared: Path) -> None:
    """A Raman map of a cell of a bladder: droplets of fat in it have the bands of triglycerides, the rest those of protein."""
    with lzma.open(shared / "raman_maps" / "bladder.csv.xz", "rt") as file:
        shift = np.array([float(word) for word in file.readline().split(",")[:-3]])
        rows = np.array([[float(word) for word in line.split(",")[:-1]] for line in file])
    cube = rows[np.lexsort((rows[:, -2], rows[:, -1])), :-2].reshape(18, 20, -1)
    axes = (Axis("y", 18, "spatial"), Axis("x", 20, "spatial"), Axis.from_values("shift", shift, kind="spectral", units="1/cm"))
    dataset = wrap(da.from_array(cube, (5, 20, -1)), Spec(axes, cube.dtype, units="counts"), provenance=Provenance("given", {}))
    model = pc.fit(finder(3, abundances="nnls"), dataset)
    members = model[0].endmembers.values
    abundance = np.asarray(model(dataset)["abundance"].compute())

    def height(low: float, high: float) -> np.ndarray:
        """Of a band above the line between its ends, for each end member."""
        band = members[:, (shift >= low) & (shift <= high)]
        return band.max(1) - (band[:, 0] + band[:, -1]) / 2

    fat = int(height(1425, 1475).argmax())
    protein = int(np.where(np.arange(3) == fat, -np.inf, height(1425, 1475)).argmax())
    for low, high in ((1290, 1320), (1425, 1475), (1640, 1675), (1735, 1760)):
        assert height(low, high)[fat] == height(low, high).max()
    phenylalanine = height(995, 1012) / height(1425, 1475)
    assert phenylalanine[protein] > 3 * phenylalanine[fat]
    y, x = np.mgrid[:18, :20]
    inside = np.hypot(y - 7.5, x - 8) < 6
    outside = np.hypot(y - 7.5, x - 8) > 10
    assert np.median(abundance[inside, protein]) > 3 * np.median(abundance[outside, protein])
    assert (abundance[..., fat] > 0.3).sum() < 15
