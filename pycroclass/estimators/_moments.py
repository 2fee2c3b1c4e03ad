"""Mean and spread of items in one pass, independent of the order of blocks."""

from __future__ import annotations

from typing import Final

import torch

from pycroclass.errors import DataError
from pycroclass.estimators._items import as_rows, check_finite, check_real
from pycroclass.operator import Items
from pycroclass.reduction import Reducible, Reduction, State
from pycroclass.spec import Spec

_NARROWEST, _WIDEST = 16, 256
"""Features whose products with all behind them are made at once."""
_TILE: Final = 1 << 17
"""Numbers that stay in the cache between their conversion and their products."""


class Moments(Reduction):
    """Number of items, mean and sum of squared deviations of each feature, in float64.

    Blocks are merged by the formula of Chan, Golub and LeVeque (Am. Stat. 37, 242, 1983), which subtracts means before it squares.
    """

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows = block.flatten(1)
        n_items, n_features = rows.shape
        mean = rows.sum(0, dtype=torch.float64) / max(n_items, 1)
        squares = self.zeros(mean)
        tiles = torch.split(rows, max(_TILE // n_features, n_features))
        deviations = torch.empty(tiles[0].shape, dtype=torch.float64, device=rows.device)
        for tile in tiles:
            self.add_squares(squares, deviations[: len(tile)].copy_(tile).sub_(mean))
        return torch.tensor(float(n_items), dtype=torch.float64), mean, squares

    def merge(self, a: State, b: State) -> State:
        n_a, mean_a, squares_a = a
        n_b, mean_b, squares_b = b
        n = n_a + n_b
        delta = mean_b - mean_a
        share = n_b / n.clamp(min=1)
        between = self.zeros(delta)
        self.add_squares(between, delta[None])
        return n, mean_a + delta * share, squares_a + squares_b + between * (n_a * share)

    def zeros(self, mean: torch.Tensor) -> torch.Tensor:
        """No squares yet, shape (features,)."""
        return torch.zeros_like(mean)

    def add_squares(self, squares: torch.Tensor, rows: torch.Tensor) -> None:
        """Add the sum of squares of each feature of some items."""
        squares += rows.square().sum(0)


class Scatter(Moments):
    """As `Moments`, with the sums of products of pairs of features, shape (features, features); only the upper triangle counts."""

    def zeros(self, mean: torch.Tensor) -> torch.Tensor:
        return mean.new_zeros(len(mean), len(mean))

    def add_squares(self, squares: torch.Tensor, rows: torch.Tensor) -> None:
        n_features = rows.shape[1]
        width = min(max(n_features // 4, _NARROWEST), _WIDEST)
        for start in range(0, n_features, width):  # little more than half the work of the whole product
            stop = start + width
            squares[start:stop, start:].addmm_(rows[:, start:stop].T, rows[:, start:])


class _Sums(Reduction):
    """Number of items, sum of each feature and least value of all."""

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows = as_rows(block)
        return torch.tensor(float(len(rows)), dtype=torch.float64), rows.sum(0), rows.min()

    def merge(self, a: State, b: State) -> State:
        return a[0] + b[0], a[1] + b[1], torch.minimum(a[2], b[2])


def nonnegative_mean(data: Reducible, spec: Spec) -> torch.Tensor:
    """Mean of each feature of data that are nowhere negative, shape (features,).

    Raises
    ------
    DataError
        If they are negative anywhere, zero everywhere, complex or not finite.
    """
    check_real(spec)
    n, total, least = data.reduce(_Sums())
    check_finite(spec, total)
    if least < 0:
        raise DataError(f"{spec.title!r} goes down to {float(least):g}, but counts are never negative: put Clip(low=0) before")
    if not total.any():
        raise DataError(f"{spec.title!r} is zero everywhere")
    return total / n
