"""What learns and how fast: the loss, parameters by depth, what is frozen, the rate of an epoch, and the average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pycroclass.estimators.settings import Transfer
from pycroclass.networks import Classifier


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each epoch: a cosine from the first rate towards zero; with transfer, first the head alone at its own."""

    epochs: int
    rate: float
    transfer: Transfer | None

    def is_head_alone(self, epoch: int) -> bool:
        """Whether only the head learns in an epoch, counted from 0."""
        return self.transfer is not None and epoch < self.transfer.head_epochs

    def of(self, epoch: int) -> float:
        """The rate of the head in an epoch."""
        n_before = self.transfer.head_epochs if self.transfer else 0
        if self.transfer is not None and epoch < n_before:
            return self.transfer.head_rate
        return self.rate * 0.5 * (1 + math.cos(math.pi * (epoch - n_before) / (self.epochs - n_before)))


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, class_weight: torch.Tensor | None, smoothing: float) -> torch.Tensor:
    """The mean over a batch, in which an item counts as much as its class does.

    PyTorch's own weights divide by their sum in each batch, so that a rare item counts less in the batches it is in, and the mean over
    batches holds for no stated prior; with label smoothing they draw each item towards the classes that weigh most.
    """
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (losses if class_weight is None else class_weight[labels] * losses).mean()


def parameter_groups(module: Classifier, decay: float) -> list[dict[str, Any]]:
    """Parameters by depth, for an optimiser; the rate of a group is that of the head times its ``scale``."""
    if decay == 1:
        return [{"params": list(module.parameters()), "scale": 1.0}]
    depths = module.depth_groups()
    groups: list[dict[str, Any]] = []
    for depth, prefixes in enumerate(depths):
        members = [parameter for name, parameter in module.named_parameters() if _is_of(name, prefixes)]
        groups.append({"params": members, "scale": decay ** (len(depths) - 1 - depth)})
    return [each for each in groups if each["params"]]


def set_learning(module: Classifier, *, head_alone: bool, freeze_norm: bool) -> None:
    """Say what learns in this epoch. What is frozen is in eval mode, so that its normalisation and its dropout stand still."""
    head = module.depth_groups()[-1]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not head_alone or _is_of(name, head))
    module.train()
    for name, child in module.named_modules():
        is_frozen = head_alone and name and not _is_of(name, [*head, "dropout"])
        if is_frozen or (freeze_norm and isinstance(child, _BatchNorm)):
            child.training = False


@torch.no_grad()
def begin_at_prior(module: Classifier, prior: npt.NDArray[np.float64]) -> None:
    """Let the last layer, where it is linear, answer with these frequencies to begin with: they need not be learned then."""
    last = module.get_submodule(module.depth_groups()[-1][-1])
    if isinstance(last, nn.Linear) and last.bias is not None and len(last.bias) == len(prior):
        last.bias.add_(torch.from_numpy(np.log(prior / prior.min())).float())


class Average(nn.Module):
    """An exponential moving average of the weights of a network, which begins as their plain mean.

    Parameters
    ----------
    module : Classifier
        Is copied.
    decay : float
    """

    def __init__(self, module: Classifier, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(requires_grad=False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: Classifier, n_steps: int) -> None:
        """Take in the weights after a step, counted from 1; statistics of normalisation too."""
        share = 1 - min(self.decay, n_steps / (n_steps + 10))
        for mean, now in zip(_state(self.module), _state(module), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, share)
            else:
                mean.copy_(now)


def _state(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _is_of(name: str, prefixes: list[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
