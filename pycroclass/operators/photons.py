"""From the units of a detector to photons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, positive
from pycroclass.operators._tensor import floating, real_dtype
from pycroclass.spec import Domain, Spec


@dataclass(frozen=True)
class ToPhotons(Operator):
    """Whole photons: ``floor(x / gain + 1/2)``, and none where ``x / gain`` is below a threshold.

    Any shape; float32, or float64 where the data are. What is NaN or inf becomes NaN. Take dark and common mode off first.

    Parameters
    ----------
    gain : float
        What one photon adds, in the units of the data, such as ADU.
    threshold : float
        In photons; above a half it keeps noise from counting as single photons.

    Raises
    ------
    ParameterError
        If a parameter is not above zero.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> ToPhotons(100, 0.7).transform(torch.tensor([-80.0, 60.0, 70.0, 149.0, 160.0, torch.inf])).tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0, nan]
    """

    domain: ClassVar[Domain] = Domain.PIXEL

    gain: float
    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "gain", positive("gain", self.gain))
        set_field(self, "threshold", positive("threshold", self.threshold))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        return replace(spec, dtype=real_dtype(spec.dtype), units="photons")

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        photons = floating(block) / self.gain
        return (photons + 0.5).floor().where(photons >= self.threshold, 0).where(photons.isfinite(), torch.nan)
