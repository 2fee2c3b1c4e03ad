"""What a detector adds to the truth, taken off again: dark signal and unequal gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts
from pycroclass.operators._tensor import as_tensor, floating, floating_dtype
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class SubtractDark(Operator):
    """``x - dark``: takes off what the detector shows without beam.

    ``(channel, y, x)`` keeps its shape; float32, or float64 where the data are. Values may fall below zero.

    Parameters
    ----------
    dark : array_like, shape (y, x) or (channel, y, x)
        In the units of the data, for one exposure.

    Raises
    ------
    ParameterError
        If dark does not hold real numbers.
    AxisError
        If its shape does not fit the images.

    Examples
    --------
    >>> SubtractDark([[1, 2]]).transform(torch.tensor([[[[3, 3]]]])).tolist()
    [[[[2.0, 1.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    dark: ArrayValue

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "dark", _real("dark", self.dark))

    def output(self, spec: Spec) -> Spec:
        check_broadcasts("dark", self.dark, spec)
        return replace(spec, dtype=floating_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return floating(block) - as_tensor(self.dark, block)


@dataclass(frozen=True)
class Flatfield(Operator):
    """``(x - dark) * m / (flat - dark)`` with ``m`` the mean of ``flat - dark``: makes all pixels equally sensitive.

    ``(channel, y, x)`` keeps its shape and, through ``m``, its scale; float32, or float64 where the data are. Pixels without
    sensitivity, where ``flat - dark`` is not above zero, do not enter ``m`` and become NaN: follow with `MaskPixels`.

    Parameters
    ----------
    flat : array_like, shape (y, x) or (channel, y, x)
        Image of an evenly lit detector.
    dark : array_like of such a shape, optional
        Image without beam, of the same exposure. Without it ``flat`` and the data must have none.

    Raises
    ------
    ParameterError
        If flat or dark do not hold real numbers, their shapes differ, or no pixel is sensitive.
    AxisError
        If their shape does not fit the images.

    Examples
    --------
    >>> Flatfield([[1, 3]]).transform(torch.tensor([[[[10, 30]]]])).tolist()
    [[[[20.0, 20.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    flat: ArrayValue
    dark: ArrayValue | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "flat", _real("flat", self.flat))
        if self.dark is not None:
            set_field(self, "dark", _real("dark", self.dark))
            if self.dark.shape != self.flat.shape:
                raise ParameterError(f"flat and dark must have one shape, got {self.flat.shape} and {self.dark.shape}")
        if not np.isfinite(self.gain.values).any():
            raise ParameterError("no pixel has flat - dark above zero: is flat an image of the lit detector, and dark one without beam?")

    @cached_property
    def gain(self) -> ArrayValue:
        """Factor for each pixel, ``m / (flat - dark)``, shape of ``flat``; NaN where the pixel is not sensitive."""
        signal = self.flat.values.astype(np.float64) - (0 if self.dark is None else self.dark.values)
        sensitive = np.isfinite(signal) & (signal > 0)
        mean = signal[sensitive].mean() if sensitive.any() else np.nan
        return ArrayValue(np.divide(mean, signal, out=np.full(signal.shape, np.nan), where=sensitive))

    def output(self, spec: Spec) -> Spec:
        check_broadcasts("flat", self.flat, spec)
        return replace(spec, dtype=floating_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block)
        if self.dark is not None:
            values = values - as_tensor(self.dark, block)
        return values * as_tensor(self.gain, block)


def _real(name: str, value: ArrayValue) -> ArrayValue:
    array = ArrayValue(value)
    if array.values.dtype.kind == "c":
        raise ParameterError(f"{name} must hold real numbers, got {array.values.dtype}")
    return array
