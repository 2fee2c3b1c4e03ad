"""Normalisation of whole datasets: offsets and factors learned from all items."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators._items import check_finite, check_real
from pycroclass.estimators._moments import Moments
from pycroclass.estimators._quantiles import percentiles
from pycroclass.operator import WHOLE, Operator, set_field
from pycroclass.operators._checks import check_broadcasts
from pycroclass.operators._tensor import as_tensor, floating, floating_dtype
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class Scale(Operator):
    """``(value - offset) * factor``; float32, or float64 where the data are. Made by the estimators of this module.

    Parameters
    ----------
    offset, factor : number or array, broadcastable to (*core)

    Raises
    ------
    ParameterError
        If they are not finite.
    AxisError
        If they do not fit the items.

    Examples
    --------
    >>> Scale(2.0, 10.0).transform(torch.tensor([[2.0, 3.0]])).tolist()
    [[0.0, 10.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM

    offset: ArrayValue
    factor: ArrayValue

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("offset", "factor"):
            value = ArrayValue(getattr(self, name))
            if not np.isfinite(value.values).all():
                raise ParameterError(f"{name} of Scale must be finite, got {value!r}")
            set_field(self, name, value)

    def halo(self) -> int:
        return 0 if self.offset.shape == self.factor.shape == () else WHOLE

    def output(self, spec: Spec) -> Spec:
        check_real(spec)
        check_broadcasts("offset", self.offset, spec)
        check_broadcasts("factor", self.factor, spec)
        return replace(spec, dtype=floating_dtype(spec.dtype), units="generic", classes=())

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = block.to(torch.float64)  # an offset may be far larger than what it leaves
        scaled = (values - as_tensor(self.offset, values)) * as_tensor(self.factor, values)
        return scaled.to(floating(block[:0]).dtype)


@dataclass(frozen=True)
class StandardizeFeatures(Estimator):
    """Mean 0 and standard deviation 1 over all items, for each feature (each position in an item) by itself.

    Features that never vary become 0. Fitting gives a `Scale`.

    Raises
    ------
    DataError
        If the data are complex or not finite.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.StandardizeFeatures() | pc.KMeans(4), dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> Scale:
        """Mean and standard deviation of each feature."""
        check_real(spec)
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        deviation = np.sqrt(squares.numpy() / float(n))
        constant = deviation <= 1e-12 * np.abs(mean.numpy())
        factor = 1 / np.where(constant, 1.0, deviation)
        return Scale(ArrayValue(mean.numpy().reshape(spec.shape)), ArrayValue(factor.reshape(spec.shape)), axes=self.axes)


@dataclass(frozen=True)
class StandardizeData(Estimator):
    """Mean 0 and standard deviation 1 over all values of all items together, so that they keep their proportions.

    Fitting gives a `Scale`.

    Raises
    ------
    DataError
        If the data are complex, not finite or constant.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.StandardizeData() | pc.PCA(5), dataset)  # doctest: +SKIP
    """

    def fit(self, data: Data, spec: Spec) -> Scale:
        """Mean and standard deviation of all values."""
        check_real(spec)
        n, mean, squares = data.reduce(Moments())
        check_finite(spec, mean, squares)
        centre = float(mean.mean())
        deviation = math.sqrt(float(squares.mean() / n + (mean - centre).square().mean()))
        if deviation <= 1e-12 * abs(centre):
            raise DataError(f"all values of {spec.title!r} are {centre:g}: they cannot be scaled to a standard deviation of 1")
        return Scale(ArrayValue(centre), ArrayValue(1 / deviation), axes=self.axes)


@dataclass(frozen=True)
class PercentileScale(Estimator):
    """The ``low`` percentile of all values becomes 0 and the ``high`` one 1; values beyond them are kept.

    The percentiles are those of ``numpy.percentile`` over all values, exact, from two passes over float32 and four over float64. Put
    `Clip` (0, 1) behind it where nothing may lie outside. Fitting gives a `Scale`.

    Parameters
    ----------
    low, high : float
        In per cent.

    Raises
    ------
    ParameterError
        Unless ``0 <= low < high <= 100``.
    DataError
        If the data are complex or not finite, or both percentiles are equal.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PercentileScale(1, 99), dataset)  # doctest: +SKIP
    """

    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.low < self.high <= 100:
            raise ParameterError(f"wanted 0 <= low < high <= 100 per cent, got low={self.low!r} and high={self.high!r}")

    def fit(self, data: Data, spec: Spec) -> Scale:
        """Both percentiles of all values."""
        check_real(spec)
        low, high = percentiles(data, spec, (self.low, self.high))
        if low == high:
            raise DataError(
                f"the {self.low:g} and {self.high:g} per cent percentiles of {spec.title!r} are both {low:g}. Take them farther apart."
            )
        return Scale(ArrayValue(low), ArrayValue(1 / (high - low)), axes=self.axes)
