"""Where k-means starts: centres ``(run, cluster, feature)``."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sklearn.cluster
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from pycroclass.estimators._lloyd import Assignment, Race
from pycroclass.reduction import Data

FloatArray = npt.NDArray[np.float64]

_ROUNDS: Final = 5
_OVERSAMPLING: Final = 2


def clustered(rows: npt.NDArray[Any], n_clusters: int, n_runs: int, *, seed: int, max_iterations: int, tolerance: float) -> FloatArray:
    """Centres of rows in memory: scikit-learn's k-means from greedy k-means++ starts, one after the other as its ``n_init`` does."""
    random = check_random_state(seed)
    kmeans = sklearn.cluster.KMeans(n_clusters, n_init=1, max_iter=max_iterations, tol=tolerance, random_state=random)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what a sample lacks, all the data may have
        return np.stack([kmeans.fit(rows).cluster_centers_ for _ in range(n_runs)]).astype(np.float64)


def chosen(candidates: FloatArray, weights: FloatArray, n_clusters: int, n_runs: int, *, seed: int) -> FloatArray:
    """Centres among weighted candidates, by greedy k-means++ (Arthur and Vassilvitskii, SODA 2007)."""
    random = check_random_state(seed)
    runs = [sklearn.cluster.kmeans_plusplus(candidates, n_clusters, sample_weight=weights, random_state=random)[0] for _ in range(n_runs)]
    return np.stack(runs)


def parallel_candidates(data: Data, origin: torch.Tensor, n_clusters: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Candidates for centres, relative to ``origin``, and how many items each stands for, by k-means|| (Bahmani et al., VLDB 2012).

    The first candidate is the origin itself. Five rounds draw ``2 * n_clusters`` different items each, in one pass a round.
    """
    candidates = torch.zeros_like(origin)[None]
    for stream in range(1, _ROUNDS + 1):
        keys, _, rows = data.reduce(Race(origin, candidates, _OVERSAMPLING * n_clusters, seed, stream))
        candidates = torch.cat([candidates, rows[torch.isfinite(keys)]])
    counts, _, _ = data.reduce(Assignment(origin, candidates[None]))
    return candidates.numpy(), counts[0].numpy()
