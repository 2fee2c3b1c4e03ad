"""How far items are from what a decomposition says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Composable, Operator, set_field
from pycroclass.operators._tensor import floating
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class Misfit(Operator):
    """Root mean square of what is left of an item: itself less its reconstruction by a fitted decomposition.

    ``(*core)`` becomes one float32 number in the units of the data; NaN where the item holds NaN or inf. A map of it shows where
    components are missing.

    Parameters
    ----------
    decomposition : Operator
        Fitted, with an ``inverse``: what `PCA`, `SVD`, `PoissonPCA`, `ICA`, `NMF` or `PoissonNMF` give.

    Raises
    ------
    ParameterError
        If the operator has no inverse.
    AxisError
        If an item has another shape than those of the fit.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PCA(3), dataset)  # doctest: +SKIP
    >>> left = pc.Misfit(model)(dataset)  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.ITEM
    tolerance: ClassVar[float] = 1e-4

    decomposition: Operator

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = self.decomposition.steps() if isinstance(self.decomposition, Composable) else ()
        if len(steps) != 1 or not isinstance(steps[0], Operator):
            raise ParameterError(f"Misfit needs one fitted operator, such as a fitted PCA, got {self.decomposition!r}")
        _inverse(steps[0])
        set_field(self, "decomposition", steps[0])
        set_field(self, "axes", self.axes or steps[0].axes)

    def output(self, spec: Spec) -> Spec:
        self.decomposition.output(spec)  # refuses items of another shape
        return replace(spec, axes=(), dtype=np.dtype(np.float32), title="residual", geometry=None, classes=())

    def workspace(self, spec: Spec, device: torch.device) -> int:
        return self.decomposition.workspace(spec, device) + 8 * int(np.prod(spec.shape))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        scores = self.decomposition.transform(block)
        items = _inverse(self.decomposition).transform(scores) if isinstance(scores, torch.Tensor) else None
        if not isinstance(items, torch.Tensor):
            raise ParameterError(f"{type(self.decomposition).__name__} gives several results: Misfit needs one")
        left = floating(block) - items
        return left.flatten(1).square().mean(1).sqrt().to(torch.float32)


def _inverse(operator: Operator) -> Operator:
    inverse = getattr(operator, "inverse", None)
    if not isinstance(inverse, Operator):
        raise ParameterError(f"{type(operator).__name__} has no inverse: Misfit needs what PCA, ICA, NMF or the like have fitted")
    return inverse
