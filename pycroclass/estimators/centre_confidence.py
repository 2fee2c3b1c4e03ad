"""How sure it is that an item belongs to its nearest centre."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.estimators._items import as_rows, check_item, label_spec
from pycroclass.estimators._lloyd import labels_of
from pycroclass.kernels.row_sums_torch import partial_distances
from pycroclass.operator import Operator, set_field
from pycroclass.operators._tensor import as_tensor
from pycroclass.spec import Axis, Domain, Spec


@dataclass(frozen=True)
class CentreConfidence(Operator):
    """The nearest of several centres, and how much nearer it is than the second: ``1 - d1 / d2`` with Euclidean distances.

    This is the simplified silhouette of an item (Hruschka, de Castro and Campello, ICDM 2004): 1 at a centre, 0 half way between two.
    ``(*core)`` becomes ``label`` (int32) and ``confidence`` (float32); -1 and NaN where the item holds NaN or inf. Made by
    `NearestCentre.confidence`.

    Parameters
    ----------
    centres : array, shape (n_clusters, *core)
        At least two.
    item : tuple of Axis
        Axes of the items that they were fitted on.

    Raises
    ------
    ParameterError
        If the shapes do not belong together, or there is one centre alone.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> sure = CentreConfidence([[0.0], [4.0]], (Axis("energy", 1),))
    >>> sure.transform(torch.tensor([[0.0], [-4.0], [2.0]]))["confidence"].tolist()
    [1.0, 0.5, 0.0]
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-5

    centres: ArrayValue
    item: tuple[Axis, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "centres", ArrayValue(self.centres))
        set_field(self, "item", tuple(self.item))
        shape = tuple(axis.size for axis in self.item)
        if self.centres.shape[1:] != shape or self.centres.shape[:1] in ((), (0,), (1,)):
            raise ParameterError(f"items of shape {shape} need at least two centres, (n_clusters, *{shape}), got {self.centres.shape}")

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_item(spec, self.centres.shape[1:], "CentreConfidence")
        label = label_spec(spec, self.centres.shape[0])
        confidence = replace(label, dtype=np.dtype(np.float32), quantity="simplified silhouette", title="confidence", classes=())
        return {"label": label, "confidence": confidence}

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = as_rows(block)
        centres = as_tensor(self.centres, rows).flatten(1)
        label = labels_of(block, centres)
        origin = centres.mean(0)
        rows, centres = rows - origin, centres - origin
        others = partial_distances(rows, centres).scatter(0, label[None], torch.inf)
        near, far = (torch.linalg.vector_norm(rows - centres[which], dim=1) for which in (label, others.min(0).indices))
        is_finite = rows.isfinite().all(1)
        confidence = torch.where(far > 0, 1 - near / far, 0.0)
        return {
            "label": label.to(torch.int32).where(is_finite, -1),
            "confidence": confidence.where(is_finite, torch.nan).to(torch.float32),
        }
