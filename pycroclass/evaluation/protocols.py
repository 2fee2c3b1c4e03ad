"""Training and testing on different groups, again and again: what a classifier is worth on next week's run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.bundle import Bundle
from pycroclass.data_record import data_record
from pycroclass.errors import DataError
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.evaluation.evaluation import Evaluation, evaluation_of
from pycroclass.evaluation.gap import gaps
from pycroclass.evaluation.of_bundle import evaluate
from pycroclass.evaluation.predictions import Booleans, Integers, Predictions
from pycroclass.per_item import column, take
from pycroclass.training import train

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Trainer = Callable[[sidpy.Dataset], Bundle]
"""Makes a bundle of labelled data: ``lambda data: pc.train(data, classifier, preprocessing=…)``."""
_EVERY: Final = 5
_N_SHOWN: Final = 8
_PER_FOLD_BOOTSTRAP: Final = 0


@dataclass(frozen=True, eq=False)
class Fold:
    """One training, and its test inside and outside of the groups that it learned from.

    Parameters
    ----------
    trained_on, tested_on : tuple of str
        Names of groups.
    n_trained : int
        Items it learned from.
    inside : Predictions
        Of the fifth of the items of each class of ``trained_on`` that was held back; each group gives its share.
    outside : Predictions
        Of all items of ``tested_on``.
    bundle : str
        Digest of the bundle.
    """

    trained_on: tuple[str, ...]
    tested_on: tuple[str, ...]
    n_trained: int
    inside: Predictions
    outside: Predictions
    bundle: str


@dataclass(frozen=True, eq=False)
class CrossRun:
    """What came of a protocol.

    Parameters
    ----------
    protocol : str
        In words.
    folds : tuple of Fold
    n_bootstrap, seed : int
        Of the intervals.
    provenance : mapping
        Of the data.
    """

    protocol: str
    folds: tuple[Fold, ...]
    n_bootstrap: int
    seed: int
    provenance: dict[str, Any]

    @cached_property
    def evaluation(self) -> Evaluation:
        """All items, each as judged by a bundle that never saw its group, with the gap to items of groups that it did see.

        Raises
        ------
        DataError
            If an item was tested by more than one fold; see `by_fold`.
        """
        tested = [name for fold in self.folds for name in fold.tested_on]
        if len(set(tested)) < len(tested):
            raise DataError("groups were tested several times, so that there is no pooled number; see the table by_fold()")
        outside, inside = _joined([fold.outside for fold in self.folds]), _joined([fold.inside for fold in self.folds])
        record = {**self.provenance, "protocol": self.protocol, "folds": [_record(fold) for fold in self.folds]}
        found = evaluation_of(outside, n_bootstrap=self.n_bootstrap, seed=self.seed, provenance=record)
        return replace(found, gaps=gaps(inside, outside, n_bootstrap=self.n_bootstrap, seed=self.seed))

    def by_fold(self, metric: str = "balanced_accuracy") -> pd.DataFrame:
        """A row for each fold: groups and items it learned from, groups tested, and a metric inside and outside of its groups."""
        import pandas as pd

        rows = []
        for fold in self.folds:
            inside, outside = (_value(predictions, metric) for predictions in (fold.inside, fold.outside))
            row = {"trained_on": ", ".join(fold.trained_on), "items": fold.n_trained, "tested_on": ", ".join(fold.tested_on)}
            rows.append({**row, "inside": inside, "outside": outside, "gap": inside - outside})
        return pd.DataFrame(rows)

    def matrix(self, metric: str = "balanced_accuracy") -> pd.DataFrame:
        """The cross-run table: a row for each training, a column for each group it was tested on; NaN where it was not."""
        import pandas as pd

        rows = {", ".join(fold.trained_on): _by_group(fold.outside, metric) for fold in self.folds}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trained on")


def leave_one_group_out(
    dataset: sidpy.Dataset,
    trainer: Trainer | NetworkClassifier,
    *,
    groups: str | npt.ArrayLike,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> CrossRun:
    """Train on all groups but one and test on that one, for each group in turn.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Labelled, items along its first axis.
    trainer : callable or NetworkClassifier
        Takes the dataset to learn from and gives a bundle. A network is validated, while it learns, with whole groups where each class
        is in two or more of those it learns from.
    groups : str or array
        Name of a per-item column, or a value for each item: run, plate, site.
    n_bootstrap, seed : int
        Of the intervals; the seed also says which items are held back.

    Returns
    -------
    CrossRun
        Its ``evaluation`` holds the numbers for a new group, with intervals, and the gap to the groups that were seen.

    Raises
    ------
    DataError
        If there are fewer than two groups, labels are missing, groups are too small to hold back items, or a training fails for want
        of a class.
    """
    names = _names(dataset, groups)
    plan = [(tuple(other for other in names.order if other != name), (name,)) for name in names.order]
    return _run("leave one group out", dataset, trainer, names, plan, n_bootstrap=n_bootstrap, seed=seed)


def group_folds(
    dataset: sidpy.Dataset,
    trainer: Trainer | NetworkClassifier,
    *,
    groups: str | npt.ArrayLike,
    n_folds: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> CrossRun:
    """Test each group once, several at a time: as `leave_one_group_out` with ``n_folds`` trainings, where groups are many.

    Groups are dealt to the folds so that each fold has about as many items of each class
    (`sklearn.model_selection.StratifiedGroupKFold`).

    Parameters
    ----------
    dataset, trainer, groups, n_bootstrap, seed
        As of `leave_one_group_out`.
    n_folds : int

    Raises
    ------
    DataError
        As `leave_one_group_out`, or if there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    names = _names(dataset, groups)
    if not 2 <= n_folds <= len(names.order):
        raise DataError(f"n_folds must be 2 to {len(names.order)}, the number of groups; got {n_folds}")
    labels = column(dataset, "labels")
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels, names.of_item)
    plan = []
    for _, index in folds:
        tested = set(names.of_item[index].tolist())
        plan.append((tuple(n for n in names.order if n not in tested), tuple(n for n in names.order if n in tested)))
    return _run(f"{n_folds} folds of whole groups", dataset, trainer, names, plan, n_bootstrap=n_bootstrap, seed=seed)


