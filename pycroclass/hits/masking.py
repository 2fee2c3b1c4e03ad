"""The bad pixels of a run: those that are known, and those that the run shows."""

from __future__ import annotations

import logging
import math
from typing import Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.api import fit
from pycroclass.array_value import ArrayValue
from pycroclass.estimators.defects import DefectMask
from pycroclass.estimators.streaks import StreakMask
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators.mask_pixels import MaskPixels
from pycroclass.operators.radial_snr import RadialSNR
from pycroclass.per_item import take
from pycroclass.stage import Execution

log = logging.getLogger(__name__)

_CLIP: Final = 5.0
_N_FRAMES: Final = 256


def run_mask(
    frames: sidpy.Dataset,
    mask: npt.ArrayLike | sidpy.Dataset | None = None,
    *,
    n_frames: int = _N_FRAMES,
    execution: Execution | None = None,
) -> MaskPixels:
    """Find the bad pixels of a run without labels, hits among its frames or not.

    `DefectMask` looks for pixels that stand out in the mean or the spread of many frames. Here it sees how far each pixel lies above its
    ring (`RadialSNR`), at most five standard deviations: a pixel that is hot stands out in every frame, one that a Bragg peak fell on
    in one or two, which then count little, however bright they were. `StreakMask` looks in the same way for the streak of a jet, on which
    noise makes peaks.

    Parameters
    ----------
    frames : sidpy.Dataset
        Of one run, with a geometry; frames along the first axis.
    mask : array or sidpy.Dataset, shape (y, x), optional
        Pixels that are known to be bad, as nonzero: gaps between modules, what lies behind the beamstop.
    n_frames : int
        As many, evenly spread over the run, are looked at.
    execution : Execution, optional

    Returns
    -------
    MaskPixels
        Puts NaN, which radial operators and peak finders leave out, in place of known and found ones.

    Raises
    ------
    DataError
        If there are fewer than three frames.
    AxisError
        If the geometry is not known, or the mask does not fit the frames.

    Examples
    --------
    >>> from pycroclass.simulate import draw_run, simulate_run
    >>> run = simulate_run(draw_run(seed=1, hit_rate=0.3), 30)
    >>> mend = run_mask(run["image"], run["mask"])  # doctest: +SKIP
    >>> clean = mend(run["image"])  # doctest: +SKIP
    """
    some = evenly(frames, n_frames)
    known = MaskPixels(ArrayValue(mask), fill=math.nan) if mask is not None else None
    before = (*(known.steps() if known else ()), RadialSNR(clip=(-_CLIP, _CLIP)))
    found = fit(Pipeline((*before, DefectMask(fill=0), StreakMask())), some, execution=execution)
    defects, streak = (_plane(mend) for mend in found[-2:])
    was_known = _plane(known) if known else np.zeros_like(defects)
    log.info(
        "%d of %d pixels of %r that were not known to be bad stand out, %d others lie on a streak",
        (defects & ~was_known).sum(),
        (~was_known).sum(),
        frames.title,
        (streak & ~defects & ~was_known).sum(),
    )
    return MaskPixels(ArrayValue(defects | streak | was_known), fill=math.nan)


def evenly(frames: sidpy.Dataset, n: int) -> sidpy.Dataset:
    """At most ``n`` frames, evenly spread."""
    n_all = frames.shape[0]
    return frames if n_all <= n else take(frames, np.unique(np.linspace(0, n_all - 1, n).round().astype(np.int64)))


def _plane(mend: Composable) -> npt.NDArray[np.bool_]:
    if not isinstance(mend, MaskPixels):
        raise TypeError(f"wanted a mask of pixels, got {mend!r}")
    bad = mend.mask.values
    plane: npt.NDArray[np.bool_] = np.logical_or.reduce(bad.reshape(-1, *bad.shape[-2:]), axis=0)
    return plane
