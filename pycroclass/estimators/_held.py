"""Few values of each item, held in memory for many passes where all of them fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from pycroclass.operator import Items
from pycroclass.reduction import Data, Reducible, Reduction, State

_HELD_VALUES: Final = 1 << 25
_SLICE: Final = 1 << 14


@dataclass(frozen=True, eq=False)
class _Held:
    """Items in memory, in the order of their index, so that the blocks they came in make no difference."""

    rows: torch.Tensor

    @property
    def n_items(self) -> int:
        return len(self.rows)

    def reduce(self, reduction: Reduction) -> State:
        with torch.inference_mode():
            states = (
                reduction.partial(self.rows[start : start + _SLICE], Items(np.arange(start, min(start + _SLICE, len(self.rows)))))
                for start in range(0, len(self.rows), _SLICE)
            )
            merged = next(states)
            for state in states:
                merged = reduction.merge(merged, state)
        return merged


def held(data: Data, n_values: int) -> Reducible:
    """The same data, in memory where ``n_values`` of each item make no more than 2**25 numbers."""
    if data.n_items * n_values > _HELD_VALUES:
        return data
    parts = [(block, items.index) for block, items in data.blocks()]
    order = torch.from_numpy(np.argsort(np.concatenate([index for _, index in parts])))
    return _Held(torch.cat([block for block, _ in parts])[order])
