"""How far clusters agree with classes, and how far a map keeps who is next to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sidpy
from scipy.optimize import linear_sum_assignment
from sklearn import manifold, metrics
from sklearn.neighbors import NearestNeighbors

from pycroclass.embedding.neighbours import as_rows
from pycroclass.errors import DataError, ParameterError
from pycroclass.sid import unwrap


@dataclass(frozen=True)
class ClusterAgreement:
    """How far clusters and classes are the same partition of items; 1 where they are.

    Parameters
    ----------
    n_items : int
        Items that have both a cluster and a class.
    n_left_out : int
        Items that lack one.
    ami : float
        Adjusted mutual information: about 0 for clusters by chance, however many; the one to quote.
    nmi : float
        Normalised mutual information (by the mean of both entropies); grows with the number of clusters.
    ari : float
        Adjusted Rand index: about 0 for clusters by chance.
    purity : float
        Share of items whose class is the most frequent of their cluster; 1 if each item is a cluster of its own.
    hungarian_accuracy : float
        Share of items whose cluster is the one that belongs to their class, with clusters and classes paired so that it is largest.
    """

    n_items: int
    n_left_out: int
    ami: float
    nmi: float
    ari: float
    purity: float
    hungarian_accuracy: float

    def __str__(self) -> str:
        return (
            f"{self.n_items} items: AMI {self.ami:.3f}, NMI {self.nmi:.3f}, ARI {self.ari:.3f}, "
            f"purity {self.purity:.3f}, Hungarian accuracy {self.hungarian_accuracy:.3f}"
        )


def cluster_agreement(label: sidpy.Dataset | npt.ArrayLike, classes: npt.ArrayLike) -> ClusterAgreement:
    """How far clusters agree with classes that somebody knows.

    Parameters
    ----------
    label : sidpy.Dataset or array of int, shape (n_items,)
        Cluster of each item; those below 0, noise and items that are not finite, are left out and counted.
    classes : array of int or str, shape (n_items,)
        Class of each item; numbers below 0 and empty names are none.

    Raises
    ------
    DataError
        If they are not as many, or no item has both.

    Examples
    --------
    >>> print(cluster_agreement([1, 1, 0, 0, 2, -1], ["a", "a", "b", "b", "b", "a"]))
    5 items: AMI 0.635, NMI 0.779, ARI 0.545, purity 1.000, Hungarian accuracy 0.800
    """
    clusters = np.asarray(unwrap(label)[0].compute() if isinstance(label, sidpy.Dataset) else label).ravel()
    truth = np.asarray(classes).ravel()
    if clusters.shape != truth.shape:
        raise DataError(f"wanted a class for each item, got {len(clusters)} clusters and {len(truth)} classes")
    is_known = (clusters >= 0) & (truth >= 0 if truth.dtype.kind in "iuf" else truth.astype(str) != "")
    if not is_known.any():
        raise DataError("no item has both a cluster and a class")
    found, wanted = (np.unique(values[is_known], return_inverse=True)[1] for values in (clusters, truth))
    table = metrics.cluster.contingency_matrix(wanted, found)
    pairs = linear_sum_assignment(table, maximize=True)
    return ClusterAgreement(
        n_items=int(is_known.sum()),
        n_left_out=int((~is_known).sum()),
        ami=float(metrics.adjusted_mutual_info_score(wanted, found)),
        nmi=float(metrics.normalized_mutual_info_score(wanted, found)),
        ari=float(metrics.adjusted_rand_score(wanted, found)),
        purity=float(table.max(0).sum() / table.sum()),
        hungarian_accuracy=float(table[pairs].sum() / table.sum()),
    )


def trustworthiness(features: sidpy.Dataset | npt.ArrayLike, places: sidpy.Dataset | npt.ArrayLike, *, n_neighbours: int = 5) -> float:
    """How far neighbours on a map are neighbours in the data too, from 0 to 1 (Venna and Kaski, ICANN 2001; by scikit-learn).

    It takes time and memory as the square of the number of items.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
        What the map was made from.
    places : sidpy.Dataset or array, shape (n_items, n_components)
    n_neighbours : int
        Less than half as many as items.

    Raises
    ------
    ParameterError
        If there are too many neighbours for the items.
    DataError
        If items are not as many, or not finite.

    Examples
    --------
    >>> line = np.arange(12.0)[:, None] ** 2
    >>> trustworthiness(line, 3 * line, n_neighbours=3)
    1.0
    """
    rows, found = as_rows(features), as_rows(places)
    if len(rows) != len(found):
        raise DataError(f"wanted a place for each item, got {len(rows)} items and {len(found)} places")
    if not 1 <= n_neighbours < len(rows) / 2:
        raise ParameterError(f"n_neighbours must be from 1 to less than half of {len(rows)} items, got {n_neighbours}")
    return float(manifold.trustworthiness(rows, found, n_neighbors=n_neighbours))


def neighbour_accuracy(features: sidpy.Dataset | npt.ArrayLike, classes: npt.ArrayLike, *, n_neighbours: int = 5) -> float:
    """Share of items whose class is the most frequent among their nearest neighbours, of equals that of the nearer ones.

    Parameters
    ----------
    features : sidpy.Dataset or array, shape (n_items, n_features)
    classes : array of int or str, shape (n_items,)
    n_neighbours : int

    Raises
    ------
    ParameterError
        If there are not more items than neighbours.
    DataError
        If items are not as many, or not finite.

    Examples
    --------
    >>> neighbour_accuracy([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]], list("aaabbb"), n_neighbours=2)
    1.0
    """
    rows = as_rows(features)
    truth = np.unique(np.asarray(classes).ravel(), return_inverse=True)[1]
    if len(rows) != len(truth):
        raise DataError(f"wanted a class for each item, got {len(rows)} items and {len(truth)} classes")
    if not 1 <= n_neighbours < len(rows):
        raise ParameterError(f"n_neighbours must be from 1 to less than {len(rows)} items, got {n_neighbours}")
    nearest = NearestNeighbors(n_neighbors=n_neighbours).fit(rows).kneighbors(return_distance=False)
    votes: npt.NDArray[Any] = np.zeros((len(rows), truth.max() + 1))
    for rank in range(n_neighbours):
        np.add.at(votes, (np.arange(len(rows)), truth[nearest[:, rank]]), 1 + 1e-6 * (n_neighbours - rank))
    return float((votes.argmax(1) == truth).mean())
