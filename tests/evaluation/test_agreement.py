"""Agreement: the numbers printed in textbooks, plain twins, and people made of dice."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import dataset_of

from pycroclass.errors import DataError, ReadError
from pycroclass.evaluation.agreement import (
    against_consensus,
    cohen_kappa,
    consistency,
    counts_of,
    fleiss_kappa,
    krippendorff_alpha,
    pairwise_agreement,
    reliability_of_scorer,
    specific_agreement,
)
from pycroclass.evaluation.ceiling import human_ceiling
from pycroclass.evaluation.judgements import Judgements
from pycroclass.evaluation.of_people import judgements_of

SEVEN = ("clear", "precipitate", "phase separation", "skin", "crystals", "needles", "other")
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
"""Fourteen scorers, ten items, five classes."""
KRIPPENDORFF = (
    np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ]
    ).T
    - 1
)
"""Twelve items by four scorers, classes 0 to 4, -1 for gaps."""

judgements = st.integers(0, 10**6).map(
    lambda seed: np.random.default_rng(seed).integers(-1, 4, (int(np.random.default_rng(seed).integers(4, 12)), 3))
)


def alpha_by_pairs(labels: np.ndarray, level: str) -> float:
    """Krippendorff's alpha as it is told in words: disagreement within items over disagreement of all pairs."""
    items = [row[row >= 0] for row in labels]
    items = [row for row in items if len(row) > 1]
    pool = np.concatenate(items) if items else np.array([], int)
    counts = np.bincount(pool, minlength=4)

    def distance(a: int, b: int) -> float:
        low, high = min(a, b), max(a, b)
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return float((a - b) ** 2)
        return float((counts[low : high + 1].sum() - (counts[low] + counts[high]) / 2) ** 2)

    observed = sum(distance(a, b) / (len(row) - 1) for row in items for a, b in permutations(row.tolist(), 2))
    expected = sum(distance(a, b) for a, b in permutations(pool.tolist(), 2)) / (len(pool) - 1) if len(pool) else 0
    return 1 - observed / expected if expected else float("nan")


def test_cohen_in_closed_form() -> None:
    a, b = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]), np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert cohen_kappa(a, b, 2) == pytest.approx(0.4)
    assert cohen_kappa(a, a, 2) == 1
    assert np.isnan(cohen_kappa(a * 0, b * 0, 2))
    with_gaps = np.append(a, [-1, 1]), np.append(b, [1, -1])
    assert cohen_kappa(*with_gaps, 2) == pytest.approx(0.4)


@pytest.mark.parametrize(("weights", "power"), [("linear", 1), ("quadratic", 2)])
def test_weighted_kappa_by_its_formula(weights: str, power: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 200)
    b = (a + rng.integers(-1, 2, 200)).clip(0, 3)
    table = np.zeros((4, 4))
    np.add.at(table, (a, b), 1 / 200)
    distance = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) ** power
    wanted = 1 - (distance * table).sum() / (distance * np.outer(table.sum(1), table.sum(0))).sum()
    assert cohen_kappa(a, b, 4, weights=weights) == pytest.approx(wanted)


def test_fleiss_of_the_textbook() -> None:
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)
    assert Judgements.of_counts(FLEISS, "abcde").fleiss() == fleiss_kappa(FLEISS)
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert np.isnan(fleiss_kappa(np.array([[3, 0], [3, 0]])))
    assert np.isnan(fleiss_kappa(np.array([[1, 0], [0, 1]])))


def test_fleiss_of_two_scorers_is_pi_of_scott() -> None:
    a, b = np.random.default_rng(0).integers(0, 3, (2, 100))
    shares = np.bincount(np.concatenate([a, b]), minlength=3) / 200
    wanted = ((a == b).mean() - (shares**2).sum()) / (1 - (shares**2).sum())
    assert fleiss_kappa(counts_of(np.stack([a, b], 1), 3)) == pytest.approx(wanted)


