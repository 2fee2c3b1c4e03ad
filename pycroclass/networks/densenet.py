"""DenseNets of 121 to 201 layers, with the weight names that trained networks elsewhere have."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain

_SIZES: Final = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}
"""Of each depth: channels of the stem, channels that each layer adds, and layers in each of four blocks."""
_BOTTLENECK: Final = 4


class _DenseLayer(nn.Module):
    """From all channels so far to the ``growth`` that are new."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        width = _BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new: torch.Tensor = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return new


class _DenseBlock(nn.Module):
    """Layers each of which sees what all before it gave."""

    def __init__(self, n_in: int, growth: int, n_layers: int) -> None:
        super().__init__()
        for i in range(n_layers):
            self.add_module(f"denselayer{i + 1}", _DenseLayer(n_in + i * growth, growth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = torch.cat((x, layer(x)), 1)
        return x


class _Transition(nn.Module):
    """Half the channels at half the size."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_in)
        self.conv = nn.Conv2d(n_in, n_in // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class DenseNet(ImageClassifier):
    """The densely connected networks of Huang et al. (CVPR 2017, arXiv:1608.06993): 7 978 856 weights with 121 layers.

    Parameters
    ----------
    depth : 121, 161, 169 or 201
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
    Names and order of the weights are those of torchvision. Images of 32 x 32 and more are taken; it was made for 224 x 224. The input is
    not standardised: do as was done for the weights that you load.

    Examples
    --------
    >>> DenseNet(121, n_classes=5, n_channels=1)(torch.zeros(2, 1, 65, 64)).shape
    torch.Size([2, 5])
    """

    wants_standardised = True

    def __init__(self, depth: Literal[121, 161, 169, 201], *, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> None:
        if depth not in _SIZES:
            raise ParameterError(f"a DenseNet has {', '.join(map(str, _SIZES))} layers, got {depth}")
        n, growth, counts = _SIZES[depth]
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(n_channels, n, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(n),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for i, count in enumerate(counts, 1):
            layers[f"denseblock{i}"] = _DenseBlock(n, growth, count)
            n += count * growth
            if i < len(counts):
                layers[f"transition{i}"] = _Transition(n)
                n //= 2
        layers["norm5"] = nn.BatchNorm2d(n)
        super().__init__((n_channels, None, None), n_features=n, n_classes=n_classes, dropout=dropout)
        del self.head  # here it is called classifier, and comes last
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(n, n_classes)
        nn.init.zeros_(self.classifier.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        return F.relu(self.features(items))

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.dropout(embedding))
        return logits

    def depth_groups(self) -> list[list[str]]:
        groups = (("conv0", "norm0"), *((f"denseblock{i}", f"transition{i}") for i in (1, 2, 3)), ("denseblock4", "norm5"))
        return [*([f"features.{name}" for name in group] for group in groups), ["classifier"]]


@network("densenet121", domain=Domain.IMAGE)
def densenet121(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> DenseNet:
    """`DenseNet` of 121 layers."""
    return DenseNet(121, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("densenet161", domain=Domain.IMAGE)
def densenet161(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> DenseNet:
    """`DenseNet` of 161 layers, each of which adds 48 channels."""
    return DenseNet(161, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("densenet169", domain=Domain.IMAGE)
def densenet169(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> DenseNet:
    """`DenseNet` of 169 layers."""
    return DenseNet(169, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("densenet201", domain=Domain.IMAGE)
def densenet201(*, n_classes: int, n_channels: int = 3, dropout: float = 0.0) -> DenseNet:
    """`DenseNet` of 201 layers."""
    return DenseNet(201, n_classes=n_classes, n_channels=n_channels, dropout=dropout)
