"""Items placed so that those which are alike lie together: t-SNE and UMAP, fitted on a sample, with a place for every other item."""

from __future__ import annotations

import math
import warnings
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.manifold import TSNE as SklearnTSNE

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, MissingDependencyError, ParameterError
from pycroclass.estimators._items import as_rows, check_item, check_real, check_seed, positive
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_LEAST_ITEMS: Final = 4
_PERPLEXITY: Final = 30.0
_N_WEIGHED: Final = 8
"""Neighbours in the sample that say where another item belongs."""
_NEAREST: Final = 1e-9
"""Distances below this share of the typical one count as none."""


@dataclass(frozen=True)
class PlaceAmongNeighbours(Operator):
    """The place of an item in a map of others: the mean of the places of its nearest neighbours among them.

    ``(*core)`` becomes ``(component,)``, counted from 1, float32. Of the k nearest neighbours at the distances ``d``, each weighs
    ``((R - d) / (R d))²``, ``R`` the distance of the next one (Franke and Nielson, Int. J. Numer. Methods Eng. 15, 1691, 1980): an item
    that is on the map gets its own place, and the place changes steadily with the item. Made by `TSNE.fit` and `UMAP.fit`.

    Parameters
    ----------
    items : array, shape (n_items, *core)
        Those that are on the map.
    places : array, shape (n_items, n_components)
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an item has another shape than those of the fit.

    Notes
    -----
    An item that holds NaN or inf gets NaN.

    Examples
    --------
    >>> place = PlaceAmongNeighbours([[0.0], [1.0], [3.0]], [[0.0, 5.0], [2.0, 5.0], [9.0, 5.0]], (Axis("feature", 1),))
    >>> place.transform(torch.tensor([[1.0], [0.5]])).round(decimals=3).tolist()
    [[2.0, 5.0], [1.0, 5.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-4

    items: ArrayValue
    places: ArrayValue
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "items", ArrayValue(self.items))
        set_field(self, "places", ArrayValue(self.places))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        n = self.items.shape[0] if self.items.shape else 0
        if n < 2 or self.items.shape != (n, *shape) or len(self.places.shape) != 2 or self.places.shape[0] != n:
            raise ParameterError(
                f"wanted two or more items of shape {shape} and a place for each, got {self.items.shape} and {self.places.shape}"
            )

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.items.shape[1:], "PlaceAmongNeighbours")
        component = Axis("component", self.places.shape[1], kind=AxisKind.SPECTRAL, quantity="component", offset=1)
        return replace(spec, axes=(component,), dtype=np.dtype(np.float32), quantity="place", units="generic", geometry=None, classes=())

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 24 * self.items.shape[0] + 16 * math.prod(spec.shape)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows = as_rows(block)
        is_finite = rows.isfinite().all(1, keepdim=True)
        known, places = as_tensor(self.items, rows).flatten(1), as_tensor(self.places, rows)
        origin = known.mean(0)  # far from zero the digits of distances would cancel
        typical = (known - origin).square().sum(1).mean().sqrt()
        k = min(_N_WEIGHED, len(known) - 1)
        distances = torch.cdist(rows.where(is_finite, 0) - origin, known - origin)
        least = torch.where(typical > 0, _NEAREST * typical, 1.0)
        found = torch.maximum(distances, least).topk(k + 1, largest=False)
        nearest, beyond = found.values[:, :k], found.values[:, k:]
        weight = ((beyond - nearest) / (beyond * nearest)).square()
        total = weight.sum(1, keepdim=True)
        weight = torch.where(total > 0, weight / torch.where(total > 0, total, 1), 1 / k)
        place = (weight[..., None] * places[found.indices[:, :k]]).sum(1)
        return place.where(is_finite, torch.nan).to(torch.float32)


@dataclass(frozen=True)
class TSNE(Estimator):
    """A map on which items that are neighbours stay so (van der Maaten and Hinton, JMLR 9, 2579, 2008; Barnes-Hut, by scikit-learn).

    It begins from the first two principal components, so that the map as a whole means something. Distances between groups, their sizes
    and densities do not: look at the map, but find clusters in the data that it was made from. Give it `PCA` scores rather than hundreds
    of features. Fitted on a sample; fitting gives a `PlaceAmongNeighbours`, which has a place for every item.

    Parameters
    ----------
    seed : int
        Of the sample.
    perplexity : float, optional
        How many neighbours an item has, about. By default 30, or a hundredth of the items where that is more, and at most a third of them.
    n_sampled : int
        Most items that it is fitted on, chosen by seed and number of the item.
    max_iterations : int

    Raises
    ------
    ParameterError
        If a parameter cannot be used.
    DataError
        If the data are complex or not finite, or fewer than four items.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(50) | pc.TSNE(seed=0), features)  # doctest: +SKIP
    >>> places = model(features)  # doctest: +SKIP
    """

    _: KW_ONLY
    seed: int = 0
    perplexity: float | None = None
    n_sampled: int = 5000
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        if self.perplexity is not None and not (math.isfinite(self.perplexity) and self.perplexity >= 1):
            raise ParameterError(f"perplexity must be a number of at least 1, got {self.perplexity!r}")
        for name, least in (("n_sampled", _LEAST_ITEMS), ("max_iterations", 250)):
            _check_least(name, getattr(self, name), least)

    def fit(self, data: Data, spec: Spec) -> PlaceAmongNeighbours:
        """The map of a sample."""
        items = _sample(data, spec, self.n_sampled, self.seed)
        perplexity = self.perplexity or max(_PERPLEXITY, len(items) / 100)
        rows = items.reshape(len(items), -1)
        method = SklearnTSNE(
            init="pca", perplexity=min(perplexity, (len(items) - 1) / 3), max_iter=self.max_iterations, random_state=self.seed
        )
        return _on_map(items, method.fit_transform(rows), spec, self.axes)


@dataclass(frozen=True)
class UMAP(Estimator):
    """A map on which items that are neighbours stay so, of any number of dimensions (McInnes, Healy and Melville, arXiv:1802.03426).

    By the package umap-learn: ``pip install 'pycroclass[umap]'``. It begins from the principal components. To look at, two components
    and ``min_dist=0.1`` are usual; to find clusters in, more components and ``min_dist=0``. Fitted on a sample; fitting gives a
    `PlaceAmongNeighbours`, which has a place for every item.

    Parameters
    ----------
    n_components : int
    seed : int
        Of the sample and of the optimisation, which therefore runs on one core.
    n_neighbours : int
        How many neighbours an item has; fewer where there are not as many items.
    min_dist : float
        How close items may lie on the map.
    n_sampled : int
        Most items that it is fitted on, chosen by seed and number of the item.

    Raises
    ------
    MissingDependencyError
        If umap-learn is not installed.
    ParameterError
        If a parameter cannot be used.
    DataError
        If the data are complex or not finite, or fewer than four items.

    Examples
    --------
    >>> import pycroclass as pc
    >>> groups = pc.fit(pc.PCA(50) | pc.UMAP(10, min_dist=0) | pc.KMeans(8), features)  # doctest: +SKIP
    """

    n_components: int = 2
    _: KW_ONLY
    seed: int = 0
    n_neighbours: int = 15
    min_dist: float = 0.1
    n_sampled: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        for name, least in (("n_components", 1), ("n_neighbours", 2), ("n_sampled", _LEAST_ITEMS)):
            _check_least(name, getattr(self, name), least)
        if not 0 <= self.min_dist <= 1:
            raise ParameterError(f"min_dist must be from 0 to 1, got {self.min_dist!r}")

    def fit(self, data: Data, spec: Spec) -> PlaceAmongNeighbours:
        """The map of a sample."""
        umap = _umap()
        items = _sample(data, spec, self.n_sampled, self.seed)
        rows = items.reshape(len(items), -1)
        most = min(len(items) - 1, rows.shape[1])
        if self.n_components > most:
            raise ParameterError(
                f"n_components={self.n_components} is more than the {most} that {len(items)} items of {rows.shape[1]} features have"
            )
        method = umap.UMAP(
            n_components=self.n_components,
            n_neighbors=min(self.n_neighbours, len(items) - 1),
            min_dist=self.min_dist,
            init="pca",
            random_state=self.seed,
            n_jobs=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numba, on how it compiles
            places = method.fit_transform(rows)
        return _on_map(items, places, spec, self.axes)


def _umap() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    except ImportError as error:
        raise MissingDependencyError.of("umap-learn", extra="umap", purpose="UMAP") from error
    return umap


def _sample(data: Data, spec: Spec, n: int, seed: int) -> npt.NDArray[np.float32]:
    check_real(spec)
    items = data.sample(n, seed).astype(np.float32)
    if len(items) < _LEAST_ITEMS:
        raise DataError(f"a map needs at least {_LEAST_ITEMS} items, got {len(items)}")
    if not np.isfinite(items).all():
        raise DataError(f"{spec.title!r} holds NaN or inf. Leave those items out with nonfinite='mask', or mend them first.")
    return items


def _on_map(items: npt.NDArray[Any], places: npt.NDArray[Any], spec: Spec, axes: tuple[str, ...] | None) -> PlaceAmongNeighbours:
    return PlaceAmongNeighbours(ArrayValue(items), ArrayValue(places.astype(np.float32)), spec.axes, axes=axes)


def _check_least(name: str, value: int, least: int) -> None:
    if positive(name, value) < least:
        raise ParameterError(f"{name} must be at least {least}, got {value!r}")
