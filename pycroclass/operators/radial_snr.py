"""Signal over the noise of a ring: what sticks out of a diffraction pattern's round background."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Final

import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import set_field
from pycroclass.operators._boxes import box_means, box_sizes
from pycroclass.operators._checks import check_real, number
from pycroclass.operators._rings import Rings, _RadialOperator, ring_median
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Spec

_SD_OF_MAD: Final = 1.4826
_SD_OF_MEAN_DEVIATION: Final = 1.2533141


@dataclass(frozen=True)
class RadialSNR(_RadialOperator):
    """How many standard deviations each pixel lies above its ring: ``(I - median(r)) / (1.4826 MAD(r))``, clipped.

    ``MAD(r)`` is the median of ``|I - median(r)|`` over the ring ``rint(r)``; times 1.4826 it is the standard deviation of normal noise,
    and a few bright spots do not change it. Where more than half of a ring is equal, as in weak counting data, it is zero: then
    ``1.2533`` times the mean of ``|I - median(r)|`` stands in (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993); where all
    of a ring is equal, the answer is 0. ``(channel, y, x)`` keeps its shape.

    Parameters
    ----------
    clip : (low, high)
        What the result is limited to.
    boxes : tuple of int
        Odd sizes. With ``(1, 3)`` each pixel gets the larger one of its own signal to noise and that of the mean of the 3 x 3 pixels
        around it: a peak stands out best in a box as wide as it is, and how wide peaks are differs from detector to detector. Boxes with
        a bad pixel do not count; they reach over the edges of panels that lie side by side in the array.
    centre : (y, x) or "middle", optional
        Of the rings, in pixels; an integer is the centre of a pixel. By default the beam centre of the dataset's geometry.
    mask : array, shape (y, x), optional
        Bad pixels are nonzero: they do not count, and get 0. Pixels that are NaN are bad too.
    geometry : Geometry or PanelGeometry, optional
        Instead of the dataset's.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood, or the mask leaves no pixel.
    AxisError
        If there is no centre, the mask has not the shape of the images, or the data are complex.

    Examples
    --------
    >>> from pycroclass.geometry import Geometry
    >>> image = torch.tensor([[[[1.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 40.0, 1.0]]]])
    >>> RadialSNR(geometry=Geometry((1, 1))).transform(image)[0, 0, 2].round().tolist()
    [0.0, 52.0, 0.0]
    """

    tolerance: ClassVar[float] = 1e-5

    clip: tuple[float, float] = (0.0, 100.0)
    boxes: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            low, high = (number("clip", value) for value in self.clip)
        except (TypeError, ValueError):
            raise ParameterError(f"clip must be a pair (low, high) of numbers, got {self.clip!r}") from None
        if not low <= 0 <= high:
            raise ParameterError(f"clip must hold 0, which stands for a bad pixel, got {self.clip!r}")
        set_field(self, "clip", (low, high))
        set_field(self, "boxes", box_sizes(self.boxes))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype), quantity="signal to noise", units="generic")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        rings = self.rings(block)
        if self.boxes != (1,):
            block = block.where(rings.good, torch.nan)
        snr = [_signal_to_noise(box_means(block, size), rings) for size in self.boxes]
        return reduce(torch.maximum, snr).clamp(*self.clip)


def _signal_to_noise(block: torch.Tensor, rings: Rings) -> torch.Tensor:
    """0 where a pixel is bad."""
    collected = rings.collect(block)
    median = ring_median(collected)
    deviation = (collected - median[..., None]).abs_()
    mad = _SD_OF_MAD * ring_median(deviation)
    noise = mad
    if (mad == 0).any():
        noise = torch.where(mad > 0, mad, _SD_OF_MEAN_DEVIATION * deviation.nanmean(-1))
    snr = (block - rings.spread(median)) / rings.spread(noise)
    return snr.where(rings.good & ~snr.isnan(), 0)
