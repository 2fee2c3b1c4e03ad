"""Lloyd's iteration for several sets of centres at once, all of them in the same pass over the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.estimators._items import as_rows, on_rows
from pycroclass.kernels import row_sums, row_sums_torch
from pycroclass.operator import Items
from pycroclass.reduction import Data, Reduction, State, hash_uniform

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Assignment(Reduction):
    """Counts ``(run, cluster)``, sums ``(run, cluster, feature)`` and inertias ``(run,)`` of items at their nearest centres.

    Items are taken relative to ``origin``, so that no digits cancel in the distances; so are ``centres`` ``(run, cluster, feature)``.
    """

    in_pieces: ClassVar[bool] = True

    origin: torch.Tensor
    centres: torch.Tensor

    def partial(self, block: torch.Tensor, items: Items) -> State:
        return on_rows(row_sums.assign, row_sums_torch.assign, block, self.origin, self.centres)


@dataclass(frozen=True)
class Foremost(Reduction):
    """The ``n`` items with the smallest keys: keys ``(n,)``, indices ``(n,)`` and rows relative to ``origin``; few items give fewer."""

    in_pieces: ClassVar[bool] = True

    origin: torch.Tensor
    centres: torch.Tensor
    n: int

    @abstractmethod
    def keys(self, squares: torch.Tensor, items: Items) -> torch.Tensor:
        """One key for each item from its squared distance to the nearest of ``centres``; infinite for those never taken."""

    def partial(self, block: torch.Tensor, items: Items) -> State:
        origin = self.origin.to(block.device)
        keys = self.keys(nearest(block, origin, self.centres.to(block.device))[1], items)
        index = torch.from_numpy(items.index).to(block.device)
        if len(keys) > self.n:  # all others cannot be among the first
            is_near = keys <= keys.kthvalue(self.n).values
            block, keys, index = block[is_near], keys[is_near], index[is_near]
        return self._first(keys, index, as_rows(block) - origin)

    def merge(self, a: State, b: State) -> State:
        return self._first(*(torch.cat(pair) for pair in zip(a, b, strict=True)))

    def _first(self, keys: torch.Tensor, index: torch.Tensor, rows: torch.Tensor) -> State:
        order = index.argsort()
        order = order[keys[order].argsort(stable=True)[: self.n]]  # equal keys by index, whatever the order of blocks
        return keys[order], index[order], rows[order]


@dataclass(frozen=True)
class Farthest(Foremost):
    """The ``n`` items farthest from their nearest centre; the key is minus the squared distance."""

    def keys(self, squares: torch.Tensor, items: Items) -> torch.Tensor:
        return -squares


@dataclass(frozen=True)
class Race(Foremost):
    """``n`` items drawn without replacement, with odds proportional to the squared distance from the nearest centre.

    Each item draws an exponential waiting time of that rate, and the first ``n`` win (Efraimidis and Spirakis, Inf. Process. Lett. 97,
    181, 2006).
    """

    seed: int
    stream: int

    def keys(self, squares: torch.Tensor, items: Items) -> torch.Tensor:
        uniform = torch.from_numpy(hash_uniform(items.index, self.seed, self.stream)).to(squares.device)
        return torch.where(squares > 0, -torch.log1p(-uniform) / squares, torch.inf)


@dataclass(frozen=True)
class Course:
    """Where Lloyd's iteration ended: centres ``(run, cluster, feature)`` and the passes that each run took."""

    centres: FloatArray
    n_iterations: npt.NDArray[np.int64]


def lloyd(
    data: Data,
    origin: torch.Tensor,
    start: FloatArray,
    *,
    max_iterations: int,
    least_shift: float,
    settled: Callable[[FloatArray], FloatArray] = lambda means: means,
) -> Course:
    """Move each centre to the mean of its items until nothing moves, or the squared shifts of a run sum to ``least_shift`` or less.

    Runs that are done take no part in further passes. ``settled`` moves the means of a run to where centres may lie.
    """
    centres = start.copy()
    n_iterations = np.zeros(len(centres), np.int64)
    moving = np.arange(len(centres))
    for _ in range(max_iterations):
        step = Assignment(origin, torch.from_numpy(centres[moving]))
        counts, sums, _ = (part.numpy() for part in data.reduce(step))
        for counts_of_run, sums_of_run, run in zip(counts, sums, moving, strict=True):
            new = settled(_means(data, origin, centres[run], counts_of_run.copy(), sums_of_run.copy()))
            shift = float(np.square(new - centres[run]).sum())
            centres[run] = new
            n_iterations[run] += 1
            if shift <= least_shift:
                moving = moving[moving != run]
        if not len(moving):
            break
    return Course(centres, n_iterations)


def _means(data: Data, origin: torch.Tensor, centres: FloatArray, counts: FloatArray, sums: FloatArray) -> FloatArray:
    """The means of the clusters; an empty cluster takes over one of the items farthest from their centres, as in scikit-learn."""
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        keys, _, rows = (part.numpy() for part in data.reduce(Farthest(origin, torch.from_numpy(centres), empty.size)))
        for cluster, key, row in zip(empty, keys, rows):
            if key < 0:
                old = int(np.square(row - centres).sum(1).argmin())
                counts[old] -= 1
                sums[old] -= row
                counts[cluster], sums[cluster] = 1, row
    means: FloatArray = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return means


def labels_of(block: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """The nearest centre of each item, ``(cluster, feature)``, int64; the first of equals."""
    origin = centres.mean(0)  # far from zero the digits of distances would cancel
    return nearest(block, origin, centres - origin)[0]


def nearest(block: torch.Tensor, origin: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The nearest of ``centres``, which are relative to ``origin``, for each item, int64, and its squared distance, float64."""
    return on_rows(row_sums.nearest, row_sums_torch.nearest, block, origin, centres)
