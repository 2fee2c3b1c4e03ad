"""Data as an operator gives them, for an estimator that looks at its items through one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.operator import Items, Operator
from pycroclass.reduction import Data, Reduction, State


@dataclass(frozen=True)
class Behind:
    """The items of ``data`` as ``operator`` gives them; those that it makes NaN or inf are left out."""

    operator: Operator
    data: Data

    @property
    def n_items(self) -> int:
        """Number of items that the operator is given."""
        return self.data.n_items

    @property
    def n_total(self) -> int:
        """Number of items, whether they may be used or not."""
        return self.data.n_total

    def reduce(self, reduction: Reduction) -> State:
        """One pass over all items."""
        return self.data.reduce(_Seen(self.operator, reduction))

    def sample(self, n: int, seed: int) -> npt.NDArray[Any]:
        """As of the data; fewer items where some are left out."""
        sample = torch.from_numpy(self.data.sample(n, seed))
        return _seen(self.operator, sample, Items(np.arange(len(sample))))[0].numpy()

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        """All blocks one after the other."""
        for block, items in self.data.blocks(seed):
            yield _seen(self.operator, block, items)


@dataclass(frozen=True)
class _Seen(Reduction):
    operator: Operator
    reduction: Reduction

    def partial(self, block: torch.Tensor, items: Items) -> State:
        return self.reduction.partial(*_seen(self.operator, block, items))

    def merge(self, a: State, b: State) -> State:
        return self.reduction.merge(a, b)


def _seen(operator: Operator, block: torch.Tensor, items: Items) -> tuple[torch.Tensor, Items]:
    result = operator.transform(block)
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"{type(operator).__name__} gives several results; an estimator looks at one")
    keep = result.isfinite().flatten(1).all(1)
    kept = keep.cpu().numpy()
    return result[keep], Items(items.index[kept], {name: values[kept] for name, values in items.values.items()})
