"""How many peaks a frame of a run needs to be a hit, learned from the counts alone."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch

from pycroclass.errors import DataError
from pycroclass.estimators._items import check_real
from pycroclass.operator import Items, set_field
from pycroclass.operators._checks import positive
from pycroclass.operators.peak_count_rule import PeakCountRule
from pycroclass.reduction import Data, Estimator, Reduction, State
from pycroclass.spec import Domain, Spec

log = logging.getLogger(__name__)

_MOST: Final = 1 << 20
"""Counts beyond are taken for this."""


@dataclass(frozen=True)
class PeakCount(Estimator):
    """Hit or miss by the number of peaks, with a bound that the counts of the run tell without labels.

    Most frames of a run miss, so that the most frequent count ``m`` (the lowest of equals) is that of misses: of noise, which any search
    takes for peaks now and then. Hits lie above it alone, so that the counts below show how noise spreads. Mirrored at ``m``, ``h(c)``
    frames having ``c`` peaks, they have the variance ``s² = 2 Σ_{c<m} h(c) (m - c)² / (h(m) + 2 Σ_{c<m} h(c))``. Noise that strikes at
    random spreads at least as a Poisson distribution does; with ``s`` not below ``√max(m, 1)``, a frame is a hit where it has more than
    ``m + k s`` peaks. Fitting gives a `PeakCountRule` by which nothing is uncertain.

    Parameters
    ----------
    k : float
        Standard deviations.

    Raises
    ------
    ParameterError
        If ``k`` is not above zero.
    DataError
        If the values are no counts: whole numbers of at least 0.

    Notes
    -----
    It fails where most frames are hits. Look at the counts; fit it on a run as a whole, and anew for each run.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(pc.PeakFinder8(150) | pc.PeakCount(), frames)  # doctest: +SKIP
    >>> model[-1].hit_above, model(frames)["label"]  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.PIXEL

    k: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_field(self, "k", positive("k", self.k))

    def fit(self, data: Data, spec: Spec) -> PeakCountRule:
        """The bound, from one pass."""
        check_real(spec)
        histogram, n_wrong = data.reduce(_Histogram())
        if n_wrong:
            raise DataError(f"{int(n_wrong)} of {data.n_items} values of {spec.title!r} are no counts: wanted whole numbers of at least 0")
        frames = histogram.numpy()
        mode = int(frames.argmax())
        below = 2 * frames[:mode]
        variance = float(below @ np.square(mode - np.arange(mode)) / (frames[mode] + below.sum()))
        spread = max(math.sqrt(variance), math.sqrt(max(mode, 1)))
        most = math.floor(mode + self.k * spread)
        log.info("%d of %d frames have the most frequent count %d; hits have more than %d", frames[mode], frames.sum(), mode, most)
        return PeakCountRule(most + 1, most, axes=self.axes)


class _Histogram(Reduction):
    """How many frames have 0, 1, 2, … peaks, and how many values are no counts."""

    def partial(self, block: torch.Tensor, items: Items) -> State:
        is_count = (block >= 0) & (block == block.round())
        return torch.bincount(block[is_count].clamp_max(_MOST).long()), (~is_count).sum()

    def merge(self, a: State, b: State) -> State:
        n = max(len(a[0]), len(b[0]))
        first, second = (torch.nn.functional.pad(counts, (0, n - len(counts))) for counts in (a[0], b[0]))
        return first + second, a[1] + b[1]
