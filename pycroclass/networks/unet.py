"""A plain U-Net: a class for every pixel."""

from __future__ import annotations

import torch
from torch import nn

from pycroclass.errors import ParameterError
from pycroclass.networks.classifier import PixelClassifier
from pycroclass.networks.registry import network
from pycroclass.spec import Domain


class UNet(PixelClassifier):
    """Down by maxima and up by transposed convolutions, with what was seen at each size carried over.

    Parameters
    ----------
    n_classes : int
    n_channels : int
    width : int
        Channels at full size; they double at each halving.
    depth : int
        How often the size is halved.

    Notes
    -----
    Ronneberger et al., MICCAI 2015 (arXiv:1505.04597), with padded convolutions and batch normalisation. At each size two 3 x 3
    convolutions, each normalised and rectified. Any image size is taken: odd sizes are halved upwards and cut when they come back. The
    input is not standardised: do so before.

    Examples
    --------
    >>> UNet(n_classes=3, width=4)(torch.zeros(2, 1, 33, 48)).shape
    torch.Size([2, 3, 33, 48])
    """

    def __init__(self, *, n_classes: int, n_channels: int = 1, width: int = 32, depth: int = 4) -> None:
        if min(width, depth) < 1:
            raise ParameterError(f"width and depth must be at least 1, got {width} and {depth}")
        super().__init__((n_channels, None, None), n_features=width, n_classes=n_classes)
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_two_convolutions(n_in, n_out) for n_in, n_out in zip([n_channels, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in reversed(widths[:-1]))
        self.merge = nn.ModuleList(_two_convolutions(2 * n, n) for n in reversed(widths[:-1]))

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.down[0](items)
        seen = []
        for block in list(self.down)[1:]:
            seen.append(x)
            x = block(self.pool(x))
        for grow, merge in zip(self.up, self.merge, strict=True):
            there = seen.pop()
            x = merge(torch.cat((there, grow(x)[..., : there.shape[-2], : there.shape[-1]]), 1))
        return x

    def depth_groups(self) -> list[list[str]]:
        down = [[f"down.{level}"] for level in range(len(self.down))]
        up = [[f"up.{level}", f"merge.{level}"] for level in range(len(self.up))]
        return [*down, *up, ["head"]]


@network("unet", domain=Domain.IMAGE)
def unet(*, n_classes: int, n_channels: int = 1, width: int = 32, depth: int = 4) -> UNet:
    """`UNet` of 7.8 million weights at width 32 and depth 4."""
    return UNet(n_classes=n_classes, n_channels=n_channels, width=width, depth=depth)


def _two_convolutions(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)
