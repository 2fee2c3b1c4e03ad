"""Calibrating what was learned on some runs to another, without labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.api import fit
from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.data_record import data_record
from pycroclass.errors import BundleError
from pycroclass.estimators.run_calibration import RunCalibration
from pycroclass.estimators.scaling import Scale
from pycroclass.hits.masking import evenly, run_mask
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators.hit_features import HitFeatures
from pycroclass.operators.logistic_model import LogisticModel
from pycroclass.sid import unwrap
from pycroclass.stage import Execution

log = logging.getLogger(__name__)


def calibrate_hits(
    bundle: Bundle,
    frames: sidpy.Dataset,
    *,
    mask: npt.ArrayLike | sidpy.Dataset | None = None,
    n_frames: int = 1000,
    least_probability: float = 0.5,
    most_hits: float = 0.8,
    execution: Execution | None = None,
) -> Bundle:
    """A bundle of `train_hits` for one run: with a mask of its bad pixels and the scale of its misses, both found without labels.

    Parameters
    ----------
    bundle : Bundle
        Of `train_hits`; steps that were put behind its model, such as a `ClassThreshold`, stay.
    frames : sidpy.Dataset
        The run, or its first frames; with a geometry.
    mask : array or sidpy.Dataset, shape (y, x), optional
        Pixels that are known to be bad, nonzero.
    n_frames : int
        As many frames, evenly spread over the run, tell its scale.
    least_probability, most_hits : float
        What a run is refused by, see `RunCalibration`.
    execution : Execution, optional

    Returns
    -------
    Bundle
        For frames of this run: ``pycroclass.classify(frames, calibrated)``. Its ``training["run"]`` says what was found.

    Raises
    ------
    OutOfDomainError
        If the run is so unlike the training runs that labels could not be trusted; the message says in what.
    BundleError
        If the bundle is not one of `train_hits`, or was made for other frames.
    DataError
        If there are fewer than 20 frames.

    Examples
    --------
    >>> import pycroclass as pc
    >>> calibrated = pc.calibrate_hits(pc.Bundle.load("hits.safetensors"), frames, mask=mask)  # doctest: +SKIP
    >>> pc.write(pc.classify(frames, calibrated), "hits.h5")  # doctest: +SKIP
    """
    features, behind = _parts(bundle)
    bundle.check(unwrap(frames)[1])
    calibration = replace(calibration_of(bundle), least_probability=least_probability, most_hits=most_hits)
    mend = run_mask(frames, mask, execution=execution)
    some = evenly(frames, n_frames)
    scale, model = fit(Pipeline((mend, features, calibration)), some, nonfinite="mask", execution=execution)[2:]
    found = {
        "bundle": bundle.digest,
        "frames": data_record(frames),
        "n_frames": some.shape[0],
        "n_masked": int(np.count_nonzero(mend.mask.values)),
    }
    if isinstance(scale, Scale):
        found |= {"location": scale.offset.values.tolist(), "spread": (1 / scale.factor.values).tolist()}
    return replace(bundle, pipeline=Pipeline((mend, features, scale, model, *behind)), training={**bundle.training, "run": found})


def calibration_of(bundle: Bundle) -> RunCalibration:
    """What fits the model of a bundle to a run: to be used on features that are there already.

    Parameters
    ----------
    bundle : Bundle
        Of `train_hits`, or of `calibrate_hits`.

    Raises
    ------
    BundleError
        If it is another bundle.

    Examples
    --------
    >>> import pycroclass as pc
    >>> features = bundle.pipeline[0](run_mask(frames, mask)(frames)).persist()  # doctest: +SKIP
    >>> model = pc.fit(calibration_of(bundle), features)  # doctest: +SKIP
    """
    _parts(bundle)
    known: dict[str, Any] = dict(bundle.training["calibration"])
    model = LogisticModel(ArrayValue(known.pop("weights")), known.pop("bias"), bundle.classes)
    return RunCalibration(model, **known)


def _parts(bundle: Bundle) -> tuple[HitFeatures, tuple[Composable, ...]]:
    """The features, and what stands behind the model."""
    steps = bundle.pipeline.steps()
    for number, step in enumerate(steps[:-2]):
        if isinstance(step, HitFeatures) and isinstance(steps[number + 2], LogisticModel) and "calibration" in bundle.training:
            return step, steps[number + 3 :]
    names = " | ".join(type(step).__name__ for step in steps)
    raise BundleError(f"the bundle holds {names}, wanted HitFeatures | Scale | LogisticModel, as pycroclass.train_hits makes it")
