"""Training by the package, and by a loop as one writes it; both return the validation loss of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import pycroclass as pc
from pycroclass.networks import architecture as architecture_of
from pycroclass.stratified import held_out

Losses = Callable[[], list[float]]
_CLASSES = ("a", "b", "c")
_SEED = 0


def ours(architecture: str, shape: Sequence[int], n: int, batch: int, epochs: int, rate: float) -> Losses:
    """`NetworkClassifier`, given the tensors."""
    items, labels = _items(shape, n)
    settings = pc.NetworkClassifier(
        architecture, labels=labels.numpy(), classes=_CLASSES, epochs=epochs, batch_size=batch, learning_rate=rate, seed=_SEED
    )
    spec = pc.Spec(tuple(pc.Axis(f"axis_{i}", size) for i, size in enumerate(shape)), np.dtype(np.float32))

    def work() -> list[float]:
        return [epoch["validation_loss"] for epoch in settings.learn(_Resident(items), spec).training["history"]]  # type: ignore[arg-type]

    return work


def bare(architecture: str, shape: Sequence[int], n: int, batch: int, epochs: int, rate: float, fused: bool) -> Losses:
    """Forward, backward, step; after each epoch the validation."""
    items, labels = _items(shape, n)
    standardises = len(shape) == 3 and shape[0] == 3  # the deep networks, which do not do it themselves
    size = {"length": shape[0]} if len(shape) == 1 else {"n_channels": shape[0]}

    def work() -> list[float]:
        held = held_out(labels.numpy(), fraction=0.2, seed=_SEED)
        training, validation = np.flatnonzero(~held), np.flatnonzero(held)
        if standardises:
            x = (items - items[training].mean((0, 2, 3), keepdim=True)) / items[training].std((0, 2, 3), keepdim=True)
        else:
            x = items
        torch.manual_seed(_SEED)
        module = architecture_of(architecture).build({"n_classes": len(_CLASSES), **size})
        counts = torch.bincount(labels[training])
        with torch.no_grad():  # the last layer begins with the frequencies of the classes, as ours does
            last = module.get_submodule(module.depth_groups()[-1][-1])
            last.bias += (counts / counts.min()).log()
        optimizer = torch.optim.AdamW(module.parameters(), lr=rate, fused=fused or None)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        weight = counts.sum() / (len(counts) * counts)
        losses = []
        for epoch in range(epochs):
            module.train()
            order = np.random.default_rng((_SEED, epoch)).permutation(training)
            for some in np.array_split(order, math.ceil(len(order) / batch)):
                optimizer.zero_grad()
                (weight[labels[some]] * F.cross_entropy(module(x[some]), labels[some], reduction="none")).mean().backward()
                optimizer.step()
            schedule.step()
            losses.append(_validate(module, x[validation], labels[validation], batch))
        return losses

    return work


def _validate(module: torch.nn.Module, items: torch.Tensor, labels: torch.Tensor, batch: int) -> float:
    """Mean over the classes of the mean loss of each."""
    module.eval()
    with torch.inference_mode():
        logits = torch.cat([module(part) for part in items.split(batch)])
        losses = F.cross_entropy(logits, labels, reduction="none")
    return float(torch.stack([losses[labels == c].mean() for c in range(len(_CLASSES))]).mean())


def _items(shape: Sequence[int], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % len(_CLASSES)
    items = rng.normal(size=(n, *shape)).astype(np.float32) + 0.1 * labels.reshape(-1, *(1,) * len(shape)).astype(np.float32)
    return torch.from_numpy(items), torch.from_numpy(labels)


class _Resident:
    """Tensors as `pycroclass.reduction.Data`."""

    def __init__(self, items: torch.Tensor) -> None:
        self._items = items

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Any]]:
        yield self._items, pc.Items(np.arange(len(self._items)))
