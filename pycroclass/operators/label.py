"""From scores to labels: whole numbers that stand for classes, int32, -1 where there is no answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, finite
from pycroclass.operators._tensor import floating
from pycroclass.spec import Domain, Spec

_UNKNOWN: Final = -1


@dataclass(frozen=True)
class Threshold(Operator):
    """Label 1 where ``x >= value``, else 0; -1 where x is NaN.

    Any shape, int32.

    Parameters
    ----------
    value : float
        In the units of the data.
    classes : (str, str)
        Names of labels 0 and 1.

    Raises
    ------
    ParameterError
        If the value is not finite, or there are not two names.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Threshold(0.5, classes=("miss", "hit")).transform(torch.tensor([0.2, 0.5, torch.nan])).tolist()
    [0, 1, -1]
    """

    domain: ClassVar[Domain] = Domain.PIXEL

    value: float
    classes: tuple[str, str] = ("below", "above")

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "value", finite("value", self.value))
        if not isinstance(self.classes, tuple | list) or len(self.classes) != 2:
            raise ParameterError(f"classes must be the names of labels 0 and 1, got {self.classes!r}")
        set_field(self, "classes", tuple(str(name) for name in self.classes))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=np.dtype(np.int32), quantity="label", units="generic", title="label", classes=self.classes)

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        scores = floating(block)
        return (scores >= self.value).to(torch.int32).masked_fill(scores.isnan(), _UNKNOWN)


@dataclass(frozen=True)
class Argmax(Operator):
    """Index of the largest value of each spectrum (of class scores, say), the first of equals; -1 where one is NaN.

    ``(length,)`` becomes one int32. Class names stay.

    Raises
    ------
    AxisError
        If the data are complex.

    Examples
    --------
    >>> Argmax().transform(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])).tolist()
    [1, 0]
    """

    domain: ClassVar[Domain] = Domain.SPECTRUM

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, axes=(), dtype=np.dtype(np.int32), quantity="label", units="generic", title="label")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        scores = floating(block)
        return scores.argmax(1).to(torch.int32).masked_fill(scores.isnan().any(1), _UNKNOWN)
