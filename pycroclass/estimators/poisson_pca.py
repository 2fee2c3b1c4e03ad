"""Principal components of counts, weighted by how noisy Poisson statistics make each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators._behind import Behind
from pycroclass.estimators._items import check_item, check_n_components
from pycroclass.estimators._moments import Moments, nonnegative_mean
from pycroclass.estimators.pca import ComponentAnalysis, singular_vectors, with_signs
from pycroclass.estimators.projection import Project
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor, floating, floating_dtype
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class WeighCounts(Operator):
    """Counts over the root of what is expected of them: the noise becomes white, with a variance of about 1.

    Expected of a value are the mean of its feature over all items times the mean of its item, over the mean of all. Float32, or
    float64 where the data are; 0 where nothing is expected. Made by `PoissonScale.fit`.

    Parameters
    ----------
    mean : array, shape (*core)
        Of each feature, over all items; none below zero, and not all zero.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, or a mean is below zero.
    AxisError
        If an item has another shape than those of the fit.

    References
    ----------
    M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36, 203 (2004).

    Examples
    --------
    >>> weigh = WeighCounts([1.0, 4.0, 0.0], (Axis("energy", 3),))
    >>> weigh.transform(torch.tensor([[1.0, 4.0, 0.0]])).tolist()
    [[1.0, 2.0, 0.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-5

    mean: ArrayValue
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mean", ArrayValue(self.mean))
        set_field(self, "item", tuple(self.item))
        shape, values = tuple(axis.size for axis in self.item), self.mean.values
        if values.shape != shape or not ((values >= 0).all() and values.sum() > 0):
            raise ParameterError(f"wanted means of shape {shape}, at least zero and not all zero, got {self.mean!r}")

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.mean.shape, "WeighCounts")
        return replace(spec, dtype=floating_dtype(spec.dtype), units="generic", classes=())

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        items = floating(block)
        means = as_tensor(self.mean, block)
        own = items.flatten(1).mean(1).reshape(-1, *(1,) * means.ndim)
        expected = own * (means / means.mean())
        return torch.where(expected == 0, expected, items / expected.sqrt())


@dataclass(frozen=True)
class PoissonScale(Estimator):
    """Weights that make the Poisson noise of counts white, for methods that take all noise as equal (Keenan and Kotula 2004).

    A count is divided by the root of what is expected of it: the mean of its feature over all items times the mean of its item, over
    the mean of all. The counts may be scaled by a gain, but have to begin at zero. Fitting gives a `WeighCounts`. For principal
    components in the units of the data use `PoissonPCA`, which undoes the weights.

    Raises
    ------
    DataError
        If the data are complex, not finite, zero everywhere, or anywhere negative.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PoissonScale() | pc.KMeans(4), dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> WeighCounts:
        """The mean of each feature."""
        mean = nonnegative_mean(data, spec)
        return WeighCounts(ArrayValue(mean.numpy().reshape(spec.shape)), spec.axes, axes=self.axes)


@dataclass(frozen=True)
class PoissonPCA(ComponentAnalysis):
    """Principal components of counts, each count weighted by its Poisson noise: weak signals are not lost in the noise of strong ones.

    The singular vectors of the data weighted as by `PoissonScale`, the mean not taken off, as Keenan and Kotula do. The weights are
    undone: scores and components are in the units of the data, and ``model | model.inverse`` denoises. Variances are mean squares of
    the weighted data, in which the noise of a feature has about 1. Fitting gives a `Project` with filters of its own, because with
    other weights its components are not orthogonal; the weight of an item drops out of its scores.

    Parameters
    ----------
    n_components : int
    seed : int
        Of the iteration's start; without effect on items of up to 2048 features.

    Raises
    ------
    ParameterError
        If there are more components than features or items.
    DataError
        If the data are complex, not finite, zero everywhere, or anywhere negative.

    References
    ----------
    M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36, 203 (2004).

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PoissonPCA(5), dataset)  # doctest: +SKIP
    >>> scores = model(dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> Project:
        """The weighted principal components of all items."""
        n_features = int(np.prod(spec.shape))
        check_n_components(self.n_components, data.n_items, n_features)
        weigh = PoissonScale().fit(data, spec)
        weighted = Behind(weigh, data)
        n, mean, squares = weighted.reduce(Moments())
        values, vectors = singular_vectors(weighted, n_features, self.n_components, self.seed)
        root = np.sqrt(weigh.mean.values.ravel())
        components = with_signs(vectors * root)
        lengths = np.linalg.norm(components, axis=1, keepdims=True)
        filters = np.divide(components, root**2, out=np.zeros_like(components), where=root > 0)
        shape = (self.n_components, *spec.shape)
        return Project(
            ArrayValue(np.zeros(spec.shape)),
            ArrayValue((components / np.where(lengths > 0, lengths, 1)).reshape(shape)),
            tuple((np.maximum(values, 0) / float(n)).tolist()),
            float(squares.sum() / n + mean.square().sum()),
            spec.axes,
            ArrayValue((filters * lengths).reshape(shape)),
            axes=self.axes,
        )
