"""Small tables that sum a dataset up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import DataError
from pycroclass.operator import Items
from pycroclass.passes import Passes
from pycroclass.reduction import Reduction, State


@dataclass(frozen=True)
class MeanByLabel(Reduction):
    """Count, mean and sum of squared deviations of the items of each label.

    Merged by the formula of Chan, Golub and LeVeque (1983), which does not lose digits where the mean is large against the spread.
    """

    n_labels: int

    def partial(self, block: torch.Tensor, items: Items) -> State:
        """State ``(count (label,), mean (label, *core), squares (label, *core))``; negative labels are left out."""
        label = torch.from_numpy(items.values["label"].astype(np.int64)).to(block.device)
        if label.numel() and int(label.max()) >= self.n_labels:
            raise DataError(f"the label {int(label.max())} is beyond the {self.n_labels} classes that the labels name")
        block, label = block[label >= 0].double(), label[label >= 0]
        count = torch.bincount(label, minlength=self.n_labels)
        per_label = count.clamp(min=1).reshape(-1, *(1,) * (block.ndim - 1))
        zeros = block.new_zeros((self.n_labels, *block.shape[1:]))
        mean = zeros.index_add(0, label, block) / per_label
        squares = zeros.index_add(0, label, (block - mean[label]).square())
        return count, mean, squares

    def merge(self, a: State, b: State) -> State:
        """The state of both."""
        count = a[0] + b[0]
        shape = (-1, *(1,) * (a[1].ndim - 1))
        n_a, n_b, n = (c.double().reshape(shape) for c in (a[0], b[0], count.clamp(min=1)))
        step = b[1] - a[1]
        return count, a[1] + step * n_b / n, a[2] + b[2] + step.square() * n_a * n_b / n

    def lazily(self, passes: Passes) -> list[Any]:
        """Delayed mean, standard deviation (of the sample) and count, each shape (label, ...), from one pass."""
        table = dask.delayed(_table)(passes.lazy_reduce(self), passes.checker())
        return [dask.delayed(_entry)(table, i) for i in range(3)]


def _table(outcome: Any, check: Any) -> tuple[npt.NDArray[Any], ...]:
    count, mean, squares = check(outcome)
    shape = (-1, *(1,) * (mean.ndim - 1))
    n = count.double().reshape(shape)
    mean = torch.where(n > 0, mean, torch.nan)
    sd = torch.where(n > 1, (squares / (n - 1).clamp(min=1)).sqrt(), torch.nan)
    return mean.numpy(), sd.numpy(), count.numpy()


def _entry(table: tuple[npt.NDArray[Any], ...], i: int) -> npt.NDArray[Any]:
    return table[i]
