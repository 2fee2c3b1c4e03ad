"""What an image looks like in a few hundred numbers that need no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real
from pycroclass.spec import Axis, AxisKind, Domain, Spec

_SIDE: Final = 64
_CELL: Final = 8
_N_DIRECTIONS: Final = 9
_N_RADII: Final = 24
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_N_PATTERNS: Final = 10
_PER_PIXEL: Final = 96
"""Bytes: eight neighbours, patterns and float64 sums."""
_PER_IMAGE: Final = 4 << 20
"""Bytes: the votes of the small image for each direction."""


def quantiles(images: torch.Tensor) -> torch.Tensor:
    """The 1, 5, 25, 50, 75, 95 and 99 % quantiles of each channel of ``(batch, channel, y, x)``, shape ``(batch, 7 n_channels)``."""
    ranked = images.flatten(2).sort(2).values  # torch.quantile refuses more than 16 million values
    places = [q * (ranked.shape[2] - 1) for q in _QUANTILES]
    found = [torch.lerp(ranked[..., math.floor(p)], ranked[..., math.ceil(p)], p - math.floor(p)) for p in places]
    return torch.stack(found, 2).flatten(1)


def radial_means(images: torch.Tensor) -> torch.Tensor:
    """Mean over the channels in 24 rings around the middle, out to the corners, shape ``(batch, 24)``."""
    grey = images.mean(1)
    y, x = (torch.arange(size, device=grey.device) - (size - 1) / 2 for size in grey.shape[-2:])
    radius = torch.hypot(y[:, None], x[None])
    ring = (radius / radius.max().clamp_min(1) * _N_RADII).long().clamp_max(_N_RADII - 1).flatten()
    sums = torch.zeros(len(grey), _N_RADII, dtype=torch.float64, device=grey.device).index_add_(1, ring, grey.flatten(1).double())
    return (sums / torch.bincount(ring, minlength=_N_RADII).clamp_min(1)).float()


def binary_patterns(images: torch.Tensor) -> torch.Tensor:
    """Histogram of uniform local binary patterns of the eight neighbours (Ojala et al., TPAMI 2002), shape ``(batch, 10)``."""
    grey = images.mean(1)
    padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    height, width = grey.shape[-2:]
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    bits = torch.stack([padded[:, y : y + height, x : x + width] >= grey for y, x in ring])
    n_changes = (bits != bits.roll(1, 0)).sum(0)
    pattern = torch.where(n_changes <= 2, bits.sum(0), len(ring) + 1).flatten(1)
    first = _N_PATTERNS * torch.arange(len(grey), device=grey.device)[:, None]
    counts = torch.bincount((first + pattern).flatten(), minlength=_N_PATTERNS * len(grey)).reshape(-1, _N_PATTERNS)
    return counts.float() / (height * width)


def oriented_gradients(images: torch.Tensor) -> torch.Tensor:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), shape ``(batch, 576)``.

    Of the mean over the channels at 64 x 64, in cells of 8 x 8 with 9 directions, normalised over the whole image.
    """
    small = F.interpolate(images.mean(1, keepdim=True), (_SIDE, _SIDE), mode="bilinear", antialias=True)[:, 0]
    y, x = torch.gradient(small, dim=(1, 2))
    strength = torch.hypot(y, x)
    direction = (torch.atan2(y, x) % math.pi / math.pi * _N_DIRECTIONS).long().clamp_max(_N_DIRECTIONS - 1)
    votes = F.one_hot(direction, _N_DIRECTIONS).float() * strength[..., None]
    cells: torch.Tensor = F.avg_pool2d(votes.permute(0, 3, 1, 2), _CELL).flatten(1)
    return F.normalize(cells, dim=1, eps=1e-6)


FEATURES: Final[Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "quantiles": quantiles,
    "radial": radial_means,
    "lbp": binary_patterns,
    "hog": oriented_gradients,
}
"""What `ImageFeatures` can tell of images ``(batch, channel, y, x)``, by name."""
_LENGTHS: Final = {"quantiles": len(_QUANTILES), "radial": _N_RADII, "lbp": _N_PATTERNS, "hog": (_SIDE // _CELL) ** 2 * _N_DIRECTIONS}


def joined_features(images: torch.Tensor, kinds: Iterable[str]) -> torch.Tensor:
    """Features of several kinds of ``(batch, channel, y, x)``, side by side."""
    return torch.cat([FEATURES[kind](images) for kind in kinds], 1)


@dataclass(frozen=True)
class ImageFeatures(Operator):
    """Features of an image that need no training: ``(channel, y, x)`` of any size becomes ``(feature,)``, float32.

    ``quantiles`` are the 1, 5, 25, 50, 75, 95 and 99 % quantiles of each channel; the others look at the mean over the channels:
    ``radial`` its mean in 24 rings around the middle, ``lbp`` the histogram of its uniform local binary patterns (Ojala et al., TPAMI
    2002; 10 numbers), ``hog`` the histograms of its oriented gradients (Dalal and Triggs, CVPR 2005; 576 numbers of the image at 64 x 64).

    Parameters
    ----------
    kinds : tuple of str
        Which, in this order.

    Raises
    ------
    ParameterError
        If a kind is unknown, comes twice, or there is none.
    AxisError
        If the data are complex.

    Notes
    -----
    An image that holds NaN or inf gets NaN. The kinds are in different units: `StandardizeFeatures` makes them weigh alike.

    Examples
    --------
    >>> ImageFeatures(("quantiles", "lbp")).transform(torch.zeros(2, 3, 20, 30)).shape
    torch.Size([2, 31])
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-4

    kinds: tuple[str, ...] = tuple(FEATURES)

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "kinds", (self.kinds,) if isinstance(self.kinds, str) else tuple(self.kinds))
        if not self.kinds or len(set(self.kinds)) < len(self.kinds) or not set(self.kinds) <= set(FEATURES):
            raise ParameterError(f"kinds must be some of {', '.join(FEATURES)}, each once, got {self.kinds}")

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        n = sum(_LENGTHS[kind] * (spec.shape[0] if kind == "quantiles" else 1) for kind in self.kinds)
        feature = Axis("feature", n, kind=AxisKind.SPECTRAL, quantity="feature")
        return replace(spec, axes=(feature,), dtype=np.dtype(np.float32), quantity="feature", units="generic", geometry=None, classes=())

    def equal_weights(self, n_features: int) -> npt.NDArray[np.float64]:
        """For each of the features a factor that makes all kinds weigh alike once features are standardised: 1 / sqrt(length of its kind).

        Raises
        ------
        ParameterError
            If images have another number of features.
        """
        n_rest = sum(_LENGTHS[kind] for kind in self.kinds if kind != "quantiles")
        lengths = [n_features - n_rest if kind == "quantiles" else _LENGTHS[kind] for kind in self.kinds]
        if sum(lengths) != n_features or min(lengths) < 1:
            raise ParameterError(f"images have no {n_features} features of the kinds {', '.join(self.kinds)}")
        return np.concatenate([np.full(length, length**-0.5) for length in lengths])

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return 16 * math.prod(spec.shape) + _PER_PIXEL * math.prod(spec.shape[1:]) + _PER_IMAGE

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        is_finite = torch.isfinite(block).flatten(1).all(1)
        images = block.where(is_finite[:, None, None, None], 0).float()
        return joined_features(images, self.kinds).where(is_finite[:, None], torch.nan)
