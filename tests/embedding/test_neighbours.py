"""Who is like whom: each answer against its definition, computed the long way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pycroclass.embedding import diverse_sample, isolation, neighbour_distance, similar
from pycroclass.errors import DataError, ParameterError

ROWS = np.random.default_rng(0).normal(size=(60, 4))


def test_similar_are_the_nearest() -> None:
    distances = cdist(ROWS, ROWS)
    np.fill_diagonal(distances, np.inf)
    for item in (0, 17, 59):
        found = similar(ROWS, item, 5)
        assert found.index.tolist() == np.argsort(distances[item])[:5].tolist()
        np.testing.assert_allclose(found.distance, np.sort(distances[item])[:5])
    assert len(similar(ROWS, 3, 1000).index) == 59


def test_a_copy_is_similar_and_the_item_itself_is_not() -> None:
    rows = np.concatenate([ROWS, ROWS[3:4]])
    assert similar(rows, 3, 1).index.tolist() == [60]
    assert similar(rows, 3, 1).distance.tolist() == [0]


def test_neighbour_distance_is_the_mean_of_the_nearest_others() -> None:
    wanted = np.sort(cdist(ROWS, ROWS), 1)[:, 1:8].mean(1)
    np.testing.assert_allclose(neighbour_distance(ROWS, n_neighbours=7), wanted)


def test_odd_items_are_told_from_the_rest_by_both() -> None:
    rows = ROWS.copy()
    rows[[5, 40]] += (9, -9, 9, 0)
    for score in (neighbour_distance(rows, n_neighbours=5), isolation(rows)):
        assert set(np.argsort(score)[-2:]) == {5, 40}
    assert 0 < isolation(rows).min() < isolation(rows).max() < 1


@given(seed=st.integers(0, 1000), n=st.integers(1, 4))
def test_no_item_is_farther_than_twice_the_best(seed: int, n: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(11, 2))
    distances = cdist(rows, rows)
    chosen = diverse_sample(rows, n)
    assert len(set(chosen.tolist())) == n
    best = min(distances[list(some)].min(0).max() for some in combinations(range(11), n))
    assert distances[chosen].min(0).max() <= 2 * best + 1e-12


def test_the_same_item_is_chosen_once() -> None:
    assert sorted(diverse_sample([[0.0], [1.0], [0.0], [1.0]], 4).tolist()) in ([0, 1], [0, 3], [1, 2], [2, 3])


def test_what_cannot_be() -> None:
    with pytest.raises(ParameterError, match="0 to 59"):
        similar(ROWS, 60)
    with pytest.raises(ParameterError, match="less than 60"):
        neighbour_distance(ROWS, n_neighbours=60)
    with pytest.raises(DataError, match="1 of 60 items hold NaN or inf, the first number 7"):
        isolation(np.where(np.arange(60)[:, None] == 7, np.nan, ROWS))
    with pytest.raises(DataError, match="wanted a row of real numbers"):
        diverse_sample(ROWS[0], 2)
