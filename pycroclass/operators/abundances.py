"""How much of each known spectrum is in an item: linear unmixing."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real
from pycroclass.operators._simplex import nonnegative, on_simplex, unconstrained
from pycroclass.operators._stack import stack_axis, stack_spec
from pycroclass.operators._tensor import as_tensor, floating, floating_dtype
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_WORST_CONDITION: Final = 1e7
"""Spectra more alike than this cannot be told apart in float64 by normal equations, nor in any measurement."""


@dataclass(frozen=True)
class _Abundances(Operator):
    """Abundances of given spectra; what they may be is up to `solved`."""

    domain: ClassVar[Domain] = Domain.ITEM

    endmembers: ArrayValue
    item: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "endmembers", ArrayValue(self.endmembers))
        set_field(self, "item", tuple(self.item))
        values = self.endmembers.values
        if values.ndim < 2 or not values.size or values.dtype.kind == "c" or not np.isfinite(values).all():
            raise ParameterError(f"endmembers must be real, finite numbers of shape (n_endmembers, *core), got {self.endmembers!r}")
        if self.item and values.shape[1:] != tuple(axis.size for axis in self.item):
            raise ParameterError(f"endmembers of shape {values.shape} do not belong to items of ({_described(self.item)})")
        equations = self.equations(values.reshape(len(values), -1).astype(np.float64))
        condition = np.linalg.cond(equations) if equations.shape[0] <= equations.shape[1] else np.inf
        if not condition < _WORST_CONDITION:
            raise ParameterError(
                f"the {self.n_endmembers} end members are not independent (condition number {condition:.1e}): "
                "some are mixtures of the others. Leave those out."
            )

    @property
    def n_endmembers(self) -> int:
        """Number of end members."""
        return self.endmembers.shape[0]

    def described_endmembers(self) -> tuple[npt.NDArray[Any], Spec]:
        """The end members, shape (n_endmembers, *core), float32, and what they are: a stack of spectra or images to plot.

        Raises
        ------
        ParameterError
            If their axes are not known.
        """
        if not self.item:
            raise ParameterError(f"these spectra came without axes; give {type(self).__name__} the axes of an item as item=(Axis(…),)")
        axis = stack_axis("endmember", self.n_endmembers, self.item, first=1)
        return self.endmembers.values.astype(np.float32), stack_spec(axis, self.item, "end members")

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_real(self, spec)
        if spec.shape != self.endmembers.shape[1:]:
            raise AxisError(
                f"{type(self).__name__} has end members of shape {self.endmembers.shape[1:]}, got items of ({_described(spec.axes)}). "
                "Crop, bin or select the data as the spectra were."
            )
        axis = Axis("endmember", self.n_endmembers, kind=AxisKind.SPECTRAL, quantity="endmember", offset=1)
        number = replace(spec, dtype=floating_dtype(spec.dtype), geometry=None, classes=())
        return {"abundance": replace(number, axes=(axis,), quantity="abundance", units="generic"), "residual": replace(number, axes=())}

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 40 * int(np.prod(spec.shape)) + 8 * self.n_endmembers * (12 + 4 * self.n_endmembers)

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = block.flatten(1).double()
        bad = ~rows.isfinite().all(1)
        rows = rows.masked_fill(bad[:, None], 0)
        spectra = as_tensor(self.endmembers, rows).flatten(1)
        abundance = self.solved(rows, spectra)
        residual = (rows - abundance @ spectra).square().mean(1).sqrt()
        dtype = floating(block[:0]).dtype
        return {
            "abundance": abundance.masked_fill(bad[:, None], torch.nan).to(dtype),
            "residual": residual.masked_fill(bad, torch.nan).to(dtype),
        }

    @abstractmethod
    def solved(self, rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        """Abundances ``(item, member)`` of float64 rows ``(item, feature)``."""

    def equations(self, spectra: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The matrix that has to be well conditioned."""
        lengths = np.linalg.norm(spectra, axis=1, keepdims=True)
        return spectra / np.where(lengths > 0, lengths, 1)


@dataclass(frozen=True)
class UCLS(_Abundances):
    """Abundances by unconstrained least squares: any numbers, also negative ones.

    ``(*core)`` becomes ``abundance``, ``(endmember,)`` counted from 1, and ``residual``, the root of the mean squared difference
    between an item and its mixture ``abundance @ endmembers``, in the units of the data. NaN where an item holds NaN or inf.

    Parameters
    ----------
    endmembers : array, shape (n_endmembers, …)
    item : tuple of Axis, optional
        Axes of one item, for `described_endmembers`; known where the end members were found by `NFINDR` or `VCA`.

    Raises
    ------
    ParameterError
        If the end members are not independent.
    AxisError
        If an item has another shape than the end members, or is complex.

    Examples
    --------
    >>> maps = UCLS([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]).transform(torch.tensor([[2.0, 3.0, 0.0]]))
    >>> maps["abundance"].round(decimals=4).tolist()
    [[-1.0, 3.0]]
    """

    def solved(self, rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        return unconstrained(rows, spectra)


@dataclass(frozen=True)
class NNLS(_Abundances):
    """Abundances by non-negative least squares (Lawson and Hanson 1974, chapter 23): at least zero, with any sum.

    For spectra whose intensity varies with thickness or illumination. Results, parameters and errors are those of `UCLS`. All items
    of a batch are solved together, in float64, by an active-set method that ends at the minimum.

    Examples
    --------
    >>> maps = NNLS([[1.0, 0.0], [1.0, 1.0]]).transform(torch.tensor([[2.0, 3.0]]))
    >>> maps["abundance"].tolist(), maps["residual"].tolist()
    ([[0.0, 2.5]], [0.5])
    """

    def solved(self, rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        return nonnegative(rows, spectra)


@dataclass(frozen=True)
class FCLS(_Abundances):
    """Abundances by fully constrained least squares: at least zero, with sum one (Heinz and Chang, IEEE Trans. Geosci. Remote Sens.
    39, 529, 2001).

    Shares of a whole. Results, parameters and errors are those of `UCLS`. The sum is exactly one, to rounding: the row that Heinz and
    Chang append to the equations is helped by a Lagrange multiplier. Items outside the simplex of the end members get the
    point of it that is nearest.

    Examples
    --------
    >>> maps = FCLS([[1.0, 0.0], [0.0, 1.0]]).transform(torch.tensor([[0.25, 0.75], [2.0, 0.0]]))
    >>> maps["abundance"].round(decimals=4).tolist()
    [[0.25, 0.75], [1.0, 0.0]]
    """

    def solved(self, rows: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        return on_simplex(rows, spectra)

    def equations(self, spectra: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        centred = spectra - spectra.mean(0)
        weight = np.linalg.norm(centred) if len(spectra) > 1 else 1.0
        return np.hstack([centred, np.full((len(spectra), 1), weight)])


def _described(axes: tuple[Axis, ...]) -> str:
    return ", ".join(f"{axis.name} {axis.size}" for axis in axes)
