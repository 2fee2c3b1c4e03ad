"""The small network that sorts X-ray laser frames into hits and blanks."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain

_KERNEL: Final = 7
_POOL: Final = 5
_N_FILTERS: Final = 4
_N_HIDDEN: Final = 16
_N_MAPPING: Final = 9
"""Layers up to the second pooling."""


class RowNorm(nn.BatchNorm2d):
    """Batch normalisation with a mean, a variance, a scale and a shift for each row of an image, over batch, channels and columns.

    Parameters
    ----------
    n_rows : int
    """

    def __init__(self, n_rows: int) -> None:
        super().__init__(n_rows)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channel, y, x)`` to the same shape."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)

    def affine_rows(self) -> torch.Tensor:
        """What it does in eval mode: scale and shift of each row, of shape ``(2, n_rows)``."""
        if self.running_mean is None or self.running_var is None:
            raise ParameterError("a RowNorm without running statistics has no scale and shift of its own")
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return torch.stack((scale, self.bias - self.running_mean * scale))


class HitNetwork(ImageClassifier):
    """Two convolutions of four 7 x 7 filters, each normalised, rectified and pooled by 5, then 16 hidden units: 11 098 weights at 350.

    Parameters
    ----------
    n_classes : int
    n_channels : int
    size : int
        Rows and columns of an image.
    dropout : float
        Share of the values that training drops, after the first convolution, the second pooling and the hidden units.

    Notes
    -----
    P.-N. Li, 2018, for 350 x 350 crops of detector frames. Two things are as in the original, although they are not what one would
    choose today. The normalisation has one scale and one shift for each of the 344 and 62 rows (688 and 124 parameters), not for each
    filter; the original calls it sample-wise, which may also mean that its mean and variance are those of each frame alone: here they
    are those of the training data. And the logits pass a ReLU: where both are negative the answer is one half each and nothing is
    learned from the frame.

    Examples
    --------
    >>> HitNetwork()(torch.zeros(3, 1, 350, 350)).shape
    torch.Size([3, 2])
    """

    def __init__(self, *, n_classes: int = 2, n_channels: int = 1, size: int = 350, dropout: float = 0.25) -> None:
        first = size - _KERNEL + 1
        second = first // _POOL - _KERNEL + 1
        left = second // _POOL
        if left < 1:
            raise ParameterError(f"size must be at least {_smallest()} for two convolutions and two poolings, got {size}")
        super().__init__((n_channels, size, size), n_features=_N_HIDDEN, n_classes=n_classes)
        self.trunk = nn.Sequential(
            nn.Conv2d(n_channels, _N_FILTERS, _KERNEL),
            nn.Dropout(dropout),
            RowNorm(first),
            nn.ReLU(),
            nn.MaxPool2d(_POOL),
            nn.Conv2d(_N_FILTERS, _N_FILTERS, _KERNEL),
            RowNorm(second),
            nn.ReLU(),
            nn.MaxPool2d(_POOL),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(_N_FILTERS * left**2, _N_HIDDEN),
            nn.BatchNorm1d(_N_HIDDEN),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        for layer in list(self.trunk)[:_N_MAPPING]:
            items = layer(items)
        return items

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        for layer in list(self.trunk)[_N_MAPPING:]:
            feature_map = layer(feature_map)
        return feature_map

    def depth_groups(self) -> list[list[str]]:
        return [["trunk.0", "trunk.2"], ["trunk.5", "trunk.6"], ["trunk.11", "trunk.12"], ["head"]]

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        return F.relu(super().logits(embedding))


@network("hit_network", domain=Domain.IMAGE)
def hit_network(*, n_classes: int = 2, n_channels: int = 1, size: int = 350, dropout: float = 0.25) -> HitNetwork:
    """`HitNetwork`."""
    return HitNetwork(n_classes=n_classes, n_channels=n_channels, size=size, dropout=dropout)


def _smallest() -> int:
    return (_POOL + _KERNEL - 1) * _POOL + _KERNEL - 1
