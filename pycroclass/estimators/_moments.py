"""Mean and spread of items in one pass, independent of the order of blocks."""

from __future__ import annotations

from typing import ClassVar

import torch

from pycroclass.errors import DataError
from pycroclass.estimators._items import as_rows, check_finite, check_real, on_rows
from pycroclass.kernels import row_sums, row_sums_torch
from pycroclass.operator import Items
from pycroclass.reduction import Reducible, Reduction, State
from pycroclass.spec import Spec


class Moments(Reduction):
    """Number of items, mean and sum of squared deviations of each feature, in float64.

    Blocks are merged by the formula of Chan, Golub and LeVeque (Am. Stat. 37, 242, 1983), which subtracts means before it squares.
    """

    in_pieces: ClassVar[bool] = True

    def partial(self, block: torch.Tensor, items: Items) -> State:
        return torch.tensor(float(len(block)), dtype=torch.float64), *self.spread(block)

    def merge(self, a: State, b: State) -> State:
        n_a, mean_a, squares_a = a
        n_b, mean_b, squares_b = b
        n = n_a + n_b
        delta = mean_b - mean_a
        share = n_b / n.clamp(min=1)
        return n, mean_a + delta * share, squares_a + squares_b + self.squared(delta) * (n_a * share)

    def spread(self, block: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Mean and squares of some items."""
        return on_rows(row_sums.moments, row_sums_torch.moments, block)

    def squared(self, difference: torch.Tensor) -> torch.Tensor:
        """The square of one deviation, shape (features,)."""
        return difference.square()


class Scatter(Moments):
    """As `Moments`, with the sums of products of pairs of features, shape (features, features); only the upper triangle counts."""

    def spread(self, block: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return on_rows(row_sums.scatter, row_sums_torch.scatter, block)

    def squared(self, difference: torch.Tensor) -> torch.Tensor:
        return torch.outer(difference, difference)


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
