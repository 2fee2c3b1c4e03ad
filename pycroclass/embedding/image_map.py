"""A collection of images in one call: features, fewer of them, clusters in these, and a map to look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.api import fit, run
from pycroclass.array_value import ArrayValue
from pycroclass.embedding.embed import By, check_features, describer, features_by
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import PCA, TSNE, KMeans, Scale, StandardizeFeatures
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators import Embedding, ImageFeatures, UnitLength
from pycroclass.passes import Nonfinite
from pycroclass.reduction import Estimator
from pycroclass.sid import provenance_of, unwrap, wrap
from pycroclass.stage import Execution

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Kind = Literal["typical", "border", "outlying"]
KINDS: Final[tuple[Kind, ...]] = ("typical", "border", "outlying")
_N_COMPONENTS: Final = 50


@dataclass(frozen=True, eq=False)
class ImageMap:
    """A collection of images by appearance; all of it lies in memory.

    Parameters
    ----------
    features : sidpy.Dataset, shape (n_items, n_features)
    scores : sidpy.Dataset, shape (n_items, n_components)
        What the clusters were found in, and the map was made from.
    label : sidpy.Dataset of int, shape (n_items,)
        Number of the cluster of each item, in most cases counted from the largest; -1 for none.
    places : sidpy.Dataset, shape (n_items, 2)
        Where each item lies on the map.
    sorter : Pipeline
        Fitted, from images to clusters: ``image_map.sorter(others)`` sorts other images into the same clusters.
    """

    features: sidpy.Dataset
    scores: sidpy.Dataset
    label: sidpy.Dataset
    places: sidpy.Dataset
    sorter: Pipeline

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.label.shape[0])

    @property
    def n_clusters(self) -> int:
        """Number of clusters that have an item."""
        return len(self.sizes)

    @cached_property
    def labels(self) -> Integers:
        """The label of each item, shape (n_items,)."""
        return np.asarray(unwrap(self.label)[0].compute()).astype(np.int64)

    @cached_property
    def sizes(self) -> dict[int, int]:
        """Number of items of each cluster."""
        numbers, counts = np.unique(self.labels[self.labels >= 0], return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    @cached_property
    def coordinates(self) -> Floats:
        """The places as an array, shape (n_items, 2); NaN for items that hold NaN or inf."""
        return np.asarray(unwrap(self.places)[0].compute()).astype(np.float64)

    @cached_property
    def distances(self) -> Floats:
        """Of each item from the mean of each cluster in the space of the scores, shape (n_items, n_clusters)."""
        rows = np.asarray(unwrap(self.scores)[0].compute()).astype(np.float64)
        centres = [rows[self.labels == number].mean(0) for number in self.sizes]
        return np.stack([np.linalg.norm(rows - centre, axis=1) for centre in centres], 1)

    @cached_property
    def margin(self) -> Floats:
        """How clearly each item belongs to its cluster, shape (n_items,): ``(b - a) / max(a, b)``.

        ``a`` is its distance from the mean of its cluster, ``b`` that from the nearest other: 1 in the middle, about 0 on the border,
        NaN without a cluster, or where there is only one (the simplified silhouette of Hruschka et al., IEEE TEC 10, 2006).
        """
        own = self._own
        if len(self.sizes) < 2:
            return np.full(self.n_items, np.nan)
        others = np.where(np.array(list(self.sizes)) == self.labels[:, None], np.inf, self.distances).min(1)
        return np.where(self.labels >= 0, (others - own) / np.maximum(np.maximum(own, others), 1e-300), np.nan)

    def members(self, cluster: int, n: int = 6) -> dict[Kind, Integers]:
        """Items of a cluster to look at, each once: up to ``n`` that are typical of it, on its border, and far from its middle.

        Raises
        ------
        ParameterError
            If the cluster has no item.
        """
        items = np.flatnonzero(self.labels == cluster)
        if not len(items):
            raise ParameterError(f"cluster {cluster} has no item; there are {', '.join(map(str, self.sizes))}")
        n = min(n, -(-len(items) // len(KINDS)))
        by_distance = items[np.argsort(self._own[items], kind="stable")]
        typical, rest = by_distance[:n], by_distance[n:]
        border = rest[np.argsort(self.margin[rest], kind="stable")][:n] if len(self.sizes) > 1 else rest[:0]
        outlying = rest[~np.isin(rest, border)][::-1][:n]
        return {"typical": typical, "border": border, "outlying": outlying}

    @property
    def _own(self) -> Floats:
        """Distance of each item from the mean of its own cluster; NaN without one."""
        column = np.searchsorted(list(self.sizes), self.labels).clip(0, len(self.sizes) - 1)
        own: Floats = np.where(self.labels >= 0, self.distances[np.arange(self.n_items), column], np.nan)
        return own


def map_images(
    dataset: sidpy.Dataset,
    by: By = "classical",
    *,
    reduction: Composable | None = None,
    clustering: Composable | None = None,
    layout: Composable | None = None,
    nonfinite: Nonfinite = "refuse",
    execution: Execution | None = None,
) -> ImageMap:
    """Sort images by appearance, and draw a map of them, without a label: describe, reduce, cluster, lay out.

    Features are computed once and held in memory. Clusters are found in what ``reduction`` gives, never on the map, whose distances
    between groups mean nothing.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Items, such as images, along its first axis.
    by : str, path, Bundle, Operator, Estimator or Pipeline
        What describes an image: as for `embed`.
    reduction : Estimator, Operator or Pipeline, optional
        From features to fewer. By default up to 50 principal components: of features of unit length where they are those of a network,
        else of standardised ones, kinds of `ImageFeatures` weighing alike. ``PCA(50) | UMAP(10, min_dist=0)`` separates groups better,
        and may tear one apart.
    clustering : Estimator or Pipeline, optional
        By default ``KMeans(8)``.
    layout : Estimator or Pipeline, optional
        From what ``reduction`` gives to the two coordinates of a map. By default ``TSNE()``.
    nonfinite : {"refuse", "mask"}
        Whether an item with NaN or inf is an error, or left out and given the label -1.
    execution : Execution, optional

    Returns
    -------
    ImageMap

    Raises
    ------
    ParameterError
        If ``by`` is not understood, or a step does not fit the number of items.
    AxisError
        If the items do not lie along the first axis, or a step gives something else than it is for.
    DataError
        If values are not finite and were not to be masked, or items have no spread.

    Examples
    --------
    >>> import pycroclass as pc
    >>> found = pc.map_images(images, "nuclei.safetensors", clustering=pc.KMeans(5, seed=0))  # doctest: +SKIP
    >>> pc.write({"label": found.label, "places": found.places}, "map.h5")  # doctest: +SKIP
    """
    describe = describer(dataset, by, nonfinite=nonfinite, execution=execution)
    features = _held(features_by(describe, dataset, execution))
    steps = (reduction or _usual_reduction(describe, features), clustering or KMeans(8))
    reduce, scores = _step(steps[0], features, nonfinite, execution)
    check_features(scores, dataset.shape[:1])
    cluster, label = _step(steps[1], scores, nonfinite, execution)
    _, places = _step(layout or TSNE(), scores, nonfinite, execution)
    if label.shape != dataset.shape[:1] or label.dtype.kind not in "iu":
        raise ParameterError(f"the clustering must give one whole number for each item, got shape {label.shape}, dtype {label.dtype}")
    if places.shape != (*dataset.shape[:1], 2):
        raise ParameterError(f"the layout must give two coordinates for each item, got the shape {places.shape}")
    found = ImageMap(features, scores, label, places, describe | reduce | cluster)
    if not found.sizes:
        raise DataError("no item is in a cluster: all are noise. Ask for smaller or fewer clusters.")
    return found


def _usual_reduction(describe: Pipeline, features: sidpy.Dataset) -> Composable:
    n = min(_N_COMPONENTS, features.shape[0] - 1, features.shape[1])
    match describe[-1]:
        case Embedding():
            return UnitLength() | PCA(n)
        case ImageFeatures() as classical:
            return StandardizeFeatures() | Scale(ArrayValue(0.0), ArrayValue(classical.equal_weights(features.shape[1]))) | PCA(n)
    return StandardizeFeatures() | PCA(n)


def _step(wanted: Composable, dataset: sidpy.Dataset, nonfinite: Nonfinite, execution: Execution | None) -> tuple[Pipeline, sidpy.Dataset]:
    """The operators of a step, fitted where they learn, and what they make of the dataset; of several results the label."""
    learns = any(isinstance(step, Estimator) for step in wanted.steps())
    fitted = fit(wanted, dataset, nonfinite=nonfinite, execution=execution) if learns else Pipeline(wanted.steps())
    result: Any = run(fitted, dataset, execution=execution)
    if isinstance(result, dict):
        result = result["label"] if "label" in result else next(iter(result.values()))
    return fitted, _held(result)


def _held(dataset: sidpy.Dataset) -> sidpy.Dataset:
    """The same dataset with its values in memory."""
    array, spec = unwrap(dataset)
    return wrap(
        array.persist(),
        spec,
        provenance=provenance_of(dataset),
        metadata=dataset.metadata,
        original_metadata=dataset.original_metadata,
        modality=dataset.modality,
        source=dataset.source,
    )
