"""k-means clustering of data of any size, by passes over it."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import (
    check_finite,
    check_item,
    check_real,
    check_seed,
    label_spec,
    positive,
    stack_axis,
    stack_spec,
)
from pycroclass.estimators._lloyd import Assignment, labels_of, lloyd
from pycroclass.estimators._moments import Moments
from pycroclass.estimators._order import by_size
from pycroclass.estimators._seeding import chosen, clustered, parallel_candidates
from pycroclass.estimators.centre_confidence import CentreConfidence
from pycroclass.operator import Composable, Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Axis, Domain, Spec

FloatArray = npt.NDArray[np.float64]

_SEEDINGS: Final = ("k-means++", "k-means||")
_SAMPLE_VALUES: Final = 1 << 23
"""How many numbers the sample may hold in which k-means++ looks for its start."""
_SAMPLED_PER_CLUSTER: Final = 10
"""But never fewer items than this for each cluster."""


@dataclass(frozen=True)
class NearestCentre(Operator):
    """The number of the nearest of several centres, by Euclidean distance; the first of equals.

    ``(*core)`` becomes one int32 label; -1 where the item holds NaN or inf. Made by `KMeans.fit`.

    Parameters
    ----------
    centres : array, shape (n_clusters, *core)
    inertia : float
        Sum of squared distances of the fitted items to their centres, in squared units of the data.
    n_iterations : int
        Passes of Lloyd's iteration over all items that led here.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> nearest = NearestCentre([[0.0, 0.0], [9.0, 9.0]], 0.0, 1, (Axis("energy", 2),))
    >>> nearest.transform(torch.tensor([[1.0, 2.0], [8.0, 7.0]])).tolist()
    [0, 1]
    """

    domain: ClassVar[Domain] = Domain.ITEM

    centres: ArrayValue
    inertia: float
    n_iterations: int
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "centres", ArrayValue(self.centres))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        if self.centres.shape[1:] != shape or self.centres.shape[:1] in ((), (0,)):
            raise ParameterError(f"items of shape {shape} need centres of (n_clusters, *{shape}), got {self.centres.shape}")

    @property
    def n_clusters(self) -> int:
        """Number of centres."""
        return self.centres.shape[0]

    @property
    def confidence(self) -> Composable:
        """The operator that tells how sure each label is; ``project | nearest.confidence`` gives a map of it beside the labels."""
        return CentreConfidence(self.centres, self.item, axes=self.axes)

    def described_centres(self) -> tuple[npt.NDArray[np.float32], Spec]:
        """The centres, shape (n_clusters, *core), float32, and what they are: a stack of spectra or images to plot."""
        axis = stack_axis("cluster", self.n_clusters, self.item, first=0)
        return self.centres.values.astype(np.float32), stack_spec(axis, self.item, "cluster centres")

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.centres.shape[1:], "NearestCentre")
        return label_spec(spec, self.n_clusters)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows = block.flatten(1)
        labels = labels_of(rows, as_tensor(self.centres, rows.new_empty(0, dtype=torch.float64)).flatten(1))
        return labels.to(torch.int32).masked_fill(~rows.isfinite().all(1), -1)


@dataclass(frozen=True)
class CentreEstimator(Estimator):
    """Finds centres by Lloyd's iteration; the parameters are those of `KMeans`."""

    n_clusters: int
    _: KW_ONLY
    seed: int = 0
    n_init: int = 10
    max_iterations: int = 300
    tolerance: float = 1e-4
    init: str | ArrayValue = "k-means++"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_clusters", "n_init", "max_iterations"):
            set_field(self, name, positive(name, getattr(self, name)))
        check_seed(self.seed)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ParameterError(f"tolerance must be zero or a positive number, got {self.tolerance!r}")
        if isinstance(self.init, str):
            if self.init not in _SEEDINGS:
                raise ParameterError(f"init must be one of {_SEEDINGS} or an array of centres, got {self.init!r}")
            return
        given = ArrayValue(self.init)
        if given.shape[:1] != (self.n_clusters,) or not np.isfinite(given.values).all():
            raise ParameterError(f"init must hold {self.n_clusters} finite centres, got {given!r}")
        set_field(self, "init", given)

    def settled(self, centres: FloatArray, origin: FloatArray) -> FloatArray:
        """Where centres ``(..., feature)``, relative to ``origin``, go after each step; here they stay."""
        return centres

    def nearest(self, data: Data, spec: Spec) -> NearestCentre:
        """The centres of the clusters of all items."""
        check_real(spec)
        if self.n_clusters > data.n_items:
            raise ParameterError(f"n_clusters={self.n_clusters} is more than the {data.n_items} items there are")
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        least_shift = self.tolerance * float(squares.mean() / n)
        origin = mean.numpy()
        settled = partial(self.settled, origin=origin)
        start = settled(self._start(data, spec, mean))
        course = lloyd(data, mean, start, max_iterations=self.max_iterations, least_shift=least_shift, settled=settled)
        counts, _, inertia = (part.numpy() for part in data.reduce(Assignment(mean, torch.from_numpy(course.centres))))
        best = int(inertia.argmin())
        centres, sizes = course.centres[best] + origin, counts[best]
        self._check_enough(spec, int(np.count_nonzero(sizes)))
        order = np.arange(self.n_clusters) if isinstance(self.init, ArrayValue) else by_size(sizes, centres)
        return NearestCentre(
            ArrayValue(centres[order].reshape(-1, *spec.shape)),
            float(inertia[best]),
            int(course.n_iterations[best]),
            spec.axes,
            axes=self.axes,
        )

    def _start(self, data: Data, spec: Spec, mean: torch.Tensor) -> FloatArray:
        """Centres relative to the mean, shape (run, cluster, feature)."""
        if isinstance(self.init, ArrayValue):
            if self.init.shape[1:] != spec.shape:
                raise ParameterError(f"init must hold centres of shape {spec.shape}, got {self.init.shape[1:]}")
            given = self.init.values.reshape(1, self.n_clusters, -1)
            return np.asarray(given - mean.numpy(), np.float64)
        if self.init == "k-means||":
            candidates, weights = parallel_candidates(data, mean, self.n_clusters, self.seed)
            self._check_enough(spec, len(candidates))
            return chosen(candidates, weights, self.n_clusters, self.n_init, seed=self.seed)
        sample = data.sample(max(_SAMPLED_PER_CLUSTER * self.n_clusters, _SAMPLE_VALUES // len(mean)), self.seed)
        self._check_enough(spec, len(sample))
        rows = sample.reshape(len(sample), -1)
        starts = clustered(rows, self.n_clusters, self.n_init, seed=self.seed, max_iterations=self.max_iterations, tolerance=self.tolerance)
        return np.asarray(starts - mean.numpy(), np.float64)

    def _check_enough(self, spec: Spec, n_different: int) -> None:
        if n_different < self.n_clusters:
            raise DataError(
                f"{spec.title!r} has fewer different items than n_clusters={self.n_clusters}: found {n_different}. Ask for fewer clusters."
            )


@dataclass(frozen=True)
class KMeans(CentreEstimator):
    """Clusters whose items are nearer to the mean of their own than to that of any other (Lloyd, IEEE Trans. Inf. Theory 28, 129, 1982).

    All restarts share each pass over the data, and end as in scikit-learn: when nothing moves any more, or the squared shifts of the
    centres sum to ``tolerance`` times the mean variance of the features. The start with the smallest inertia wins. Its clusters are
    numbered from the largest to the smallest; with centres given, in the order given. Fitting gives a `NearestCentre`.

    Parameters
    ----------
    n_clusters : int
    seed : int
    n_init : int
        Number of starts; centres that are given count as the only one.
    max_iterations : int
        Passes over the data at most.
    tolerance : float
    init : {"k-means++", "k-means||"} or array of n_clusters items
        k-means from greedy k-means++ starts in a sample of up to 8 million numbers, by scikit-learn; k-means|| in five passes over all
        items; or the centres to start from.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more clusters than items.
    DataError
        If the data are complex, not finite, or have fewer different items than clusters.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(5) | pc.KMeans(4, seed=0), dataset)  # doctest: +SKIP
    >>> labels = model(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> NearestCentre:
        """The centres of the clusters of all items."""
        return self.nearest(data, spec)
