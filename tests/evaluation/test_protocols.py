"""Protocols: who trains on what, and that a mark of the site is found out."""

from __future__ import annotations

import numpy as np
import pytest
import sidpy
from linear import dataset_of, learnt

from pycroclass.bundle import Bundle
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import NetworkClassifier
from pycroclass.evaluation import protocols
from pycroclass.evaluation.protocols import first_groups, group_folds, leave_one_group_out
from pycroclass.per_item import column

CLASSES = ("drop", "crystal")
SITES = ("Ayr", "Bern", "Cork", "Delft", "Essen")


def drops(*, is_marked: bool, n_each: int = 60, seed: int = 0) -> sidpy.Dataset:
    """A pixel that shows the crystal weakly; at some sites another one, that of the site, gives it away."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(5), n_each)
    labels = np.tile([0, 1], len(site) // 2)
    pixels = np.zeros((len(site), 6))
    pixels[:, 5] = labels + rng.normal(0, 0.7, len(site))
    if is_marked:
        pixels[np.arange(len(site)), site] = 3.0 * labels
    items = {"site": np.array(SITES)[site].tolist()}
    return dataset_of(pixels + rng.normal(0, 0.05, pixels.shape), CLASSES, labels=labels.tolist(), items=items)


def test_a_mark_of_the_site_shows_as_a_gap() -> None:
    found = leave_one_group_out(drops(is_marked=True), learnt, groups="site", n_bootstrap=300)
    gap = found.evaluation.gaps["balanced_accuracy"]
    assert gap.inside > 0.97
    assert gap.outside < 0.85
    assert gap.interval.low > 0.1
    honest = leave_one_group_out(drops(is_marked=False, n_each=240), learnt, groups="site", n_bootstrap=300).evaluation
    assert abs(honest.gaps["balanced_accuracy"].difference) < 0.07
    assert honest.gaps["balanced_accuracy"].interval.low < 0 < honest.gaps["balanced_accuracy"].interval.high


def test_each_group_is_tested_by_what_never_saw_it() -> None:
    data, seen = drops(is_marked=False), []

    def trainer(part: sidpy.Dataset) -> Bundle:
        seen.append(column(part, "site").tolist())
        return learnt(part)

    found = leave_one_group_out(data, trainer, groups="site", n_bootstrap=20)
    for fold, sites in zip(found.folds, seen, strict=True):
        assert set(sites) == set(fold.trained_on) == set(SITES) - set(fold.tested_on)
        assert fold.n_trained == len(sites) == 192
        assert set(fold.outside.groups.tolist()) == set(fold.tested_on)
        assert set(fold.inside.groups.tolist()) == set(fold.trained_on)
        assert np.bincount(fold.inside.labels).tolist() == [24, 24]
    evaluation = found.evaluation
    assert evaluation.pooled.support == 300
    assert list(evaluation.per_group) == list(SITES)
    assert evaluation.provenance["protocol"] == "leave one group out"
    assert [fold["tested_on"] for fold in evaluation.provenance["folds"]] == [[site] for site in SITES]
    assert "accuracy" in evaluation.intervals


def test_items_that_are_held_back_are_not_learned_from() -> None:
    data = drops(is_marked=False)
    data.metadata["files"] = [f"{i}.png" for i in range(300)]
    learned: list[set[str]] = []

    def trainer(part: sidpy.Dataset) -> Bundle:
        learned.append(set(column(part, "files").tolist()))
        return learnt(part)

    found = leave_one_group_out(data, trainer, groups="site", n_bootstrap=0)
    for fold, files in zip(found.folds, learned, strict=True):
        assert not files & (set(fold.inside.names.tolist()) | set(fold.outside.names.tolist()))


def test_training_on_the_first_groups() -> None:
    found = first_groups(drops(is_marked=False), learnt, groups="site", order=SITES[::-1])
    assert [len(fold.trained_on) for fold in found.folds] == [1, 2, 3, 4]
    assert found.folds[1].trained_on == ("Essen", "Delft")
    table = found.by_fold()
    assert table["items"].tolist() == [48, 96, 144, 192]
    assert (table["gap"] == table["inside"] - table["outside"]).all()
    matrix = found.matrix("accuracy")
    assert matrix.isna().sum(axis=1).tolist() == [0, 1, 2, 3]
    assert matrix.loc["Essen, Delft", "Ayr"] > 0.6
    with pytest.raises(DataError, match="tested several times"):
        _ = found.evaluation
    with pytest.raises(DataError, match="the order must name each group once"):
        first_groups(drops(is_marked=False), learnt, groups="site", order=["Ayr"])


def test_folds_of_groups() -> None:
    found = group_folds(drops(is_marked=False), learnt, groups="site", n_folds=2, n_bootstrap=20)
    assert sorted(name for fold in found.folds for name in fold.tested_on) == list(SITES)
    assert found.evaluation.pooled.support == 300
    with pytest.raises(DataError, match="n_folds must be 2 to 5"):
        group_folds(drops(is_marked=False), learnt, groups="site", n_folds=6)


def test_same_seed_same_answer() -> None:
    one, two, other = (group_folds(drops(is_marked=True), learnt, groups="site", n_folds=2, n_bootstrap=50, seed=s) for s in (0, 0, 1))
    assert repr(one.evaluation.gaps) == repr(two.evaluation.gaps)
    assert repr(one.evaluation.gaps) != repr(other.evaluation.gaps)


def test_a_network_is_trained_on_each_part_and_validated_with_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def pretend(data: sidpy.Dataset, classifier: NetworkClassifier, *, groups: np.ndarray | None) -> Bundle:
        assert groups is None or groups.tolist() == column(data, "site").tolist()
        given.append((classifier, None if groups is None else len(set(groups))))
        return learnt(data)

    monkeypatch.setattr(protocols, "train", pretend)
    network = NetworkClassifier(epochs=1)
    first_groups(drops(is_marked=False), network, groups="site", n_bootstrap=0)
    assert given == [(network, None), (network, 2), (network, 3), (network, 4)]


def test_small_groups_give_their_fifth_together() -> None:
    found = leave_one_group_out(drops(is_marked=False, n_each=4), learnt, groups="site", n_bootstrap=0)
    for fold in found.folds:
        assert np.bincount(fold.inside.labels).tolist() == [2, 2]  # of 8 each
        assert len(set(fold.inside.groups.tolist())) >= 2
        assert fold.n_trained == 12


def test_groups_too_small_to_hold_items_back_are_told_before_any_training() -> None:
    def never(data: sidpy.Dataset) -> Bundle:
        raise AssertionError("trained")

    data = drops(is_marked=False, n_each=2)
    with pytest.raises(DataError, match=r"of the groups Ayr no item can be held back.*no class has 3 of them"):
        first_groups(data, never, groups="site")


def test_groups_that_cannot_be_left_out() -> None:
    data = drops(is_marked=False)
    with pytest.raises(DataError, match="there is one group, 'x'; at least 2"):
        leave_one_group_out(data, learnt, groups=["x"] * 300)
    with pytest.raises(DataError, match="3 groups for 300 items"):
        leave_one_group_out(data, learnt, groups=["x", "y", "z"])
    with pytest.raises(ParameterError, match="no column 'plate'"):
        leave_one_group_out(data, learnt, groups="plate")
