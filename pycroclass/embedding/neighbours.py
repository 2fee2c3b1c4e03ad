"""Which items are like this one, which are like no other, and which together show all that there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sidpy
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from pycroclass.errors import DataError, ParameterError
from pycroclass.sid import unwrap

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Similar:
    """Items like another.

    Parameters
    ----------
    index : array of int64
        Numbers of the items, the most similar first.
    distance : array of float64
        Of each from the other, in the units of the features.
    """

    index: Integers
    distance: Floats


def similar(features: sidpy.Dataset | npt.ArrayLike, item: int, n: int = 10) -> Similar:
    """The items most like one of them: those whose features are nearest.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
        As `embed` gives them, or their principal components.
    item : int
        Number of the item.
    n : int
        How many are wanted.

    Raises
    ------
    ParameterError
        If there is no such item.
    DataError
        If features are not finite.

    Examples
    --------
    >>> similar([[0.0], [5.0], [1.0], [9.0]], item=0, n=2).index
    array([2, 1])
    """
    rows = as_rows(features)
    if not 0 <= item < len(rows):
        raise ParameterError(f"items have the numbers 0 to {len(rows) - 1}, got {item}")
    distance = np.linalg.norm(rows - rows[item], axis=1)
    distance[item] = np.inf
    index = np.argsort(distance, kind="stable")[: min(n, len(rows) - 1)]
    return Similar(index.astype(np.int64), distance[index])


def neighbour_distance(features: sidpy.Dataset | npt.ArrayLike, *, n_neighbours: int = 10) -> Floats:
    """How far each item is from others: the mean distance of its nearest neighbours. Items like no other have the largest.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
        Some tens of principal components do better than hundreds of features, where all distances are much the same.
    n_neighbours : int
        A group of up to so many odd items is still noticed.

    Returns
    -------
    array of float64, shape (n_items,)
        In the units of the features.

    Raises
    ------
    ParameterError
        If there are not more items than neighbours.
    DataError
        If features are not finite.

    Examples
    --------
    >>> neighbour_distance([[0.0], [1.0], [2.0], [50.0]], n_neighbours=2).argmax()
    np.int64(3)
    """
    rows = as_rows(features)
    if not 1 <= n_neighbours < len(rows):
        raise ParameterError(f"n_neighbours must be from 1 to less than {len(rows)} items, got {n_neighbours}")
    found: Floats = NearestNeighbors(n_neighbors=n_neighbours).fit(rows).kneighbors()[0].mean(1)
    return found


def isolation(features: sidpy.Dataset | npt.ArrayLike, *, seed: int = 0) -> Floats:
    """How easily each item is set apart from all others by random cuts, from 0 to 1 (Liu, Ting and Zhou, ICDM 2008; by scikit-learn).

    Around 0.5 and below is ordinary; items well above it are odd.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
    seed : int
        Of the 200 trees, each of 256 items.

    Returns
    -------
    array of float64, shape (n_items,)

    Raises
    ------
    DataError
        If features are not finite.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(200, 3))
    >>> rows[17] = 8
    >>> isolation(rows).argmax()
    np.int64(17)
    """
    rows = as_rows(features)
    scores: Floats = -IsolationForest(n_estimators=200, random_state=seed).fit(rows).score_samples(rows)
    return scores


def diverse_sample(features: sidpy.Dataset | npt.ArrayLike, n: int) -> Integers:
    """Items that together show all that there is: the one nearest to the mean, then always the one farthest from all chosen.

    No item is farther from a chosen one than twice as far as the best choice of ``n`` would leave it (Gonzalez, Theor. Comput. Sci. 38,
    293, 1985). Label these first; odd items come early.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
    n : int
        How many; fewer come where there are not as many different items.

    Returns
    -------
    array of int64
        Numbers of the items in the order of their choice.

    Raises
    ------
    ParameterError
        If none is asked for.
    DataError
        If features are not finite.

    Examples
    --------
    >>> diverse_sample([[0.0], [0.1], [4.0], [4.1], [9.0]], 3)
    array([2, 4, 0])
    """
    rows = as_rows(features)
    if n < 1:
        raise ParameterError(f"wanted one item at least, got n={n}")
    chosen = [int(np.linalg.norm(rows - rows.mean(0), axis=1).argmin())]
    distance = np.linalg.norm(rows - rows[chosen[0]], axis=1)
    while len(chosen) < n and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return np.array(chosen, np.int64)


def as_rows(features: sidpy.Dataset | npt.ArrayLike) -> Floats:
    """Features as float64 rows in memory.

    Raises
    ------
    DataError
        If they are no rows of finite real numbers.
    """
    values: npt.NDArray[Any] = np.asarray(unwrap(features)[0].compute() if isinstance(features, sidpy.Dataset) else features)
    if values.ndim != 2 or not len(values) or values.dtype.kind not in "biuf":
        raise DataError(f"wanted a row of real numbers for each item, got shape {values.shape}, dtype {values.dtype}")
    rows = values.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        raise DataError(
            f"{len(bad)} of {len(rows)} items hold NaN or inf, the first number {bad[0]}. Take the others with pycroclass.take."
        )
    return rows
