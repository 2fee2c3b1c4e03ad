"""Mean and spread of items in one pass, without cancellation and independent of the order of blocks."""

from __future__ import annotations

from typing import Final

import torch

from pycroclass.estimators._items import as_rows
from pycroclass.operator import Items
from pycroclass.reduction import Reduction, State

_PANEL: Final = 256


class Moments(Reduction):
    """Number of items, mean and sum of squared deviations of each feature, in float64.

    Blocks are merged by the formula of Chan, Golub and LeVeque (Am. Stat. 37, 242, 1983), which subtracts means before it squares.
    """

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows = as_rows(block)
        mean = rows.sum(0) / max(len(rows), 1)
        return torch.tensor(float(len(rows)), dtype=torch.float64), mean, self.squares(rows - mean)

    def merge(self, a: State, b: State) -> State:
        n_a, mean_a, squares_a = a
        n_b, mean_b, squares_b = b
        n = n_a + n_b
        delta = mean_b - mean_a
        share = n_b / n.clamp(min=1)
        return n, mean_a + delta * share, squares_a + squares_b + self.squares(delta[None]) * (n_a * share)

    def squares(self, rows: torch.Tensor) -> torch.Tensor:
        """The sum of squares of each feature, shape (features,)."""
        return rows.square().sum(0)


class Scatter(Moments):
    """As `Moments`, with the sums of products of pairs of features, shape (features, features); only the upper triangle counts."""

    def squares(self, rows: torch.Tensor) -> torch.Tensor:
        n_features = rows.shape[1]
        products = rows.new_zeros(n_features, n_features)
        for start in range(0, n_features, _PANEL):  # half the work of the whole product
            panel = rows[:, start : start + _PANEL]
            products[start : start + _PANEL, start:] = panel.T @ rows[:, start:]
        return products
