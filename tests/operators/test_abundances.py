from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.optimize
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import FCLS, NNLS, UCLS
from pycroclass.sid import data_type
from pycroclass.spec import Axis, Spec

ENERGY = Axis("energy", 40, kind="spectral", quantity="energy loss", units="eV", offset=100, step=0.5)
SPEC = Spec((ENERGY,), np.dtype("float64"), quantity="intensity", units="counts")
ALL = pytest.mark.parametrize("method", [UCLS, NNLS, FCLS])


def spectra(p: int, n_features: int = 40, seed: int = 0) -> np.ndarray:
    """Smooth, positive and alike, as spectra are."""
    x = np.linspace(0, 1, n_features)
    random = np.random.default_rng(seed)
    peaks = np.exp(-(((x - random.random((p, 3, 1))) / 0.1) ** 2)) * random.random((p, 3, 1))
    return 1 + peaks.sum(1)


def shares(n: int, p: int, seed: int = 1) -> np.ndarray:
    """On a simplex, with some of them exactly zero."""
    values = np.random.default_rng(seed).dirichlet(np.ones(p), n)
    values[: n // 2, 0] *= p == 1
    return values / values.sum(1, keepdims=True)


def noisy(n: int, p: int, seed: int = 2) -> np.ndarray:
    """Items far outside what mixtures can be."""
    return shares(n, p) @ spectra(p) + 0.5 * np.random.default_rng(seed).standard_normal((n, 40))


def solved(operator: UCLS | NNLS | FCLS, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps = operator.transform(torch.from_numpy(items))
    return maps["abundance"].numpy(), maps["residual"].numpy()


@ALL
@pytest.mark.parametrize("p", [1, 2, 5, 9])
def test_exact_mixtures_are_taken_apart_to_1e_10(method: type[FCLS], p: int) -> None:
    wanted = shares(200, p) if p > 1 else np.ones((200, 1))
    abundance, residual = solved(method(spectra(p)), wanted @ spectra(p))
    np.testing.assert_allclose(abundance, wanted, atol=1e-10)
    np.testing.assert_allclose(residual, 0, atol=1e-10)


def test_a_large_offset_costs_fcls_no_digits() -> None:
    wanted = shares(200, 4)
    abundance, _ = solved(FCLS(spectra(4) + 1e5), wanted @ (spectra(4) + 1e5))
    np.testing.assert_allclose(abundance, wanted, atol=1e-8)


@pytest.mark.parametrize("p", [1, 2, 5, 12])
def test_nnls_equals_that_of_scipy(p: int) -> None:
    items, members = noisy(300, p), spectra(p) * 10.0 ** np.linspace(-2, 2, p)[:, None]
    abundance, residual = solved(NNLS(members), items)
    for item, mine, error in zip(items, abundance, residual):
        theirs, norm = scipy.optimize.nnls(members.T, item)
        np.testing.assert_allclose(mine, theirs, atol=1e-8 * theirs.max(), rtol=1e-8)
        assert error == pytest.approx(norm / np.sqrt(40), rel=1e-9)


def test_ucls_equals_lstsq() -> None:
    items = noisy(50, 5)
    abundance, _ = solved(UCLS(spectra(5)), items)
    np.testing.assert_allclose(abundance, np.linalg.lstsq(spectra(5).T, items.T)[0].T, atol=1e-9)


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_fcls_equals_the_best_of_all_faces(p: int) -> None:
    items, members = noisy(100, p), spectra(p)
    abundance, _ = solved(FCLS(members), items)
    for item, mine in zip(items, abundance):
        np.testing.assert_allclose(mine, best_of_all_faces(item, members), atol=1e-8)
    np.testing.assert_allclose(abundance.sum(1), 1, atol=1e-13)
    assert abundance.min() >= 0


def best_of_all_faces(item: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex: least squares on each of its faces, with sum one by leaving the last member out."""
    best, found = np.inf, np.empty(0)
    for size in range(1, len(members) + 1):
        for face in map(list, combinations(range(len(members)), size)):
            inner = np.linalg.lstsq((members[face[:-1]] - members[face[-1]]).T, item - members[face[-1]])[0]
            shares = np.zeros(len(members))
            shares[face] = [*inner, 1 - inner.sum()]
            distance = np.linalg.norm(item - shares @ members)
            if shares.min() >= 0 and distance < best:
                best, found = distance, shares
    return found


@pytest.mark.parametrize(("method", "p"), [(NNLS, 25), (FCLS, 25)])
def test_many_end_members_end_at_the_minimum(method: type[FCLS], p: int) -> None:
    """No direction leads further down: the conditions of Karush, Kuhn and Tucker, which hold at the minimum alone."""
    random = np.random.default_rng(0)
    members, items = random.random((p, 60)), 2 * random.standard_normal((400, 60)) + 0.5
    abundance, _ = solved(method(members), items)
    gain = (items - abundance @ members) @ members.T
    level = gain.max(1, keepdims=True) if method is FCLS else 0.0
    np.testing.assert_allclose(np.where(abundance > 0, gain - level, 0), 0, atol=1e-9)
    assert (gain - level).max() <= 1e-9
    assert (abundance == 0).any(1).all()


def test_fcls_takes_one_more_end_member_than_features() -> None:
    maps = FCLS([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).transform(torch.tensor([[0.2, 0.3], [-1.0, -1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(maps["abundance"], [[0.5, 0.2, 0.3], [1, 0, 0], [0, 0.5, 0.5]], atol=1e-6)


@ALL
def test_items_that_are_not_finite_have_no_abundances(method: type[FCLS]) -> None:
    items = noisy(6, 3)
    items[1, 7], items[4, 0] = np.nan, np.inf
    abundance, residual = solved(method(spectra(3)), items)
    wanted, _ = solved(method(spectra(3)), items[[0, 2, 3, 5]])
    assert np.isnan(abundance[[1, 4]]).all()
    assert np.isnan(residual).tolist() == [False, True, False, False, True, False]
    np.testing.assert_allclose(abundance[[0, 2, 3, 5]], wanted, atol=1e-12)


@ALL
def test_dark_items_have_an_answer(method: type[FCLS]) -> None:
    abundance, _ = solved(method(spectra(3)), np.zeros((2, 40)))
    assert np.isfinite(abundance).all()
    assert np.abs(abundance.sum(1) - (method is FCLS)).max() < 1e-12


def test_what_comes_out_is_described() -> None:
    operator = NNLS(spectra(3), (ENERGY,))
    outputs = operator.output(Spec(SPEC.axes, np.dtype("uint16"), units="counts"))
    assert list(outputs) == ["abundance", "residual"]
    assert (outputs["abundance"].shape, outputs["abundance"].dtype) == ((3,), np.dtype("float32"))
    assert outputs["abundance"]["endmember"].values.tolist() == [1, 2, 3]
    assert (outputs["residual"].shape, outputs["residual"].units) == ((), "counts")
    values, meaning = operator.described_endmembers()
    np.testing.assert_allclose(values, spectra(3), rtol=1e-6)
    assert (meaning.names, meaning["energy"], data_type(meaning)) == (("endmember", "energy"), ENERGY, "SPECTRUM")


@ALL
@pytest.mark.parametrize(
    "members",
    [
        np.vstack([spectra(2), spectra(2).mean(0)]),
        np.vstack([spectra(2), spectra(2)[:1]]),
        np.random.default_rng(0).random((5, 3)),
    ],
)
def test_end_members_that_are_mixtures_of_others_are_refused(method: type[FCLS], members: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="independent"):
        method(members)


@pytest.mark.parametrize("members", [np.ones(4), np.full((2, 3), np.nan), np.ones((2, 3)) * 1j, np.empty((0, 4))])
def test_what_is_no_set_of_spectra_is_refused(members: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="n_endmembers"):
        UCLS(members)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(AxisError, match="energy 40"):
        FCLS(spectra(3, 39)).output(SPEC)
    with pytest.raises(AxisError, match="complex"):
        FCLS(spectra(3)).output(Spec((ENERGY,), np.dtype("complex64")))
    with pytest.raises(ParameterError, match="energy 40"):
        FCLS(spectra(3, 39), (ENERGY,))
    with pytest.raises(ParameterError, match="item="):
        FCLS(spectra(3)).described_endmembers()
