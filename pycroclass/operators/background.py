"""Smooth backgrounds of images, and taking them away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Composable, Operator, set_field
from pycroclass.operators._checks import check_real
from pycroclass.operators._rings import _RadialOperator, ring_median
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class RadialMedian(_RadialOperator):
    """Each pixel becomes the median of its ring around the beam: the round background of a diffraction pattern.

    A pixel belongs to the ring ``rint(r)``, ``r`` its distance from the beam centre in pixels. ``(channel, y, x)`` keeps its shape.

    Parameters
    ----------
    centre : (y, x) or "middle", optional
        Of the rings, in pixels; an integer is the centre of a pixel. By default the beam centre of the dataset's geometry.
    mask : array, shape (y, x), optional
        Bad pixels are nonzero: they do not count, but get the median of their ring. Pixels that are NaN are bad too.
    geometry : Geometry or PanelGeometry, optional
        Instead of the dataset's.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood, or the mask leaves no pixel.
    AxisError
        If there is no centre, the mask has not the shape of the images, or the data are complex.

    Notes
    -----
    A ring without a good pixel gives NaN.

    Examples
    --------
    >>> from pycroclass.geometry import Geometry
    >>> image = torch.tensor([[[[1.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 40.0, 1.0]]]])
    >>> RadialMedian(geometry=Geometry((1, 1))).transform(image)[0, 0].tolist()
    [[1.5, 1.5, 1.5], [1.5, 5.0, 1.5], [1.5, 1.5, 1.5]]
    """

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        rings = self.rings(block)
        return rings.spread(ring_median(rings.collect(block)))


@dataclass(frozen=True)
class SubtractBackground(Operator):
    """Each image less its background, which is what an operator that smooths makes of it: ``I - background(I)``.

    ``(channel, y, x)`` keeps its shape.

    Parameters
    ----------
    background : Operator
        On images, of the same shape: ``RadialMedian()``, ``GaussianBlur(sigma)``, ``Median(size)``.

    Raises
    ------
    ParameterError
        If it is no operator on images.
    AxisError
        If it changes the shape of the images, or does not fit them.

    Examples
    --------
    >>> from pycroclass.geometry import Geometry
    >>> image = torch.tensor([[[[1.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 40.0, 1.0]]]])
    >>> SubtractBackground(RadialMedian(geometry=Geometry((1, 1)))).transform(image)[0, 0, 2].tolist()
    [-0.5, 38.5, -0.5]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    background: Operator = RadialMedian()

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.background.steps() if isinstance(self.background, Composable) else ()
        if len(steps) != 1 or not isinstance(steps[0], Operator) or steps[0].domain is not Domain.IMAGE:
            raise ParameterError(
                f"background must be one operator on images, such as RadialMedian() or GaussianBlur(20), got {self.background!r}"
            )
        set_field(self, "background", steps[0])

    def bind(self, spec: Spec) -> SubtractBackground:
        return replace(self, background=self.background.bind(spec))

    def halo(self) -> int:
        return self.background.halo()

    def output(self, spec: Spec) -> Spec:
        smooth = self.background.output(spec)
        if not isinstance(smooth, Spec) or (smooth.names, smooth.shape) != (spec.names, spec.shape):
            raise AxisError(f"{type(self.background).__name__} changes the axes {spec.names} {spec.shape}: it gives no background of them")
        return replace(spec, dtype=smooth.dtype)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        background = self.background.transform(block)
        if isinstance(background, dict):
            raise ParameterError(f"{type(self.background).__name__} gives several results: it gives no background")
        return floating(block) - background
