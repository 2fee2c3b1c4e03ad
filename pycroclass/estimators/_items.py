"""What estimators and the operators they fit share: items as rows of numbers, and checks."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
import torch

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.spec import Axis, AxisKind, Spec


def as_rows(block: torch.Tensor) -> torch.Tensor:
    """The items ``(batch, *core)`` as rows ``(batch, features)`` of float64."""
    return block.flatten(1).to(torch.float64)


def check_real(spec: Spec) -> None:
    """Refuse complex data.

    Raises
    ------
    DataError
        If the values of ``spec`` are complex.
    """
    if spec.dtype.kind == "c":
        raise DataError(f"{spec.title!r} holds complex values ({spec.dtype}); take their modulus or their real part first")


def check_finite(spec: Spec, *states: torch.Tensor) -> None:
    """Refuse statistics that NaN or inf went into.

    Raises
    ------
    DataError
        If any of them is not finite.
    """
    if not all(bool(torch.isfinite(state).all()) for state in states):
        raise DataError(f"{spec.title!r} holds NaN or inf. Leave those items out with nonfinite='mask', or mend them first.")


def check_item(spec: Spec, shape: tuple[int, ...], operator: str) -> None:
    """Refuse items of another shape than an operator was fitted on, or complex ones.

    Raises
    ------
    AxisError
        If the shapes differ.
    """
    check_real(spec)
    if spec.shape != shape:
        axes = ", ".join(f"{axis.name} {axis.size}" for axis in spec.axes)
        raise AxisError(f"{operator} was fitted on items of shape {shape}, got ({axes}). Crop, bin or select as for the fit.")


def positive(name: str, value: Any) -> int:
    """``value`` as a whole number of at least 1.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        number = index(value)
    except TypeError:
        raise ParameterError(f"{name} must be a whole number, got {value!r}") from None
    if number < 1:
        raise ParameterError(f"{name} must be at least 1, got {value!r}")
    return number


def stack_axis(name: str, size: int, item: tuple[Axis, ...], first: int) -> Axis:
    """The axis that counts several arrays shaped like one item, of a kind that lets sidpy plot them: a stack of images or of spectra."""
    plane = sum(axis.kind in (AxisKind.SPATIAL, AxisKind.RECIPROCAL) for axis in item)
    kind = AxisKind.TEMPORAL if plane == 2 else AxisKind.CHANNEL
    return Axis(name, size, kind=kind, quantity=name, offset=first)


def stack_spec(axis: Axis, item: tuple[Axis, ...], title: str) -> Spec:
    """What float32 arrays shaped like one item are, stacked along ``axis``."""
    return Spec((axis, *item), np.dtype(np.float32), title=title)
