"""What a decomposition into components that are not orthogonal learned: from items to scores, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators._items import check_item
from pycroclass.estimators.projection import Reconstruct
from pycroclass.operator import Operator, set_field
from pycroclass.operators._stack import stack_axis, stack_spec
from pycroclass.operators._tensor import as_tensor, floating
from pycroclass.spec import Axis, AxisKind, Domain, Spec


@dataclass(frozen=True)
class ObliqueProject(Operator):
    """Scores of each item on components that need not be orthogonal: ``(item - mean) @ filters.T``.

    ``(*core)`` becomes ``(component,)``, counted from 1, float32, in the units of the data. Made by `ICA.fit` and `PoissonPCA.fit`.

    Parameters
    ----------
    mean : array, shape (*core)
    filters : array, shape (n_components, *core)
        What finds the scores: ``filters @ components.T`` is the identity.
    components : array, shape (n_components, *core)
        What the scores are of, each of length 1: an item is about ``mean + scores @ components``.
    explained_variance : tuple of float
        What each component adds to the variance that they explain, falling.
    total_variance : float
        What there is to explain, in the same units.
    n_iterations : int
        Steps that led here; 0 where the answer is direct.
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
    >>> project = ObliqueProject([0.0, 0.0], [[1.0, -1.0]], [[1.0, 0.0]], (4.0,), 5.0, 0, (Axis("energy", 2),))
    >>> project.transform(torch.tensor([[7.0, 3.0]])).tolist()
    [[4.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-5

    mean: ArrayValue
    filters: ArrayValue
    components: ArrayValue
    explained_variance: tuple[float, ...]
    total_variance: float
    n_iterations: int
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "filters", "components"):
            set_field(self, name, ArrayValue(getattr(self, name)))
        set_field(self, "explained_variance", tuple(float(value) for value in self.explained_variance))
        set_field(self, "item", tuple(self.item))
        Reconstruct(self.mean, self.components, self.item)  # refuses shapes that do not belong together
        if self.filters.shape != self.components.shape:
            raise ParameterError(f"components of shape {self.components.shape} need as many filters, got {self.filters.shape}")
        if len(self.explained_variance) != self.n_components:
            raise ParameterError(f"{self.n_components} components need as many variances, got {len(self.explained_variance)}")

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.components.shape[0]

    @property
    def explained_variance_ratio(self) -> tuple[float, ...]:
        """Share of the total variance that each component explains."""
        return tuple(value / self.total_variance for value in self.explained_variance)

    @property
    def inverse(self) -> Reconstruct:
        """The operator from scores back to items with their axes; ``project | project.inverse`` denoises."""
        return Reconstruct(self.mean, self.components, self.item)

    def described_components(self) -> tuple[npt.NDArray[Any], Spec]:
        """The components, shape (n_components, *core), float32, and what they are: a stack of spectra or images to plot."""
        axis = stack_axis("component", self.n_components, self.item, first=1)
        return self.components.values.astype(np.float32), stack_spec(axis, self.item, "components")

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.mean.shape, "ObliqueProject")
        component = Axis("component", self.n_components, kind=AxisKind.SPECTRAL, quantity="component", offset=1)
        return replace(spec, axes=(component,), dtype=np.dtype(np.float32), geometry=None, classes=())

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        items = floating(block) - as_tensor(self.mean, block)
        return (items.flatten(1) @ as_tensor(self.filters, block).flatten(1).T).to(torch.float32)
