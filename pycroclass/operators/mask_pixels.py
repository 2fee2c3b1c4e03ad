"""Replacing pixels that are known to be bad."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_cdt

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts, number
from pycroclass.operators._tensor import as_tensor, floating, floating_dtype
from pycroclass.spec import Domain, Spec

Ring = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
_STEPS: Final = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


@dataclass(frozen=True)
class MaskPixels(Operator):
    """Replace bad pixels: by one number, or by interpolation from the good pixels around them.

    Interpolation goes inwards ring by ring. Ring 1 are the bad pixels that touch a good one (8 neighbours), ring ``r`` those that touch
    ring ``r - 1``; a pixel of ring ``r`` becomes the mean of its neighbours that are good or in a lower ring. A single bad pixel becomes
    the mean of its good neighbours. Each channel is on its own; what bad pixels held, NaN included, never enters.

    ``(channel, y, x)`` keeps its shape; float32, or float64 or complex where the data are.

    Parameters
    ----------
    mask : array_like, shape (y, x) or (channel, y, x)
        Nonzero where a pixel is bad.
    fill : "interpolate" or float
        The number may be NaN.

    Raises
    ------
    ParameterError
        If fill cannot be understood, or there is no good pixel to interpolate from.
    AxisError
        If the shape of the mask does not fit the images.

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, torch.nan, 5.0]]]])
    >>> MaskPixels([[0, 1, 0]]).transform(image).tolist()
    [[[[1.0, 3.0, 5.0]]]]
    >>> MaskPixels([[0, 1, 0]], fill=0).transform(image).tolist()
    [[[[1.0, 0.0, 5.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    mask: ArrayValue
    fill: float | str = "interpolate"

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "mask", ArrayValue(ArrayValue(self.mask).values != 0))
        if self.mask.values.ndim not in (2, 3):
            raise ParameterError(f"mask must be of shape (y, x) or (channel, y, x), got {self.mask.shape}")
        if self.fill != "interpolate":
            set_field(self, "fill", number("fill (or 'interpolate')", self.fill))
        elif self.mask.values.all((-2, -1)).any():
            raise ParameterError("the mask leaves no good pixel to interpolate from; nonzero must mean bad")

    def output(self, spec: Spec) -> Spec:
        check_broadcasts("mask", self.mask, spec)
        return replace(spec, dtype=floating_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        if self.fill != "interpolate":
            return floating(block).masked_fill(as_tensor(self.mask, block) != 0, float(self.fill))
        pixels = floating(block).flatten(1).clone()
        for index, neighbours, known in _rings(self.mask, tuple(block.shape[1:]), block.device):
            total = torch.zeros_like(pixels[:, index])
            for neighbour, is_known in zip(neighbours, known, strict=True):
                total += torch.where(is_known, pixels[:, neighbour], 0)
            pixels[:, index] = total / known.sum(0)
        return pixels.reshape(block.shape)


@lru_cache(maxsize=8)
def _rings(mask: ArrayValue, shape: tuple[int, ...], device: torch.device) -> list[Ring]:
    """The rings from the outside inwards, for items of ``shape``."""
    planes = np.broadcast_to(mask.values, shape)
    depth = np.stack([distance_transform_cdt(bad, "chessboard") for bad in planes])
    inwards = np.argsort(depth, axis=None, kind="stable")
    _, *rings = np.split(inwards, np.cumsum(np.bincount(depth.ravel()))[:-1])
    return [_ring(index, depth, device) for index in rings]


def _ring(index: npt.NDArray[np.int64], depth: npt.NDArray[np.int32], device: torch.device) -> Ring:
    """Places of a ring's pixels in the flattened item, shape (n,); of their 8 neighbours, (8, n); and which of those are known."""
    channel, y, x = np.unravel_index(index, depth.shape)
    dy, dx = np.array(_STEPS).T[:, :, None]
    inside = (y + dy >= 0) & (y + dy < depth.shape[1]) & (x + dx >= 0) & (x + dx < depth.shape[2])
    neighbours = np.ravel_multi_index((channel + 0 * dy, y + dy, x + dx), depth.shape, mode="clip")
    known = inside & (depth.ravel()[neighbours] < depth.ravel()[index])
    return torch.as_tensor(index, device=device), torch.as_tensor(neighbours, device=device), torch.as_tensor(known, device=device)
