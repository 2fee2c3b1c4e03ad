"""PCA and k-means by the package; PCA returns the sum of the variances, k-means the inertia for each item."""

from __future__ import annotations

from collections.abc import Callable

import pycroclass as pc


def ours_pca(path: str, n_components: int) -> Callable[[], list[float]]:
    """`pycroclass.fit`, reading included."""

    def work() -> list[float]:
        (image,) = pc.read(path).values()
        (projection,) = pc.fit(pc.PCA(n_components), image).steps()
        return [sum(projection.explained_variance)]

    return work


def ours_kmeans(path: str, n_clusters: int) -> Callable[[], list[float]]:
    """`pycroclass.fit` with its ten starts."""

    def work() -> list[float]:
        (image,) = pc.read(path).values()
        (assign,) = pc.fit(pc.KMeans(n_clusters, seed=0), image).steps()
        return [float(assign.inertia)]

    return work
