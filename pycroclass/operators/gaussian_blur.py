"""Smoothing images with a Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import finite
from pycroclass.operators._tensor import floating, floating_dtype
from pycroclass.operators._windows import correlated
from pycroclass.spec import Domain, Spec

_TRUNCATE: Final = 4.0


@dataclass(frozen=True)
class GaussianBlur(Operator):
    """Each pixel becomes the mean of its neighbours, weighted by ``exp(-distance² / (2 sigma²))``.

    ``(channel, y, x)`` keeps its shape, each channel on its own. The weights end at 4 sigma and sum to one; the image is continued by its
    reflection. It is ``scipy.ndimage.gaussian_filter(image, sigma, mode="reflect", truncate=4)``.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian, in pixels.

    Raises
    ------
    ParameterError
        If sigma is not positive and finite.

    Examples
    --------
    >>> image = torch.zeros(1, 1, 1, 9)
    >>> image[..., 4] = 1
    >>> [round(value, 3) for value in GaussianBlur(1.0).transform(image).flatten().tolist()]
    [0.0, 0.004, 0.054, 0.242, 0.399, 0.242, 0.054, 0.004, 0.0]
    """

    domain: ClassVar[Domain] = Domain.IMAGE

    sigma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "sigma", finite("sigma", self.sigma))
        if self.sigma <= 0:
            raise ParameterError(f"sigma must be positive, got {self.sigma!r}")

    def halo(self) -> int:
        return int(_TRUNCATE * self.sigma + 0.5)

    def output(self, spec: Spec) -> Spec:
        return replace(spec, dtype=floating_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        radius = self.halo()
        bell = [math.exp(-0.5 * (i / self.sigma) ** 2) for i in range(-radius, radius + 1)]
        weights = [value / math.fsum(bell) for value in bell]
        return correlated(correlated(floating(block), -2, weights), -1, weights)
