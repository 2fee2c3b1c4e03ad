"""Labelled items in batches, from data of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.estimators.scaling import Scale
from pycroclass.reduction import Data

_MOMENTS_BATCH: Final = 256
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
    blocks : str
        Digest of which items come in one block, on which the order of training depends; "" where all are held at once.
    scale : Scale, optional
        What is done to items before they are learned from.
    """

    data: Data
    labels: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    pool_bytes: int
    blocks: str = ""
    scale: Scale | None = None
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
        if n_bytes <= pool_bytes:
            return cls(data, labels, found, pool_bytes, _whole=_joined(parts) if len(found) else None)
        blocks = ArrayValue(np.concatenate([np.append(numbers, -1) for numbers in index])).digest
        return cls(data, labels, found, pool_bytes, blocks)

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
    repeats : float array, shape (n_classes,), optional
        How often an item of each class comes, in the mean.
    """

    items: LabelledItems
    numbers: npt.NDArray[np.int64]
    size: int
    seed: Sequence[int] | None = None
    repeats: npt.NDArray[np.float64] | None = None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = None if self.seed is None else np.random.default_rng(self.seed)
        scale = self.items.scale
        for pool, index in self.items.pools(rng):
            places = np.flatnonzero(np.isin(index, self.numbers))
            if rng is not None:
                places = rng.permutation(places)
                if self.repeats is not None:
                    places = rng.permutation(_repeated(places, self.repeats[self.items.labels[index[places]]], rng))
            for some in np.array_split(places, -(-len(places) // self.size)) if len(places) else ():
                batch = pool[torch.from_numpy(some)].to(torch.float32)
                yield batch if scale is None else scale.transform(batch), torch.from_numpy(self.items.labels[index[some]])


def standardised(items: LabelledItems, numbers: npt.NDArray[np.int64], axes: tuple[str, ...]) -> Scale:
    """What brings these images, whose axes are channel, y and x, to mean 0 and standard deviation 1 in each channel."""
    n_values, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for batch, _ in Batches(items, numbers, _MOMENTS_BATCH):
        values = batch.transpose(0, 1).flatten(1).double()
        n_values += values.shape[1]
        total = total + values.sum(1)
        squares = squares + values.square().sum(1)
    mean = total / n_values
    sd = (squares / n_values - mean.square()).clamp_min(0).sqrt()
    factor = torch.where(sd > 0, 1 / sd, 1.0)
    if len(mean) == 1:  # the channel axis may be one that the file has not
        return Scale(ArrayValue(mean.item()), ArrayValue(factor.item()), axes=axes[1:])
    return Scale(*(ArrayValue(value.numpy()[:, None, None]) for value in (mean, factor)), axes=axes)


def _repeated(places: npt.NDArray[np.int64], times: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Each place as often as asked in the mean, and never more than one time more or less: systematic sampling."""
    marks = np.floor(np.cumsum(times) + rng.random())
    return np.repeat(places, np.diff(marks, prepend=0).astype(np.int64))


def _joined(parts: list[Pool]) -> Pool:
    """Pools as one, in order of the items' numbers, so that nothing depends on the blocks they came in."""
    index = np.concatenate([numbers for _, numbers in parts])
    order = np.argsort(index)
    return torch.cat([block for block, _ in parts])[torch.from_numpy(order)], index[order]
