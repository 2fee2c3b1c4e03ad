"""Joining neighbouring pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, integers
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.spec import Domain, Spec

_STATISTICS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "sum": lambda bins: bins.sum((-3, -1)),
    "mean": lambda bins: bins.mean((-3, -1)),
    "max": lambda bins: bins.amax((-3, -1)),
}
"""How `(…, y, row, x, column)` becomes `(…, y, x)`."""


@dataclass(frozen=True)
class Bin(Operator):
    """Join each ``factor`` by ``factor`` pixels of an image into one: their sum, their mean or their maximum.

    ``(channel, y, x)`` becomes ``(channel, y // factor, x // factor)``; rows and columns at the end that do not fill a bin are dropped.
    Positions and geometry follow.

    Parameters
    ----------
    factor : int or (y, x)
        Pixels that become one.
    statistic : "sum", "mean" or "max"
        The sum keeps counts, and with them Poisson statistics; the mean keeps the scale; the maximum keeps points, such as Bragg peaks,
        that a mean would drown in the noise around them. What is NaN makes its bin NaN.

    Raises
    ------
    ParameterError
        If factor or statistic cannot be understood.
    AxisError
        If the image is smaller than one bin, a bin would join pixels of two panels, or the maximum of complex data is asked for.

    Examples
    --------
    >>> Bin(2).transform(torch.arange(6).reshape(1, 1, 2, 3)).tolist()
    [[[[8.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    factor: int | tuple[int, int]
    statistic: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "factor", integers("factor", self.factor))
        if self.statistic not in _STATISTICS:
            raise ParameterError(f"statistic must be one of {', '.join(map(repr, _STATISTICS))}, got {self.statistic!r}")

    def output(self, spec: Spec) -> Spec:
        if self.statistic == "max":
            check_real(self, spec)
        rows, columns = integers("factor", self.factor)
        y, x = spec.axes[-2:]
        if y.size < rows or x.size < columns:
            raise AxisError(f"an image of {(y.size, x.size)} has no bin of {(rows, columns)} pixels. Take a smaller factor.")
        geometry = spec.geometry and spec.geometry.scaled(rows, columns)
        binned = spec.with_axes(y.binned(rows), x.binned(columns))
        return replace(binned, dtype=floating_dtype(spec.dtype), geometry=geometry)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows, columns = integers("factor", self.factor)
        ny, nx = block.shape[-2] // rows, block.shape[-1] // columns
        whole = floating(block)[..., : ny * rows, : nx * columns]
        bins = whole.reshape(*block.shape[:-2], ny, rows, nx, columns)
        return _STATISTICS[self.statistic](bins)
