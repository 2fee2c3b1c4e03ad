"""PCA and k-means of very many short items by the package, and the parts of that work alone.

PCA returns the sum of the variances, k-means the inertia.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import sidpy
import torch

import pycroclass as pc
from benchmarks.ways import map_reduce

_BLOCK = 32_768
_N_FEATURES = 64


def ours_pca(path: str, n_components: int, source: str) -> Callable[[], list[float]]:
    """`pycroclass.fit`."""
    opened = _opener(path, source)

    def work() -> list[float]:
        (projection,) = pc.fit(pc.PCA(n_components, axes=("feature",)), opened()).steps()
        return [sum(projection.explained_variance)]

    return work


def ours_kmeans(path: str, n_clusters: int, n_passes: int, source: str) -> Callable[[], list[float]]:
    """`pycroclass.fit` from the first items, so many passes."""
    opened = _opener(path, source)
    start = np.asarray(opened()[:n_clusters].compute())
    estimator = pc.KMeans(n_clusters, init=start, max_iterations=n_passes, tolerance=0, axes=("feature",))

    def work() -> list[float]:
        (assign,) = pc.fit(estimator, opened()).steps()
        return [float(assign.inertia)]

    return work


def arithmetic(n: int, what: str, n_passes: int) -> Callable[[], None]:
    """The matrix products alone, in float64, on one resident block again and again, on all cores."""
    torch.set_num_threads(1)
    rows = torch.randn(_BLOCK, _N_FEATURES, dtype=torch.float64)
    centres = torch.randn(16, _N_FEATURES, dtype=torch.float64)
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(_: int) -> None:
        for _ in range(n_passes * n // _BLOCK // n_cores):
            if what == "scatter":
                rows.T @ rows
            else:
                members = centres @ rows.T
                members @ rows

    return lambda: list(pool.map(part, range(n_cores))) and None


def read(path: str, n_passes: int) -> Callable[[], None]:
    """The bytes of the file, on all cores, so many times."""
    once = map_reduce.read(path)

    def work() -> None:
        for _ in range(n_passes):
            once()

    return work


def _opener(path: str, source: str) -> Callable[[], Any]:
    if source == "file":
        return lambda: next(iter(pc.read(path).values()))
    values = np.load(path)
    dataset = sidpy.Dataset.from_array(values, title="items")
    dataset.set_dimension(0, sidpy.Dimension(np.arange(len(values)), "item"))
    dataset.set_dimension(1, sidpy.Dimension(np.arange(_N_FEATURES), "feature", dimension_type="spectral"))
    return lambda: dataset
