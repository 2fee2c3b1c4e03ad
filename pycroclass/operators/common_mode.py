"""What all pixels of a panel share in one frame, taken off again."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError
from pycroclass.operator import Operator, set_field
from pycroclass.operators._checks import check_broadcasts, check_real, finite, positive
from pycroclass.operators._panels import panel_bounds, panels_of, panels_value
from pycroclass.operators._rings import ring_median
from pycroclass.operators._tensor import as_tensor, floating, real_dtype
from pycroclass.spec import Domain, Spec

_STATISTICS = ("median", "mode")


@dataclass(frozen=True)
class CommonMode(Operator):
    """Takes from each panel, frame by frame, the level of its pixels that saw little light: the offset that they share.

    The level is the median of the pixels that count, or their mode: the most frequent value on a grid of ``step``, the lowest of equals,
    moved to the top of the parabola through its count ``n`` and those of its neighbours, ``step (n₊ - n₋) / (2 (2 n - n₋ - n₊))``. A panel
    in which no pixel counts keeps its values, and so do pixels between panels. Take the dark off first, so that pixels are alike.

    ``(channel, y, x)`` keeps its shape; float32, or float64 where the data are.

    Parameters
    ----------
    panels : array_like, optional
        ``(ss, fs)``, the size of modules that tile the frame, or a row ``(ss_start, ss_stop, fs_start, fs_stop)`` for each panel. By
        default those of the geometry, else the frame is one panel.
    statistic : {"median", "mode"}
        The mode suits panels of which a good part is lit.
    below : float, optional
        Values of this size and larger saw light, and do not count. By default all count.
    mask : array_like, shape (y, x) or (channel, y, x), optional
        Nonzero where a pixel does not count, but is corrected. NaN and inf do not count either.
    step : float
        For the mode, in the units of the data.

    Raises
    ------
    ParameterError
        If a parameter cannot be understood.
    AxisError
        If panels or mask do not fit the images, or the data are complex.

    Examples
    --------
    >>> frame = torch.tensor([[[[1.0, 1.0, 90.0], [5.0, 6.0, 5.0]]]])
    >>> CommonMode((1, 3), below=50).transform(frame).tolist()
    [[[[0.0, 0.0, 89.0], [0.0, 1.0, 0.0]]]]
    """

    domain: ClassVar[Domain] = Domain.IMAGE
    tolerance: ClassVar[float] = 1e-5

    panels: ArrayValue | None = None
    _: KW_ONLY
    statistic: Literal["median", "mode"] = "median"
    below: float | None = None
    mask: ArrayValue | None = None
    step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.panels is not None:
            set_field(self, "panels", panels_value(self.panels))
        if self.statistic not in _STATISTICS:
            raise ParameterError(f"statistic must be one of {', '.join(_STATISTICS)}, got {self.statistic!r}")
        if self.below is not None:
            set_field(self, "below", finite("below", self.below))
        if self.mask is not None:
            set_field(self, "mask", ArrayValue(np.asarray(ArrayValue(self.mask).values != 0)))
        set_field(self, "step", positive("step", self.step))

    def bind(self, spec: Spec) -> CommonMode:
        return self if self.panels is not None else replace(self, panels=panels_of(spec.geometry))

    def output(self, spec: Spec) -> Spec:
        check_real(self, spec)
        panel_bounds(self.panels, (spec.shape[-2], spec.shape[-1]))
        if self.mask is not None:
            check_broadcasts("mask", self.mask, spec)
        return replace(spec, dtype=real_dtype(spec.dtype))

    def transform(self, block: torch.Tensor) -> torch.Tensor:
        values = floating(block)
        counts = values.isfinite()
        if self.mask is not None:
            counts &= as_tensor(self.mask, values) == 0
        if self.below is not None:
            counts &= values < self.below
        dim = values.where(counts, torch.nan)
        corrected = values.clone()
        for top, bottom, left, right in panel_bounds(self.panels, (block.shape[-2], block.shape[-1])).tolist():
            level = self._level(dim[..., top:bottom, left:right].flatten(2))
            corrected[..., top:bottom, left:right] -= level.where(level.isfinite(), 0)[..., None, None]
        return corrected

    def _level(self, values: torch.Tensor) -> torch.Tensor:
        """Of ``(batch, channel, pixel)``, NaN where a pixel does not count."""
        if self.statistic == "median":
            return ring_median(values)
        rows = [_mode(row[~row.isnan()], self.step) for row in values.flatten(0, 1)]
        return torch.tensor(rows, dtype=values.dtype, device=values.device).reshape(values.shape[:2])


def _mode(values: torch.Tensor, step: float) -> float:
    """The most frequent value; NaN where there is none."""
    if not len(values):
        return float("nan")
    places, counts = torch.unique((values.double() / step).round(), return_counts=True)
    top = int(counts.argmax())
    before, after = (int(counts[places == places[top] + side].sum()) for side in (-1, 1))
    curvature = 2 * int(counts[top]) - before - after
    return step * (float(places[top]) + ((after - before) / (2 * curvature) if curvature else 0.0))
