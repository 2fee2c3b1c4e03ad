"""The same by scikit-learn, dask-ml and HyperSpy, from values that are in memory already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def sklearn_pca(path: str, n_components: int, solver: str, *, as_float64: bool = False) -> Callable[[], list[float]]:
    """`sklearn.decomposition.PCA`, which computes in the precision of the items."""
    from sklearn.decomposition import PCA

    rows = np.load(path)
    rows = rows.astype(np.float64) if as_float64 else rows
    return lambda: [float(PCA(n_components, svd_solver=solver).fit(rows).explained_variance_.sum())]


def sklearn_kmeans(path: str, n_clusters: int) -> Callable[[], list[float]]:
    """`sklearn.cluster.KMeans` with ten starts."""
    from sklearn.cluster import KMeans

    rows = np.load(path)
    return lambda: [float(KMeans(n_clusters, n_init=10, random_state=0).fit(rows).inertia_)]


def dask_ml_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """`dask_ml.decomposition.PCA`, exact."""
    import dask.array as da
    from dask_ml.decomposition import PCA

    rows = da.from_array(np.load(path), chunks=(2304, -1))
    return lambda: [float(PCA(n_components, svd_solver="tsqr").fit(rows).explained_variance_.sum())]


def dask_ml_kmeans(path: str, n_clusters: int) -> Callable[[], list[float]]:
    """`dask_ml.cluster.KMeans`, one start by its k-means||."""
    import dask.array as da
    from dask_ml.cluster import KMeans

    values = np.load(path)
    rows = da.from_array(values, chunks=(25600, -1))

    def work() -> list[float]:
        model = KMeans(n_clusters, random_state=0).fit(rows)
        return [float(((values - model.cluster_centers_[np.asarray(model.labels_)]) ** 2).sum())]  # its inertia_ is another number

    return work


def hyperspy_pca(path: str, n_components: int, shape: tuple[int, ...]) -> Callable[[], list[float]]:
    """HyperSpy's lazy decomposition, by randomised SVD of the centred data."""
    import dask.array as da
    import hyperspy.api as hs

    values = np.load(path).reshape(shape)
    signal = hs.signals.Signal1D(da.from_array(values, chunks=(24, -1, -1))).as_lazy()

    def work() -> list[float]:
        signal.decomposition(algorithm="SVD", output_dimension=n_components, centre="navigation", print_info=False)
        return [float(np.sum(signal.learning_results.explained_variance[:n_components]))]

    return work
