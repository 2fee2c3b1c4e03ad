"""The hit network on frames that are in memory, one thread for each core: as written, with its pools folded, and in our form."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.nets import module_of, sample
from benchmarks.ways.classify import fastest
from pycroclass.networks.hit import HitNetwork, RowNorm
from pycroclass.networks.inference import prepared

_MICRO_BATCHES = (1, 2, 4, 8)


def forward(path: str, name: str, n: int, form: str) -> Callable[[], list[float]]:
    """Logits of all frames, in micro-batches of the size that is fastest."""
    torch.set_num_threads(1)
    module = module_of(name).eval()
    answer = {
        "eager": lambda: module,
        "folded": lambda: nn.Sequential(*folded(module)),
        "prepared": lambda: _Logits(prepared(module, torch.device("cpu"))),
    }[form]()
    x = sample(path, name, n)
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(size: int, number: int) -> torch.Tensor:
        with torch.inference_mode():
            return sum(answer(x[a : a + size]).sum(0) for a in range(number * size, n, size * n_cores))

    def work(size: int) -> list[float]:
        return (sum(pool.map(part, [size] * n_cores, range(n_cores))) / n).tolist()

    best = min(_MICRO_BATCHES, key=lambda size: fastest(lambda: work(size)))
    return lambda: work(best)


class _Logits(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)[1]


class FoldedPool(nn.Module):
    """Convolution, normalisation of rows, ReLU and max-pool as one convolution: each place in the pool is a channel of its own."""

    def __init__(self, convolution: nn.Conv2d, norm: RowNorm, pool: int) -> None:
        super().__init__()
        n_out, n_in, height, width = convolution.weight.shape
        weight = convolution.weight.new_zeros(pool, pool, n_out, n_in, height + pool - 1, width + pool - 1)
        for y in range(pool):
            for x in range(pool):
                weight[y, x, :, :, y : y + height, x : x + width] = convolution.weight
        self.pool = pool
        self.weight = weight.flatten(0, 2)
        self.bias = convolution.bias.repeat(pool**2)
        scale, shift = norm.affine_rows()
        n_rows = len(scale) // pool * pool
        self.scale, self.shift = (rows[:n_rows].view(-1, pool).T.reshape(pool, 1, 1, -1, 1) for rows in (scale, shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, channel, y, x)`` to the same, pooled."""
        y = F.conv2d(x, self.weight, self.bias, self.pool)
        y = y.view(len(y), self.pool, self.pool, -1, *y.shape[2:])
        return (y * self.scale + self.shift).amax((1, 2)).relu_()


def folded(module: HitNetwork) -> list[nn.Module]:
    """The whole network, its two convolutions folded with their pools."""
    layers = list(module.trunk)
    result: list[nn.Module] = []
    while layers:
        if isinstance(layers[0], nn.Conv2d):
            upto = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))
            norm = next(layer for layer in layers[:upto] if isinstance(layer, RowNorm))
            result.append(FoldedPool(layers[0], norm, layers[upto].kernel_size))
            layers = layers[upto + 1 :]
        else:
            result.append(layers.pop(0))
    return [*result, module.head, nn.ReLU()]
