"""The twin of `row_sums` in PyTorch, for any device: all rows at once, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

_NARROWEST, _WIDEST = 16, 256
"""Features whose products with all behind them are made at once."""
_TILE: Final = 1 << 17
"""Numbers that stay in the cache between their conversion and their products."""


def moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and sum of squared deviations of each column; see `pycroclass.kernels.row_sums.moments`."""
    return _about_mean(rows, rows.new_zeros(rows.shape[1], dtype=torch.float64), _add_squares)


def scatter(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `moments`, with the sums of products of pairs of columns; see `pycroclass.kernels.row_sums.scatter`."""
    return _about_mean(rows, rows.new_zeros(rows.shape[1], rows.shape[1], dtype=torch.float64), _add_products)


def assign(values: torch.Tensor, origin: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The clusters that the nearest centres make of rows; see `pycroclass.kernels.row_sums.assign`."""
    n_runs, n_clusters, n_features = centres.shape
    rows = values.to(torch.float64) - origin
    nearest, labels = partial_distances(rows, centres.flatten(0, 1)).view(n_runs, n_clusters, -1).min(1)
    members = torch.zeros(n_runs, n_clusters, len(rows), dtype=rows.dtype, device=rows.device)
    members.scatter_(1, labels[:, None], 1.0)
    sums = (members.flatten(0, 1) @ rows).view(n_runs, n_clusters, n_features)
    return members.sum(2), sums, (nearest + rows.square().sum(1)).clamp(min=0).sum(1)


def nearest(values: torch.Tensor, origin: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest centre of each row; see `pycroclass.kernels.row_sums.nearest`."""
    rows = values.to(torch.float64) - origin
    least, labels = partial_distances(rows, centres).min(0)  # much faster than argmin
    return labels, (least + rows.square().sum(1)).clamp(min=0)


def partial_distances(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Squared distances ``(centre, item)`` less the squared length of the item, which does not change which centre is nearest."""
    return torch.addmm(centres.square().sum(1, keepdim=True), centres, rows.T, alpha=-2)


def _about_mean(
    rows: torch.Tensor, spread: torch.Tensor, add: Callable[[torch.Tensor, torch.Tensor], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    n_items, n_features = rows.shape
    mean = rows.sum(0, dtype=torch.float64) / max(n_items, 1)
    tiles = torch.split(rows, max(_TILE // n_features, n_features))
    deviations = torch.empty(tiles[0].shape, dtype=torch.float64, device=rows.device)
    for tile in tiles:
        add(spread, deviations[: len(tile)].copy_(tile).sub_(mean))
    return mean, spread


def _add_squares(spread: torch.Tensor, deviations: torch.Tensor) -> None:
    spread += deviations.square().sum(0)


def _add_products(spread: torch.Tensor, deviations: torch.Tensor) -> None:
    n_features = deviations.shape[1]
    width = min(max(n_features // 4, _NARROWEST), _WIDEST)
    for start in range(0, n_features, width):  # little more than half the work of the whole product
        stop = start + width
        spread[start:stop, start:].addmm_(deviations[:, start:stop].T, deviations[:, start:])
