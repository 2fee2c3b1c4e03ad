"""Rings of pixels around a beam centre, one pixel wide, and what operators on them share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry, FloatArray, Geometry, PanelGeometry
from pycroclass.operator import Operator, set_field
from pycroclass.spec import Domain, Spec

_TILE_BYTES: Final = 4 << 20
"""Of float64, which stays in the cache."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Which pixels of an image lie on which ring.

    Parameters
    ----------
    ring : int64 tensor, shape (y, x)
        Number of the ring of each pixel: its radius, rounded; ``n_rings`` for all beyond the outermost ring that has a good pixel,
        and for those in gaps between panels.
    members : int32 tensor, shape (n_rings, width)
        The good pixels of each ring, filled up to ``width`` with ``y * x``, which stands for NaN.
    good : bool tensor, shape (y, x)
        Pixels that are not masked, nor in gaps.
    """

    ring: torch.Tensor
    members: torch.Tensor
    good: torch.Tensor

    def collect(self, block: torch.Tensor) -> torch.Tensor:
        """``(batch, channel, y, x)`` as ``(batch, channel, ring, width)``, NaN where a ring has no more pixels."""
        flat = block.flatten(2).flatten(0, 1)
        flat = torch.nn.functional.pad(flat, (0, 1), value=torch.nan)
        return flat.index_select(1, self.members.flatten()).reshape(*block.shape[:2], *self.members.shape)

    def mean(self, block: torch.Tensor) -> torch.Tensor:
        """Mean of each ring ``(batch, channel, ring)`` in float64; pixels that are NaN do not count, a ring without others gives NaN."""
        if block.device.type != "cpu":  # where the order of additions is anybody's
            return self.collect(block).nanmean(-1, dtype=torch.float64)
        images = block.flatten(2).flatten(0, 1)
        parts = torch.split(images, max(1, _TILE_BYTES // (8 * images.shape[1])))
        return torch.cat([self._mean(part.double()) for part in parts]).reshape(*block.shape[:2], len(self.members))

    def _mean(self, images: torch.Tensor) -> torch.Tensor:
        sums, n = self._sums(images), (self.members < self.ring.numel()).sum(1)
        if sums.isnan().any():
            is_nan = images.isnan()
            sums, n = self._sums(images.masked_fill(is_nan, 0)), self._sums(is_nan.logical_not().double())
        return sums / n

    def _sums(self, images: torch.Tensor) -> torch.Tensor:
        """Of the good pixels of each ring, ``(image, ring)``, added in the order of the pixels."""
        n_rings = len(self.members)
        ring = self.ring.where(self.good, n_rings).flatten()
        return images.new_zeros(len(images), n_rings + 1).index_add_(1, ring, images)[:, :-1]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """One value for each ring ``(batch, channel, ring)`` as an image ``(batch, channel, y, x)``, NaN beyond the last ring."""
        return torch.nn.functional.pad(values, (0, 1), value=torch.nan)[..., self.ring]


def count_rings(geometry: DetectorGeometry, mask: ArrayValue | None, shape: tuple[int, int]) -> int:
    """How many rings there are up to the outermost that has a good pixel."""
    radius = geometry.radius(shape)
    return int(np.rint(np.max(radius[_good(radius, mask)]))) + 1


@lru_cache(maxsize=8)
def rings_of(geometry: DetectorGeometry, mask: ArrayValue | None, shape: tuple[int, int], device: torch.device) -> Rings:
    """The rings of an image; kept, because it takes longer to sort the pixels than to use them."""
    radius = geometry.radius(shape)
    good = _good(radius, mask)
    ring = np.rint(np.where(np.isnan(radius), np.iinfo(np.int32).max, radius)).astype(np.int64)
    pixels = np.flatnonzero(good)
    ring_of_pixel = ring.ravel()[pixels]
    order = np.argsort(ring_of_pixel, kind="stable")
    counts = np.bincount(ring_of_pixel)
    place = np.arange(pixels.size) - np.repeat(np.cumsum(counts) - counts, counts)
    members = np.full((counts.size, counts.max()), ring.size, np.int32)
    members[ring_of_pixel[order], place] = pixels[order]
    ring = np.minimum(ring, counts.size)
    return Rings(*(torch.from_numpy(table).to(device) for table in (ring, members, good)))


def _good(radius: FloatArray, mask: ArrayValue | None) -> npt.NDArray[np.bool_]:
    """Which pixels count: those on a panel that are not masked."""
    good: npt.NDArray[np.bool_] = ~np.isnan(radius)
    if mask is not None:
        good &= np.asarray(mask.values == 0)
    if not good.any():
        raise AxisError("no pixel is left: the mask (nonzero is bad) covers all panels. Was it meant the other way round?")
    return good


def ring_median(collected: torch.Tensor) -> torch.Tensor:
    """Median of each ring ``(…, ring)``, between the two middle values where their number is even; NaN does not count."""
    if collected.device.type == "cpu" and collected.dtype in (torch.float32, torch.float64):
        return _median_of_sorted(collected.numpy())
    return _median_by_selection(collected)


def _median_of_sorted(collected: npt.NDArray[np.floating[Any]]) -> torch.Tensor:
    """NumPy sorts a ring, NaN last, in a small part of the time that PyTorch takes to select from it."""
    ordered = np.sort(collected, -1)
    n = np.count_nonzero(~np.isnan(ordered), -1)[..., None]
    places = (np.maximum(n - 1, 0) // 2, n // 2 % ordered.shape[-1])
    lower, upper = (torch.from_numpy(np.take_along_axis(ordered, place, -1)[..., 0]) for place in places)
    return (lower + upper) / 2


def _median_by_selection(collected: torch.Tensor) -> torch.Tensor:
    lower = collected.nanmedian(-1, keepdim=True).values
    n_up_to_lower = (collected <= lower).sum(-1)
    n = collected.isnan().logical_not_().sum(-1)
    next_above = torch.where(collected > lower, collected, torch.inf).amin(-1)
    lower = lower.squeeze(-1)
    upper = torch.where(2 * n_up_to_lower > n, lower, next_above)
    return torch.where(n > 0, (lower + upper) / 2, torch.nan)


@dataclass(frozen=True)
class _RadialOperator(Operator):
    """What operators on rings share: where the rings are, and which pixels count."""

    domain: ClassVar[Domain] = Domain.IMAGE

    centre: tuple[float, float] | str | None = field(default=None, kw_only=True)
    mask: ArrayValue | None = field(default=None, kw_only=True)
    geometry: DetectorGeometry | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.centre is not None and self.centre != "middle":
            set_field(self, "centre", _point(self.centre))
        if self.mask is not None:
            set_field(self, "mask", ArrayValue(self.mask))
            if np.all(self.mask.values):
                raise ParameterError(
                    "mask marks every pixel as bad (nonzero); zero stands for a good one. Was it meant the other way round?"
                )

    def geometry_of(self, spec: Spec) -> DetectorGeometry:
        """The geometry of images of ``spec``, with the beam at ``centre`` where that is given.

        Raises
        ------
        AxisError
            If there is no centre, the mask has not the shape of the images, or the panels are not those of these images.
        """
        height, width = spec.shape[-2:]
        if self.mask is not None and self.mask.shape != (height, width):
            raise AxisError(f"mask has shape {self.mask.shape}, the images {(height, width)}. Crop or bin the mask as the images were.")
        geometry = self.geometry or spec.geometry
        if isinstance(geometry, PanelGeometry):
            if self.centre is not None:
                raise AxisError(
                    "centre is for a flat detector; panels stand around the beam already. Leave it out, or put Assemble before."
                )
            geometry.check((height, width))
            return geometry
        if self.centre is not None:
            centre: Any = ((height - 1) / 2, (width - 1) / 2) if self.centre == "middle" else self.centre
            return replace(geometry, beam_centre=centre) if geometry else Geometry(centre)
        if geometry is None:
            name = type(self).__name__
            raise AxisError(
                f"{name} needs a beam centre, and the dataset's geometry is not known. Give centre=(y, x) in pixels, or centre='middle'; "
                f"in a recipe {name}: {{centre: [y, x]}}, or {name}: {{centre: middle}}."
            )
        return geometry

    def bind(self, spec: Spec) -> Self:
        return replace(self, geometry=self.geometry_of(spec))

    def rings(self, block: torch.Tensor) -> Rings:
        """The rings of the images of a block ``(…, y, x)``.

        Raises
        ------
        AxisError
            If the operator is not bound.
        """
        if self.geometry is None:
            raise AxisError(f"{type(self).__name__} must be bound to a dataset first: {type(self).__name__}(...).bind(spec)")
        return rings_of(self.geometry, self.mask, (block.shape[-2], block.shape[-1]), block.device)


def _point(value: Any) -> tuple[float, float]:
    try:
        return Geometry(value).beam_centre
    except ParameterError:
        raise ParameterError(f"centre must be a pair (y, x) of pixels, or 'middle', got {value!r}") from None
