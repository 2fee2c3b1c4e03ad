"""The same by scikit-learn, dask-ml, HyperSpy and pycroscopy, from values that are in memory already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_BATCH = 20_000


def incremental_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """`sklearn.decomposition.IncrementalPCA`, which is not exact."""
    from sklearn.decomposition import IncrementalPCA

    rows = np.load(path)
    return lambda: [float(IncrementalPCA(n_components, batch_size=_BATCH).fit(rows).explained_variance_.sum())]


def dask_ml_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """`dask_ml.decomposition.PCA`, exact."""
    import dask.array as da
    from dask_ml.decomposition import PCA

    rows = da.from_array(np.load(path), chunks=(100_000, -1))
    return lambda: [float(PCA(n_components, svd_solver="tsqr").fit(rows).explained_variance_.sum())]


def hyperspy_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """HyperSpy's decomposition of the centred data."""
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(np.load(path))

    def work() -> list[float]:
        signal.decomposition(algorithm="SVD", output_dimension=n_components, centre="navigation", print_info=False)
        return [float(np.sum(signal.learning_results.explained_variance[:n_components]))]

    return work


def pycroscopy_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """pycroscopy's `MatrixFactor`, which hands all values to scikit-learn."""
    import sidpy
    from pycroscopy.learn import MatrixFactor

    values = np.load(path)
    dataset = sidpy.Dataset.from_array(values.reshape(1000, -1, values.shape[1]), title="items")
    dataset.data_type = "spectral_image"
    for i, (name, kind) in enumerate((("y", "spatial"), ("x", "spatial"), ("feature", "spectral"))):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(dataset.shape[i]), name, dimension_type=kind))

    def work() -> list[float]:
        abundances, _ = MatrixFactor(dataset, method="pca", n_components=n_components, return_fit=False).do_fit()
        scores = np.asarray(abundances).reshape(-1, n_components)
        return [float(scores.var(0, ddof=1).sum())]

    return work


def sklearn_kmeans(path: str, n_clusters: int, n_passes: int, start: int) -> Callable[[], list[float]]:
    """`sklearn.cluster.KMeans` from the items behind ``start``, so many passes."""
    from sklearn.cluster import KMeans

    rows = np.load(path)
    model = KMeans(n_clusters, init=rows[start : start + n_clusters], n_init=1, max_iter=n_passes, tol=0, algorithm="lloyd")
    return lambda: [float(model.fit(rows).inertia_)]
