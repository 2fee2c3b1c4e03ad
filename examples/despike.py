"""An operator that takes spikes, such as cosmic rays, out of spectra."""

from dataclasses import dataclass
from typing import ClassVar

import torch

import pycroclass as pc
from pycroclass.errors import AxisError


@dataclass(frozen=True)
class Despike(pc.Operator):
    """Replace each spike by the median of the ``window`` points around it (Hampel filter).

    A spike lies more than ``threshold`` times ``1.4826 MAD`` from that median; beyond its ends the spectrum is mirrored.
    ``(length,)`` keeps its shape.
    """

    domain: ClassVar[pc.Domain] = pc.Domain.SPECTRUM

    window: int = 11
    threshold: float = 8.0

    def halo(self) -> int:
        return self.window // 2

    def output(self, spec: pc.Spec) -> pc.Spec:
        if spec.shape[0] <= self.halo():
            raise AxisError(f"a window of {self.window} is too wide for spectra of {spec.shape[0]} points")
        return spec

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(block, (self.halo(), self.halo()), mode="reflect")
        around = padded.unfold(1, self.window, 1)  # (batch, length, window)
        middle = around.median(2, keepdim=True).values
        spread = 1.4826 * (around - middle).abs().median(2).values
        return torch.where((block - middle[:, :, 0]).abs() > self.threshold * spread, middle[:, :, 0], block)
