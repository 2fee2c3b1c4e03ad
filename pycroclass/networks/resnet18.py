"""ResNet-18, with the weight names that trained networks elsewhere have."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from pycroclass.networks.registry import Classifier, network
from pycroclass.spec import Domain

_WIDTHS: Final = (64, 128, 256, 512)


class _BasicBlock(nn.Module):
    """``relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))``."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class ResNet18(Classifier):
    """The residual network of 18 layers of He et al. (CVPR 2016, arXiv:1512.03385): 11 689 512 weights at 1000 classes.

    Parameters
    ----------
    n_classes : int
    n_channels : int
        3 for colours, 1 for grey images.

    Notes
    -----
    Names and order of the weights are those of torchvision, so its state dicts can be loaded. Any image size is taken; it was made for
    224 x 224. The input is not standardised: do as was done for the weights that you load.

    Examples
    --------
    >>> ResNet18(n_classes=5, n_channels=1)(torch.zeros(2, 1, 65, 64)).shape
    torch.Size([2, 5])
    """

    def __init__(self, *, n_classes: int, n_channels: int = 3) -> None:
        super().__init__((n_channels, None, None), n_features=_WIDTHS[-1], n_classes=n_classes)
        del self.head  # here it is called fc, and comes last
        self.conv1 = nn.Conv2d(n_channels, _WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(_BasicBlock(n_in, n_out, stride=1 if n_in == n_out else 2), _BasicBlock(n_out, n_out, stride=1))
            for n_in, n_out in zip((_WIDTHS[0], *_WIDTHS), _WIDTHS, strict=False)
        )
        self.fc = nn.Linear(_WIDTHS[-1], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(items))))
        features: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features.mean((-2, -1))

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(embedding)
        return logits


@network("resnet18", domain=Domain.IMAGE)
def resnet18(*, n_classes: int, n_channels: int = 3) -> ResNet18:
    """`ResNet18`."""
    return ResNet18(n_classes=n_classes, n_channels=n_channels)
