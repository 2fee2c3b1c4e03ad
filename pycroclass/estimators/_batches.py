"""Labelled items in batches, from data of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.reduction import Data

Pool = tuple[torch.Tensor, npt.NDArray[np.int64]]
"""Items ``(batch, *core)`` with their numbers in the dataset."""


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """Items with labels, drawn from pools of limited size: all items at once where they fit, else shuffled blocks of them.

    Parameters
    ----------
    data : Data
    labels : int64 array
        Of all items of the dataset, by their number.
    index : int64 array
        Numbers of the items that may be used, in order.
    pool_bytes : int
        About how much data to hold at once.
    """

    data: Data
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    pool_bytes: int
    _whole: Pool | None = field(default=None, repr=False)

    @classmethod
    def over(cls, data: Data, labels: npt.NDArray[np.int64], pool_bytes: int) -> Self:
        """Look at all items once, and hold them if they fit into one pool."""
        index: list[npt.NDArray[np.int64]] = []
        parts: list[Pool] = []
        n_bytes = 0
        for block, items in data.blocks():
            index.append(items.index)
            n_bytes += block.nbytes
            parts = [*parts, (block, items.index)] if n_bytes <= pool_bytes else []
        found = np.sort(np.concatenate(index)) if index else np.empty(0, np.int64)
        return cls(data, labels, found, pool_bytes, _joined(parts) if len(found) and n_bytes <= pool_bytes else None)

    def pools(self, rng: np.random.Generator | None) -> Iterator[Pool]:
        """All items, in one pool or in several of shuffled blocks."""
        if self._whole is not None:
            yield self._whole
            return
        parts = []
        for block, items in self.data.blocks(None if rng is None else int(rng.integers(2**31))):
            parts.append((block, items.index))
            if sum(part.nbytes for part, _ in parts) >= self.pool_bytes:
                yield _joined(parts)
                parts = []
        if parts:
            yield _joined(parts)


@dataclass(frozen=True, eq=False)
class Batches:
    """Items ``(batch, *core)`` in float32 with their labels ``(batch,)``.

    Parameters
    ----------
    items : LabelledItems
    numbers : int64 array
        Of the items to take.
    size : int
        Most items in a batch.
    seed : sequence of int, optional
        To shuffle by; without one, items come in order.
    """

    items: LabelledItems
    numbers: npt.NDArray[np.int64]
    size: int
    seed: Sequence[int] | None = None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = None if self.seed is None else np.random.default_rng(self.seed)
        for pool, index in self.items.pools(rng):
            places = np.flatnonzero(np.isin(index, self.numbers))
            if rng is not None:
                places = rng.permutation(places)
            for some in np.array_split(places, -(-len(places) // self.size)) if len(places) else ():
                yield pool[torch.from_numpy(some)].to(torch.float32), torch.from_numpy(self.items.labels[index[some]])


def _joined(parts: list[Pool]) -> Pool:
    """Pools as one, in order of the items' numbers, so that nothing depends on the blocks they came in."""
    index = np.concatenate([numbers for _, numbers in parts])
    order = np.argsort(index)
    return torch.cat([block for block, _ in parts])[torch.from_numpy(order)], index[order]
