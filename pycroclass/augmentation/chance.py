"""Random numbers that follow from a seed, on the device where they are needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


class Chance:
    """Small random numbers drawn on the CPU, the same for every device, and whole images of them drawn where they are needed.

    Parameters
    ----------
    seed : sequence of int
        Such as a seed and the number of the epoch.
    device : torch.device
    """

    def __init__(self, seed: Sequence[int], device: torch.device) -> None:
        self.rng = np.random.default_rng(seed)
        self.device = device
        self._generator = torch.Generator(device).manual_seed(int(self.rng.integers(2**62)))

    def between(self, low: float, high: float, n: int) -> torch.Tensor:
        """Uniform numbers, shape ``(n,)``."""
        return torch.from_numpy(self.rng.uniform(low, high, n).astype(np.float32)).to(self.device)

    def whole(self, most: int, n: int) -> torch.Tensor:
        """Whole numbers from ``-most`` to ``most``, shape ``(n,)``."""
        return torch.from_numpy(self.rng.integers(-most, most, n, endpoint=True)).to(self.device)

    def either(self, n: int) -> torch.Tensor:
        """True or false alike, shape ``(n,)``."""
        return torch.from_numpy(self.rng.random(n) < 0.5).to(self.device)

    def order(self, n: int) -> torch.Tensor:
        """The numbers below ``n`` in another order."""
        return torch.from_numpy(self.rng.permutation(n)).to(self.device)

    def beta(self, a: float) -> float:
        """One number from a Beta distribution with both parameters ``a``."""
        return float(self.rng.beta(a, a))

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Normal numbers, drawn on the device."""
        return torch.randn(tuple(shape), generator=self._generator, device=self.device)

    def uniform(self, shape: Sequence[int]) -> torch.Tensor:
        """Numbers from 0 to 1, drawn on the device."""
        return torch.rand(tuple(shape), generator=self._generator, device=self.device)
