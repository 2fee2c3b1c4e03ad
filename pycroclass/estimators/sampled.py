"""Clusters that need all distances at once: found in a sample, then told for all items."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sklearn.cluster
import torch
from sklearn.neighbors import NearestNeighbors

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import check_finite, check_real, check_seed, positive
from pycroclass.estimators._order import by_size
from pycroclass.estimators.nearest_item import NearestItem
from pycroclass.operator import set_field
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Spec

_LINKAGES: Final = ("ward", "average", "complete", "single")


@dataclass(frozen=True)
class HDBSCAN(Estimator):
    """Clusters as regions that are denser than what lies between them (Campello, Moulavi and Sander, PAKDD 2013), with noise.

    It finds the number of clusters itself, and leaves items between them without one: label -1. Found by scikit-learn in a sample of items
    that index and seed choose, so that chunks make no difference. Any item then gets the label of the nearest item of the sample, unless
    it is farther away from it than the members of that cluster in the sample are at most from their own ``min_samples``-th neighbour: then
    it is noise too. Clusters are numbered from the largest to the smallest in the sample. Fitting gives a `NearestItem`.

    Parameters
    ----------
    min_cluster_size : int
        Least number of items in a cluster, counted in the sample.
    min_samples : int, optional
        How many neighbours an item in a dense region has, itself included; more of them make more noise. By default
        ``min_cluster_size``.
    seed : int
    sample_size : int
        Time and memory grow with it, also those of the labels of all items.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or the sample has too few items.
    DataError
        If the data are complex or not finite, or all is noise.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(5) | pc.HDBSCAN(50), dataset)  # doctest: +SKIP
    >>> labels = model(dataset)  # doctest: +SKIP
    """

    min_cluster_size: int
    _: KW_ONLY
    min_samples: int | None = None
    seed: int = 0
    sample_size: int = 5_000

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "min_cluster_size", positive("min_cluster_size", self.min_cluster_size))
        set_field(self, "min_samples", positive("min_samples", self.min_cluster_size if self.min_samples is None else self.min_samples))
        set_field(self, "sample_size", positive("sample_size", self.sample_size))
        if self.min_cluster_size < 2:
            raise ParameterError(f"min_cluster_size must be at least 2, got {self.min_cluster_size}")
        check_seed(self.seed)

    def fit(self, data: Data, spec: Spec) -> NearestItem:
        """The clusters of a sample."""
        items, rows = _sampled(data, spec, self.sample_size, self.seed)
        n_neighbours = max(self.min_samples or 0, 2)
        needed = max(self.min_cluster_size, n_neighbours)
        if len(rows) < needed:
            raise ParameterError(f"a sample of {len(rows)} items is too small: clusters and neighbours need {needed} items at least")
        labels = sklearn.cluster.HDBSCAN(self.min_cluster_size, min_samples=self.min_samples, copy=True).fit_predict(rows)
        if labels.max() < 0:
            raise DataError(f"all {len(rows)} items of the sample of {spec.title!r} are noise. Lower min_cluster_size or min_samples.")
        labels = _numbered(labels, rows)
        core_distance = NearestNeighbors(n_neighbors=n_neighbours).fit(rows).kneighbors(rows)[0][:, -1]
        reach = np.array([core_distance[labels == label].max() for label in range(labels.max() + 1)])
        return NearestItem(ArrayValue(items), ArrayValue(labels), ArrayValue(reach), spec.axes, axes=self.axes)


@dataclass(frozen=True)
class Agglomerative(Estimator):
    """Clusters that are joined two by two, the nearest first, until so many are left (Ward, J. Am. Stat. Assoc. 58, 236, 1963).

    Done by scikit-learn on a sample of items that index and seed choose, so that chunks make no difference. Any item then gets the label
    of the nearest item of the sample. Clusters are numbered from the largest to the smallest in the sample. Fitting gives a `NearestItem`.

    Parameters
    ----------
    n_clusters : int
    linkage : {"ward", "average", "complete", "single"}
        What is small between two clusters that are joined: the growth of the sum of squares, or the mean, largest or smallest distance
        of their items.
    seed : int
    sample_size : int
        Time and memory grow with its square.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more clusters than items.
    DataError
        If the data are complex or not finite.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(5) | pc.Agglomerative(4), dataset)  # doctest: +SKIP
    >>> labels = model(dataset)  # doctest: +SKIP
    """

    n_clusters: int
    linkage: str = "ward"
    _: KW_ONLY
    seed: int = 0
    sample_size: int = 5_000

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "n_clusters", positive("n_clusters", self.n_clusters))
        set_field(self, "sample_size", positive("sample_size", self.sample_size))
        if self.linkage not in _LINKAGES:
            raise ParameterError(f"linkage must be one of {_LINKAGES}, got {self.linkage!r}")
        check_seed(self.seed)

    def fit(self, data: Data, spec: Spec) -> NearestItem:
        """The clusters of a sample."""
        items, rows = _sampled(data, spec, self.sample_size, self.seed)
        if self.n_clusters > len(rows):
            raise ParameterError(f"n_clusters={self.n_clusters} is more than the {len(rows)} items of the sample")
        labels = np.zeros(len(rows), np.int64)
        if self.n_clusters > 1:
            labels = sklearn.cluster.AgglomerativeClustering(self.n_clusters, linkage=self.linkage).fit_predict(rows)
        reach = np.full(self.n_clusters, np.inf)
        return NearestItem(ArrayValue(items), ArrayValue(_numbered(labels, rows)), ArrayValue(reach), spec.axes, axes=self.axes)


def _sampled(data: Data, spec: Spec, n: int, seed: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Items ``(n, *core)``, and the same as rows of float64."""
    check_real(spec)
    items = data.sample(n, seed)
    rows = items.reshape(len(items), -1).astype(np.float64)
    check_finite(spec, torch.from_numpy(rows))
    return items, rows


def _numbered(labels: npt.NDArray[np.int64], rows: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """The labels, with clusters numbered from the largest to the smallest; -1 stays."""
    n = int(labels.max()) + 1
    sizes = np.array([np.count_nonzero(labels == label) for label in range(n)], np.float64)
    centres = np.array([rows[labels == label].mean(0) for label in range(n)])
    number = np.full(n + 1, -1, np.int32)  # the last one is that of noise, -1
    number[by_size(sizes, centres)] = np.arange(n)
    return number[labels]
