"""ResNets of 18 to 101 layers, with the weight names that trained networks elsewhere have."""

from __future__ import annotations

from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain

_WIDTHS: Final = (64, 128, 256, 512)
_EXPANSION: Final = 4


class BasicBlock(nn.Module):
    """``relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))``, with convolutions of 3.

    Parameters
    ----------
    n_in, width : int
        Channels before and after.
    stride : int
    """

    def __init__(self, n_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(n_in, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, n_in, y, x)`` to ``(batch, width, y / stride, x / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class Bottleneck(nn.Module):
    """As `BasicBlock`, with a convolution of 3 between two of 1, the last of which widens by four.

    The stride is that of the convolution of 3, as in all weights that are published today, not that of the first as in the paper.

    Parameters
    ----------
    n_in, width : int
        Channels before and between; after are ``4 * width``.
    stride : int
    """

    def __init__(self, n_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        n_out = _EXPANSION * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = _shortcut(n_in, n_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, n_in, y, x)`` to ``(batch, 4 * width, y / stride, x / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


_BLOCKS: Final[dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
"""Of each depth: the kind of block, and how many in each of four stages."""


class ResNet(ImageClassifier):
    """The residual networks of He et al. (CVPR 2016, arXiv:1512.03385): 11 689 512 weights with 18 layers, 25 557 032 with 50.

    Parameters
    ----------
    depth : 18, 34, 50 or 101
        Layers.
    n_classes : int
    n_channels : int
        3 for colours, 1 for grey images.
    dropout : float
        Share of the features that training drops before the last layer.

    Raises
    ------
    ParameterError
        If there is no network of that depth.

    Notes
    -----
    Names and order of the weights are those of torchvision. Any image size is taken; it was made for 224 x 224. The input is not
    standardised: do as was done for the weights that you load.

    Examples
    --------
    >>> ResNet(18, n_classes=5, n_channels=1)(torch.zeros(2, 1, 65, 64)).shape
    torch.Size([2, 5])
    """

    wants_standardised = True

    def __init__(self, depth: Literal[18, 34, 50, 101], *, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> None:
        if depth not in _BLOCKS:
            raise ParameterError(f"a ResNet has {', '.join(map(str, _BLOCKS))} layers, got {depth}")
        block, counts = _BLOCKS[depth]
        expansion = _EXPANSION if block is Bottleneck else 1
        n_features = expansion * _WIDTHS[-1]
        super().__init__((n_channels, None, None), n_features=n_features, n_classes=n_classes, dropout=dropout)
        del self.head  # here it is called fc, and comes last
        self.conv1 = nn.Conv2d(n_channels, _WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = (_WIDTHS[0], *(expansion * width for width in _WIDTHS))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                block(n_in, width, stride=1 if width == _WIDTHS[0] else 2),
                *(block(expansion * width, width, stride=1) for _ in range(count - 1)),
            )
            for n_in, width, count in zip(before, _WIDTHS, counts, strict=False)
        )
        self.fc = nn.Linear(n_features, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(items))))
        features: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.dropout(embedding))
        return logits

    def depth_groups(self) -> list[list[str]]:
        return [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"], ["fc"]]


@network("resnet18", domain=Domain.IMAGE)
def resnet18(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> ResNet:
    """`ResNet` of 18 layers."""
    return ResNet(18, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("resnet34", domain=Domain.IMAGE)
def resnet34(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> ResNet:
    """`ResNet` of 34 layers."""
    return ResNet(34, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("resnet50", domain=Domain.IMAGE)
def resnet50(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> ResNet:
    """`ResNet` of 50 layers."""
    return ResNet(50, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("resnet101", domain=Domain.IMAGE)
def resnet101(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> ResNet:
    """`ResNet` of 101 layers."""
    return ResNet(101, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


def _shortcut(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    """None where the input itself will do."""
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))
