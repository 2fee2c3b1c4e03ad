"""What a non-negative factorisation learned: from items to amounts of its components, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators import _nonnegative
from pycroclass.estimators._items import as_rows
from pycroclass.estimators.projection import OntoComponents, Reconstruct
from pycroclass.operator import set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.spec import Axis, Spec


@dataclass(frozen=True)
class _Amounts(OntoComponents, ABC):
    """Amounts of components, none below zero; subclasses say what fits best."""

    tolerance: ClassVar[float] = 1e-4
    title: ClassVar[str] = "non-negative components"

    components: ArrayValue
    penalty: ArrayValue
    objective: float
    n_iterations: int
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "components", ArrayValue(self.components))
        set_field(self, "penalty", ArrayValue(self.penalty))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        components, penalty = self.components, self.penalty
        if components.shape[1:] != shape or components.shape[:1] in ((), (0,)) or penalty.shape not in ((), components.shape[:1]):
            raise ParameterError(
                f"items of shape {shape} need components of (n_components, *{shape}) and a penalty for each, "
                f"got {components.shape} and {penalty.shape}"
            )
        for name in ("components", "penalty"):
            if not (getattr(self, name).values >= 0).all():
                raise ParameterError(f"{name} of {type(self).__name__} must be numbers of at least zero")

    @property
    def inverse(self) -> Reconstruct:
        """The operator from amounts back to items with their axes: ``amounts @ components``."""
        return Reconstruct(ArrayValue(np.zeros(self.components.shape[1:])), self.components, self.item)

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 8 * (5 * int(np.prod(spec.shape)) + 3 * self.n_components)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows = as_rows(block)
        unusable = self.unusable(rows)
        components = as_tensor(self.components, rows).flatten(1)
        penalty = as_tensor(self.penalty, rows).expand(self.n_components)
        amounts = self.amounts(rows.masked_fill(unusable[:, None], 0), components, penalty)
        return amounts.to(torch.float32).masked_fill(unusable[:, None], torch.nan)

    def unusable(self, rows: torch.Tensor) -> torch.Tensor:
        """Which rows have no answer, shape (item,)."""
        return ~rows.isfinite().all(1)

    @abstractmethod
    def amounts(self, rows: torch.Tensor, components: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """The amounts of the components in each row, shape (item, component)."""


@dataclass(frozen=True)
class NonnegativeFit(_Amounts):
    """Amounts ``w >= 0`` of given components in each item, by least squares.

    ``w`` minimises ``|item - w @ components|² / 2 + penalty @ w``, exactly (block principal pivoting). ``(*core)`` becomes
    ``(component,)``, counted from 1, float32, in the units of the data where components have none. Items with NaN or inf give NaN. Made
    by `NMF.fit`.

    Parameters
    ----------
    components : array, shape (n_components, *core)
        None below zero; of an `NMF` each sums to 1, so that an amount is what the component adds to the sum of the item.
    penalty : number or array, shape (n_components,)
        What an amount of 1 costs; makes amounts sparse.
    objective : float
        What was minimised, over all fitted items, with the penalties.
    n_iterations : int
        Passes over all items that led here.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, or a number is below zero.
    AxisError
        If an item has another shape than those of the fit.

    References
    ----------
    J. Kim and H. Park, SIAM J. Sci. Comput. 33, 3261 (2011).

    Examples
    --------
    >>> fit = NonnegativeFit([[1.0, 1.0], [0.0, 1.0]], 0.0, 0.0, 1, (Axis("energy", 2),))
    >>> fit.transform(torch.tensor([[2.0, 5.0], [3.0, 1.0]])).tolist()
    [[2.0, 3.0], [2.0, 0.0]]
    """

    def amounts(self, rows: torch.Tensor, components: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        return _nonnegative.least_squares(components @ components.T, rows @ components.T - penalty)


@dataclass(frozen=True)
class PoissonFit(_Amounts):
    """Amounts ``w >= 0`` of given components in each item of counts, of maximum likelihood.

    ``w`` minimises ``sum(e - x log e) + penalty @ w`` with ``e = w @ components``. ``(*core)`` becomes ``(component,)``, counted from 1,
    float32, in the units of the data. Items with NaN, inf or a number below zero give NaN. Made by `PoissonNMF.fit`.

    Parameters
    ----------
    components : array, shape (n_components, *core)
        None below zero; of a `PoissonNMF` each sums to 1, so that an amount is the number of counts that the component adds.
    penalty : number or array, shape (n_components,)
        What an amount of 1 costs; makes amounts sparse.
    objective : float
        Kullback-Leibler divergence of all fitted items from their fit, with the penalties.
    n_iterations : int
        Passes over all items that led here.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, or a number is below zero.
    AxisError
        If an item has another shape than those of the fit.

    References
    ----------
    P. J. Green, J. R. Stat. Soc. B 46, 149 (1984), iteratively reweighted least squares.

    Examples
    --------
    >>> fit = PoissonFit([[0.5, 0.5], [0.0, 1.0]], 0.0, 0.0, 1, (Axis("energy", 2),))
    >>> fit.transform(torch.tensor([[2.0, 5.0]])).round(decimals=4).tolist()
    [[4.0, 3.0]]
    """

    def unusable(self, rows: torch.Tensor) -> torch.Tensor:
        return ~(rows.isfinite() & (rows >= 0)).all(1)

    def amounts(self, rows: torch.Tensor, components: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        return _nonnegative.poisson(rows, components, penalty)
