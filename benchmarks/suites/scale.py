"""k-means and PCA of very many short items, from a file larger than they may take of memory, and of a million items in memory."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import data
from benchmarks.harness import Case, Group

TITLE = "Twenty million items of 64 features"
_N_CLUSTERS = 16
_N_COMPONENTS = 8
_PASSES = 5
_FROM = 32
"""The first of the items that are the centres at the start; with the very first ones a cluster becomes empty."""
_N_FILE = 20_000_000
_N_MEMORY = 1_000_000


def groups(*, quick: bool) -> Iterator[Group]:
    """In memory beside the peers, from the file beside its limits."""
    rows = str(data.clusters_in_memory(_N_MEMORY))
    yield _pca("in memory", rows, _N_MEMORY, "memory")
    yield _kmeans("in memory", rows, _N_MEMORY, "memory")
    n = _N_FILE // 10 if quick else _N_FILE
    path = str(data.clusters_in_file(n))
    yield _pca("from HDF5", path, n, "file")
    yield _kmeans("from HDF5", path, n, "file")


def _pca(where: str, path: str, n: int, source: str) -> Group:
    common = {"path": path, "n_components": _N_COMPONENTS}
    cases = [Case("pycroclass", "scale:ours_pca", {**common, "source": source}, role="ours")]
    if source == "memory":
        cases += [
            Case("scikit-learn, covariance_eigh", "learning_peers:sklearn_pca", {**common, "solver": "covariance_eigh"}),
            Case(
                "scikit-learn, covariance_eigh in float64",
                "learning_peers:sklearn_pca",
                {**common, "solver": "covariance_eigh", "as_float64": True},
            ),
            Case("scikit-learn, IncrementalPCA", "scale_peers:incremental_pca", common),
            Case("dask-ml, tsqr", "scale_peers:dask_ml_pca", common, peer="dask-ml"),
            Case("HyperSpy, SVD", "scale_peers:hyperspy_pca", common, peer="hyperspy"),
            Case("pycroscopy, MatrixFactor", "scale_peers:pycroscopy_pca", common, peer="pycroscopy"),
        ]
    cases += _limits(path, n, source, "scatter", 1, 1)
    return Group(f"{_N_COMPONENTS} components of {n:,} items of 64 features, {where}", n, "item", tuple(cases), tolerance=0.01, repeats=3)


def _kmeans(where: str, path: str, n: int, source: str) -> Group:
    common = {"path": path, "n_clusters": _N_CLUSTERS, "n_passes": _PASSES, "start": _FROM}
    cases = [Case("pycroclass", "scale:ours_kmeans", {**common, "source": source}, role="ours")]
    if source == "memory":
        cases.append(Case("scikit-learn, Lloyd", "scale_peers:sklearn_kmeans", common))
    cases += _limits(path, n, source, "assignment", _PASSES + 1, _PASSES + 2)  # the last for the inertia, and one for the mean
    name = f"{_PASSES} passes of Lloyd's k-means, {_N_CLUSTERS} clusters of {n:,} items of 64 features, {where}"
    return Group(name, n, "item", tuple(cases), tolerance=0.01, repeats=3)


def _limits(path: str, n: int, source: str, what: str, n_products: int, n_reads: int) -> list[Case]:
    arithmetic = Case("arithmetic alone", "scale:arithmetic", {"n": n, "what": what, "n_passes": n_products}, role="limit")
    read = Case("read alone", "scale:read", {"path": path, "n_passes": n_reads}, role="limit")
    return [arithmetic] if source == "memory" else [arithmetic, read]
