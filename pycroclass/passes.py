"""Passes over data in blocks: what an estimator sees of a dataset of any size."""

from __future__ import annotations

import cmath
import logging
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final, Literal, get_args

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import torch
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from pycroclass.device import in_batches, turn
from pycroclass.engine import BlockTask, arrange, fused, map_blocks
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.operator import Items
from pycroclass.profile import timed
from pycroclass.reduction import Reduction, State, hash_uniform
from pycroclass.source import Load
from pycroclass.spec import Domain, Spec
from pycroclass.stage import CHANNEL, Execution, computable, slabs, to_tensor
from pycroclass.threads import single_threaded

log = logging.getLogger(__name__)

_TILE_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 2 << 20
"""Of float32 that are reduced at once, and where the reduction itself takes them in pieces."""

NDArray = npt.NDArray[Any]
Nonfinite = Literal["refuse", "mask"]
_FAN_IN: Final = 8
_KEPT_BYTES: Final = 256 << 20
"""Data that are passed over repeatedly are kept in memory up to this size."""


@dataclass(frozen=True, eq=False)
class Passes:
    """Data as blocks of items, as `pycroclass.reduction.Data` describes it.

    Parameters
    ----------
    array : dask array
        Navigation axes first, core axes last and in one block.
    item : Spec
        Of one item; with a channel axis where the domain is IMAGE.
    n_navigation : int
    nonfinite : {"refuse", "mask"}
        Whether items with NaN or inf are an error or left out.
    mask : dask array of bool, optional
        True for items that may be used; shape of the navigation axes.
    """

    array: da.Array
    item: Spec
    n_navigation: int
    nonfinite: Nonfinite = "refuse"
    mask: da.Array | None = None
    companions: Mapping[str, da.Array] = field(default_factory=dict)
    execution: Execution = field(default_factory=Execution)

    @classmethod
    def over(
        cls,
        array: da.Array,
        spec: Spec,
        domain: Domain,
        axes: tuple[str, ...] | None = None,
        *,
        nonfinite: Nonfinite = "refuse",
        mask: npt.ArrayLike | None = None,
        companions: Mapping[str, da.Array] | None = None,
        execution: Execution | None = None,
    ) -> Passes:
        """The items of ``domain`` of an array.

        Raises
        ------
        AxisError
            If the mask has not the shape of the navigation axes.
        """
        if nonfinite not in get_args(Nonfinite):
            raise ParameterError(f"nonfinite must be one of {get_args(Nonfinite)}, got {nonfinite!r}")
        execution = execution or Execution()
        core = spec.core(domain, axes)
        navigation = spec.only(tuple(name for name in spec.names if name not in core))
        lazy_mask = None
        if mask is not None:
            use = np.asarray(mask, bool)
            if use.shape != navigation.shape:
                raise AxisError(f"the mask must have the shape {navigation.shape} of the axes {navigation.names}, got {use.shape}")
            lazy_mask = da.from_array(use)
        item = spec.only(core)
        if domain is Domain.IMAGE and len(core) == 2:
            item = replace(item, axes=(CHANNEL, *item.axes))
        arranged = arrange(array, spec, core, execution)
        return cls(arranged, item, len(navigation.axes), nonfinite, lazy_mask, companions or {}, execution)

    def kept(self) -> Passes:
        """The same with small data held in memory, so that each pass need not read and preprocess them again."""
        if self.array.nbytes > _KEPT_BYTES:
            return self
        return replace(self, array=self.array.persist())

    @property
    def n_total(self) -> int:
        """Number of items, usable or not."""
        return int(np.prod(self.array.shape[: self.n_navigation], dtype=np.int64))

    @cached_property
    def n_items(self) -> int:
        """Number of items that may be used."""
        if self.nonfinite == "refuse" and self.mask is None:
            return self.n_total
        (count,) = self.reduce(_Count())
        return int(count)

    def reduce(self, reduction: Reduction) -> State:
        """One pass over all items that may be used.

        Raises
        ------
        DataError
            If items hold NaN or inf and were not to be masked, or none is left.
        """
        return self.checker()(self.lazy_reduce(reduction).compute())

    def lazy_reduce(self, reduction: Reduction) -> Delayed:
        """As `reduce`, not yet computed; gives ``(number of items with NaN or inf, state)`` for `checker`."""
        task = _Reduce(reduction, self._usable, self.execution, shape=self.array.shape[: self.n_navigation])
        companions = dict(self.companions)
        if self.mask is not None:
            companions["mask"] = self.mask
        blocks = map_blocks(task, self.array, self.n_navigation, name="partial", companions=companions)
        n_core = self.array.ndim - self.n_navigation
        keys: list[Any] = [(blocks.name, *b, *(0,) * n_core) for b in np.ndindex(*self.array.numblocks[: self.n_navigation])]
        name = f"merge-{uuid.uuid4().hex}"
        graph: dict[Any, Any] = {}
        level = 0
        while len(keys) > 1 or level == 0:
            groups = [keys[i : i + _FAN_IN] for i in range(0, len(keys), _FAN_IN)]
            keys = [(name, level, i) for i in range(len(groups))]
            graph |= {key: (_merge, reduction, group) for key, group in zip(keys, groups, strict=True)}
            level += 1
        graph[name] = keys[0]
        layers = HighLevelGraph({**blocks.graph.layers, name: MaterializedLayer(graph)}, {**blocks.graph.dependencies, name: {blocks.name}})
        return Delayed(name, fused(layers))

    def checker(self) -> Checker:
        """What turns the outcome of a pass into its state, or into an error."""
        return Checker(self.n_total, self.item.title, self.nonfinite)

    def sample(self, n: int, seed: int) -> NDArray:
        """Up to ``n`` items, shape (n, *core), in order of index; chosen by index and seed, never by chunk.

        Items that may not be used are left out of what was chosen, so that fewer may come.
        """
        chosen = _smallest_hashes(self.n_total, n, seed)
        blocks: list[NDArray] = []
        indices = [np.empty(0, np.int64)]
        for block, items in self._blocks(range(self.n_blocks), chosen):
            wanted = np.isin(items.index, chosen)
            blocks.append(block[torch.from_numpy(wanted)].numpy())
            indices.append(items.index[wanted])
        order = np.argsort(np.concatenate(indices))
        if not order.size:
            raise DataError(f"no item of {self.item.title!r} can be used: all are masked or not finite")
        return np.concatenate(blocks)[order]

    @property
    def n_blocks(self) -> int:
        """Number of blocks of items."""
        return int(np.prod(self.array.numblocks[: self.n_navigation], dtype=np.int64))

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        """All blocks one after the other, each computed when asked for; in order, or shuffled by a seed."""
        order = np.arange(self.n_blocks)
        if seed is not None:
            order = np.random.default_rng(seed).permutation(order)
        yield from self._blocks(order.tolist())

    def _blocks(self, order: Any, chosen: npt.NDArray[np.int64] | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        """The usable items of blocks; only of those that hold ``chosen`` ones, if given."""
        task = BlockTask(shape=self.array.shape[: self.n_navigation])
        starts = [np.cumsum((0, *sizes)).tolist() for sizes in self.array.chunks[: self.n_navigation]]
        mask = None if self.mask is None else self.mask.rechunk(self.array.chunks[: self.n_navigation])
        for number in order:
            place = np.unravel_index(number, self.array.numblocks[: self.n_navigation])
            where = tuple(starts[d][i] for d, i in enumerate(place))
            sizes = tuple(self.array.chunks[d][i] for d, i in enumerate(place))
            items = task.items(sizes, where, {})
            if chosen is not None and not np.isin(items.index, chosen).any():
                continue
            at = tuple(int(i) for i in place)
            values, use = dask.compute(self.array.blocks[at], None if mask is None else mask.blocks[at])
            tensor, keep, n_bad = self._usable(to_tensor(np.asarray(values)), use)
            if n_bad and self.nonfinite == "refuse":
                self.checker()((n_bad, None))
            yield (tensor, Items(items.index)) if keep is None else (tensor[keep], Items(items.index[keep.numpy()]))

    @property
    def _usable(self) -> _Usable:
        core = self.array.shape[self.n_navigation :]
        return _Usable(core, len(self.item.axes) > len(core))


@dataclass(frozen=True)
class Checker:
    """Takes the state out of ``(number of items with NaN or inf, state)``, if it may be used."""

    n_total: int
    title: str
    nonfinite: Nonfinite

    def __call__(self, outcome: tuple[int, State | None]) -> State:
        """The state.

        Raises
        ------
        DataError
            If items hold NaN or inf and were not to be masked, or none is left.
        """
        n_bad, state = outcome
        if n_bad and self.nonfinite == "refuse":
            raise DataError(
                f"{n_bad} of {self.n_total} items of {self.title!r} hold NaN or inf. "
                "Leave them out with nonfinite='mask', or mend them first."
            )
        if n_bad:
            log.info("%d of %d items of %r hold NaN or inf and are left out", n_bad, self.n_total, self.title)
        if state is None:
            raise DataError(f"none of the {self.n_total} items of {self.title!r} can be used: all are masked or not finite")
        return state


@dataclass(frozen=True)
class _Usable:
    """Turns a block into items in floating point, where it lies, and tells which of them may be used."""

    core: tuple[int, ...]
    adds_channel: bool

    def __call__(self, block: torch.Tensor, mask: NDArray | None) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """``(batch, *core)``, which to keep, None for all, and how many are not finite although the mask lets them in."""
        items = computable(block.reshape(-1, *self.core))
        tensor = items.unsqueeze(1) if self.adds_channel else items
        is_finite = cmath.isfinite(items.sum().item())  # each is looked at only where the sum of all tells that one may not be
        if is_finite and mask is None:
            return tensor, None, 0
        finite = torch.isfinite(items).reshape(len(items), -1).all(1)
        allowed = torch.ones_like(finite) if mask is None else torch.from_numpy(np.ravel(mask).copy()).to(finite.device)
        return tensor, allowed & finite, int((allowed & ~finite).sum())


@dataclass(frozen=True)
class _Reduce(BlockTask):
    reduction: Reduction
    usable: _Usable
    execution: Execution

    def stream(self, navigation: tuple[int, ...], load: Load, items: Items) -> tuple[int, State | None]:
        n_features = math.prod(self.usable.core)
        size = 4 * n_features
        n = self.execution.batch(size, lambda: 4 * size)
        device = self.execution.resolve()
        if device.type == "cpu":  # in the cache also as float64, but not so few that merging states of n_features² numbers is the work
            n_bytes = _BLOCK_BYTES if self.reduction.in_pieces else _TILE_BYTES
            n = min(n, max(n_bytes // size, n_features // 4, 1))
        outcome: tuple[int, State | None] = (0, None)
        with single_threaded(), torch.inference_mode():
            for rows, batches in slabs(navigation, n):
                with timed("read"):
                    slab = np.reshape(load((rows,) if navigation else ()), (-1, *self.usable.core))
                first = batches[0][0]
                for a, b in batches:
                    work = partial(self._partial, slab, items, first)
                    for _, more in in_batches(work, a, b, b - a, device):  # merged one by one: a state may be larger than its batch
                        with turn(device):
                            outcome = _merge(self.reduction, (outcome, more))
            n_bad, state = outcome
            return n_bad, state and tuple(part.cpu() for part in state)

    def _partial(self, slab: NDArray, items: Items, first: int, a: int, b: int) -> tuple[int, State | None]:
        device = self.execution.resolve()
        items = _those(items, slice(a, b))
        values = dict(items.values)
        mask = values.pop("mask", None)
        items = replace(items, values=values)
        with timed("copy"):
            raw = to_tensor(slab[a - first : b - first]).to(device)
        with turn(device):
            tensor, keep, n_bad = self.usable(raw, mask)
            if keep is not None:
                tensor, items = tensor[keep], _those(items, keep.cpu().numpy())
            return n_bad, self.reduction.partial(tensor, items) if len(tensor) else None


class _Count(Reduction):
    def partial(self, block: torch.Tensor, items: Items) -> State:
        return (torch.tensor(len(block)),)


def _merge(reduction: Reduction, outcomes: Iterable[tuple[int, State | None]]) -> tuple[int, State | None]:
    n_bad, merged = 0, None
    for bad, state in outcomes:
        n_bad += bad
        if state is not None:
            merged = state if merged is None else reduction.merge(merged, state)
    return n_bad, merged


def _those(items: Items, which: Any) -> Items:
    return Items(items.index[which], {key: values[which] for key, values in items.values.items()})


def _smallest_hashes(n_total: int, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of the ``n`` items with the smallest hash, in order; in memory bounded by ``n``."""
    step = 1 << 20
    best, index = np.empty(0), np.empty(0, np.int64)
    for start in range(0, n_total, step):
        more = np.arange(start, min(start + step, n_total))
        best, index = np.concatenate([best, hash_uniform(more, seed)]), np.concatenate([index, more])
        if len(index) > n:
            smallest = np.argpartition(best, n - 1)[:n]
            best, index = best[smallest], index[smallest]
    return np.sort(index)
