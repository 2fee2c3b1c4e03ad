"""What several operators ask of their parameters and of the data."""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator
from pycroclass.spec import Axis, Spec


def integers(name: str, value: Any, *, least: int = 1) -> tuple[int, int]:
    """``value`` as ``(y, x)``; one number stands for both.

    Raises
    ------
    ParameterError
        If it is not one or two whole numbers of at least ``least``.
    """
    try:
        y, x = map(index, value) if isinstance(value, tuple | list) else (index(value),) * 2
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a whole number or a pair (y, x) of them, got {value!r}") from None
    if min(y, x) < least:
        raise ParameterError(f"{name} must be at least {least}, got {value!r}")
    return y, x


class NaN(float):
    """Not a number, yet equal to any other: operators that hold it shall be equal where they do the same."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isnan(other)

    def __hash__(self) -> int:
        return hash(NaN)


def number(name: str, value: Any) -> float:
    """``value`` as a float, which may be NaN (`NaN`) or infinite.

    Raises
    ------
    ParameterError
        If it is not a number.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a number, got {value!r}") from None
    return NaN(found) if math.isnan(found) else found


def finite(name: str, value: Any) -> float:
    """``value`` as a finite float.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if not math.isfinite(number(name, value)):
        raise ParameterError(f"{name} must be finite, got {value!r}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float above zero.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if finite(name, value) <= 0:
        raise ParameterError(f"{name} must be above zero, got {value!r}")
    return float(value)


def check_real(operator: Operator, spec: Spec) -> None:
    """Refuse complex data, for an operator that compares values.

    Raises
    ------
    AxisError
        If the data are complex.
    """
    if spec.dtype.kind == "c":
        raise AxisError(f"{type(operator).__name__} needs real values, got {spec.dtype}. Take the modulus or the phase first.")


def check_evenly_spaced(operator: Operator, *axes: Axis) -> None:
    """Refuse axes that new positions cannot be told for.

    Raises
    ------
    AxisError
        If an axis has explicit positions.
    """
    for axis in axes:
        if axis.explicit is not None:
            raise AxisError(f"{type(operator).__name__} needs evenly spaced axes; the positions along {axis.name!r} are not.")


def check_broadcasts(name: str, value: ArrayValue, spec: Spec) -> None:
    """Refuse an array parameter that does not broadcast to items of ``spec`` without making them larger.

    Raises
    ------
    AxisError
        If the shapes do not fit.
    """
    try:
        fits = np.broadcast_shapes(value.shape, spec.shape) == spec.shape
    except ValueError:
        fits = False
    if not fits:
        wanted = ", ".join(f"{axis.name} {axis.size}" for axis in spec.axes)
        raise AxisError(f"{name} has shape {value.shape}, which does not fit items of ({wanted}). Crop or bin it as the data were.")


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether arrays of ``dtype`` can hold ``value`` as it is."""
    if dtype.kind not in "biu":
        return True
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return float(value).is_integer() and low <= value <= high