@pytest.mark.parametrize(("level", "wanted"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_textbook(level: str, wanted: float) -> None:
    assert krippendorff_alpha(counts_of(KRIPPENDORFF, 5), level=level) == pytest.approx(wanted, abs=5e-4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labels=judgements, level=st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_its_plain_twin(labels: np.ndarray, level: str) -> None:
    assert krippendorff_alpha(counts_of(labels, 4), level=level) == pytest.approx(alpha_by_pairs(labels, level), nan_ok=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(labels=judgements, seed=st.integers(0, 99))
def test_names_and_order_do_not_matter(labels: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    renamed = np.append(rng.permutation(4), -1)[labels]
    moved = rng.permutation(renamed)[:, rng.permutation(3)]
    for measure in (fleiss_kappa, krippendorff_alpha):
        assert measure(counts_of(labels, 4)) == pytest.approx(measure(counts_of(moved, 4)), nan_ok=True)


def test_dice_do_not_agree_beyond_chance() -> None:
    labels = np.random.default_rng(0).choice(4, (4000, 5), p=[0.6, 0.2, 0.1, 0.1])
    assert fleiss_kappa(counts_of(labels, 4)) == pytest.approx(0, abs=0.02)
    assert krippendorff_alpha(counts_of(labels, 4), level="ordinal") == pytest.approx(0, abs=0.02)
    assert specific_agreement(counts_of(labels, 4)) == pytest.approx([0.6, 0.2, 0.1, 0.1], abs=0.02)


def test_consensus_of_others_by_hand() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 0, 1, 0], [2, 0, 1, 2], [-1, 1, 1, 1], [1, -1, -1, -1]])
    found = against_consensus(labels[:, 0], labels[:, 1:], 3)
    np.testing.assert_allclose(found, [1, 0, 1 / 3, np.nan, np.nan])
    assert reliability_of_scorer(labels, 0, 3) == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert np.isnan(reliability_of_scorer(labels[4:], 0, 3))


def test_reliability_and_consistency_of_people_made_of_dice() -> None:
    """A scorer who errs in a fifth of the cases is right as often among many; and twice the same in 0.8² + 0.2²/2 of them."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 6000)

    def look(share: float) -> np.ndarray:
        return np.where(rng.uniform(size=6000) < share, truth, (truth + rng.integers(1, 3, 6000)) % 3)

    labels = np.stack([look(0.8), *(look(0.9) for _ in range(8))], axis=1)
    assert reliability_of_scorer(labels, 0, 3) == pytest.approx(0.8, abs=0.02)
    assert consistency(look(0.8), look(0.8)) == pytest.approx(0.8**2 + 0.2**2 / 2, abs=0.02)
    assert pairwise_agreement(labels[:, 0], labels[:, 1]) == pytest.approx(0.8 * 0.9 + 0.2 * 0.1 / 2, abs=0.02)


def people(n_items: int = 900, skills: tuple[float, ...] = (0.9, 0.85, 0.8, 0.75), seed: int = 0) -> tuple[np.ndarray, Judgements]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 7, n_items)
    looks = [np.where(rng.uniform(size=n_items) < skill, truth, rng.integers(0, 7, n_items)) for skill in skills]
    names = tuple(f"scorer {i}" for i in range(len(skills)))
    return truth, Judgements(np.stack(looks, 1), SEVEN, names, tuple(f"{i}.jpg" for i in range(n_items)))


def test_table_of_scorers() -> None:
    _, said = people()
    table = said.by_scorer()
    assert list(table.columns) == ["items", "reliability", "consistency", "agreement", "kappa"]
    assert table["reliability"].is_monotonic_decreasing
    assert table["consistency"].isna().all()
    assert table.loc["scorer 0", "agreement"] == pytest.approx(np.mean([said.pairs().iloc[0, j] for j in (1, 2, 3)]))
    assert (said.pairs() == said.pairs().T).to_numpy().sum() == 12
    assert said.by_class()["judgements"].sum() == 3600
    assert (said.by_class()["agreement"] > 0.6).all()
    assert 0.6 < said.fleiss() == pytest.approx(said.alpha(), abs=1e-3)


def test_model_against_people_against_their_ceiling() -> None:
    truth, said = people()
    perfect = human_ceiling(truth, said, n_bootstrap=300)
    assert perfect.model > perfect.humans
    assert perfect.interval.low > 0
    assert perfect.model_kappa > perfect.human_kappa
    assert list(perfect.table().index) == list(said.scorers)
    as_a_person = said.labels[:, 2]
    rest = Judgements(np.delete(said.labels, 2, 1), SEVEN, ("a", "b", "c"), said.items)
    like = human_ceiling(as_a_person, rest, n_bootstrap=300)
    assert like.interval.low < like.difference < like.interval.high
    assert abs(like.difference) < 0.05
    unsure = human_ceiling(np.full(900, 7), said, n_bootstrap=0)
    assert unsure.model == 0
    assert np.isnan(unsure.model_kappa)
    assert np.isnan(unsure.interval.low)


def test_a_scorer_faces_the_same_consensus_as_the_model() -> None:
    """A model that is one of the people, in that place, does as that person does."""
    _, said = people()
    found = human_ceiling(said.labels[:, 1], said, n_bootstrap=0)
    reliability, model, _ = found.per_scorer["scorer 1"]
    assert reliability == model == pytest.approx(reliability_of_scorer(said.labels, 1, 7))


def test_judgements_are_put_beside_predictions_by_name() -> None:
    _, said = people(20)
    some = said.take(["7.jpg", "3.jpg"])
    assert some.items == ("7.jpg", "3.jpg")
    np.testing.assert_array_equal(some.labels, said.labels[[7, 3]])
    with pytest.raises(DataError, match=r"1 of 2 items were not judged: 70.jpg; the judgements name 0.jpg"):
        said.take(["3.jpg", "70.jpg"])


def test_resampled_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    truth, said = people()
    groups = np.repeat(np.arange(9), 100).astype(str)
    good = rng.uniform(size=9) > 0.5
    model = np.where(good[np.repeat(np.arange(9), 100)], truth, rng.integers(0, 7, 900))
    widths = [found.high - found.low for g in (None, groups) for found in [human_ceiling(model, said, groups=g).interval]]
    assert widths[1] > 2 * widths[0]


def test_ceiling_needs_people() -> None:
    truth, said = people()
    two = Judgements(said.labels[:, :2], SEVEN, said.scorers[:2], said.items)
    with pytest.raises(DataError, match="there are 2 scorers; at least 3"):
        human_ceiling(truth, two)
    with pytest.raises(DataError, match="in the same order"):
        human_ceiling(truth[:5], said)
    alone = Judgements(np.where(np.eye(3, dtype=bool), 0, -1), ("a", "b"), ("x", "y", "z"), ("1", "2", "3"))
    with pytest.raises(DataError, match="no item was judged by two"):
        human_ceiling(np.zeros(3, int), alone)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_three_forms_are_read_alike(tmp_path: Path, suffix: str) -> None:
    _, said = people(40)
    labels = said.labels.copy()
    labels[3, 1] = -1
    names = np.array([*SEVEN, ""])
    wide = pd.DataFrame(names[labels], columns=list(said.scorers)).replace("", None)
    wide.insert(0, "drop", said.items)
    long = wide.melt(id_vars=["drop"], var_name="Scorer", value_name="class").rename(columns={"drop": "Image"})
    counts = pd.DataFrame(counts_of(labels, 7), columns=list(SEVEN))
    counts.insert(0, "well", said.items)
    for name, table in (("wide", wide), ("long", long), ("counts", counts)):
        path = tmp_path / f"{name}{suffix}"
        _ = table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path, index=False)
        found = Judgements.read(path, classes=SEVEN)
        assert found.classes == SEVEN
        assert found.items == said.items
        np.testing.assert_array_equal(found.counts, counts_of(labels, 7))
        if name != "counts":
            np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("form", ["wide", "long"])
def test_classes_named_by_numbers_are_no_counts(tmp_path: Path, form: str) -> None:
    path, wide = tmp_path / "codes.csv", pd.DataFrame({"item": ["a", "b", "c"], "Ann": [0, 1, 2], "Ben": [0, np.nan, 1]})
    (wide if form == "wide" else wide.melt(id_vars=["item"], var_name="scorer", value_name="label")).to_csv(path, index=False)
    said = Judgements.read(path, classes=("0", "1", "2"))
    assert (said.classes, said.scorers) == (("0", "1", "2"), ("Ann", "Ben"))
    assert said.labels.tolist() == [[0, 0], [1, -1], [2, 1]]


def test_whole_numbers_that_may_mean_two_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("item,Ann,Ben\na,0,0\nb,2,1\n")
    with pytest.raises(DataError, match="cannot be told whether they count judgements or name classes; give classes="):
        Judgements.read(path)
    counts = Judgements.read(path, classes=("Ben", "Ann")).counts
    assert counts.tolist() == [[0, 0], [1, 2]]


def test_only_an_empty_field_is_no_judgement(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("item,Ann,Ben\na,None,hit\nb,NA,\nc,null,hit\n")
    said = Judgements.read(tmp_path / "names.csv")
    assert said.classes == ("NA", "None", "hit", "null")
    assert said.labels.tolist() == [[1, 2], [0, -1], [3, 2]]


def test_second_looks(tmp_path: Path) -> None:
    rows = [("a", "Ann", "gel", 2), ("a", "Ann", "clear", 1), ("b", "Ann", "gel", 1), ("b", "Ann", "gel", 5), ("a", "Ben", "gel", 1)]
    table = pd.DataFrame(rows, columns=["image", "rater", "label", "date"])
    table.to_csv(tmp_path / "twice.csv", index=False, sep=";")
    said = Judgements.read(tmp_path / "twice.csv")
    assert said.labels[said.items.index("a"), said.scorers.index("Ann")] == said.classes.index("clear")
    assert said.by_scorer().loc["Ann", "consistency"] == 0.5
    assert np.isnan(said.by_scorer().loc["Ben", "consistency"])
    with pytest.raises(DataError, match="'Ann' judged 'a' more than twice"):
        Judgements.of(["a"] * 3, ["Ann"] * 3, ["x"] * 3)


def test_judgements_that_came_with_the_images() -> None:
    columns = {"label by Ann": [0, 1, -1], "label by Ann 2": [1, 1, -1], "label by Ben 2": [0, 0, 1], "plate": ["A"] * 3}
    drops = dataset_of(np.zeros((3, 2)), ("clear", "gel"), files=["a.png", "b.png", "c.png"], items=columns)
    said = judgements_of(drops)
    assert (said.scorers, said.items) == (("Ann", "Ben 2"), ("a.png", "b.png", "c.png"))
    assert said.labels.tolist() == [[0, 0], [1, 0], [-1, 1]]
    assert said.by_scorer()["consistency"].tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    with pytest.raises(DataError, match="no columns 'label by"):
        judgements_of(dataset_of(np.zeros((3, 2))))


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot read"):
        Judgements.read(tmp_path / "none.csv")
    (tmp_path / "one.csv").write_text("item\na\nb\n")
    with pytest.raises(DataError, match="has one column"):
        Judgements.read(tmp_path / "one.csv")
    (tmp_path / "bad.parquet").write_text("item\na\nb\n")
    with pytest.raises(ReadError, match="no table"):
        Judgements.read(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"labels name the classes \['gel'\]"):
        Judgements.of(["a"], ["Ann"], ["gel"], classes=["clear"])
    with pytest.raises(DataError, match="wanted -1"):
        Judgements([[3]], ("a", "b"), ("x",), ("i",))
    with pytest.raises(DataError, match="items by scorers"):
        Judgements([[0, 1]], ("a", "b"), ("x",), ("i",))
