"""All that is known of how good a classifier is on some data, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pycroclass.errors import DataError, WriteError
from pycroclass.evaluation import bootstrap, storing
from pycroclass.evaluation.bootstrap import Interval
from pycroclass.evaluation.gap import Gap
from pycroclass.evaluation.measures import Sums
from pycroclass.evaluation.metrics import Metrics, weighted
from pycroclass.evaluation.operating import OperatingMetrics, OperatingPoint, measure
from pycroclass.evaluation.predictions import Integers, Predictions
from pycroclass.evaluation.reliability import Reliability, reliability_diagram

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

POOLED = "pooled"
"""How tables name the row of all items."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a classifier is on some items: pooled, for each group, and how sure that is.

    Parameters
    ----------
    predictions : Predictions
    pooled : Metrics
        Of all items together.
    per_group : mapping of str to Metrics
        Of each group alone; empty where groups are not known.
    intervals : mapping of str to Interval
        Of the pooled metrics but ``ece``, by the names of ``pooled.values()``: groups are resampled, or items where groups are not known,
        which gives intervals that are too narrow if items resemble each other.
    group_intervals : mapping of str to mapping of str to Interval
        Of the metrics of each group that follow from its confusion, its items resampled.
    operating_points : tuple of OperatingMetrics
    calibration : Reliability
        Of the most probable class.
    provenance : mapping
        Bundle, data, groups, seed, versions. JSON-ready.
    gaps : mapping of str to Gap
        Of each metric, how much better it is on groups that were learned from; from `pycroclass.evaluation.leave_one_group_out`.
    """

    predictions: Predictions
    pooled: Metrics
    per_group: Mapping[str, Metrics]
    intervals: Mapping[str, Interval]
    group_intervals: Mapping[str, Mapping[str, Interval]]
    operating_points: tuple[OperatingMetrics, ...]
    calibration: Reliability
    provenance: Mapping[str, Any]
    gaps: Mapping[str, Gap] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.predictions.classes

    def at(self, points: Sequence[OperatingPoint], *, prior: float | None = None) -> Evaluation:
        """The same with operating points, which must have been found on other data, applied to its items.

        Parameters
        ----------
        points : sequence of OperatingPoint
        prior : float, optional
            Share of the class where the classifier will be used; by default that of these items.
        """
        measured = tuple(measure(self.predictions, point, prior=prior) for point in points)
        return replace(self, operating_points=self.operating_points + measured)

    def table(self) -> pd.DataFrame:
        """A row for all items pooled and one for each group: every metric, with bounds ``…_low`` and ``…_high`` where they are known."""
        import pandas as pd  # takes half a second, which few need

        rows = {POOLED: _row(self.pooled, self.intervals)}
        rows |= {name: _row(found, self.group_intervals.get(name, {})) for name, found in self.per_group.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")

    def points_table(self) -> pd.DataFrame:
        """A row for each operating point."""
        import pandas as pd

        return pd.DataFrame(
            [{**vars(found.point), **{k: v for k, v in vars(found).items() if k != "point"}} for found in self.operating_points]
        )

    def to_parquet(self, path: str | Path) -> Path:
        """Write `table` as a Parquet file.

        Raises
        ------
        WriteError
            If it cannot be written.
        """
        try:
            self.table().to_parquet(path)
        except OSError as error:
            raise WriteError(f"cannot write {path}: {error.strerror}") from error
        return Path(path)

    def summary(self) -> Group:
        """The main numbers as tables for the terminal: ``rich.print(evaluation.summary())``."""
        from pycroclass.evaluation.printing import summary

        return summary(self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write everything, predictions included, to one JSON file, from which `load` makes an equal value.

        Raises
        ------
        WriteError
            If the file exists and is not to be overwritten, or cannot be written.
        """
        return storing.save(self, Path(path), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ReadError
            If the file is missing, or no evaluation.
        """
        return cls(**storing.load(Path(path)))


def evaluation_of(
    predictions: Predictions, *, n_bootstrap: int = 1000, seed: int = 0, provenance: Mapping[str, Any] | None = None
) -> Evaluation:
    """The evaluation of predictions from anywhere: of a bundle, of another program, of a person.

    Parameters
    ----------
    predictions : Predictions
    n_bootstrap : int
        Resamples for the intervals; 0 for none.
    seed : int
        Of the resamples.
    provenance : mapping, optional
        Where the predictions come from.

    Raises
    ------
    DataError
        If there are no items.

    Examples
    --------
    >>> seen = Predictions([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1], ("miss", "hit"), groups=["a", "a", "b"])
    >>> evaluation = evaluation_of(seen, n_bootstrap=100)
    >>> evaluation.per_group["a"].accuracy, round(evaluation.pooled.accuracy, 3)
    (0.5, 0.667)
    """
    if predictions.n_items == 0:
        raise DataError("there is nothing to evaluate: no item has both a true class and an answer")
    names = predictions.group_names
    n_units = len(names) or predictions.n_items
    sums = Sums.of(predictions, _units(predictions), n_units)
    (pooled,) = weighted(sums, np.ones((1, n_units)), [len(names)])
    alone = weighted(sums, np.eye(len(names)), [1] * len(names)) if names else []
    can_resample = n_bootstrap > 0 and n_units > 1
    return Evaluation(
        predictions,
        pooled,
        dict(zip(names, alone, strict=True)),
        bootstrap.intervals(bootstrap.draws(sums, n=n_bootstrap, seed=seed)) if can_resample else {},
        {
            name: bootstrap.within(sums.confusion[i].astype(np.int64), predictions.classes, n=n_bootstrap, seed=seed)
            for i, name in enumerate(names)
        },
        (),
        reliability_diagram(predictions),
        {"resampled": "groups" if names else "items", "n_bootstrap": n_bootstrap, "seed": seed, **(provenance or {})},
    )


def _units(predictions: Predictions) -> Integers:
    """The number of the group of each item, in the order of `Predictions.group_names`; of the item where there are no groups."""
    if predictions.groups is None:
        return np.arange(predictions.n_items)
    number = {name: i for i, name in enumerate(predictions.group_names)}
    return np.array([number[name] for name in predictions.groups.tolist()], np.int64)


def _row(found: Metrics, bounds: Mapping[str, Interval]) -> dict[str, Any]:
    row: dict[str, Any] = {"items": found.support}
    row |= {f"items[{name}]": of_class.support for name, of_class in found.per_class.items()}
    for name, value in found.values().items():
        row[name] = value
        if name in bounds:
            row |= {f"{name}_low": bounds[name].low, f"{name}_high": bounds[name].high}
    return row
