"""Functions of single values: variance-stabilising transforms and limits."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, number
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Domain, Spec

_ANSCOMBE: Final = "2 sqrt({} + 3/8)"


@dataclass(frozen=True)
class _Function(Operator, ABC):
    """A function that gives values of another meaning, without units."""

    domain: ClassVar[Domain] = Domain.PIXEL
    formula: ClassVar[str]

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        quantity = "generic" if spec.quantity == "generic" else self.formula.format(spec.quantity)
        return replace(spec, dtype=real_dtype(spec.dtype), quantity=quantity, units="generic")


@dataclass(frozen=True)
class Log1p(_Function):
    """``log(1 + x)``, natural: compresses the range of intensities and keeps zero at zero.

    Any shape; float32, or float64 where the data are. Below -1 it is NaN: put ``Clip(low=0)`` before where a dark was subtracted.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Log1p().transform(torch.tensor([0.0, 1.718281828])).tolist()
    [0.0, 1.0]
    """

    formula: ClassVar[str] = "log(1 + {})"

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return torch.log1p(floating(block))


@dataclass(frozen=True)
class Sqrt(_Function):
    """``sqrt(x)``: Poisson counts with a large mean get the variance 1/4.

    Any shape; float32, or float64 where the data are. Below zero it is NaN.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Sqrt().transform(torch.tensor([0, 4])).tolist()
    [0.0, 2.0]
    """

    formula: ClassVar[str] = "sqrt({})"

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(floating(block))


@dataclass(frozen=True)
class Anscombe(_Function):
    """``2 sqrt(x + 3/8)``: Poisson counts with a mean above about 4 get the variance 1.

    Any shape; float32, or float64 where the data are. Below -3/8 it is NaN.

    Raises
    ------
    AxisError
        If the data are complex.

    References
    ----------
    F. J. Anscombe, Biometrika 35, 246 (1948).

    Examples
    --------
    >>> Anscombe().transform(torch.tensor([0.625])).tolist()
    [2.0]
    """

    formula: ClassVar[str] = _ANSCOMBE

    @property
    def inverse(self) -> InverseAnscombe:
        """The operator back to counts, for what was denoised in between."""
        return InverseAnscombe()

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return 2 * torch.sqrt(floating(block) + 0.375)


@dataclass(frozen=True)
class InverseAnscombe(Operator):
    """Counts from the mean of their `Anscombe` transforms: for data that were denoised after it.

    ``D²/4 + sqrt(3/2)/(4 D) - 11/(8 D²) + 5 sqrt(3/2)/(8 D³) - 1/8``, and 0 for ``D`` up to ``2 sqrt(3/8)``. This is the mean of the
    counts whose transforms have the mean ``D``; squaring alone would give too few, the more so the weaker the signal. Any shape;
    float32, or float64 where the data are.

    Raises
    ------
    AxisError
        If the data are complex.

    References
    ----------
    M. Mäkitalo and A. Foi, IEEE Trans. Image Process. 20, 2697 (2011).

    Examples
    --------
    >>> InverseAnscombe().transform(torch.tensor([20.0, 1.0], dtype=torch.float64)).round(decimals=3).tolist()
    [99.887, 0.0]
    """

    domain: ClassVar[Domain] = Domain.PIXEL

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        before, after = _ANSCOMBE.split("{}")
        known = spec.quantity.startswith(before) and spec.quantity.endswith(after)
        quantity = spec.quantity[len(before) : -len(after)] if known else spec.quantity
        return replace(spec, dtype=real_dtype(spec.dtype), quantity=quantity, units="counts")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block).clamp(min=2 * math.sqrt(0.375))
        root = math.sqrt(1.5)
        return (values.square() / 4 + root / 4 / values - 11 / 8 / values**2 + 5 * root / 8 / values**3 - 0.125).clamp(min=0)


@dataclass(frozen=True)
class Clip(Operator):
    """``min(max(x, low), high)``: values beyond a limit become the limit; NaN stays NaN.

    Any shape; float32, or float64 where the data are.

    Parameters
    ----------
    low, high : float, optional
        In the units of the data. At least one is needed.

    Raises
    ------
    ParameterError
        If there is no limit, or low is above high.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Clip(0, 10).transform(torch.tensor([-1.0, 5.0, 11.0])).tolist()
    [0.0, 5.0, 10.0]
    """

    domain: ClassVar[Domain] = Domain.PIXEL

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {name: number(name, value) for name, value in (("low", self.low), ("high", self.high)) if value is not None}
        for name, limit in limits.items():
            set_field(self, name, limit)
        if not limits or any(map(math.isnan, limits.values())) or limits.get("low", -math.inf) > limits.get("high", math.inf):
            raise ParameterError(f"Clip needs low, high or both, with low <= high; got low={self.low!r}, high={self.high!r}")

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return floating(block).clamp(self.low, self.high)
