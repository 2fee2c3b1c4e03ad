"""The profile of an image along the distance from its beam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch

from pycroclass.errors import ParameterError
from pycroclass.geometry import DetectorGeometry
from pycroclass.operators._checks import check_real
from pycroclass.operators._rings import _RadialOperator, count_rings, ring_median
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Axis, AxisKind, Spec

_STATISTICS = ("mean", "median", "sd")


@dataclass(frozen=True)
class RadialProfile(_RadialOperator):
    """Mean, median or standard deviation of each ring of pixels around the beam.

    A pixel belongs to the ring ``rint(r)``, ``r`` its distance from the beam centre in pixels. ``(channel, y, x)`` becomes
    ``(channel, q)`` where distance, pixel size and wavelength are known: ``q = 4 pi / wavelength sin(atan(r pixel_size / distance) / 2)``
    in 1/nm. Else it becomes ``(channel, radius)``: in the units of the axes where those are reciprocal and equal along y and x, else in
    pixels. The last ring is the outermost that has a good pixel.

    Parameters
    ----------
    statistic : {"mean", "median", "sd"}
        ``sd`` is that of the population (divided by n). Sums are float64.
    centre : (y, x) or "middle", optional
        Of the rings, in pixels; an integer is the centre of a pixel. By default the beam centre of the dataset's geometry.
    mask : array, shape (y, x), optional
        Bad pixels are nonzero. Pixels that are NaN are bad too.
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
    >>> image = torch.tensor([[[[4.0, 1.0, 4.0], [1.0, 7.0, 3.0], [4.0, 1.0, 4.0]]]])
    >>> RadialProfile(geometry=Geometry((1, 1))).transform(image).tolist()  # the corners are at 1.41, too
    [[[7.0, 2.75]]]
    """

    tolerance: ClassVar[float] = 1e-5

    statistic: Literal["mean", "median", "sd"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistic not in _STATISTICS:
            raise ParameterError(f"statistic must be one of {', '.join(_STATISTICS)}, got {self.statistic!r}")

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        geometry = self.geometry_of(spec)
        axis = _radial_axis(spec, geometry, count_rings(geometry, self.mask, (spec.shape[-2], spec.shape[-1])))
        return replace(spec, axes=(*spec.axes[:-2], axis), dtype=real_dtype(spec.dtype), geometry=None)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        rings = self.rings(block)
        if self.statistic == "median":
            return ring_median(rings.collect(block))
        mean = rings.mean(block)
        if self.statistic == "sd":
            mean = rings.mean((block - rings.spread(mean)).square()).sqrt()
        return mean.to(block.dtype)


def _radial_axis(spec: Spec, geometry: DetectorGeometry, n_rings: int) -> Axis:
    radius = np.arange(n_rings, dtype=np.float64)
    y, x = spec.axes[-2:]
    if geometry.is_calibrated:
        return Axis.from_values("q", geometry.q(radius) * 1e-9, kind=AxisKind.SPECTRAL, quantity="scattering vector", units="1/nm")
    reciprocal = y.kind is x.kind is AxisKind.RECIPROCAL and y.explicit is x.explicit is None
    if reciprocal and y.units == x.units != "generic" and np.isclose(abs(y.step), abs(x.step), rtol=1e-6, atol=0):
        return Axis("radius", n_rings, kind=AxisKind.SPECTRAL, quantity=x.quantity, units=x.units, step=abs(x.step))
    return Axis("radius", n_rings, kind=AxisKind.SPECTRAL, quantity="radius", units="px")
