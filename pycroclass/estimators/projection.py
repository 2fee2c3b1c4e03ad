"""What a decomposition into components learned: from items to scores, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.estimators._items import check_item, stack_axis, stack_spec
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor, floating
from pycroclass.spec import Axis, AxisKind, Domain, Spec


class OntoComponents(Operator):
    """What operators share that give one number for each of several ``components`` in each item; their subclasses hold these."""

    domain: ClassVar[Domain] = Domain.ITEM
    title: ClassVar[str]
    """Of the components."""

    components: ArrayValue
    item: tuple[Axis, ...]

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.components.shape[0]

    def described_components(self) -> tuple[npt.NDArray[Any], Spec]:
        """The components, shape (n_components, *core), float32, and what they are: a stack of spectra or images to plot."""
        axis = stack_axis("component", self.n_components, self.item, first=1)
        return self.components.values.astype(np.float32), stack_spec(axis, self.item, self.title)

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.components.shape[1:], type(self).__name__)
        component = Axis("component", self.n_components, kind=AxisKind.SPECTRAL, quantity="component", offset=1)
        return replace(spec, axes=(component,), dtype=np.dtype(np.float32), geometry=None, classes=())


@dataclass(frozen=True)
class Project(OntoComponents):
    """Scores of each item on components: ``(item - mean) @ filters.T``.

    ``(*core)`` becomes ``(component,)``, counted from 1, float32, in the units of the data. Made by `PCA.fit`, `SVD.fit`, `ICA.fit` and
    `PoissonPCA.fit`.

    Parameters
    ----------
    mean : array, shape (*core)
    components : array, shape (n_components, *core)
        What the scores are of, each of length 1, in order of falling variance: an item is about ``mean + scores @ components``.
    explained_variance : tuple of float
        What each component adds to the variance that they explain, in squared units of the data.
    total_variance : float
        What there is to explain, in the same units: the sum of the variances of all features.
    item : tuple of Axis
        Axes of the items that this was fitted on.
    filters : array, shape (n_components, *core), optional
        What finds the scores where the components are not orthogonal: ``filters @ components.T`` is the identity. By default the
        components themselves.
    n_iterations : int
        Steps that led here; 0 where the answer is direct.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> project = Project([1.0, 1.0], [[0.0, 1.0]], (4.0,), 5.0, (Axis("energy", 2),))
    >>> project.transform(torch.tensor([[7.0, 3.0]])).tolist()
    [[2.0]]
    >>> project.explained_variance_ratio
    (0.8,)
    >>> oblique = Project([0.0, 0.0], [[1.0, 0.0]], (4.0,), 5.0, (Axis("energy", 2),), filters=[[1.0, -1.0]])
    >>> oblique.transform(torch.tensor([[7.0, 3.0]])).tolist()
    [[4.0]]
    """

    tolerance: ClassVar[float] = 1e-5
    title: ClassVar[str] = "components"

    mean: ArrayValue
    components: ArrayValue
    explained_variance: tuple[float, ...]
    total_variance: float
    item: tuple[Axis, ...]
    filters: ArrayValue | None = None
    n_iterations: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "components") if self.filters is None else ("mean", "components", "filters"):
            set_field(self, name, ArrayValue(getattr(self, name)))
        set_field(self, "explained_variance", tuple(float(value) for value in self.explained_variance))
        set_field(self, "item", tuple(self.item))
        _check_shapes(self.mean, self.components, self.item)
        if self.filters is not None and self.filters.shape != self.components.shape:
            raise ParameterError(f"components of shape {self.components.shape} need as many filters, got {self.filters.shape}")
        if len(self.explained_variance) != self.n_components:
            raise ParameterError(f"{self.n_components} components need as many variances, got {len(self.explained_variance)}")

    @property
    def explained_variance_ratio(self) -> tuple[float, ...]:
        """Share of the total variance that each component explains."""
        return tuple(value / self.total_variance for value in self.explained_variance)

    @property
    def inverse(self) -> Reconstruct:
        """The operator from scores back to items with their axes; ``project | project.inverse`` denoises."""
        return Reconstruct(self.mean, self.components, self.item)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        items = floating(block) - as_tensor(self.mean, block)
        filters = self.components if self.filters is None else self.filters
        return (items.flatten(1) @ as_tensor(filters, block).flatten(1).T).to(torch.float32)


@dataclass(frozen=True)
class Reconstruct(Operator):
    """Items from their scores on components: ``mean + scores @ components``.

    ``(component,)`` becomes ``(*core)``, float32. Made by `Project.inverse`.

    Parameters
    ----------
    mean : array, shape (*core)
    components : array, shape (n_components, *core)
    item : tuple of Axis
        Axes of the reconstructed items.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If there are not as many scores as components.

    Examples
    --------
    >>> back = Reconstruct([1.0, 1.0], [[0.0, 1.0]], (Axis("energy", 2),))
    >>> back.transform(torch.tensor([[2.0]])).tolist()
    [[1.0, 3.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-5

    mean: ArrayValue
    components: ArrayValue
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mean", ArrayValue(self.mean))
        set_field(self, "components", ArrayValue(self.components))
        set_field(self, "item", tuple(self.item))
        _check_shapes(self.mean, self.components, self.item)

    def output(self, spec: Spec) -> Spec:
        n_components = self.components.shape[0]
        if spec.shape != (n_components,):
            raise AxisError(f"Reconstruct takes {n_components} scores an item, got axes {spec.names} of shape {spec.shape}")
        return replace(spec, axes=self.item, dtype=np.dtype(np.float32))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        items = floating(block) @ as_tensor(self.components, block).flatten(1)
        return (items.reshape(-1, *self.mean.shape) + as_tensor(self.mean, block)).to(torch.float32)


def _check_shapes(mean: ArrayValue, components: ArrayValue, item: tuple[Axis, ...]) -> None:
    shape = tuple(axis.size for axis in item)
    if mean.shape != shape or components.shape[1:] != shape or components.shape[:1] in ((), (0,)):
        raise ParameterError(
            f"items of shape {shape} need a mean of that shape and components of (n_components, *{shape}), "
            f"got {mean.shape} and {components.shape}"
        )
