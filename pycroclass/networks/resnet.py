"""Small residual networks for images and for spectra.

Pre-activation residual blocks with batch normalisation (He et al., ECCV 2016, arXiv:1603.05027).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import Classifier, ImageClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain

_CONVOLUTION: Final[dict[int, Callable[..., nn.Module]]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: Final[dict[int, Callable[..., nn.Module]]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_MAXIMUM: Final[dict[int, Callable[..., nn.Module]]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_N_STAGES: Final = 3
_REDUCTION: Final = 2**_N_STAGES
_WIDENING: Final = 2 ** (_N_STAGES - 1)
_N_POSITIONS: Final = 16


class ResidualBlock(nn.Module):
    """``x + conv(act(conv(act(x))))``, where a stride or another number of channels makes the shortcut a convolution of 1.

    Parameters
    ----------
    n_dimensions : 1 or 2
    n_in, n_out : int
        Channels.
    stride : int
    """

    def __init__(self, n_dimensions: Literal[1, 2], n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTION[n_dimensions], _NORM[n_dimensions]
        self.norm1 = norm(n_in)
        self.conv1 = convolution(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = norm(n_out)
        self.conv2 = convolution(n_out, n_out, 3, padding=1, bias=False)
        self.shortcut = convolution(n_in, n_out, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, n_in, *size)`` to ``(batch, n_out, *ceil(size / stride))``."""
        activated = F.relu(self.norm1(x))
        result: torch.Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated)))) + self.shortcut(activated)
        return result


class ImageResNet(ImageClassifier):
    """A residual network for images: three stages of halved size and doubled width, then mean and maximum over the image.

    Parameters
    ----------
    n_classes : int
    n_channels : int
    width : int
        Channels of the first convolution.
    dropout : float
        Share of the features that training drops before the last layer.

    Notes
    -----
    The input is standardised per channel with the statistics of all training data, so counts of any scale will do. Any image size is
    taken; from about 16 pixels on the last stage still sees more than one position.

    Examples
    --------
    >>> ImageResNet(n_classes=3, n_channels=2)(torch.zeros(5, 2, 33, 47)).shape
    torch.Size([5, 3])
    """

    def __init__(self, *, n_classes: int, n_channels: int = 1, width: int = 16, dropout: float = 0.0) -> None:
        _check_positive(n_classes=n_classes, n_channels=n_channels, width=width)
        super().__init__((n_channels, None, None), n_features=2 * _WIDENING * width, n_classes=n_classes, dropout=dropout)
        self.standardise = nn.BatchNorm2d(n_channels, momentum=None, affine=False)
        self.trunk = _trunk(2, n_channels, width)

    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.trunk(self.standardise(items))
        return features

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        return torch.cat((feature_map.mean((-2, -1)), feature_map.amax((-2, -1))), 1)

    def depth_groups(self) -> list[list[str]]:
        return [*_trunk_groups(), ["head"]]


class SpectrumResNet(Classifier):
    """A residual network for spectra and radial profiles of one length; it knows where in the spectrum a feature lies.

    Parameters
    ----------
    n_classes : int
    length : int
        Points of a spectrum.
    width : int
        Channels of the first convolution.
    n_features : int
        Length of the embedding.
    dropout : float
        Share of the features that training drops before the last layer.

    Notes
    -----
    Three stages of halved length and doubled width, then the mean in up to 16 sections of the spectrum, each with weights of its own.

    Examples
    --------
    >>> SpectrumResNet(n_classes=4, length=175)(torch.zeros(5, 175)).shape
    torch.Size([5, 4])
    """

    def __init__(self, *, n_classes: int, length: int, width: int = 16, n_features: int = 64, dropout: float = 0.0) -> None:
        _check_positive(n_classes=n_classes, length=length, width=width, n_features=n_features)
        super().__init__((length,), n_features=n_features, n_classes=n_classes, dropout=dropout)
        self.standardise = nn.BatchNorm1d(1, momentum=None, affine=False)
        self.trunk = _trunk(1, 1, width)
        n_points = math.ceil(length / _REDUCTION)
        section = math.ceil(n_points / _N_POSITIONS)
        self.sections = nn.AvgPool1d(section, ceil_mode=True)
        self.features = nn.Linear(math.ceil(n_points / section) * _WIDENING * width, n_features)

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        positions = self.sections(self.trunk(self.standardise(items.unsqueeze(1))))
        return F.relu(self.features(positions.flatten(1)))

    def depth_groups(self) -> list[list[str]]:
        return [*_trunk_groups(), ["features"], ["head"]]


@network("resnet_small", domain=Domain.IMAGE)
def resnet_small(*, n_classes: int, n_channels: int = 1, width: int = 16, dropout: float = 0.0) -> ImageResNet:
    """`ImageResNet` of about 80 000 weights at width 16."""
    return ImageResNet(n_classes=n_classes, n_channels=n_channels, width=width, dropout=dropout)


@network("resnet_spectrum", domain=Domain.SPECTRUM)
def resnet_spectrum(*, n_classes: int, length: int, width: int = 16, n_features: int = 64, dropout: float = 0.0) -> SpectrumResNet:
    """`SpectrumResNet`."""
    return SpectrumResNet(n_classes=n_classes, length=length, width=width, n_features=n_features, dropout=dropout)


def _trunk(n_dimensions: Literal[1, 2], n_channels: int, width: int) -> nn.Sequential:
    """From channels to ``4 * width`` channels at an eighth of the size; the first halving keeps maxima, so bright points survive."""
    widths = [width * 2**stage for stage in range(_N_STAGES)]
    stem = _CONVOLUTION[n_dimensions](n_channels, width, 5, padding=2, bias=False)
    blocks = [
        ResidualBlock(n_dimensions, n_in, n_out, stride=1 if n_in == n_out else 2)
        for n_in, n_out in zip([width, *widths[:-1]], widths, strict=True)
    ]
    return nn.Sequential(stem, _MAXIMUM[n_dimensions](2, ceil_mode=True), *blocks, _NORM[n_dimensions](widths[-1]), nn.ReLU())


def _trunk_groups() -> list[list[str]]:
    """The stem and the blocks of `_trunk`; the last norm goes with the last block."""
    return [["trunk.0"], ["trunk.2"], ["trunk.3"], ["trunk.4", "trunk.5"]]


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ParameterError(f"{name} must be a positive whole number, got {number!r}")
