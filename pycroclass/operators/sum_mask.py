"""Weighted sums of items: virtual detectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_TILE_BYTES: Final = 1 << 20


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
    takes_any_dtype: ClassVar[bool] = True

    mask: ArrayValue

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mask", _weights(self.mask))

    def output(self, spec: Spec) -> Spec:
        check_broadcasts("mask", self.mask, spec)
        return replace(spec, axes=(), dtype=floating_dtype(spec.dtype), geometry=None)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return _weighted_sums(block, (self.mask,))[:, 0]


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
    takes_any_dtype: ClassVar[bool] = True

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
        return _weighted_sums(block, self.masks)


def _weights(mask: npt.ArrayLike | ArrayValue) -> ArrayValue:
    value = ArrayValue(mask)
    if value.values.dtype.kind == "c" or not np.isfinite(value.values).all() or not value.values.any():
        raise ParameterError(f"a mask must hold real, finite weights that are not all zero, got {value!r}")
    return value


def _weighted_sums(block: torch.Tensor, masks: tuple[ArrayValue, ...]) -> torch.Tensor:
    """Shape ``(batch, mask)``: products of a few items at a time, which stay in the cache, with the weights of all masks."""
    part, weights = _matrix(masks, block.shape[1:], block.device)
    values = block.flatten(1)[:, part]
    wide = torch.promote_types(values.dtype, torch.float64)
    n_items = max(1, _TILE_BYTES // (wide.itemsize * values.shape[1]))
    tile = values.new_empty((min(n_items, len(values)), values.shape[1]), dtype=wide)
    sums = torch.cat([F.linear(tile[: len(some)].copy_(some), weights.to(wide)) for some in torch.split(values, n_items)])
    unclear = ~torch.isfinite(sums).all(1)  # a weight of 0 times NaN or inf is NaN
    if unclear.any():
        sums[unclear] = _only_weighted(values[unclear].to(wide), weights)
    return sums.to(floating(block[:0]).dtype)


def _only_weighted(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The same where values may be NaN or inf: those without weight do not count."""
    return torch.stack([values[:, row != 0] @ row[row != 0].to(values.dtype) for row in weights], dim=1)


@lru_cache(maxsize=64)
def _matrix(masks: tuple[ArrayValue, ...], shape: tuple[int, ...], device: torch.device) -> tuple[slice, torch.Tensor]:
    """From the first to the last value of an item that has a weight, and the weights there, ``(mask, value)``."""
    weights = np.stack([np.broadcast_to(mask.values, shape).ravel() for mask in masks]).astype(np.float64)
    used = np.flatnonzero(weights.any(0))
    part = slice(int(used[0]), int(used[-1]) + 1)
    return part, torch.from_numpy(weights[:, part].copy()).to(device)
