"""PCA and k-means of very many short items by the package, and the parts of that work alone.

PCA returns the sum of the variances, k-means the inertia.
"""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sidpy
import torch
from threadpoolctl import threadpool_limits

import pycroclass as pc
from benchmarks.ways import map_reduce
from pycroclass.kernels import row_sums

_BLOCK = 2048
_N_FEATURES = 64


def ours_pca(path: str, n_components: int, source: str) -> Callable[[], list[float]]:
    """`pycroclass.fit` to a dataset that is open."""
    dataset = _opened(path, source)

    def work() -> list[float]:
        (projection,) = pc.fit(pc.PCA(n_components, axes=("feature",)), dataset).steps()
        return [sum(projection.explained_variance)]

    return work


def ours_kmeans(path: str, n_clusters: int, n_passes: int, start: int, source: str) -> Callable[[], list[float]]:
    """`pycroclass.fit` to a dataset that is open, from the items behind ``start``, so many passes."""
    dataset = _opened(path, source)
    centres = np.asarray(dataset[start : start + n_clusters].compute())
    estimator = pc.KMeans(n_clusters, init=centres, max_iterations=n_passes, tolerance=0, axes=("feature",))

    def work() -> list[float]:
        (assign,) = pc.fit(estimator, dataset).steps()
        return [float(assign.inertia)]

    return work


def arithmetic(n: int, what: str, n_passes: int) -> Callable[[], None]:
    """The sums alone, in float64, of one resident block again and again, on all cores, in the fastest of the ways there are."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    rows = np.random.default_rng(0).standard_normal((_BLOCK, _N_FEATURES))
    centres, origin = rows[:16].copy(), np.zeros(_N_FEATURES)
    tensors = torch.from_numpy(rows), torch.from_numpy(centres)
    narrow = rows.astype(np.float32)
    ways: dict[str, list[Callable[[], object]]] = {
        "scatter": [
            lambda: tensors[0].T @ tensors[0],
            lambda: rows.T @ rows,  # by dsyrk: half of it
            lambda: row_sums.scatter(narrow),
        ],
        "assignment": [
            lambda: (tensors[1] @ tensors[0].T) @ tensors[0],
            lambda: (centres @ rows.T) @ rows,
            lambda: row_sums.assign(narrow, origin, centres[None]),
        ],
    }
    best = min(ways[what], key=lambda way: min(timeit.repeat(way, number=10, repeat=9)))
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(_: int) -> None:
        for _ in range(n_passes * n // _BLOCK // n_cores):
            best()

    return lambda: list(pool.map(part, range(n_cores))) and None


def read(path: str, n_passes: int) -> Callable[[], None]:
    """The bytes of the file, on all cores, so many times."""
    once = map_reduce.read(path)

    def work() -> None:
        for _ in range(n_passes):
            once()

    return work


def _opened(path: str, source: str) -> sidpy.Dataset:
    if source == "file":
        return next(iter(pc.read(path).values()))
    values = np.load(path)
    dataset = sidpy.Dataset.from_array(values, title="items")
    dataset.set_dimension(0, sidpy.Dimension(np.arange(len(values)), "item"))
    dataset.set_dimension(1, sidpy.Dimension(np.arange(_N_FEATURES), "feature", dimension_type="spectral"))
    return dataset
