"""Reductions fold blocks of items into one small value; estimators turn data into operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from pycroclass.operator import Composable, Items, register, set_field
from pycroclass.spec import Domain, Spec

if TYPE_CHECKING:
    import torch

State = tuple["torch.Tensor", ...]


class Reduction(ABC):
    """Folds blocks of items into a small state; blocks are merged in their order, so equal blocks give equal bits."""

    in_pieces: ClassVar[bool] = False
    """Whether `partial` works on a block in pieces that stay in the cache, so that a larger one is no slower."""

    @abstractmethod
    def partial(self, block: torch.Tensor, items: Items) -> State:
        """The state of one block ``(batch, *core)``: small tensors, float64 where sums are long."""

    def merge(self, a: State, b: State) -> State:
        """The state of both; associative and commutative. By default the sum."""
        return tuple(x + y for x, y in zip(a, b, strict=True))


class Reducible(Protocol):
    """Items that reductions pass over."""

    @property
    def n_items(self) -> int:
        """Number of items that may be used."""

    def reduce(self, reduction: Reduction) -> State:
        """One pass over all items that may be used."""


class Data(Reducible, Protocol):
    """What an estimator sees of the data: never the whole, only passes over its blocks."""

    @property
    def n_total(self) -> int:
        """Number of items, whether they may be used or not; their indices are below it."""

    def sample(self, n: int, seed: int) -> npt.NDArray[Any]:
        """``min(n, n_items)`` items, shape ``(n, *core)``, in order of their index; chosen by index and seed, never by chunk."""

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        """All blocks one after the other, in order or shuffled by a seed."""


@dataclass(frozen=True)
class Estimator(Composable, ABC):
    """Learns an operator from data; a frozen value that ``fit`` never changes.

    Parameters
    ----------
    axes : tuple of str, optional, keyword only
        Names of the axes of one item, where the dataset leaves a doubt.
    """

    domain: ClassVar[Domain] = Domain.ITEM

    axes: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(cls)

    def __post_init__(self) -> None:
        if self.axes is not None:
            set_field(self, "axes", (self.axes,) if isinstance(self.axes, str) else tuple(self.axes))

    def passes_once(self, spec: Spec) -> bool:
        """Whether one pass over items of ``spec`` is enough, so that keeping small data in memory would gain nothing."""
        return False

    @abstractmethod
    def fit(self, data: Data, spec: Spec) -> Composable:
        """Learn an operator, or a pipeline of them, from items of ``spec`` (core axes only; an image always has its channel axis where the
        domain is IMAGE)."""


def hash_uniform(index: npt.NDArray[np.int64], seed: int, stream: int = 0) -> npt.NDArray[np.float64]:
    """A random number in [0, 1) for each item index, the same on every machine and for every chunking.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of the index, keyed by seed and stream.

    Examples
    --------
    >>> hash_uniform(np.arange(3), seed=0).round(3).tolist()
    [0.75, 0.372, 0.438]
    """
    mask = (1 << 64) - 1
    key = _mix(np.array([(seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 1) & mask], dtype=np.uint64))
    with np.errstate(over="ignore"):
        state = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    uniform: npt.NDArray[np.float64] = (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
