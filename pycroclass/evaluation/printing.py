"""An evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from pycroclass.evaluation.bootstrap import LEVEL, Interval
from pycroclass.evaluation.gap import Gap
from pycroclass.evaluation.measures import SUMMARY, key
from pycroclass.evaluation.metrics import Metrics
from pycroclass.evaluation.operating import OperatingMetrics

if TYPE_CHECKING:
    from pycroclass.evaluation.evaluation import Evaluation

_OF_CLASS: Final = ("precision", "recall", "f1", "roc_auc")
_N_GROUPS: Final = 20
_OF_GROUP: Final = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")


def summary(evaluation: Evaluation) -> Group:
    """Tables of the pooled metrics, of the classes, of the groups and of the operating points, as far as there are any."""
    tables = [_pooled(evaluation.pooled, evaluation.intervals), _classes(evaluation.pooled, evaluation.intervals)]
    if evaluation.per_group:
        tables.append(_groups(evaluation.per_group, evaluation.group_intervals))
    if evaluation.gaps:
        tables.append(_gaps(evaluation.gaps))
    if evaluation.operating_points:
        tables.append(_points(evaluation.operating_points))
    return Group(*tables)


def _pooled(pooled: Metrics, bounds: Mapping[str, Interval]) -> Table:
    of = {0: "resampled one by one: the groups are not known", 1: "one group, so that there is no interval"}
    table = Table(
        "metric",
        "value",
        f"{LEVEL:.0%} interval",
        title=f"{pooled.support} items, {of.get(pooled.n_groups, f'{pooled.n_groups} groups')}",
        title_justify="left",
    )
    for name in SUMMARY:
        table.add_row(name, *_value(getattr(pooled, name), bounds.get(name)))
    return table


def _classes(pooled: Metrics, bounds: Mapping[str, Interval]) -> Table:
    table = Table("class", "items", *_OF_CLASS, title="Classes, each against the rest", title_justify="left")
    for name, found in pooled.per_class.items():
        values = (_lines(*_value(getattr(found, metric), bounds.get(key(metric, name)))) for metric in _OF_CLASS)
        table.add_row(escape(name), str(found.support), *values)
    return table


def _groups(per_group: Mapping[str, Metrics], bounds: Mapping[str, Mapping[str, Interval]]) -> Table:
    shown = sorted(per_group.items(), key=lambda of: of[1].accuracy)[:_N_GROUPS] if len(per_group) > _N_GROUPS else per_group.items()
    which = f"The {_N_GROUPS} of {len(per_group)} groups that went worst" if len(per_group) > _N_GROUPS else "Groups"
    table = Table("group", "items", *_OF_GROUP, title=f"{which}, each alone", title_justify="left")
    for name, found in shown:
        values = (_lines(*_value(getattr(found, metric), bounds.get(name, {}).get(metric))) for metric in _OF_GROUP)
        table.add_row(escape(name), str(found.support), *values)
    return table


def _points(points: Sequence[OperatingMetrics]) -> Table:
    metrics = ("sensitivity", "specificity", "precision", "workload", "prior", "precision_at_prior")
    origins = "\n".join(f"{found.point.positive} from {found.point.threshold:.4g}: {found.point.origin}" for found in points)
    table = Table("class", "threshold", *metrics, title="Operating points", title_justify="left", caption=escape(origins))
    for found in points:
        values = (f"{getattr(found, name):.3f}" for name in metrics)
        table.add_row(escape(found.point.positive), f"{found.point.threshold:.4g}", *values)
    return table


def _gaps(gaps: Mapping[str, Gap]) -> Table:
    title = "Groups that were learned from, and others"
    table = Table("metric", "inside", "outside", "difference", f"{LEVEL:.0%} interval", title=title, title_justify="left")
    for name in _OF_GROUP:
        found = gaps[name]
        table.add_row(name, f"{found.inside:.3f}", f"{found.outside:.3f}", *_value(found.difference, found.interval))
    return table


def _lines(*parts: str) -> str:
    return "\n".join(filter(None, parts))


def _value(value: float, interval: Interval | None) -> tuple[str, str]:
    return f"{value:.3f}", "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
