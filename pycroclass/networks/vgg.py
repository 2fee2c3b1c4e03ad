"""VGG networks of 16 and 19 layers, with the weight names that trained networks elsewhere have."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain

_WIDTHS: Final = (64, 128, 256, 512, 512)
_CONVOLUTIONS: Final = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Of each depth: convolutions in each of five stages; three more layers are linear."""
_POSITIONS: Final = 7
_N_HIDDEN: Final = 4096
_N_POOLING: Final = 5
"""Layers of the classifier up to the embedding."""


class VGG(ImageClassifier):
    """The networks of Simonyan and Zisserman (ICLR 2015, arXiv:1409.1556): 143 667 240 weights with 19 layers.

    Parameters
    ----------
    depth : 16 or 19
        Layers.
    n_classes : int
    n_channels : int
        3 for colours, 1 for grey images.
    batch_norm : bool
        Whether each convolution is followed by batch normalisation.
    n_hidden : int
        Length of the two hidden layers, the second of which is the embedding.
    dropout : float
        Share of the hidden layers that training drops.

    Raises
    ------
    ParameterError
        If there is no network of that depth.

    Notes
    -----
    Names and order of the weights are those of torchvision. Images of 32 x 32 and more are taken; it was made for 224 x 224, and the last
    feature map of other sizes is brought to 7 x 7 by means. The input is not standardised: do as was done for the weights that you load.

    Examples
    --------
    >>> VGG(16, n_classes=5, n_channels=1, n_hidden=100)(torch.zeros(2, 1, 65, 64)).shape
    torch.Size([2, 5])
    """

    wants_standardised = True

    def __init__(
        self,
        depth: Literal[16, 19],
        *,
        n_classes: int,
        n_channels: int = 3,
        batch_norm: bool = False,
        n_hidden: int = _N_HIDDEN,
        dropout: float = 0.5,
    ) -> None:
        if depth not in _CONVOLUTIONS:
            raise ParameterError(f"a VGG has {' or '.join(map(str, _CONVOLUTIONS))} layers, got {depth}")
        super().__init__((n_channels, None, None), n_features=n_hidden, n_classes=n_classes)
        del self.head  # here it is the last of the classifier
        layers: list[nn.Module] = []
        n_in = n_channels
        for width, count in zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True):
            for _ in range(count):
                norm = [nn.BatchNorm2d(width)] if batch_norm else []
                layers += [nn.Conv2d(n_in, width, 3, padding=1), *norm, nn.ReLU()]
                n_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(_POSITIONS)
        self.classifier = nn.Sequential(
            nn.Linear(n_in * _POSITIONS**2, n_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def feature_map(self, items: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.features(items)
        return features

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.avgpool(feature_map).flatten(1)
        for layer in list(self.classifier)[:_N_POOLING]:
            x = layer(x)
        return x

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        for layer in list(self.classifier)[_N_POOLING:]:
            embedding = layer(embedding)
        return embedding

    def depth_groups(self) -> list[list[str]]:
        stages: list[list[str]] = [[]]
        for i, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            elif not isinstance(layer, nn.ReLU):
                stages[-1].append(f"features.{i}")
        return [*stages[:-1], ["classifier.0"], ["classifier.3"], ["classifier.6"]]


@network("vgg16", domain=Domain.IMAGE)
def vgg16(*, n_classes: int, n_channels: int = 3, dropout: float = 0.5) -> VGG:
    """`VGG` of 16 layers."""
    return VGG(16, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("vgg16_bn", domain=Domain.IMAGE)
def vgg16_bn(*, n_classes: int, n_channels: int = 3, dropout: float = 0.5) -> VGG:
    """`VGG` of 16 layers with batch normalisation."""
    return VGG(16, n_classes=n_classes, n_channels=n_channels, batch_norm=True, dropout=dropout)


@network("vgg19", domain=Domain.IMAGE)
def vgg19(*, n_classes: int, n_channels: int = 3, dropout: float = 0.5) -> VGG:
    """`VGG` of 19 layers."""
    return VGG(19, n_classes=n_classes, n_channels=n_channels, dropout=dropout)


@network("vgg19_bn", domain=Domain.IMAGE)
def vgg19_bn(*, n_classes: int, n_channels: int = 3, dropout: float = 0.5) -> VGG:
    """`VGG` of 19 layers with batch normalisation."""
    return VGG(19, n_classes=n_classes, n_channels=n_channels, batch_norm=True, dropout=dropout)
