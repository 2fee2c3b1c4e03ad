"""Learning from spectra beside scikit-learn, HyperSpy and dask-ml. Ours reads the file each time, theirs have the values in memory."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import data
from benchmarks.harness import Case, Group

TITLE = "PCA and k-means of a spectrum image"
_MAP = (96, 96, 1024)
_SMALL = (320, 320, 5)


def groups(*, quick: bool) -> Iterator[Group]:
    """PCA, then k-means."""
    ours, theirs = {"path": str(data.spectrum_image(*_MAP)), "n_components": 20}, {"path": str(data.spectra(*_MAP)), "n_components": 20}
    cases = (
        Case("pycroclass", "learning:ours_pca", ours, role="ours"),
        Case("scikit-learn, full", "learning_peers:sklearn_pca", {**theirs, "solver": "full"}),
        Case("scikit-learn, auto", "learning_peers:sklearn_pca", {**theirs, "solver": "auto"}),
        Case("dask-ml, tsqr", "learning_peers:dask_ml_pca", theirs, peer="dask-ml"),
        Case("HyperSpy, lazy SVD", "learning_peers:hyperspy_pca", {**theirs, "shape": _MAP}, peer="hyperspy"),
    )
    yield Group("20 components of 9 216 spectra of 1 024 channels", 1, "fit", cases, tolerance=0.02, repeats=3)
    ours, theirs = {"path": str(data.spectrum_image(*_SMALL)), "n_clusters": 8}, {"path": str(data.spectra(*_SMALL)), "n_clusters": 8}
    cases = (
        Case("pycroclass, 10 starts", "learning:ours_kmeans", ours, role="ours"),
        Case("scikit-learn, 10 starts", "learning_peers:sklearn_kmeans", theirs),
        Case("dask-ml, 1 start", "learning_peers:dask_ml_kmeans", theirs, peer="dask-ml"),
    )
    yield Group("8 clusters of 102 400 spectra of 5 channels", 1, "fit", cases, tolerance=0.1)
