"""Moving each image of a stack by its own fraction of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError
from pycroclass.operator import Items, Operator, set_field
from pycroclass.operators._checks import finite
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.operators._windows import correlated
from pycroclass.operators.crop import Crop
from pycroclass.spec import Domain, Spec

_POLE: Final = math.sqrt(3) - 2
_MARGIN: Final = 14
"""Coefficients farther away than this weigh less than 1e-8."""
_SLACK: Final = 1e-9
"""Of a position, in pixels: a rounding error does not make the last pixel one from outside."""
_TO_COEFFICIENTS: Final = tuple(-6 * _POLE / (1 - _POLE**2) * _POLE ** abs(k) for k in range(-_MARGIN, _MARGIN + 1))


@dataclass(frozen=True)
class Shift(Operator):
    """Each image moved by its own shift, by cubic B-spline interpolation: ``result[r] = I(r - shift)``.

    Image number ``i`` of the dataset, counted over its navigation axes in C order, moves by ``shifts[i]``, as
    ``scipy.ndimage.shift(image, shift, order=3)`` moves it. Pixels to which nothing was moved get ``fill``. A NaN in an image makes its
    row and its column NaN: mend bad pixels before. ``(channel, y, x)`` keeps its shape, positions and units; float32, or float64 or
    complex where the data are. `RigidDrift` makes one that takes the drift off.

    Parameters
    ----------
    shifts : array_like, shape (n, 2)
        Along y and x, in pixels.
    fill : float, optional
        By default NaN.

    Raises
    ------
    ParameterError
        If the shifts are not (n, 2) finite numbers.
    DataError
        When it runs on a dataset of more images than there are shifts.

    References
    ----------
    M. Unser, IEEE Signal Process. Mag. 16 (6), 22 (1999).

    Examples
    --------
    >>> image = torch.arange(12.0).reshape(1, 1, 3, 4)
    >>> Shift([[1, -2]], fill=-1).apply(image, Items(np.array([0])))[0, 0].round().tolist()
    [[-1.0, -1.0, -1.0, -1.0], [2.0, 3.0, -1.0, -1.0], [6.0, 7.0, -1.0, -1.0]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    shifts: ArrayValue
    fill: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        shifts = ArrayValue(np.asarray(ArrayValue(self.shifts).values, np.float64))
        if shifts.values.ndim != 2 or shifts.shape[1] != 2 or not len(shifts.values) or not np.isfinite(shifts.values).all():
            raise ParameterError(f"shifts must be finite numbers of shape (n, 2), for (y, x) of each image, got {shifts!r}")
        set_field(self, "shifts", shifts)
        if self.fill is not None:
            set_field(self, "fill", finite("fill", self.fill))

    def crop(self, height: int, width: int) -> Crop:
        """The part of images of this size that every shifted image covers, as an operator to put behind.

        Raises
        ------
        DataError
            If there is no such part.
        """
        least, most = np.floor(self.shifts.values.min(0)), np.ceil(self.shifts.values.max(0))
        start = np.maximum(most, 0).astype(int)
        stop = (np.array([height, width]) + np.minimum(least, 0)).astype(int)
        if (stop <= start).any():
            raise DataError(f"images of {(height, width)} that move from {tuple(least)} to {tuple(most)} pixels have no part in common")
        size, centre = stop - start, start + (stop - start - 1) / 2
        return Crop((int(size[0]), int(size[1])), centre=(float(centre[0]), float(centre[1])), axes=self.axes)

    def output(self, spec: Spec) -> Spec:
        return replace(spec, dtype=floating_dtype(spec.dtype))

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 3 * super().workspace(spec, device)

    def apply(self, block: torch.Tensor, items: Items) -> torch.Tensor:
        n = len(self.shifts.values)
        if len(items.index) and items.index.max() >= n:
            raise DataError(
                f"there are shifts for {n} images, and this is image {items.index.max()}. Fit on the stack that is to be moved."
            )
        shifts = torch.from_numpy(self.shifts.values[items.index]).to(block.device)
        return self._moved(self._moved(floating(block), -2, shifts[:, 0]), -1, shifts[:, 1])

    def _moved(self, block: torch.Tensor, dim: int, shifts: torch.Tensor) -> torch.Tensor:
        """Each image moved along one axis."""
        n = block.shape[dim]
        coefficients = correlated(block, dim, _TO_COEFFICIENTS)
        whole = torch.floor(-shifts)
        at = torch.arange(n, device=block.device) + whole.to(torch.int64)[:, None]
        result = torch.zeros_like(block)
        for k, weights in zip((-1, 0, 1, 2), _spline(-shifts - whole), strict=True):
            nearest = (at + k) % (2 * n)  # the image is continued by its reflection
            nearest = torch.minimum(nearest, 2 * n - 1 - nearest)
            result.addcmul_(torch.take_along_dim(coefficients, _along(nearest, dim), dim), _along(weights[:, None].to(block.dtype), dim))
        position = torch.arange(n, device=block.device) - shifts[:, None]
        fill = math.nan if self.fill is None else self.fill
        return torch.where(_along((position < -_SLACK) | (position > n - 1 + _SLACK), dim), fill, result)


def _spline(t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Weights of the coefficients at -1, 0, 1, 2 for a place ``t`` between 0 and 1."""
    u = 1 - t
    return u**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * u**2 + 3 * u**3) / 6, t**3 / 6


def _along(values: torch.Tensor, dim: int) -> torch.Tensor:
    """``(batch, n)`` as ``(batch, 1, n, 1)`` for the axis y, as ``(batch, 1, 1, n)`` for x."""
    return values[:, None, :, None] if dim == -2 else values[:, None, None, :]
