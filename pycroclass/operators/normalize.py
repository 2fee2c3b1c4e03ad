"""Bringing each item to a common scale by its own statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, finite
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class _PerItem(Operator):
    """A linear scale for each item, over all its channels and pixels together."""

    domain: ClassVar[Domain] = Domain.ITEM

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype), units="generic")


@dataclass(frozen=True)
class ZScore(_PerItem):
    """``(x - mean) / sd`` of each item: mean 0 and standard deviation 1 (of the population, ddof = 0).

    ``(length,)`` or ``(channel, y, x)`` keeps its shape; all channels share one scale. A constant item becomes zero; an item that holds
    NaN or inf becomes NaN.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> ZScore().transform(torch.tensor([[1.0, 3.0], [7.0, 7.0]])).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block)
        centred = _centred(_centred(values))  # twice: the mean is rounded, which matters where it is far above the spread
        dims = tuple(range(1, block.ndim))
        sd = centred.square().mean(dims, keepdim=True, dtype=torch.float64).sqrt().to(values.dtype)
        return centred / torch.where(sd == 0, 1, sd)


@dataclass(frozen=True)
class PercentileNormalize(_PerItem):
    """``(x - p_low) / (p_high - p_low)`` with percentiles of each item: p_low becomes 0 and p_high becomes 1.

    ``(length,)`` or ``(channel, y, x)`` keeps its shape; all channels share one scale. Percentiles are exact, between two values linear
    as in ``numpy.percentile``. Values beyond them are kept: for limits put ``Clip(0, 1)`` after. An item whose percentiles are equal is
    only shifted; an item that holds NaN becomes NaN.

    Parameters
    ----------
    low, high : float
        Percentiles, 0 to 100.

    Raises
    ------
    ParameterError
        If not 0 <= low < high <= 100.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> PercentileNormalize(0, 50).transform(torch.tensor([[1.0, 5.0, 2.0]])).tolist()
    [[0.0, 4.0, 1.0]]
    """

    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "low", finite("low", self.low))
        set_field(self, "high", finite("high", self.high))
        if not 0 <= self.low < self.high <= 100:
            raise ParameterError(f"percentiles must keep 0 <= low < high <= 100, got low={self.low} and high={self.high}")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block).flatten(1)
        ranked = values.sort(1).values  # torch.quantile refuses more than 16 million values
        low, high = (_percentile(ranked, q) for q in (self.low, self.high))
        spread = high - low
        return ((values - low) / torch.where(spread == 0, 1, spread)).reshape(block.shape)


@dataclass(frozen=True)
class UnitLength(_PerItem):
    """``x / |x|`` of each item, ``|x|`` the root of its sum of squares: then distances tell angles, ``|a - b|² = 2 - 2 cos``.

    ``(length,)`` or ``(channel, y, x)`` keeps its shape. An item of zeros stays so; an item that holds NaN or inf becomes NaN.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> UnitLength().transform(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block)
        length = values.double().square().sum(tuple(range(1, block.ndim)), keepdim=True).sqrt()
        is_finite = torch.isfinite(length)
        scaled = values / torch.where(length == 0, 1, length).to(values.dtype)
        return scaled.where(is_finite, torch.nan)


def _centred(values: torch.Tensor) -> torch.Tensor:
    dims = tuple(range(1, values.ndim))
    return values - values.mean(dims, keepdim=True, dtype=torch.float64).to(values.dtype)


def _percentile(ranked: torch.Tensor, q: float) -> torch.Tensor:
    """The percentile of each row of sorted values, shape (batch, 1); NaN, which sorts last, spoils its row."""
    place = q / 100 * (ranked.shape[1] - 1)
    below = math.floor(place)
    a, b = ranked[:, below, None], ranked[:, math.ceil(place), None]
    return torch.where(ranked[:, -1:].isnan(), torch.nan, torch.lerp(a, b, place - below))
