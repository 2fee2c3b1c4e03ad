"""Exact order statistics of all values of a dataset, by repeated histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.estimators._items import check_finite
from pycroclass.operator import Items
from pycroclass.reduction import Data, Reduction, State
from pycroclass.spec import Spec

_DIGIT: Final = 16
_N_BINS: Final = 1 << _DIGIT
_INTEGERS: Final[dict[torch.dtype, torch.dtype]] = {torch.float32: torch.int32, torch.float64: torch.int64}


def percentiles(data: Data, spec: Spec, percents: Sequence[float]) -> list[float]:
    """The percentiles of all values of all items, as ``numpy.percentile`` gives them with linear interpolation.

    Exact: two passes for float32, four for float64.
    """
    n_values = data.n_items * int(np.prod(spec.shape))
    positions = [percent / 100 * (n_values - 1) for percent in percents]
    below = [int(position) for position in positions]
    ranks = sorted({rank for low in below for rank in (low, min(low + 1, n_values - 1))})
    values = dict(zip(ranks, order_statistics(data, spec, ranks), strict=True))
    return [
        values[low] + (position - low) * (values[min(low + 1, n_values - 1)] - values[low])
        for low, position in zip(below, positions, strict=True)
    ]


def order_statistics(data: Data, spec: Spec, ranks: Sequence[int]) -> list[float]:
    """The values that would stand at ``ranks`` if all were sorted, by radix selection on their bits.

    The bits of a float, read as an integer, are in order of size. Each pass counts 16 of them, the highest first, among the values that
    agree with a wanted one in all bits so far.
    """
    dtype = torch.float64 if spec.dtype.name in ("float64", "int64", "uint64") else torch.float32
    width = torch.finfo(dtype).bits
    prefixes, left = [0] * len(ranks), list(ranks)
    for shift in range(width - _DIGIT, -1, -_DIGIT):
        known = sorted(set(prefixes))
        counts, residue = data.reduce(_Histograms(dtype, shift, None if shift == width - _DIGIT else tuple(known)))
        check_finite(spec, residue)
        cumulative = counts.numpy().cumsum(1)
        for i, prefix in enumerate(prefixes):
            row = cumulative[known.index(prefix)]
            digit = int(np.searchsorted(row, left[i], side="right"))
            left[i] -= int(row[digit - 1]) if digit else 0
            signed = digit - _N_BINS // 2 if shift == width - _DIGIT else digit
            prefixes[i] = (prefix << _DIGIT) + signed
    return [float(value) for value in _values(np.array(prefixes), dtype)]


@dataclass(frozen=True)
class _Histograms(Reduction):
    """How often each value of the 16 bits above ``shift`` occurs, shape (prefix, 65536), for each known run of bits above those.

    Beside it a number that is not finite if any value is not.
    """

    dtype: torch.dtype
    shift: int
    prefixes: tuple[int, ...] | None

    def partial(self, block: torch.Tensor, items: Items) -> State:
        block = block.to(self.dtype)
        keys, residue = _keys(block), (block - block).sum()
        digits = keys >> self.shift
        if self.prefixes is None:
            return torch.bincount((digits + _N_BINS // 2).long(), minlength=_N_BINS)[None], residue
        above = digits >> _DIGIT
        counts = [torch.bincount((digits[above == prefix] & (_N_BINS - 1)).long(), minlength=_N_BINS) for prefix in self.prefixes]
        return torch.stack(counts), residue


def _keys(block: torch.Tensor) -> torch.Tensor:
    """Integers in the order of the floats: where the sign bit is set, the others are flipped."""
    bits = block.flatten().contiguous().view(_INTEGERS[block.dtype])
    return bits ^ ((bits >> (torch.finfo(block.dtype).bits - 1)) & torch.iinfo(bits.dtype).max)


def _values(keys: npt.NDArray[Any], dtype: torch.dtype) -> npt.NDArray[Any]:
    integers = torch.from_numpy(keys).to(_INTEGERS[dtype])
    bits = integers ^ ((integers >> (torch.finfo(dtype).bits - 1)) & torch.iinfo(integers.dtype).max)
    return bits.view(dtype).numpy().astype(np.float64)
