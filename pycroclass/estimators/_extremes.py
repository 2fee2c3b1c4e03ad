"""The items that lie farthest out along given directions, found in passes over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import DataError
from pycroclass.estimators._items import as_rows
from pycroclass.operator import Items
from pycroclass.reduction import Data, Reduction, State

FloatArray = npt.NDArray[np.float64]

_FLAT = 1e-9
"""Extremes nearer to the others than this share of the data's size are rounding."""


@dataclass(frozen=True)
class Affine:
    """Items as points ``((row - origin) @ basis, constant)``.

    Parameters
    ----------
    origin : array, shape (feature,)
    basis : array, shape (feature, n_dimensions - 1)
    constant : float
    """

    origin: FloatArray
    basis: FloatArray
    constant: float

    @property
    def n_dimensions(self) -> int:
        """Length of a point."""
        return int(self.basis.shape[1]) + 1

    @property
    def size(self) -> float:
        """The least length that a point has."""
        return self.constant

    def points(self, rows: FloatArray) -> FloatArray:
        """Shape (item, n_dimensions)."""
        return np.hstack([(rows - self.origin) @ self.basis, np.full((len(rows), 1), self.constant)])

    def extremes(self, directions: FloatArray) -> Extremes:
        """The search along ``directions``, shape (n_dimensions, direction)."""
        shift = self.constant * directions[-1] - self.origin @ self.basis @ directions[:-1]
        return Extremes(torch.from_numpy(self.basis @ directions[:-1]), torch.from_numpy(shift))


@dataclass(frozen=True)
class Projective:
    """Items as points ``row @ basis``, scaled to lie in the plane where their product with ``normal`` is one.

    Parameters
    ----------
    basis : array, shape (feature, n_dimensions)
    normal : array, shape (n_dimensions,)
    """

    basis: FloatArray
    normal: FloatArray

    @property
    def n_dimensions(self) -> int:
        """Length of a point."""
        return int(self.basis.shape[1])

    @property
    def size(self) -> float:
        """The least length that a point has."""
        return float(1 / np.linalg.norm(self.normal))

    def points(self, rows: FloatArray) -> FloatArray:
        """Shape (item, n_dimensions)."""
        inside = rows @ self.basis
        points: FloatArray = inside / (inside @ self.normal)[:, None]
        return points

    def extremes(self, directions: FloatArray) -> Extremes:
        """The search along ``directions``, shape (n_dimensions, direction)."""
        least = 1e-6 * float(self.normal @ self.normal)
        weights = torch.from_numpy(self.basis @ directions)
        return ScaledExtremes(weights, torch.zeros(1, dtype=torch.float64), torch.from_numpy(self.basis @ self.normal), least)


@dataclass(frozen=True)
class Extremes(Reduction):
    """For each direction the item whose ``row @ weights + shift`` is largest in size; the first of equals.

    State: sizes ``(direction,)``, indices ``(direction,)``, rows ``(direction, feature)``.
    """

    weights: torch.Tensor
    shift: torch.Tensor

    def sizes(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape (item, direction)."""
        return (rows @ self.weights.to(rows.device) + self.shift.to(rows.device)).abs()

    def partial(self, block: torch.Tensor, items: Items) -> State:
        rows = as_rows(block)
        sizes = self.sizes(rows)
        at = sizes.argmax(0)
        return sizes.gather(0, at[None])[0], torch.from_numpy(items.index).to(at.device)[at], rows[at]

    def merge(self, a: State, b: State) -> State:
        other = (b[0] > a[0]) | ((b[0] == a[0]) & (b[1] < a[1]))
        return torch.where(other, b[0], a[0]), torch.where(other, b[1], a[1]), torch.where(other[:, None], b[2], a[2])


@dataclass(frozen=True)
class ScaledExtremes(Extremes):
    """As `Extremes`, of rows divided by their product with ``normal``; where that is below ``least``, dark items, an item is none."""

    normal: torch.Tensor
    least: float

    def sizes(self, rows: torch.Tensor) -> torch.Tensor:
        scale = (rows @ self.normal.to(rows.device))[:, None]
        return torch.where(scale >= self.least, super().sizes(rows) / scale, 0)


def corners(data: Data, space: Affine | Projective, title: str, seed: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Indices and rows of as many items as the space has dimensions: each lies farthest out along a direction that is random but
    orthogonal to those before (Nascimento and Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43, 898, 2005, steps 13 to 19).

    Raises
    ------
    DataError
        If all items lie in fewer dimensions.
    """
    random = np.random.default_rng(seed)
    n = space.n_dimensions
    found = np.zeros((n, n))
    found[-1, 0] = 1
    indices, rows = [], []
    for i in range(n):
        direction = random.standard_normal(n)
        direction -= found @ (np.linalg.pinv(found) @ direction)
        direction /= np.linalg.norm(direction)
        sizes, index, row = (part.numpy() for part in data.reduce(space.extremes(direction[:, None])))
        if sizes[0] <= _FLAT * space.size:
            raise DataError(f"the items of {title!r} are mixtures of {i} spectra only; ask for at most {i} end members")
        found[:, i] = space.points(row)[0]
        indices.append(index)
        rows.append(row)
    return np.concatenate(indices), np.concatenate(rows)
