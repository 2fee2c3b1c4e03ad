"""k-means by direction: clusters of items alike in form, whatever their strength."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from pycroclass.estimators._behind import Behind
from pycroclass.estimators._items import check_real
from pycroclass.estimators.kmeans import CentreEstimator, FloatArray, NearestCentre
from pycroclass.operator import Composable
from pycroclass.operators.normalize import UnitLength
from pycroclass.reduction import Data
from pycroclass.spec import Spec


@dataclass(frozen=True)
class NearestDirection(NearestCentre):
    """The number of that of several directions with which an item has the largest cosine; the first of equals.

    ``(*core)`` becomes one int32 label; -1 where the item holds NaN or inf, or nothing but zeros. Made by `SphericalKMeans.fit`.

    Parameters
    ----------
    centres : array, shape (n_clusters, *core)
        Of length 1.
    inertia : float
        Sum of ``2 - 2 cos`` of the fitted items.
    n_iterations : int
        Passes of the iteration over all items that led here.
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
    >>> from pycroclass.spec import Axis
    >>> nearest = NearestDirection([[1.0, 0.0], [0.0, 1.0]], 0.0, 1, (Axis("energy", 2),))
    >>> nearest.transform(torch.tensor([[9.0, 2.0], [0.1, 0.7], [0.0, 0.0]])).tolist()
    [0, 1, -1]
    """

    @property
    def confidence(self) -> Composable:
        """As of `NearestCentre`, by the distances of the directions."""
        return UnitLength(axes=self.axes) | super().confidence

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return super().transform(_Direction().transform(block))


@dataclass(frozen=True)
class SphericalKMeans(CentreEstimator):
    """Clusters by the angle between items: spherical k-means (Dhillon and Modha, Mach. Learn. 42, 143, 2001).

    Items count as vectors of length 1, and so do centres: each is the mean of its items, brought to length 1. An item belongs to the centre
    with which it has the largest cosine. Items of zeros have no direction: they are left out of the fit and get the label -1. Fitting gives
    a `NearestDirection`.

    Parameters
    ----------
    n_clusters : int
    seed : int
    n_init : int
        Number of starts; centres that are given count as the only one.
    max_iterations : int
        Passes over the data at most.
    tolerance : float
        As for `KMeans`, of the items of length 1.
    init : {"k-means++", "k-means||"} or array of n_clusters items
        As for `KMeans`.

    Raises
    ------
    ParameterError
        If a parameter cannot be used, or there are more clusters than items.
    DataError
        If the data are complex, not finite, or have fewer different directions than clusters.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.SphericalKMeans(4, seed=0), dataset)  # doctest: +SKIP
    >>> labels = model(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> NearestDirection:
        """The directions of the clusters of all items."""
        check_real(spec)
        nearest = self.nearest(Behind(_Direction(), data), spec)
        return NearestDirection(**{field.name: getattr(nearest, field.name) for field in fields(nearest)})

    def settled(self, centres: FloatArray, origin: FloatArray) -> FloatArray:
        """The centres at length 1."""
        absolute = centres + origin
        length = np.linalg.norm(absolute, axis=-1, keepdims=True)
        on_sphere: FloatArray = absolute / np.where(length > 0, length, 1) - origin
        return on_sphere


@dataclass(frozen=True)
class _Direction(UnitLength):
    """As `UnitLength`, where an item of zeros becomes NaN."""

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        unit = super().transform(block)
        is_zero = (unit == 0).flatten(1).all(1)
        return unit.masked_fill(is_zero.reshape(-1, *(1,) * (block.ndim - 1)), torch.nan)
