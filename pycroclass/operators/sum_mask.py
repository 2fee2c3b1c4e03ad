"""Weighted sums of items: virtual detectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.spec import Axis, AxisKind, Domain, Spec


@dataclass(frozen=True)
class SumMask(Operator):
    """The sum of each item's values times the weights of a mask: one number for each item.

    A spectrum or an image ``(y, x)`` or ``(channel, y, x)`` becomes one value. With a disc or a ring in reciprocal space this is a bright-
    or dark-field detector (Ophus, Microsc. Microanal. 25, 563, 2019); with a window of a spectrum, an energy-filtered image.

    Parameters
    ----------
    mask : array
        Weights, of the shape of an item or such that it broadcasts to it; a mask of booleans sums what is True. Values whose weight is 0
        do not count, even where they are NaN. Sums are float64, the result float32 (float64 for float64).

    Raises
    ------
    ParameterError
        If the mask is all zero or not finite.
    AxisError
        If the mask does not fit the items.

    Examples
    --------
    >>> SumMask([0, 1, 2]).transform(torch.tensor([[9.0, 3.0, 4.0], [9.0, 0.0, 1.0]])).tolist()
    [11.0, 2.0]
    """

    domain: ClassVar[Domain] = Domain.ITEM

    mask: ArrayValue

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mask", _weights(self.mask))

    def output(self, spec: Spec) -> Spec:
        check_broadcasts("mask", self.mask, spec)
        return replace(spec, axes=(), dtype=floating_dtype(spec.dtype), geometry=None)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return _weighted_sum(block, self.mask)


@dataclass(frozen=True)
class VirtualDetector(Operator):
    """The sums of each item's values times the weights of several masks: one number for each item and mask.

    An image ``(y, x)`` or ``(channel, y, x)`` or a spectrum becomes ``(detector,)``; see `SumMask`.

    Parameters
    ----------
    masks : sequence of arrays, or one array of shape (detector, …)
        Weights of each detector, as in `SumMask`.

    Raises
    ------
    ParameterError
        If there is no mask, or one is all zero or not finite.
    AxisError
        If a mask does not fit the items.

    Examples
    --------
    >>> VirtualDetector([[1, 0, 0], [0, 1, 1]]).transform(torch.tensor([[9.0, 3.0, 4.0]])).tolist()
    [[9.0, 7.0]]
    """

    domain: ClassVar[Domain] = Domain.ITEM

    masks: tuple[ArrayValue, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        masks = self.masks.values if isinstance(self.masks, ArrayValue) else self.masks
        set_field(self, "masks", tuple(_weights(mask) for mask in masks))
        if not self.masks:
            raise ParameterError("masks must hold one array of weights for each detector, got none")

    def output(self, spec: Spec) -> Spec:
        for mask in self.masks:
            check_broadcasts("a mask", mask, spec)
        axis = Axis("detector", len(self.masks), kind=AxisKind.CHANNEL, quantity="detector")
        return replace(spec, axes=(axis,), dtype=floating_dtype(spec.dtype), geometry=None)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return torch.stack([_weighted_sum(block, mask) for mask in self.masks], dim=1)


def _weights(mask: npt.ArrayLike | ArrayValue) -> ArrayValue:
    value = ArrayValue(mask)
    if value.values.dtype.kind == "c" or not np.isfinite(value.values).all() or not value.values.any():
        raise ParameterError(f"a mask must hold real, finite weights that are not all zero, got {value!r}")
    return value


def _weighted_sum(block: torch.Tensor, mask: ArrayValue) -> torch.Tensor:
    """Shape ``(batch,)``; only values that have a weight are read."""
    block = floating(block)
    index, weights = _support(mask, block.shape[1:], block.device)
    values = block.flatten(1).index_select(1, index)
    wide = torch.promote_types(values.dtype, torch.float64)
    return (values.to(wide) @ weights.to(wide)).to(block.dtype)


@lru_cache(maxsize=64)
def _support(mask: ArrayValue, shape: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the values of an item that have a weight, and their weights."""
    weights = np.broadcast_to(mask.values, shape).ravel()
    index = np.flatnonzero(weights)
    return torch.from_numpy(index).to(device), torch.from_numpy(weights[index].astype(np.float64)).to(device)
