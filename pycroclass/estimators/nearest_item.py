"""Labels of new items from those of known ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators._items import as_rows, check_item, label_spec
from pycroclass.kernels import row_sums_torch
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class NearestItem(Operator):
    """The label of the nearest of some known items, by Euclidean distance; the first of equals.

    ``(*core)`` becomes one int32 label; -1 where the item holds NaN or inf, where the nearest item has no label, and where it is farther
    away than the reach of its cluster. Made by `HDBSCAN.fit` and `Agglomerative.fit`.

    Parameters
    ----------
    known : array, shape (n, *core)
        The items of a sample.
    labels : array of int, shape (n,)
        Their clusters; -1 for none.
    reach : array, shape (n_clusters,)
        How far from a known item of a cluster another item may lie and still belong to it.
    item : tuple of Axis
        Axes of the items that this was fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> nearest = NearestItem([[0.0], [1.0], [9.0]], [0, 0, 1], [2.0, 2.0], (Axis("energy", 1),))
    >>> nearest.transform(torch.tensor([[2.0], [8.0], [5.4]])).tolist()
    [0, 1, -1]
    """

    domain: ClassVar[Domain] = Domain.ITEM

    known: ArrayValue
    labels: ArrayValue
    reach: ArrayValue
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("known", "labels", "reach"):
            set_field(self, name, ArrayValue(getattr(self, name)))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        n = self.known.shape[0] if self.known.shape else 0
        if not n or self.known.shape != (n, *shape) or self.labels.shape != (n,) or len(self.reach.shape) != 1:
            raise ParameterError(
                f"items of shape {shape} need known ones of (n, *{shape}), n labels and a reach for each cluster, "
                f"got {self.known.shape}, {self.labels.shape} and {self.reach.shape}"
            )
        if int(self.labels.values.max()) >= self.n_clusters:
            raise ParameterError(f"the label {self.labels.values.max()} is beyond the {self.n_clusters} clusters that have a reach")

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return self.reach.shape[0]

    def output(self, spec: Spec) -> Spec:
        check_item(spec, self.known.shape[1:], "NearestItem")
        return label_spec(spec, self.n_clusters)

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return super().workspace(spec, device) + 2 * np.dtype(np.float64).itemsize * self.known.shape[0]

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        rows = as_rows(block)
        known, labels, reach = (as_tensor(value, rows) for value in (self.known, self.labels, self.reach))
        known = known.flatten(1)
        origin = known.mean(0)  # far from zero the digits of distances would cancel
        nearest = row_sums_torch.nearest(rows, origin, known - origin)[0]  # of very many, which are best multiplied all at once
        label = labels[nearest].to(torch.int64)
        distance = torch.linalg.vector_norm(rows - known[nearest], dim=1)
        is_member = (label >= 0) & (distance <= reach[label.clamp(min=0)])  # false for NaN
        return label.to(torch.int32).masked_fill(~is_member, -1)
