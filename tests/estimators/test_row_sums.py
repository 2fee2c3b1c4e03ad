"""The compiled sums over rows, their twins in PyTorch, and both against sums that are written out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.estimators._lloyd import Assignment, Farthest
from pycroclass.estimators._moments import Moments, Scatter
from pycroclass.kernels import row_sums, row_sums_torch
from pycroclass.operator import Items

DTYPES = ("float32", "float64", "float16", "int16", "uint8")
SHAPES = st.tuples(st.one_of(st.integers(1, 70), st.integers(500, 1100)), st.integers(1, 70), st.sampled_from(DTYPES), st.integers(0, 99))


def rows_of(n: int, n_features: int, dtype: str, seed: int, *, layout: str = "C") -> torch.Tensor:
    """Rows around three centres, far from zero; contiguous, by columns, or every other column of more."""
    rng = np.random.default_rng(seed)
    rows = 20 * rng.standard_normal((3, n_features))[rng.integers(3, size=n)] + 5 * rng.standard_normal((n, n_features)) + 100
    rows = rows.clip(0, 255).astype(dtype)
    if layout == "F":
        rows = np.asfortranarray(rows)
    if layout == "strided":
        rows = np.repeat(rows, 2, axis=1)[:, ::2]
    return torch.from_numpy(rows)


def plain_assign(rows: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> tuple[np.ndarray, ...]:
    squares = np.square(rows[:, None, None] - centres).sum(3)
    labels = squares.argmin(2)
    members = labels[..., None] == np.arange(centres.shape[1])
    return members.sum(0), np.einsum("nrc,nf->rcf", members, rows), squares.min(2).sum(0)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.sampled_from(["C", "F", "strided"]))
def test_moments(shape: tuple[int, int, str, int], layout: str) -> None:
    rows = rows_of(*shape, layout=layout)
    plain = rows.numpy().astype(np.float64)
    away = plain - plain.mean(0)
    scale = np.abs(away.T @ away).max() + 1e-6
    n, mean, squares = Moments().partial(rows, Items(np.arange(len(rows))))
    _, _, products = Scatter().partial(rows, Items(np.arange(len(rows))))
    assert float(n) == len(rows)
    np.testing.assert_allclose(mean, plain.mean(0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(squares, (away**2).sum(0), atol=1e-12 * scale)
    np.testing.assert_allclose(np.triu(products), np.triu(away.T @ away), atol=1e-12 * scale)
    for of_twin, ours in ((row_sums_torch.moments(rows), squares), (row_sums_torch.scatter(rows), products)):
        np.testing.assert_allclose(of_twin[0], mean, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(np.triu(of_twin[1]), np.triu(ours), atol=1e-12 * scale)


@pytest.mark.parametrize("last", [1e3, 1e8])
def test_spread_is_as_precise_where_the_first_rows_lie_far_from_the_others(last: float) -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 3))
    rows[600:] += last
    exact = rows.astype(np.longdouble)
    exact -= exact.mean(0)
    products = np.einsum("ni,nj->ij", exact, exact).astype(np.float64)
    np.testing.assert_allclose(row_sums.moments(rows)[1], np.diag(products), rtol=1e-12)
    np.testing.assert_allclose(np.triu(row_sums.scatter(rows)[1]), np.triu(products), rtol=1e-12)


def test_products_of_more_features_than_a_panel_holds() -> None:
    rows = rows_of(700, 205, "float32", 0)
    mean, products = row_sums.scatter(row_sums.as_compiled_for(rows))
    np.testing.assert_allclose(np.triu(products), np.triu(row_sums_torch.scatter(rows)[1]), rtol=1e-11, atol=1e-6)
    np.testing.assert_allclose(mean, rows.numpy().mean(0, dtype=np.float64), rtol=1e-13)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(1, 3), st.integers(1, 19), st.sampled_from(["C", "F", "strided"]))
def test_clusters(shape: tuple[int, int, str, int], n_runs: int, n_clusters: int, layout: str) -> None:
    rows = rows_of(*shape, layout=layout)
    rng = np.random.default_rng(shape[-1])
    plain = rows.numpy().astype(np.float64)
    origin = plain.mean(0)
    centres = (
        plain[rng.integers(len(plain), size=(n_runs, n_clusters))] - origin + 0.1 * rng.standard_normal((n_runs, n_clusters, shape[1]))
    )
    arguments = torch.from_numpy(origin), torch.from_numpy(centres)
    found = Assignment(*arguments).partial(rows, Items(np.arange(len(rows))))
    for of_others in (plain_assign(plain - origin, centres), row_sums_torch.assign(rows, *arguments)):
        for ours, theirs in zip(found, of_others, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-8)


def test_clusters_of_more_features_than_are_multiplied_at_once() -> None:
    rows = rows_of(75, 1030, "float32", 1)
    origin = rows.numpy().mean(0, dtype=np.float64)
    centres = rows[:5].numpy()[None] - origin
    found = row_sums.assign(rows.numpy(), origin, centres)
    for ours, theirs in zip(found, plain_assign(rows.numpy() - origin, centres), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 11), st.integers(0, 99))
def test_the_first_of_equals_is_the_nearest(n: int, n_features: int, n_clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, centres = (rng.integers(-1, 2, (size, n_features)).astype(np.float64) for size in (n, n_clusters))
    squares = np.square(rows[:, None] - centres).sum(2)
    for origin in (np.zeros(n_features), np.ones(n_features)):
        arguments = origin, centres - origin
        labels, least = row_sums.nearest(rows, *arguments)
        np.testing.assert_array_equal(labels, squares.argmin(1))
        np.testing.assert_array_equal(least, squares.min(1))
        np.testing.assert_array_equal(row_sums_torch.nearest(*map(torch.from_numpy, (rows, *arguments)))[0], labels)
        counts, _, inertia = row_sums.assign(rows, origin, arguments[1][None])
        np.testing.assert_array_equal(counts[0], np.bincount(labels, minlength=n_clusters))
        assert inertia == least.sum()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 33), st.integers(1, 9))
def test_what_is_nearest_does_not_depend_on_the_company(cuts: list[int], n_features: int, n_clusters: int) -> None:
    rng = np.random.default_rng(n_features)
    rows, centres = rng.standard_normal((301, n_features)), rng.standard_normal((n_clusters, n_features))
    origin = centres.mean(0)
    parts = [row_sums.nearest(np.ascontiguousarray(part), origin, centres) for part in np.split(rows, sorted(cuts))]
    for of_parts, of_all in zip(zip(*parts, strict=True), row_sums.nearest(rows, origin, centres), strict=True):
        np.testing.assert_array_equal(np.concatenate(of_parts), of_all)


def test_equal_centres_are_equally_near_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    rows, centre = rng.standard_normal((99, 13)), rng.standard_normal(13)
    labels, _ = row_sums.nearest(rows, np.zeros(13), np.tile(centre, (11, 1)))
    assert not labels.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(bad: float) -> None:
    rows = np.random.default_rng(0).standard_normal((10, 4))
    rows[3, 1] = bad
    centres = rows[[7, 8]]
    labels, _ = row_sums.nearest(rows, np.zeros(4), centres)
    assert labels[3] == row_sums_torch.nearest(*map(torch.from_numpy, (rows, np.zeros(4), centres)))[0][3]
    counts, sums, inertias = row_sums.assign(rows, np.zeros(4), centres[None])
    assert counts.sum() == 10
    assert not np.isfinite(sums).all()
    assert not np.isfinite(inertias).all()
    for mean, spread in (row_sums.moments(rows), row_sums.scatter(rows)):
        assert not np.isfinite(mean[1])
        assert np.isfinite(mean[[0, 2, 3]]).all()
        assert np.isnan(np.diag(np.atleast_2d(spread))[1] if spread.ndim > 1 else spread[1])


def test_no_rows() -> None:
    nothing = np.empty((0, 3))
    for part in (*row_sums.moments(nothing), *row_sums.scatter(nothing), *row_sums.assign(nothing, np.zeros(3), np.ones((2, 4, 3)))):
        assert not part.any()
    assert row_sums.nearest(nothing, np.zeros(3), np.ones((4, 3)))[0].shape == (0,)


def test_the_farthest_of_equals_are_those_with_the_smallest_index() -> None:
    rows = torch.tensor([[3.0], [0.0], [3.0], [-3.0], [1.0], [3.0]])
    index = np.array([60, 10, 20, 50, 40, 30])
    zero = torch.zeros(1, dtype=torch.float64)
    keys, found, _ = Farthest(zero, zero[None], 3).partial(rows, Items(index))
    assert (keys.tolist(), found.tolist()) == ([-9.0, -9.0, -9.0], [20, 30, 50])
