"""Bringing images to another number of pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.errors import AxisError
from pycroclass.geometry import PanelGeometry
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_evenly_spaced, check_real, integers
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class Resize(Operator):
    """Resample each image to ``size`` pixels: bilinear, low-pass filtered where it shrinks.

    A new pixel is the mean of the old ones under a triangle of half-width ``max(1, n_old / n_new)`` pixels around it, as in Pillow's
    ``BILINEAR``. ``(channel, y, x)`` becomes ``(channel, *size)``; the field of view stays, so positions, pixel size and beam centre
    follow. To keep counts, use `Bin`.

    Parameters
    ----------
    size : int or (y, x)
        Of the result, in pixels.

    Raises
    ------
    ParameterError
        If size cannot be understood.
    AxisError
        If the data are complex, the axes not evenly spaced, or the detector has panels, whose pixels would mix.

    Examples
    --------
    >>> Resize((1, 4)).transform(torch.tensor([[[[0.0, 8.0]]]])).tolist()
    [[[[0.0, 2.0, 6.0, 8.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "size", integers("size", self.size))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        y, x = spec.axes[-2:]
        check_evenly_spaced(self, y, x)
        if isinstance(spec.geometry, PanelGeometry):
            raise AxisError("Resize would mix pixels of panels that stand apart. Put Assemble before, or Bin by a factor that fits them.")
        height, width = integers("size", self.size)
        geometry = spec.geometry and spec.geometry.scaled(y.size / height, x.size / width)
        resized = spec.with_axes(_resampled(y, height), _resampled(x, width))
        return replace(resized, dtype=real_dtype(spec.dtype), geometry=geometry)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        size = integers("size", self.size)
        return torch.nn.functional.interpolate(floating(block), size, mode="bilinear", align_corners=False, antialias=True)


def _resampled(axis: Axis, size: int) -> Axis:
    scale = axis.size / size
    return replace(axis, size=size, offset=axis.offset + axis.step * (scale - 1) / 2, step=axis.step * scale)
