"""What estimators and the operators they fit share: items as rows of numbers, and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import index
from typing import Any

import numpy as np
import torch

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.kernels.row_sums import as_compiled_for
from pycroclass.operators._stack import stack_axis as stack_axis
from pycroclass.operators._stack import stack_spec as stack_spec
from pycroclass.spec import Spec


def as_rows(block: torch.Tensor) -> torch.Tensor:
    """The items ``(batch, *core)`` as rows ``(batch, features)`` of float64."""
    return block.flatten(1).to(torch.float64)


def on_rows(compiled: Callable[..., Any], twin: Callable[..., Any], block: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a kernel of `pycroclass.kernels.row_sums` makes of the items of a block: compiled on a CPU, its twin on other devices."""
    if block.device.type != "cpu":
        return tuple(twin(block.flatten(1), *(other.to(block.device) for other in others)))
    return tuple(map(torch.from_numpy, compiled(as_compiled_for(block), *(other.numpy() for other in others))))


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


def check_seed(seed: Any) -> None:
    """Refuse a seed that NumPy's and scikit-learn's random numbers do not take.

    Raises
    ------
    ParameterError
        If it is no whole number from 0 to 2**32 - 1.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")


def label_spec(spec: Spec, n_clusters: int) -> Spec:
    """What the number of a cluster is, for items of ``spec``."""
    names = tuple(f"cluster {i}" for i in range(n_clusters))
    return replace(spec, axes=(), dtype=np.dtype(np.int32), quantity="label", units="generic", title="label", geometry=None, classes=names)


def check_n_components(n_components: int, n_items: int, n_features: int) -> None:
    """Refuse more components than there can be.

    Raises
    ------
    ParameterError
        If there are more components than items or features.
    """
    most = min(n_items, n_features)
    if n_components > most:
        raise ParameterError(f"n_components={n_components} is more than {n_items} items of {n_features} features have; take at most {most}")
