"""Which items to hold back: a fraction of each class, and whole groups where there are groups."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError, ParameterError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_TRIES: Final = 64
_MANY: Final = 1 << 22
"""Numbers to hold at a time while groups are chosen."""


def held_out(labels: npt.ArrayLike, groups: npt.ArrayLike | None = None, *, fraction: float = 0.2, seed: int = 0) -> npt.NDArray[np.bool_]:
    """True for the items to hold back.

    Without groups they are drawn at random, of each class the fraction wanted to within one item. With groups many random orders are
    tried: one group after the other is held back if that brings all classes nearer to the fraction, and the best try is taken. It does
    not depend on the order of the items then.

    Parameters
    ----------
    labels : array of int, shape (n_items,)
        Number of each item's class; negative where there is none.
    groups : array, shape (n_items,), optional
        Items of one group are held back together or not at all.
    fraction : float
        Between 0 and 1.
    seed : int

    Raises
    ------
    ParameterError
        If the fraction is not between 0 and 1, or the shapes differ.
    DataError
        If a class occurs in one item or group only, so that it cannot be on both sides.

    Examples
    --------
    >>> held_out([0, 0, 0, 1, 1, 1], ["a", "b", "b", "a", "b", "b"], fraction=0.3).tolist()
    [True, False, False, True, False, False]
    """
    if not 0 < fraction < 1:
        raise ParameterError(f"the fraction to hold back must lie between 0 and 1, got {fraction}")
    classes, numbers = np.unique(np.maximum(np.asarray(labels), -1), return_inverse=True)
    needed = classes >= 0 if (classes >= 0).any() else classes < 0  # on both sides
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ParameterError(f"wanted one label for each of two or more items, got shape {numbers.shape}")
    rng = np.random.default_rng(seed)
    if groups is None:
        _check(classes, np.bincount(numbers), "items")
        return _drawn(numbers, needed, fraction, rng)
    members = np.unique(np.asarray(groups), return_inverse=True)[1]
    if members.shape != numbers.shape:
        raise ParameterError(f"groups have the shape {np.shape(groups)}, wanted {numbers.shape}: one for each item")
    table = np.zeros((members.max() + 1, len(classes)))
    np.add.at(table, (members, numbers), 1)
    _check(classes, np.count_nonzero(table, axis=0), "groups")
    held: npt.NDArray[np.bool_] = _chosen(table, needed, fraction, rng)[members]
    return held


def _check(classes: Integers, found: npt.NDArray[Any], what: str) -> None:
    for number, n in zip(classes, found, strict=True):
        if number >= 0 and n < 2:
            raise DataError(f"class {number} occurs in {n} of the {what}; at least 2 are needed, one for each side of the split")
    if len(classes) and found.sum() < 2:
        raise DataError(f"there is one of the {what}; at least 2 are needed, one for each side of the split")


def _drawn(numbers: Integers, needed: npt.NDArray[np.bool_], fraction: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Items at random; of each class the whole part of its share, and one more of those with the largest rest."""
    sizes = np.bincount(numbers)
    shares = fraction * sizes
    counts = np.floor(shares).astype(np.int64)
    n_more = int(round(float(shares.sum())) - counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[:n_more]] += 1
    counts = np.where(needed, np.clip(counts, 1, sizes - 1), counts)
    held = np.zeros(len(numbers), bool)
    for number, count in enumerate(counts):
        held[rng.permutation(np.flatnonzero(numbers == number))[:count]] = True
    return held


def _chosen(table: Floats, needed: npt.NDArray[np.bool_], fraction: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The groups to hold back, from how many items of each class they have, shape (group, class)."""
    n_groups = len(table)
    n_tries = max(1, min(_TRIES, _MANY // n_groups))
    orders = rng.permuted(np.tile(np.arange(n_groups), (n_tries, 1)), axis=1)
    held = np.zeros((n_tries, n_groups), bool)
    counts = np.zeros((n_tries, table.shape[1]))
    tries = np.arange(n_tries)
    cost = _cost(counts, table, needed, fraction)
    for groups in orders.T:
        with_it = counts + table[groups]
        new_cost = _cost(with_it, table, needed, fraction)
        is_better = new_cost < cost
        held[tries[is_better], groups[is_better]] = True
        counts = np.where(is_better[:, None], with_it, counts)
        cost = np.where(is_better, new_cost, cost)
    best = int(np.argmin(cost))
    totals = table.sum(0)
    if ((counts[best] == 0) | (counts[best] == totals))[needed].any() or held[best].all() or not held[best].any():
        raise DataError("no split of the groups has all classes on both sides. Give more groups, or another fraction.")
    chosen: npt.NDArray[np.bool_] = held[best]
    return chosen


def _cost(counts: Floats, table: Floats, needed: npt.NDArray[np.bool_], fraction: float) -> Floats:
    """How far the classes, and all items together, are from the fraction; one more for each class that is on one side only."""
    totals = table.sum(0)
    off = ((counts / totals - fraction) ** 2).sum(-1) + (counts.sum(-1) / totals.sum() - fraction) ** 2
    missing = ((counts == 0) | (counts == totals)) & needed
    cost: Floats = off + missing.sum(-1)
    return cost
