"""From the number of peaks of a frame to hit or miss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_real, integers
from pycroclass.operators._tensor import floating
from pycroclass.spec import Domain, Spec

_CLASSES: Final = ("miss", "hit", "uncertain")
_UNKNOWN: Final = -1


@dataclass(frozen=True)
class PeakCountRule(Operator):
    """A miss where there are fewer than ``miss_below`` peaks, a hit where there are more than ``hit_above``, else uncertain.

    Each count becomes ``label`` (int32; 0 miss, 1 hit, 2 uncertain, -1 where it is NaN) and ``confidence`` (float32), which says how far
    from the rule's bounds it lies and is no probability: ``1 - n / miss_below`` of a miss, ``1 - hit_above / n`` of a hit, 0 of what is
    uncertain. With ``miss_below = hit_above + 1`` nothing is uncertain.

    `count_classes` says how many frames each class gets. Frames that are uncertain are often a third of a run and more, and the hard ones:
    whoever drops them judges and trains on easy ones.

    Parameters
    ----------
    miss_below, hit_above : int
        Peaks. What counts as many depends on the detector, on how peaks were found and on how much of the frame was looked at; `PeakCount`
        finds a bound for each run.

    Raises
    ------
    ParameterError
        If they are not whole numbers of at least 0, or a count could be both.
    AxisError
        If the data are complex.

    Examples
    --------
    >>> answer = PeakCountRule(2, 10).transform(torch.tensor([0, 1, 2, 10, 11, 40]))
    >>> answer["label"].tolist(), answer["confidence"][[0, 1, 5]].tolist()
    ([0, 0, 2, 2, 1, 1], [1.0, 0.5, 0.75])
    """

    domain: ClassVar[Domain] = Domain.PIXEL
    takes_any_dtype: ClassVar[bool] = True

    miss_below: int = 2
    hit_above: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("miss_below", "hit_above"):
            set_field(self, name, integers(name, getattr(self, name), least=0)[0])
        if self.miss_below > self.hit_above + 1:
            raise ParameterError(
                f"miss_below={self.miss_below} and hit_above={self.hit_above}: {self.miss_below - 1} peaks would be a miss and a hit"
            )

    def output(self, spec: Spec) -> dict[str, Spec]:
        check_real(self, spec)
        label = replace(spec, dtype=np.dtype(np.int32), quantity="label", units="generic", title="label", classes=_CLASSES)
        confidence = replace(label, dtype=np.dtype(np.float32), quantity="confidence", title="confidence", classes=())
        return {"label": label, "confidence": confidence}

    def transform(self, block: torch.Tensor) -> dict[str, torch.Tensor]:
        count = floating(block).double()
        is_miss, is_hit, is_known = count < self.miss_below, count > self.hit_above, ~count.isnan()
        label = (2 - 2 * is_miss.int() - is_hit.int()).where(is_known, _UNKNOWN)
        distance = 1 - torch.where(is_miss, count / max(self.miss_below, 1), self.hit_above / count)
        confidence = distance.where(is_miss | is_hit, 0).where(is_known, torch.nan)
        return {"label": label, "confidence": confidence.float()}
