"""The plain twin of the engine's passes: blocks of an array in memory, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from pycroclass.operator import Items, Operator
from pycroclass.reduction import Reduction, State, hash_uniform
from pycroclass.spec import Axis, Spec


class PlainData:
    """Items ``(n, *core)`` as `pycroclass.reduction.Data`; ``cuts`` are the first items of further blocks."""

    def __init__(self, array: np.ndarray, cuts: Sequence[int] = ()) -> None:
        self.array = array
        self.edges = sorted({0, *(c for c in cuts if 0 < c < len(array)), len(array)})
        self.n_passes = 0

    @property
    def n_items(self) -> int:
        return len(self.array)

    @property
    def n_total(self) -> int:
        return len(self.array)

    def blocks(self, seed: int | None = None) -> Iterator[tuple[torch.Tensor, Items]]:
        for start, stop in zip(self.edges, self.edges[1:]):
            yield torch.from_numpy(self.array[start:stop].copy()), Items(np.arange(start, stop))

    def reduce(self, reduction: Reduction) -> State:
        self.n_passes += 1
        with torch.inference_mode():
            states = [reduction.partial(block, items) for block, items in self.blocks()]
            merged = states[0]
            for state in states[1:]:
                merged = reduction.merge(merged, state)
        return merged

    def sample(self, n: int, seed: int) -> np.ndarray[Any, Any]:
        chosen = np.argsort(hash_uniform(np.arange(len(self.array)), seed))[:n]
        return self.array[np.sort(chosen)]


def spectra_spec(array: np.ndarray, **changes: Any) -> Spec:
    """The item spec of ``(n, energy)``."""
    axis = Axis("energy", array.shape[1], kind="spectral", quantity="energy loss", units="eV", offset=100, step=0.5)
    return Spec((axis,), array.dtype, quantity="intensity", units="counts", **changes)


def image_spec(array: np.ndarray, **changes: Any) -> Spec:
    """The item spec of ``(n, y, x)`` or ``(n, channel, y, x)``."""
    kinds = {"channel": "channel", "y": "spatial", "x": "spatial"}
    names = ("channel", "y", "x")[-(array.ndim - 1) :]
    return Spec(tuple(Axis(n, s, kind=kinds[n]) for n, s in zip(names, array.shape[1:])), array.dtype, **changes)


def run_plain(operator: Operator, array: np.ndarray) -> np.ndarray:
    """All items through an operator at once."""
    result = operator.transform(torch.from_numpy(array))
    assert isinstance(result, torch.Tensor)
    return result.numpy()
