"""Means over boxes of pixels around each: what brings out peaks that are blurred over several pixels."""

from __future__ import annotations

from operator import index
from typing import Any

import torch

from pycroclass.errors import ParameterError


def box_means(block: torch.Tensor, size: int) -> torch.Tensor:
    """The mean of the ``size * size`` pixels around each of ``(…, y, x)``, at the edges of those that there are; NaN where one is NaN."""
    if size == 1:
        return block
    flat = block.reshape(-1, 1, *block.shape[-2:])
    return torch.nn.functional.avg_pool2d(flat, size, 1, size // 2, count_include_pad=False).reshape(block.shape)


def box_sizes(value: Any) -> tuple[int, ...]:
    """Sizes of boxes, as a parameter: odd numbers, rising.

    Raises
    ------
    ParameterError
        If they are not.
    """
    try:
        sizes = tuple(index(size) for size in (value if isinstance(value, tuple | list) else (value,)))
    except TypeError:
        sizes = ()
    if not sizes or any(size < 1 or size % 2 == 0 for size in sizes) or list(sizes) != sorted(set(sizes)):
        raise ParameterError(f"boxes must be odd numbers of pixels, the smallest first, such as (1, 3); got {value!r}")
    return sizes
