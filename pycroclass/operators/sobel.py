"""Edges of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch

from pycroclass.operator import Operator
from pycroclass.operators._checks import check_real
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.operators._windows import correlated
from pycroclass.spec import Domain, Spec

_DIFFERENCE: Final = (-1.0, 0.0, 1.0)
_SMOOTH: Final = (1.0, 2.0, 1.0)


@dataclass(frozen=True)
class Sobel(Operator):
    """The size of the gradient of each image: ``hypot(d/dy, d/dx)`` with Sobel's 3 x 3 kernels.

    ``(channel, y, x)`` keeps its shape, each channel on its own. A kernel is the difference ``(-1, 0, 1)`` along one axis, smoothed by
    ``(1, 2, 1)`` along the other, so a slope of 1 per pixel gives 8. The image is continued by its reflection, as in
    ``scipy.ndimage.sobel(image, axis, mode="reflect")``.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Sobel().transform(torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]])).tolist()
    [[[[4.0, 8.0, 8.0, 4.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    def halo(self) -> int:
        return 1

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype), quantity=f"gradient of {spec.quantity}")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        block = floating(block)
        along_y = correlated(correlated(block, -2, _DIFFERENCE), -1, _SMOOTH)
        along_x = correlated(correlated(block, -1, _DIFFERENCE), -2, _SMOOTH)
        return torch.hypot(along_y, along_x)