def first_groups(
    dataset: sidpy.Dataset,
    trainer: Trainer | NetworkClassifier,
    *,
    groups: str | npt.ArrayLike,
    order: Sequence[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> CrossRun:
    """Train on the first group, the first two, and so on, and test on all that come later: what labelling one more run brings.

    Parameters
    ----------
    dataset, trainer, groups, n_bootstrap, seed
        As of `leave_one_group_out`.
    order : sequence of str, optional
        Of the groups; by default that of their first items.

    Raises
    ------
    DataError
        As `leave_one_group_out`, or if the order names not each group once.
    """
    names = _names(dataset, groups)
    ordered = tuple(order) if order is not None else names.order
    if sorted(ordered) != sorted(names.order):
        raise DataError(f"the order must name each group once: the groups are {', '.join(names.order)}; got {', '.join(ordered)}")
    plan = [(ordered[:m], ordered[m:]) for m in range(1, len(ordered))]
    return _run("train on the first groups", dataset, trainer, names, plan, n_bootstrap=n_bootstrap, seed=seed)


@dataclass(frozen=True, eq=False)
class _Groups:
    of_item: npt.NDArray[np.str_]
    order: tuple[str, ...]


def _names(dataset: sidpy.Dataset, groups: str | npt.ArrayLike) -> _Groups:
    of_item = np.asarray(column(dataset, groups) if isinstance(groups, str) else groups).ravel().astype(str)
    if of_item.shape != dataset.shape[:1]:
        raise DataError(f"there are {len(of_item)} groups for {dataset.shape[0]} items; give one for each item")
    order = tuple(dict.fromkeys(of_item.tolist()))
    if len(order) < 2:
        raise DataError(f"there is one group, {order[0]!r}; at least 2 are needed, one to learn from and one to test on")
    return _Groups(of_item, order)


def _run(
    protocol: str,
    dataset: sidpy.Dataset,
    trainer: Trainer | NetworkClassifier,
    groups: _Groups,
    plan: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    *,
    n_bootstrap: int,
    seed: int,
) -> CrossRun:
    labels = column(dataset, "labels")
    is_seen = [np.isin(groups.of_item, trained_on) for trained_on, _ in plan]
    is_held = [_held_back(labels, groups.of_item, seen, seed) for seen in is_seen]  # all before the first training: some take hours
    folds = []
    for (trained_on, tested_on), seen, held in zip(plan, is_seen, is_held, strict=True):
        log.info("training on %s, testing on %s", _shown(trained_on), _shown(tested_on))
        bundle = _learned(take(dataset, seen & ~held), trainer, groups.of_item[seen & ~held])
        inside, outside = (_predictions(bundle, dataset, mask, groups) for mask in (held, np.isin(groups.of_item, tested_on)))
        folds.append(Fold(trained_on, tested_on, int((seen & ~held).sum()), inside, outside, bundle.digest))
    record = {"data": data_record(dataset)}
    return CrossRun(protocol, tuple(folds), n_bootstrap, seed, record)


def _held_back(labels: Integers, groups: npt.NDArray[np.str_], seen: Booleans, seed: int) -> Booleans:
    """True for a fifth of the items of each class that were seen: every fifth, one group after the other, so that each gives its share."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    names, of_item = np.unique(groups, return_inverse=True)
    for number in np.unique(labels[seen & (labels >= 0)]):
        members = rng.permutation(np.flatnonzero(seen & (labels == number)))
        in_turn = members[np.argsort(rng.permutation(len(names))[of_item[members]], kind="stable")]
        held[in_turn[_EVERY // 2 :: _EVERY]] = True
    if not held.any():
        raise DataError(
            f"of the groups {_shown(np.unique(groups[seen]).tolist())} no item can be held back to compare with: "
            f"no class has {_EVERY // 2 + 1} of them. Take larger groups."
        )
    return held


def _learned(data: sidpy.Dataset, trainer: Trainer | NetworkClassifier, groups: npt.NDArray[np.str_]) -> Bundle:
    """The bundle of a trainer; a network is validated with whole groups where each class is in two or more."""
    if not isinstance(trainer, NetworkClassifier):
        return trainer(data)
    labels = column(data, "labels")
    is_spread = all(len(np.unique(groups[labels == number])) > 1 for number in np.unique(labels[labels >= 0]))
    return train(data, trainer, groups=groups if is_spread else None)


def _predictions(bundle: Bundle, dataset: sidpy.Dataset, mask: Booleans, groups: _Groups) -> Predictions:
    return evaluate(bundle, take(dataset, mask), groups=groups.of_item[mask], n_bootstrap=_PER_FOLD_BOOTSTRAP).predictions


def _joined(parts: Sequence[Predictions]) -> Predictions:
    classes = parts[0].classes
    if any(part.classes != classes for part in parts):
        raise DataError("the folds have other classes, or in another order; name them: NetworkClassifier(classes=…)")
    columns: dict[str, Any] = {}
    for name in ("probability", "labels", "groups", "names"):
        values = [getattr(part, name) for part in parts]
        columns[name] = None if any(value is None for value in values) else np.concatenate(values)
    decided = np.concatenate([part.label for part in parts]) if any(part.decided is not None for part in parts) else None
    return Predictions(classes=classes, decided=decided, **columns)


def _record(fold: Fold) -> dict[str, Any]:
    names = ("trained_on", "tested_on")
    return {**{name: list(getattr(fold, name)) for name in names}, "n_trained": fold.n_trained, "bundle": fold.bundle}


def _value(predictions: Predictions, metric: str) -> float:
    return evaluation_of(predictions, n_bootstrap=0).pooled.values()[metric]


def _by_group(predictions: Predictions, metric: str) -> dict[str, float]:
    return {name: found.values()[metric] for name, found in evaluation_of(predictions, n_bootstrap=0).per_group.items()}


def _shown(names: Sequence[str]) -> str:
    """Names for the log: the first few, and how many more."""
    more = f" and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else ""
    return ", ".join(names[:_N_SHOWN]) + more
