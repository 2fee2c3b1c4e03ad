"""Smoothing maps of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import integers
from pycroclass.operators._windows import correlated
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class Majority(Operator):
    """Each pixel gets the label that most of the ``size`` x ``size`` pixels around it have.

    ``(channel, y, x)`` keeps its shape and dtype, each channel on its own; the map is continued by its reflection. Where several labels
    are equally frequent, the pixel keeps its own if that is one of them, else it gets the smallest. Pixels without a label, that is
    with a negative one, have no vote and stay without.

    Parameters
    ----------
    size : int
        Of the window, in pixels; odd.

    Raises
    ------
    ParameterError
        If size is not an odd number of at least 1.
    AxisError
        If the data are not integers.

    Examples
    --------
    >>> Majority(3).transform(torch.tensor([[[[0, 0, 1, 0, 0, 2, 2]]]])).tolist()
    [[[[0, 0, 0, 0, 0, 2, 2]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    takes_any_dtype: ClassVar[bool] = True

    size: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        size, width = integers("size", self.size)
        if size != width or size % 2 == 0:
            raise ParameterError(f"size must be one odd number, got {self.size!r}")
        set_field(self, "size", size)

    def halo(self) -> int:
        return self.size // 2

    def output(self, spec: Spec) -> Spec:
        if spec.dtype.kind not in "iu":
            raise AxisError(f"Majority takes labels, which are integers, got {spec.dtype}. Put it behind a clustering or a classifier.")
        return spec

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        labels = block.to(torch.int64)
        winner = labels.clone()
        most = torch.zeros(labels.shape, dtype=torch.float32, device=labels.device)
        for label in torch.unique(labels[labels >= 0]):  # rising, so that of equals the smallest wins
            is_own = (labels == label).to(torch.float32)
            votes = correlated(correlated(is_own, -2, (1.0,) * self.size), -1, (1.0,) * self.size)
            votes += 0.5 * is_own
            winner = torch.where(votes > most, label, winner)
            most = torch.maximum(votes, most)
        return torch.where(labels >= 0, winner, labels).to(block.dtype)
