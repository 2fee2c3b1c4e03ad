"""How far those who judge agree: kappas, alpha, reliability, consistency.

Judgements are an array ``(n_items, n_scorers)`` of class numbers, -1 where a scorer did not judge an item.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.metrics import cohen_kappa_score

from pycroclass.errors import DataError
from pycroclass.evaluation.predictions import Floats, Integers

Level = Literal["nominal", "ordinal", "interval"]
_MISSING = -1


def counts_of(judgements: Integers, n_classes: int) -> Integers:
    """How many scorers gave each item each class, shape ``(n_items, n_classes)``.

    Examples
    --------
    >>> counts_of(np.array([[0, 1, 1], [1, -1, 1]]), 2).tolist()
    [[1, 2], [0, 2]]
    """
    counts: Integers = (judgements[:, :, None] == np.arange(n_classes)).sum(1)
    return counts


def pairwise_agreement(a: Integers, b: Integers) -> float:
    """Share of the items judged by both that both gave the same class; NaN where there are none."""
    a, b = _both(a, b)
    return float((a == b).mean()) if len(a) else float("nan")


def cohen_kappa(a: Integers, b: Integers, n_classes: int, *, weights: Literal["linear", "quadratic"] | None = None) -> float:
    """Agreement of two scorers beyond chance, ``1 − Σ w O / Σ w E`` over the items that both judged; NaN where chance explains all.

    Parameters
    ----------
    a, b : array of int, shape (n_items,)
    n_classes : int
    weights : {None, "linear", "quadratic"}
        How much a disagreement counts: all the same, or with the distance, or its square, of ordered classes.

    Examples
    --------
    >>> a = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    >>> b = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    >>> round(cohen_kappa(a, b, 2), 3)
    0.4
    """
    a, b = _both(a, b)
    if not len(a) or len(np.unique([a, b])) < 2:
        return float("nan")
    return float(cohen_kappa_score(a, b, labels=np.arange(n_classes), weights=weights))


def fleiss_kappa(counts: Integers) -> float:
    """Agreement of any number of scorers beyond chance, by how many gave each item each class (Fleiss, Psychol. Bull. 76, 378, 1971).

    Items may have different numbers of judgements; those with fewer than two say nothing and are left out.

    Parameters
    ----------
    counts : array of int, shape (n_items, n_classes)

    Returns
    -------
    float
        NaN where all judgements are the same, or no item has two.
    """
    counts, n = _judged_twice(counts)
    if not len(n):
        return float("nan")
    agreement = ((counts * (counts - 1)).sum(1) / (n * (n - 1))).mean()
    chance = ((counts.sum(0) / n.sum()) ** 2).sum()
    return float((agreement - chance) / (1 - chance)) if chance < 1 else float("nan")


def specific_agreement(counts: Integers) -> Floats:
    """For each class: of the judgements of it, the share of other judgements of the same items that say so too.

    ``Σ n_ic (n_ic − 1) / Σ n_ic (n_i − 1)`` (Spitzer and Fleiss, Br. J. Psychiatry 125, 341, 1974). NaN for a class that nobody gave.

    Parameters
    ----------
    counts : array of int, shape (n_items, n_classes)

    Examples
    --------
    >>> specific_agreement(np.array([[3, 0], [0, 3], [1, 2]])).round(3).tolist()
    [0.75, 0.8]
    """
    counts, n = _judged_twice(counts)
    with np.errstate(invalid="ignore"):
        share: Floats = (counts * (counts - 1)).sum(0) / (counts * (n - 1)[:, None]).sum(0)
    return share


def krippendorff_alpha(counts: Integers, *, level: Level = "nominal") -> float:
    """Agreement beyond chance of any number of scorers, with gaps, for classes or ordered classes.

    ``1 − (n − 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck`` (Krippendorff, *Content Analysis*, 3rd ed. 2013, chapter 12).

    Parameters
    ----------
    counts : array of int, shape (n_items, n_classes)
        How many scorers gave each item each class; see `counts_of`.
    level : {"nominal", "ordinal", "interval"}
        What a disagreement counts: all the same, by the judgements that lie between, or by the square of the distance.

    Returns
    -------
    float
        NaN where all judgements are the same, or no item has two.
    """
    counts, n = _judged_twice(counts)
    of_class = counts.sum(0).astype(np.float64)
    coincidences = (counts / (n - 1)[:, None]).T @ counts  # with each judgement itself, which is at no distance
    distance = _distances(of_class, level)
    expected = (np.outer(of_class, of_class) * distance).sum()
    return float(1 - (of_class.sum() - 1) * (coincidences * distance).sum() / expected) if expected else float("nan")


def against_consensus(judged: Integers, others: Integers, n_classes: int) -> Floats:
    """For each item how far one judgement is the consensus of others: 1, 0, or its share where several classes have most votes.

    Parameters
    ----------
    judged : array of int, shape (n_items,)
    others : array of int, shape (n_items, n_others)
    n_classes : int

    Returns
    -------
    array of float, shape (n_items,)
        NaN where the item was not judged, or by none of the others.

    Examples
    --------
    >>> against_consensus(np.array([0, 0, 0]), np.array([[0, 0, 1], [0, 1, -1], [1, -1, -1]]), 2).tolist()
    [1.0, 0.5, 0.0]
    """
    votes = counts_of(others, n_classes)
    is_first = (votes == votes.max(1, keepdims=True)) & (votes > 0)
    is_known = (judged != _MISSING) & is_first.any(1)
    with np.errstate(invalid="ignore"):
        shares = is_first / is_first.sum(1, keepdims=True)
    return np.where(is_known, shares[np.arange(len(judged)), judged], np.nan)


def reliability_of_scorer(judgements: Integers, scorer: int, n_classes: int) -> float:
    """The probability that a scorer gives the class that most of the **other** scorers give; ties count in parts."""
    scores = against_consensus(judgements[:, scorer], np.delete(judgements, scorer, axis=1), n_classes)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def consistency(first: Integers, again: Integers) -> float:
    """The probability that a scorer gives an item the same class at another time; NaN where no item was judged twice."""
    return pairwise_agreement(first, again)


def _distances(of_class: Floats, level: Level) -> Floats:
    """Squared distance of classes, given how often each was given."""
    place = np.arange(len(of_class), dtype=np.float64)
    if level == "nominal":
        return 1.0 - np.eye(len(place))
    if level == "ordinal":  # judgements up to the middle of a class: the distance is how many lie between two middles
        place = of_class.cumsum() - of_class / 2
    return np.subtract.outer(place, place) ** 2


def _judged_twice(counts: Integers) -> tuple[Integers, Integers]:
    if counts.ndim != 2 or (counts < 0).any():
        raise DataError(f"wanted how many scorers gave each item each class, (items, classes), got the shape {counts.shape}")
    n = counts.sum(1)
    return counts[n > 1], n[n > 1]


def _both(a: Integers, b: Integers) -> tuple[Integers, Integers]:
    if a.shape != b.shape:
        raise DataError(f"wanted judgements of the same items, got the shapes {a.shape} and {b.shape}")
    known = (a != _MISSING) & (b != _MISSING)
    return a[known], b[known]
