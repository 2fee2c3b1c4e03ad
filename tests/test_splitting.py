"""Splits: whole groups, the same share of each class, and what cannot be split."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_images import drops

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.stratified import held_out


@settings(max_examples=60)
@given(
    unlabelled=st.integers(0, 10),
    counts=st.lists(st.just(0) | st.integers(2, 20), min_size=1, max_size=4).filter(any),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_items_of_each_class_to_within_one(unlabelled: int, counts: list[int], fraction: float, seed: int) -> None:
    array = np.repeat(np.arange(-1, len(counts)), [unlabelled, *counts])
    np.random.default_rng(seed).shuffle(array)
    classes = np.unique(array[array >= 0])
    held = held_out(array, fraction=fraction, seed=seed)
    for k in classes:
        n = (array == k).sum()
        assert 1 <= held[array == k].sum() <= n - 1
        assert abs(held[array == k].sum() - fraction * n) <= 1
    np.testing.assert_array_equal(held, held_out(array, fraction=fraction, seed=seed))


@settings(max_examples=60)
@given(st.data())
def test_groups_stay_whole_and_the_order_of_items_does_not_matter(data: st.DataObject) -> None:
    n = data.draw(st.integers(8, 60))
    labels = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)))
    groups = np.array(data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=n, max_size=n)))
    fraction = data.draw(st.floats(0.1, 0.9))
    try:
        held = held_out(labels, groups, fraction=fraction, seed=1)
    except DataError:
        return  # no split has all classes on both sides
    assert not set(groups[held]) & set(groups[~held])
    for k in set(labels[labels >= 0]):
        assert 0 < held[labels == k].sum() < (labels == k).sum()
    order = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(held_out(labels[order], groups[order], fraction=fraction, seed=1), held[order])


@pytest.mark.parametrize("seed", range(5))
def test_as_good_as_the_best_of_all_splits_nearly(seed: int) -> None:
    """Against every way to hold back some of ten groups."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 10, 300)
    labels = (rng.random(300) < np.linspace(0.1, 0.9, 10)[groups]).astype(int)  # groups differ in their classes

    def off(held: np.ndarray) -> float:
        shares = [held[labels == k].mean() for k in (0, 1)]
        return sum((share - 0.3) ** 2 for share in (*shares, held.mean()))

    best = min(off(np.array(which)[groups]) for which in product([False, True], repeat=10))
    assert off(held_out(labels, groups, fraction=0.3, seed=seed)) <= best + 0.02**2


def test_seeds_differ() -> None:
    labels = np.arange(100) % 2
    assert (held_out(labels, seed=0) != held_out(labels, seed=1)).any()
    assert (held_out(labels, labels[::-1] + np.arange(100) // 10, seed=0) != held_out(labels, np.arange(100) // 10, seed=3)).any()


def test_what_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class 1 occurs in 1 of the items"):
        held_out([0, 0, 1])
    with pytest.raises(DataError, match="class 0 occurs in 1 of the groups"):
        held_out([0, 0, 1, 1], ["a", "a", "a", "b"])
    with pytest.raises(DataError, match="one of the groups"):
        held_out([-1, -1], ["a", "a"])
    with pytest.raises(DataError, match="no split of the groups has all classes"):
        held_out([0, 1, 0, 2, 1, 2], ["a", "a", "b", "b", "c", "c"])
    for fraction in (0, 1, float("nan")):
        with pytest.raises(ParameterError, match="between 0 and 1"):
            held_out([0, 0], fraction=fraction)
    with pytest.raises(ParameterError, match="groups have the shape"):
        held_out([0, 0], ["a"])
    with pytest.raises(ParameterError, match="two or more"):
        held_out([0])


def test_parts_of_a_dataset() -> None:
    dataset = drops(20)
    parts = pc.split(dataset, by="plate", fraction=0.4, seed=3)
    assert parts.by == "plate"
    assert sorted([*parts.training_items, *parts.testing_items]) == list(range(20))
    assert not set(pc.column(parts.training, "plate")) & set(pc.column(parts.testing, "plate"))
    np.testing.assert_array_equal(parts.testing.compute(), dataset.compute()[parts.testing_items])
    assert parts.class_counts.to_dict() == {
        "training": {
            "Clear": 6,
            "Crystals": parts.training.metadata["labels"].count(1),
            "(none)": parts.training.metadata["labels"].count(-1),
        },
        "testing": {
            "Clear": 4,
            "Crystals": parts.testing.metadata["labels"].count(1),
            "(none)": parts.testing.metadata["labels"].count(-1),
        },
    }
    given = pc.split(dataset, by=pc.column(dataset, "plate"), fraction=0.4, seed=3)
    np.testing.assert_array_equal(given.testing_items, parts.testing_items)
    assert given.by == "given groups"
    assert pc.split(dataset).testing.shape[0] == 4


def test_errors_of_a_dataset() -> None:
    dataset = drops()
    dataset.metadata["labels"] = [0] * 9 + [1]
    with pytest.raises(DataError, match=r"class 1 occurs in 1 of the items.*1 'Crystals'"):
        pc.split(dataset)
    with pytest.raises(ParameterError, match="no column 'site'"):
        pc.split(dataset, by="site")
    with pytest.raises(DataError, match=r"'plate' has the values p0, .*; wanted 'train' and 'test'"):
        pc.split_as_given(dataset, "plate")


def test_counts_by_column() -> None:
    counts = pc.count_classes(drops(), by="plate")
    assert counts.to_numpy().sum() == 10
    assert list(counts.index) == ["Clear", "Crystals", "(none)"]
    assert counts.loc["(none)"].tolist() == [0, 0, 0, 0, 1]
    assert counts.columns.name == "plate"
    assert pc.count_classes(drops())["items"].tolist() == [5, 4, 1]
