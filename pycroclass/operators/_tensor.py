"""The number type in which operators compute, and their array parameters on the block's device."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pycroclass.array_value import ArrayValue

_COMPUTED = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def floating(block: torch.Tensor) -> torch.Tensor:
    """The block as numbers to compute with: float32, unless it is float32, float64 or complex already."""
    return block if block.dtype in _COMPUTED else block.to(torch.float32)


def floating_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The numpy dtype of `floating` applied to a block of ``dtype``."""
    return dtype if dtype.name in ("float64", "complex64", "complex128") else np.dtype(np.float32)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The numpy dtype of the real numbers, such as a modulus, that are made from a block of ``dtype``."""
    return np.dtype(np.float64 if dtype.name in ("float64", "complex128") else np.float32)


def as_tensor(value: ArrayValue, like: torch.Tensor) -> torch.Tensor:
    """The array on the device of ``like``, in the number type of ``floating(like)`` (complex if the array is complex).

    It is kept for the next block, so it must not be modified.
    """
    dtype = floating(like.new_empty(0)).dtype
    if value.values.dtype.kind == "c":
        dtype = torch.promote_types(dtype, torch.complex64)
    return _on_device(value, dtype, like.device)


@lru_cache(maxsize=32)
def _on_device(value: ArrayValue, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    wide = np.complex128 if value.values.dtype.kind == "c" else np.float64
    return torch.from_numpy(value.values.astype(wide)).to(dtype).to(device)
