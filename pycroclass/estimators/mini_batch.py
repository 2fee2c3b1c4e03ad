"""k-means of a sample, in small batches: two passes over the data, however many there are."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass

import numpy as np
import sklearn.cluster
import torch
from sklearn.exceptions import ConvergenceWarning

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import check_finite, check_real, check_seed, positive
from pycroclass.estimators._lloyd import Assignment
from pycroclass.estimators._order import by_size
from pycroclass.estimators.kmeans import NearestCentre
from pycroclass.operator import set_field
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Spec


@dataclass(frozen=True)
class MiniBatchKMeans(Estimator):
    """Mini-batch k-means (Sculley, WWW 2010) of a sample, for data that are too large to be passed over again and again.

    The centres are fitted on a sample that index and seed choose, so that chunks make no difference, by scikit-learn's implementation. A
    second pass counts the items of each cluster and sums the inertia. Its inertia lies a few per cent above that of `KMeans`. Clusters are
    numbered from the largest to the smallest. Fitting gives a `NearestCentre` of 0 iterations over all items.

    Parameters
    ----------
    n_clusters : int
    seed : int
    n_init : int
        Number of starts that are tried on a part of the sample; the best goes on.
    batch_size : int
        Items that move the centres at once.
    sample_size : int
        Items in the sample; it is held in memory as float64.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more clusters than items.
    DataError
        If the data are complex, not finite, or have fewer different items in the sample than clusters.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(5) | pc.MiniBatchKMeans(16, seed=0), dataset)  # doctest: +SKIP
    >>> labels = model(dataset)  # doctest: +SKIP
    """

    n_clusters: int
    _: KW_ONLY
    seed: int = 0
    n_init: int = 3
    batch_size: int = 1024
    sample_size: int = 200_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_clusters", "n_init", "batch_size", "sample_size"):
            set_field(self, name, positive(name, getattr(self, name)))
        check_seed(self.seed)

    def fit(self, data: Data, spec: Spec) -> NearestCentre:
        """The centres of a sample, in the order of the sizes of their clusters among all items."""
        check_real(spec)
        sample = data.sample(self.sample_size, self.seed)
        if self.n_clusters > len(sample):
            raise ParameterError(f"n_clusters={self.n_clusters} is more than the {len(sample)} items of the sample")
        rows = sample.reshape(len(sample), -1).astype(np.float64)
        check_finite(spec, torch.from_numpy(rows))
        origin = rows.mean(0)
        kmeans = sklearn.cluster.MiniBatchKMeans(
            self.n_clusters, batch_size=self.batch_size, n_init=self.n_init, random_state=self.seed, compute_labels=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is said below, for all items
            centres = kmeans.fit(rows - origin).cluster_centers_.astype(np.float64)
        counts, _, inertia = (
            part.numpy()[0] for part in data.reduce(Assignment(torch.from_numpy(origin), torch.from_numpy(centres)[None]))
        )
        if not np.all(counts):
            raise DataError(
                f"only {np.count_nonzero(counts)} of n_clusters={self.n_clusters} clusters of {spec.title!r} have items. "
                "Ask for fewer clusters, or for a larger sample."
            )
        order = by_size(counts, centres)
        fitted = ArrayValue((centres + origin)[order].reshape(-1, *spec.shape))
        return NearestCentre(fitted, float(inertia), 0, spec.axes, axes=self.axes)
