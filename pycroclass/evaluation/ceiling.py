"""A model against people, and against how well people agree with each other: no model can be shown to be better than that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pycroclass.errors import DataError
from pycroclass.evaluation.agreement import against_consensus, cohen_kappa
from pycroclass.evaluation.bootstrap import Interval, intervals, resampled
from pycroclass.evaluation.judgements import Judgements
from pycroclass.evaluation.predictions import Floats, Integers, Strings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class HumanCeiling:
    """A model and people, measured in the same way.

    Each scorer is compared with the consensus of the others. The model is compared with the same consensus, of all scorers but one, on
    the same items; so neither has the easier task.

    Parameters
    ----------
    humans : float
        Reliability of the scorers, over all their judgements.
    model : float
        The same of the model: how often it gives the consensus of all scorers but one, each left out in turn.
    difference : float
        ``model - humans``.
    interval : Interval
        Of the difference; items, or groups of them, resampled.
    human_kappa, model_kappa : float
        Mean kappa of Cohen of two scorers, and of the model and one scorer.
    per_scorer : mapping of str to tuple of float
        Reliability of each scorer, that of the model in the scorer's place, and kappa of model and scorer.
    """

    humans: float
    model: float
    difference: float
    interval: Interval
    human_kappa: float
    model_kappa: float
    per_scorer: dict[str, tuple[float, float, float]]

    def table(self) -> pd.DataFrame:
        """A row for each scorer: reliability, that of the model in the scorer's place, and kappa of model and scorer."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.per_scorer, orient="index", columns=["reliability", "model", "model_kappa"]).rename_axis(
            "scorer"
        )


def human_ceiling(
    model: Integers, said: Judgements, *, groups: Strings | None = None, n_bootstrap: int = 1000, seed: int = 0
) -> HumanCeiling:
    """Compare a model with people who judged the same items.

    Parameters
    ----------
    model : array of int, shape (n_items,)
        The class that the model gave to each item of the judgements, in their order; -1, or a number behind the classes, for none.
    said : Judgements
        Of at least three scorers, so that there is a consensus of others.
    groups : array of str, shape (n_items,), optional
        Resampled in place of the items.
    n_bootstrap, seed : int

    Raises
    ------
    DataError
        If there are fewer than three scorers, or not one answer for each item.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 3, 500)
    >>> people = [np.where(rng.random(500) < 0.8, truth, rng.integers(0, 3, 500)) for _ in range(5)]
    >>> said = Judgements(np.stack(people, 1), ("clear", "precipitate", "crystal"), tuple("abcde"), tuple(map(str, range(500))))
    >>> found = human_ceiling(truth, said, n_bootstrap=100)
    >>> found.model > found.humans, found.interval.low > 0
    (True, True)
    """
    k, n = len(said.classes), len(said.scorers)
    if n < 3:
        raise DataError(f"there are {n} scorers; at least 3 are needed, so that each can be compared with a consensus of others")
    if model.shape != (len(said.items),):
        raise DataError(f"the model gives {model.shape} answers for {len(said.items)} items; give one for each, in the same order")
    answer = np.where((model >= 0) & (model < k), model, k)  # a class that nobody gives, so that it never is the consensus
    people, machine = _in_each_place(answer, said.labels, k)
    kappas = [cohen_kappa(np.where(answer < k, answer, -1), judged, k) for judged in said.labels.T]
    humans, of_model = _mean(people), _mean(machine)
    return HumanCeiling(
        humans,
        of_model,
        of_model - humans,
        _interval(people, machine, groups, n=n_bootstrap, seed=seed),
        _mean(said.pairs_kappa().to_numpy()),
        _mean(np.array(kappas)),
        {name: (_mean(people[:, j]), _mean(machine[:, j]), kappas[j]) for j, name in enumerate(said.scorers)},
    )


def _in_each_place(answer: Integers, labels: Integers, k: int) -> tuple[Floats, Floats]:
    """For each item and scorer how far the scorer, and the model in the scorer's place, give the consensus of the others."""
    people, machine = np.full((2, *labels.shape), np.nan)
    for j in range(labels.shape[1]):
        others = np.delete(labels, j, axis=1)
        people[:, j] = against_consensus(labels[:, j], others, k + 1)
        machine[:, j] = np.where(labels[:, j] >= 0, against_consensus(answer, others, k + 1), np.nan)
    if not np.isfinite(people).any():
        raise DataError("no item was judged by two scorers: there is no consensus to compare with")
    return people, machine


def _interval(people: Floats, machine: Floats, groups: Strings | None, *, n: int, seed: int) -> Interval:
    """Of the mean of the model less that of the people, both on the same resamples."""
    unit = np.arange(len(people)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    sums = [np.bincount(unit, np.nansum(side, axis=1), n_units) for side in (people, machine)]
    counts = np.bincount(unit, np.isfinite(people).sum(1), n_units)
    if n == 0 or n_units < 2:
        return Interval(float("nan"), float("nan"))
    weights = resampled(n_units, n, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = weights @ (sums[1] - sums[0]) / (weights @ counts)
    return intervals({"difference": differences})["difference"]


def _mean(values: Floats) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
