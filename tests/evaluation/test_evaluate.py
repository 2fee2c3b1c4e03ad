"""Evaluation of bundles: whose labels, which items, what is kept and how it is stored."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sidpy
from drawn import CLASSES, drawn, sorted_as
from linear import as_they_are, dataset_of
from rich.console import Console

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError, ReadError, WriteError
from pycroclass.evaluation.evaluation import Evaluation, evaluation_of
from pycroclass.evaluation.gap import gaps
from pycroclass.evaluation.of_bundle import evaluate
from pycroclass.evaluation.operating import OperatingPoint
from pycroclass.evaluation.predictions import Predictions

SEEN = drawn(120, 3)
LOGITS = np.log(SEEN.probability)
BUNDLE = as_they_are(CLASSES[:3])


def stack(**metadata: object) -> sidpy.Dataset:
    known = {"labels": SEEN.labels.tolist(), "files": SEEN.names.tolist(), "items": {"plate": SEEN.groups.tolist()}}
    return dataset_of(LOGITS, CLASSES[:3], **{**known, **metadata})


def test_a_bundle_is_evaluated_on_the_labels_of_the_data() -> None:
    found = pc.evaluate(BUNDLE, stack(), groups="plate", n_bootstrap=50)
    wanted = evaluation_of(SEEN, n_bootstrap=50)
    assert found.pooled.confusion == wanted.pooled.confusion
    assert found.pooled.values() == pytest.approx(wanted.pooled.values(), abs=1e-5)
    assert list(found.per_group) == list(wanted.per_group)
    assert found.predictions.names.tolist() == SEEN.names.tolist()
    assert found.intervals["accuracy"] == wanted.intervals["accuracy"]
    assert found.predictions.decided is None
    assert found.provenance["bundle"]["digest"] == BUNDLE.digest
    assert found.provenance["groups"] == "plate"
    assert found.provenance["resampled"] == "groups"
    json.dumps(found.provenance, allow_nan=False)


def test_labels_and_groups_may_be_given() -> None:
    names = [CLASSES[c] for c in SEEN.labels]
    plain = dataset_of(LOGITS)
    wanted = evaluate(BUNDLE, stack(), groups="plate", n_bootstrap=0)
    for labels in (names, SEEN.labels, SEEN.labels.reshape(-1, 1)):
        found = evaluate(BUNDLE, plain, labels=labels, groups=SEEN.groups, n_bootstrap=0)
        assert found.pooled == wanted.pooled
        assert found.per_group == wanted.per_group


def test_labels_go_by_name_whatever_their_order() -> None:
    """The data name the classes in another order, and do not have all."""
    some = np.flatnonzero(SEEN.labels != 1)
    other = ("crystal", "clear")
    labels = [other.index(CLASSES[c]) for c in SEEN.labels[some]]
    found = evaluate(BUNDLE, dataset_of(LOGITS[some], other, labels=labels), n_bootstrap=0)
    wanted = evaluation_of(SEEN.take(some), n_bootstrap=0)
    assert found.pooled.confusion == wanted.pooled.confusion
    with pytest.raises(DataError, match=r"the labels name the classes \['gel'\], which the bundle does not know"):
        evaluate(BUNDLE, dataset_of(LOGITS, ("gel", "clear"), labels=[0] * 120))


def test_items_without_label_or_answer_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    labels, logits = SEEN.labels.copy(), LOGITS.copy()
    labels[:7] = -1
    logits[5:10] = np.nan
    found = evaluate(BUNDLE, dataset_of(logits, CLASSES[:3], labels=labels.tolist()), n_bootstrap=0)
    assert found.pooled.support == 110
    assert (found.provenance["n_items"], found.provenance["n_unlabelled"], found.provenance["n_unanswered"]) == (120, 7, 3)
    assert "7 of 120 items have no true class" in caplog.text
    assert "3 of 120 items hold NaN or inf" in caplog.text


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(DataError, match="has no labels"):
        evaluate(BUNDLE, dataset_of(LOGITS))
    with pytest.raises(DataError, match="5 labels for 120 items"):
        evaluate(BUNDLE, stack(), labels=[0] * 5)
    with pytest.raises(DataError, match="5 groups for 120 items"):
        evaluate(BUNDLE, stack(), groups=["a"] * 5)
    with pytest.raises(ParameterError, match="has no column 'site' of its items; it has plate"):
        evaluate(BUNDLE, stack(), groups="site")
    with pytest.raises(DataError, match="labels run from 0 to 3, wanted -1"):
        evaluate(BUNDLE, stack(), labels=[3] + [0] * 119)
    with pytest.raises(DataError, match="whole numbers or names"):
        evaluate(BUNDLE, stack(), labels=np.zeros(120))
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(BUNDLE, stack(), labels=[-1] * 120)


@pytest.fixture
def full() -> Evaluation:
    """With all that an evaluation can hold, NaN and infinity among it."""
    found = evaluation_of(sorted_as([[8, 1, 1], [0, 5, 5]]), n_bootstrap=20, provenance={"bundle": {"digest": "x"}})
    grouped = evaluation_of(SEEN, n_bootstrap=20)
    points = [OperatingPoint("clear", -np.inf), OperatingPoint("clear", 0.4, "sensitivity at least 0.9")]
    return replace(found, per_group=grouped.per_group, group_intervals=grouped.group_intervals, gaps=gaps(SEEN, SEEN, n_bootstrap=5)).at(
        points, prior=0.1
    )


def test_an_evaluation_is_stored_whole(full: Evaluation, tmp_path: Path) -> None:
    path = full.save(tmp_path / "drops.evaluation.json")
    again = Evaluation.load(path)
    for name in ("pooled", "per_group", "intervals", "group_intervals", "operating_points", "calibration", "provenance", "gaps"):
        assert repr(getattr(again, name)) == repr(getattr(full, name)), name
    for name in ("probability", "labels", "decided"):
        np.testing.assert_array_equal(getattr(again.predictions, name), getattr(full.predictions, name))
    with pytest.raises(WriteError, match="exists"):
        full.save(path)
    full.save(path, overwrite=True)


def test_files_that_are_no_evaluation(full: Evaluation, tmp_path: Path) -> None:
    path = full.save(tmp_path / "drops.json")
    text = path.read_text()
    for content, message in (
        (text[:200], "is no evaluation"),
        ("[]", "is no evaluation"),
        ('{"format": "pycroclass evaluation 9"}', "of a newer version"),
        (text.replace('"pooled"', '"polled"'), "is damaged"),
        (text.replace('"mcc"', '"mmc"'), "is damaged"),
    ):
        path.write_text(content)
        with pytest.raises(ReadError, match=message):
            Evaluation.load(path)
    with pytest.raises(ReadError, match="cannot read"):
        Evaluation.load(tmp_path / "none.json")


def test_tables(full: Evaluation, tmp_path: Path) -> None:
    found = evaluation_of(SEEN, n_bootstrap=50)
    table = found.table()
    assert list(table.index) == ["pooled", *SEEN.group_names]
    assert table.loc["pooled", "items"] == 120
    assert table.loc["pooled", "accuracy_low"] <= table.loc["pooled", "accuracy"] <= table.loc["pooled", "accuracy_high"]
    assert table.loc["run 3", "recall[crystal]"] == found.per_group["run 3"].per_class["crystal"].recall
    pd.testing.assert_frame_equal(pd.read_parquet(found.to_parquet(tmp_path / "numbers.parquet")), table)
    assert list(full.points_table()["threshold"]) == [-np.inf, 0.4]
    with pytest.raises(WriteError, match="cannot write"):
        found.to_parquet(tmp_path / "no" / "folder.parquet")


def test_summary_says_the_main_numbers(full: Evaluation) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(full.summary())
    text = out.getvalue()
    for words in ("20 items, resampled one by one", "balanced_accuracy", "run 6", "Operating points", "others", "sensitivity at least 0.9"):
        assert words in text


def test_names_are_no_markup() -> None:
    predictions = Predictions(SEEN.probability, SEEN.labels, ("[red]", "[/]", "c"), groups=["[bold]x"] * 60 + ["[/y]"] * 60)
    out = io.StringIO()
    Console(file=out, width=120).print(evaluation_of(predictions, n_bootstrap=10).summary())
    assert "[bold]x" in out.getvalue()
    assert "[/]" in out.getvalue()


def test_unseen_bootstrap_is_none() -> None:
    found = evaluation_of(SEEN, n_bootstrap=0)
    assert found.intervals == {}
    assert "accuracy_low" not in found.table()


def test_nothing_is_logged_where_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pycroclass.evaluation"):
        evaluate(BUNDLE, stack(), groups="plate", n_bootstrap=5)
    assert caplog.text == ""


def test_the_terminal_shows_the_worst_of_many_groups() -> None:
    labels = np.zeros(60, int)
    probability = np.tile([0.9, 0.1], (60, 1))
    probability[7] = [0.1, 0.9]
    groups = [f"group {i:02}" for i in range(60)]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(evaluation_of(Predictions(probability, labels, ("a", "b"), groups=groups), n_bootstrap=0).summary())
    text = console.export_text()
    assert "The 20 of 60 groups that went worst" in text
    assert text.count("group ") == 20 + 1
    assert "group 07" in text
