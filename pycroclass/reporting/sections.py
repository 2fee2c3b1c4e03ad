"""From an evaluation to the sections of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import sidpy

from pycroclass.bundle import Bundle
from pycroclass.errors import DataError
from pycroclass.evaluation.bootstrap import Interval
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.evaluation.measures import OF_CLASS, key
from pycroclass.evaluation.predictions import UNCERTAIN, Integers
from pycroclass.reporting import figures
from pycroclass.reporting.figures import Row
from pycroclass.reporting.montage import KINDS, montage
from pycroclass.reporting.parts import Fact, Grid, Picture, Section, Shelf, Wall, bounds, counted, listed, number, percent
from pycroclass.reporting.style import data_url, svg

NAMES: Final = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mcc": "MCC",
    "kappa": "Cohen's κ",
    "kappa_linear": "κ, linear weights",
    "kappa_quadratic": "κ, quadratic weights",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "coverage": "coverage",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
}
"""How a page calls the metrics."""
_HEADLINE: Final = ("balanced_accuracy", "mcc", "roc_auc", "ece")
_OF_GROUP: Final = ("balanced_accuracy", "accuracy", "macro_f1", "mcc")
_MOST_GROUPS: Final = 20
_SHELVES: Final = {
    "wrong": "Wrong, most confident first",
    "uncertain": "Uncertain, least confident first",
    "right": "Right, most confident first",
}


def headline(evaluation: Evaluation) -> tuple[Fact, ...]:
    """The numbers that come first."""
    pooled = evaluation.pooled
    facts = [Fact(NAMES[name], number(getattr(pooled, name)), bounds(evaluation.intervals.get(name))) for name in _HEADLINE]
    groups = counted(pooled.n_groups, "group") if pooled.n_groups else "groups unknown"
    return (*facts, Fact("evaluated", counted(pooled.support, "item"), groups))


def comparison(evaluations: Mapping[str, Evaluation]) -> Section:
    """Several evaluations side by side."""
    rows = [
        Row(name, one.pooled.balanced_accuracy, *_ends(one, "balanced_accuracy"), is_main=place == 0)
        for place, (name, one) in enumerate(evaluations.items())
    ]
    header = ("evaluation", "items", "groups", *(NAMES[name] for name in _HEADLINE))
    values = [
        (name, str(one.pooled.support), str(one.pooled.n_groups or "–"), *_with_bounds(one, _HEADLINE)) for name, one in evaluations.items()
    ]
    figure = Picture(
        data_url(svg(figures.intervals(rows, NAMES["balanced_accuracy"]))),
        "Balanced accuracy with its 95 % interval: " + "; ".join(f"{row.name} {number(row.value)}" for row in rows) + ".",
    )
    gap = ""
    if len(rows) > 1:
        lowest = min(rows[1:], key=lambda row: row.value)
        gap = f"{rows[0].name} minus {lowest.name}: {number(rows[0].value - lowest.value)} in balanced accuracy."
    return Section("comparison", "Side by side", gap, pictures=(figure,), grids=(Grid("", header, tuple(values)),))


def sorting(evaluation: Evaluation, prefix: str = "") -> Section:
    """What was called what, and the numbers of each class and of all."""
    pooled = evaluation.pooled
    counts = np.array(pooled.confusion)
    called = pooled.classes
    if any(pooled.uncertain):
        counts, called = np.column_stack((counts, pooled.uncertain)), (*called, UNCERTAIN)
    rows = [f"{pooled.classes[i]}: {counts[i, i]} of {counts[i].sum()} right" for i in range(len(pooled.classes))]
    matrix = Picture(
        data_url(svg(figures.confusion(counts, pooled.classes, called))),
        f"Confusion matrix, a row for each true class. {'; '.join(rows)}.",
        "Confusion",
        "A row for each true class; share of the row and number of items.",
    )
    classes = Grid(
        "Each class against the rest",
        ("class", "items", *(NAMES[name] for name in OF_CLASS)),
        tuple(
            (name, str(found.support), *(_value(getattr(found, m), evaluation.intervals.get(key(m, name))) for m in OF_CLASS))
            for name, found in pooled.per_class.items()
        ),
    )
    resampled = "groups" if evaluation.per_group else "items"
    everything = Grid(
        "All classes together",
        ("metric", "value", "95 % interval"),
        tuple(
            (NAMES.get(m, m), number(value), bounds(evaluation.intervals.get(m))) for m, value in pooled.values().items() if "[" not in m
        ),
        caption=f"Intervals from resampling {resampled} {evaluation.provenance.get('n_bootstrap', 0)} times.",
    )
    confused = _most_confused(counts, pooled.classes, called)
    return Section(f"{prefix}confusion", "What was called what", confused, pictures=(matrix,), grids=(everything, classes))


def by_group(evaluation: Evaluation, prefix: str = "") -> Section:
    """Each group alone."""
    rows = [
        Row(name, found.balanced_accuracy, *_ends_of(evaluation.group_intervals.get(name, {}).get("balanced_accuracy")))
        for name, found in evaluation.per_group.items()
    ]
    pooled = Row("pooled", evaluation.pooled.balanced_accuracy, *_ends(evaluation, "balanced_accuracy"), is_main=True)
    shown = sorted(rows, key=lambda row: row.value)[:_MOST_GROUPS] if len(rows) > _MOST_GROUPS else rows
    left = f" The {len(shown)} lowest of {len(rows)} groups." if len(shown) < len(rows) else ""
    lowest, highest = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
    figure = Picture(
        data_url(svg(figures.intervals([pooled, *shown], NAMES["balanced_accuracy"], reference=pooled.value))),
        f"Balanced accuracy of {counted(len(rows), 'group')}, from {number(lowest.value)} ({lowest.name}) to {number(highest.value)} "
        f"({highest.name}); pooled {number(pooled.value)}.",
        "Balanced accuracy by group",
        f"Lines are 95 % intervals: pooled over resampled groups, of a group over its items.{left}",
    )
    header = ("group", "items", *(NAMES[name] for name in _OF_GROUP))
    first = ("pooled", str(evaluation.pooled.support), *_with_bounds(evaluation, _OF_GROUP))
    others = [
        (name, str(found.support), *(_value(getattr(found, m), evaluation.group_intervals.get(name, {}).get(m)) for m in _OF_GROUP))
        for name, found in evaluation.per_group.items()
    ]
    text = f"From {number(lowest.value)} ({lowest.name}) to {number(highest.value)} ({highest.name})."
    caption = "An interval from 1.000 to 1.000 says only that no item of the group was wrong."
    return Section(f"{prefix}groups", "Each group alone", text, pictures=(figure,), grids=(Grid("", header, (first, *others), 1, caption),))


def gap(evaluation: Evaluation, prefix: str = "") -> Section:
    """Groups that were learned from, and new ones."""
    found = evaluation.gaps["balanced_accuracy"]
    rows = [Row("learned from", found.inside), Row("new groups", found.outside, is_main=True)]
    figure = Picture(
        data_url(svg(figures.intervals(rows, NAMES["balanced_accuracy"]))),
        f"Balanced accuracy {number(found.inside)} on groups that were learned from, {number(found.outside)} on new ones.",
        "Known groups and new ones",
        "On items held back of the groups that were learned from, and on groups that were not.",
    )
    header = ("metric", "learned from", "new groups", "difference", "95 % interval")
    table = [
        (NAMES[name], number(one.inside), number(one.outside), number(one.difference), bounds(one.interval))
        for name, one in evaluation.gaps.items()
        if name in NAMES
    ]
    between = bounds(found.interval)
    text = f"Balanced accuracy on known groups is that on new ones plus {number(found.difference)}{f' ({between})' if between else ''}."
    return Section(f"{prefix}gap", "On new groups", text, pictures=(figure,), grids=(Grid("", header, tuple(table)),))


def ranking(evaluation: Evaluation, prefix: str = "") -> Section:
    """How well the probabilities put the items in order."""
    seen = evaluation.predictions
    is_class = seen.labels[:, None] == np.arange(seen.n_classes)
    said = {
        m: "; ".join(f"{name} {number(getattr(found, m))}" for name, found in evaluation.pooled.per_class.items()) for m in OF_CLASS[-2:]
    }
    pictures = (
        Picture(
            data_url(svg(figures.roc(is_class, seen.probability, seen.classes))),
            f"ROC curves, each class against the rest. Areas: {said['roc_auc']}.",
            "ROC",
            "Sensitivity against false alarms, each class against the rest; the dots are chance.",
        ),
        Picture(
            data_url(svg(figures.precision_recall(is_class, seen.probability, seen.classes))),
            f"Precision against recall, each class against the rest. Average precision: {said['average_precision']}.",
            "Precision and recall",
            "At the frequency of the classes in these data, which the triangles at the right mark: there, precision is that of chance.",
        ),
    )
    return Section(f"{prefix}curves", "Order by probability", "", pictures=pictures)


def calibration(evaluation: Evaluation, prefix: str = "") -> Section:
    """Whether a confidence means what it says."""
    found = evaluation.calibration
    excess = sum(one.support * (one.confidence - one.accuracy) for one in found.bins if one.support) / max(evaluation.pooled.support, 1)
    side = "more" if excess > 0 else "less"
    text = (
        f"On average the classifier is {number(abs(excess))} {side} confident than right; it is off by {number(found.ece)} (ECE, 15 bins)."
    )
    figure = Picture(
        data_url(svg(figures.reliability(found))),
        f"Reliability diagram: share of right answers against confidence. Expected calibration error {number(found.ece)}, largest gap "
        f"{number(found.largest_gap)}.",
        "Reliability",
        "On the dotted line confidence is the share that is right. Orange is the gap; the bars below count items.",
    )
    return Section(f"{prefix}calibration", "What a confidence means", text, pictures=(figure,))


def thresholds(evaluation: Evaluation, prefix: str = "") -> Section:
    """What each operating point costs and brings."""
    header = ("class", "threshold", "sensitivity", "specificity", "precision", "workload", "prior", "precision at prior", "found by")
    rows = [
        (
            one.point.positive,
            number(one.point.threshold, 4),
            number(one.sensitivity),
            number(one.specificity),
            number(one.precision),
            percent(one.workload),
            percent(one.prior),
            number(one.precision_at_prior),
            one.point.origin,
        )
        for one in evaluation.operating_points
    ]
    text = "Measured on the items of this report, on which the thresholds must not have been found. Workload: the share called positive."
    return Section(f"{prefix}thresholds", "Operating points", text, grids=(Grid("", header, tuple(rows)),))


def items_to_look_at(evaluation: Evaluation, dataset: sidpy.Dataset, bundle: Bundle) -> Section:
    """Right, wrong and uncertain items of each class."""
    key_, title = "items", "Items to look at"
    try:
        found = montage(evaluation.predictions, dataset, bundle)
    except DataError as error:
        return Section(key_, title, f"No pictures: {error}")
    walls = tuple(
        Wall(name, tuple(Shelf(kind, _SHELVES[kind], tuple(kinds[kind])) for kind in KINDS if kinds[kind])) for name, kinds in found.items()
    )
    has_evidence = any(tile.evidence for wall in walls for shelf in wall.shelves for tile in shelf.tiles)
    maps = (
        " Beside each item in colour: where the network saw the class that it finds most probable, before any threshold (Grad-CAM), bright "
        "for the strongest evidence of this item. It tells where, not why, and is as coarse as the last layer."
        if has_evidence
        else ""
    )
    return Section(key_, title, f"As the network was given them, after preprocessing.{maps}", walls=walls)


def _most_confused(counts: Integers, truth: tuple[str, ...], called: tuple[str, ...]) -> str:
    wrong = [(int(n), truth[i], called[j]) for (i, j), n in np.ndenumerate(counts) if i != j and n]
    if not wrong:
        return "Every item was called what it is."
    pairs = [f"{name} called {other} ({n})" for n, name, other in sorted(wrong, reverse=True)[:3]]
    return f"Most often confused: {listed(pairs)}."


def _with_bounds(evaluation: Evaluation, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_value(getattr(evaluation.pooled, name), evaluation.intervals.get(name)) for name in names)


def _value(value: float, interval: Interval | None) -> str:
    between = bounds(interval)
    return f"{number(value)}\n{between}" if between else number(value)


def _ends(evaluation: Evaluation, name: str) -> tuple[float, float]:
    return _ends_of(evaluation.intervals.get(name))


def _ends_of(interval: Interval | None) -> tuple[float, float]:
    return (interval.low, interval.high) if interval is not None else (np.nan, np.nan)
