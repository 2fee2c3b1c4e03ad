"""Learning to find hits from some runs, so that it holds on others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy
from scipy.optimize import minimize
from scipy.special import expit

from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.run_calibration import misses_of
from pycroclass.estimators.scaling import Scale
from pycroclass.hits.masking import run_mask
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators.bin import Bin
from pycroclass.operators.hit_features import HitFeatures
from pycroclass.operators.logistic_model import LogisticModel
from pycroclass.operators.peak_finder import PeakFinder8
from pycroclass.operators.pointwise import Log1p
from pycroclass.operators.radial_snr import RadialSNR
from pycroclass.per_item import column, take
from pycroclass.serialize import to_dict
from pycroclass.stage import Execution
from pycroclass.stratified import held_out
from pycroclass.training import train

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CLASSES: Final = ("miss", "hit")
PREPROCESSING: Final = RadialSNR(clip=(0.0, 30.0), boxes=(1, 3)) | Bin(5, "max") | Log1p()
"""What the network sees: how far each pixel stands out of its ring, the largest of each 5 x 5, in small images."""
NETWORK: Final = NetworkClassifier("resnet_small", {"width": 8}, classes=CLASSES, epochs=16, batch_size=32, augmentation="dihedral")
FINDER: Final = PeakFinder8(0.0, min_snr=6.0, max_pixels=50)
"""Its bounds are in standard deviations of a ring alone, so that they need not be tuned to a detector."""
_WEAK_SNR: Final = 4.0
"""Noise makes such peaks in misses: how many, each run tells. Weak hits of a detector that blurs its peaks have few stronger ones."""
_LEAST_SPREAD: Final = 0.5
"""Of the misses in each feature: with fewer peaks than one more or less, which is what noise does, nothing is told."""
_LEAST_SPREAD_OF_NETWORK: Final = 2.0
"""In log odds: on the next detector a network's answers say less than where it learned, and must not outweigh the peaks."""
_N_SPREADS: Final = 3.0
"""A hit stands out of the misses of its run by as many of their standard deviations. A bound half-way to the hits would miss weak ones; the
misses are what a new run shows of itself."""
_PENALTY: Final = 1.0
"""On half the squares of the weights, against the sum of losses."""


def train_hits(
    runs: Sequence[sidpy.Dataset],
    *,
    labels: Sequence[npt.ArrayLike] | None = None,
    masks: Sequence[npt.ArrayLike | sidpy.Dataset | None] | None = None,
    finder: PeakFinder8 = FINDER,
    network: NetworkClassifier = NETWORK,
    preprocessing: Composable = PREPROCESSING,
    fraction: float = 0.4,
    seed: int = 0,
    execution: Execution | None = None,
) -> Bundle:
    """Learn from labelled runs to tell hits from misses, in a way that holds on other runs and detectors.

    A network sees small images of how far each pixel stands out of its ring. Beside it stands what `PeakFinder8` finds. Both are
    `HitFeatures`; each run's features are scaled by its own misses, which need no labels (`RunCalibration`); and a logistic regression
    tells how much each counts. It learns from frames that the network did not learn from, or it would trust the network too much. None of
    its weights is negative: more peaks never speak against a hit. What counts as a hit then stands out of the misses of its run by
    three of their standard deviations, or where frames of a run that it is calibrated to fall into two groups, see `RunCalibration`.

    Parameters
    ----------
    runs : sequence of sidpy.Dataset
        Frames along the first axis, with a geometry; misses are the most of each.
    labels : sequence of arrays, each of shape (n_frames,), optional
        For each run 0 for a miss, 1 for a hit, -1 where it is not known; by default the column ``labels`` of each.
    masks : sequence of arrays or None, optional
        For each run the pixels that are known to be bad, nonzero; see `run_mask`, which finds others.
    finder : PeakFinder8
        By default one with bounds in standard deviations, ``PeakFinder8(0, min_snr=6, max_pixels=50)``. Its peaks are
        counted, and those down to an snr of 4, or of two thirds of its ``min_snr`` if that is less.
    network : NetworkClassifier
        By default a small residual network.
    preprocessing : Operator or Pipeline
        Of the network's images.
    fraction : float
        Share of the labelled frames from which the logistic regression learns.
    seed : int
        Which frames these are.
    execution : Execution, optional

    Returns
    -------
    Bundle
        Calibrated to the training runs. `calibrate_hits` calibrates it to another, which is what it is made for.

    Raises
    ------
    DataError
        If labels are missing or do not fit, or a class has too few frames.
    ParameterError
        If there are no runs, or not as many labels or masks as runs.
    AxisError
        If a geometry is not known, or finder or network do not fit the frames.

    Examples
    --------
    >>> import pycroclass as pc
    >>> bundle = pc.train_hits([run_1, run_2], masks=[mask_1, mask_2])  # doctest: +SKIP
    >>> result = pc.classify(run_3, pc.calibrate_hits(bundle, run_3, mask=mask_3))  # doctest: +SKIP
    """
    if not runs:
        raise ParameterError("there are no runs to learn from")
    truth = [_labels(run, given) for run, given in zip(runs, _one_each("labels", labels, runs), strict=True)]
    mended = [run_mask(run, mask, execution=execution)(run) for run, mask in zip(runs, _one_each("masks", masks, runs), strict=True)]
    held = np.split(held_out(np.concatenate(truth), fraction=fraction, seed=seed), np.cumsum([len(each) for each in truth])[:-1])
    learned = [(take(run, ~out), known[~out]) for run, known, out in zip(mended, truth, held, strict=True) if not out.all()]
    found = train(
        [run for run, _ in learned],
        network,
        preprocessing=preprocessing,
        labels=np.concatenate([known for _, known in learned]),
        execution=execution,
    )
    if found.classes != CLASSES:
        raise ParameterError(f"the network must sort into {CLASSES}, in this order; got {found.classes}")
    features = HitFeatures(finder, found.pipeline, weak_snr=min(_WEAK_SNR, finder.min_snr * _WEAK_SNR / FINDER.min_snr))
    tables = [np.asarray(features(run), np.float64) for run in mended]
    least = np.array([_LEAST_SPREAD_OF_NETWORK if name == "network" else _LEAST_SPREAD for name in features.names])
    reference = _Reference.of(tables, [np.where(out, known, -1) for known, out in zip(truth, held, strict=True)], least)
    model = reference.model
    scale = Scale(ArrayValue(reference.location), ArrayValue(1 / reference.spread))
    names = features.names
    log.info("weights: %s", ", ".join(f"{name} {weight:.2g}" for name, weight in zip(names, model.weights.values, strict=True)))
    return Bundle(
        pipeline=Pipeline((features, scale, model)),
        item=found.item,
        classes=CLASSES,
        training={
            **found.training,
            "preprocessing": to_dict(preprocessing)[0],
            "calibration": reference.to_dict(),
            "combined": {
                "fraction": fraction,
                "seed": seed,
                "n_frames": int(sum((out & (y >= 0)).sum() for out, y in zip(held, truth, strict=True))),
            },
        },
        metrics=found.metrics,
    )


@dataclass(frozen=True, eq=False)
class _Reference:
    """What misses and hits of the training runs look like, and what tells them apart."""

    model: LogisticModel
    location: Floats
    spread: Floats
    typical_hit: Floats
    score_spread: float

    @classmethod
    def of(cls, tables: Sequence[Floats], truth: Sequence[Integers], least: Floats) -> _Reference:
        """From the features of each run, the labels of those of its frames that the network did not learn from, and least spreads."""
        places, spreads = zip(*(misses_of(_finite(table)) for table in tables), strict=True)
        away = [table[y == 0] - place for table, y, place in zip(tables, truth, places, strict=True)]
        least = np.maximum(np.sqrt(np.nanmean(np.square(np.concatenate(away)), 0)), least)
        scaled = [(table - place) / np.maximum(spread, least) for table, place, spread in zip(tables, places, spreads, strict=True)]
        labels, usable = np.concatenate(truth), np.isfinite(np.concatenate(scaled)).all(1)
        is_known = usable & (labels >= 0)
        weights, _ = fit_logistic(np.concatenate(scaled)[is_known], labels[is_known])
        sums = [table @ weights for table in scaled]
        above = np.concatenate([sum_ - misses_of(_finite(sum_[:, None]))[0] for sum_ in sums])
        score_spread = float(np.sqrt(np.mean(np.square(above[is_known & (labels == 0)]))))
        if not score_spread > 0:
            raise DataError("all misses of the training runs have the same features: nothing is learned from them how misses spread")
        typical_hit = np.median(np.concatenate(tables)[is_known & (labels == 1)], 0)
        return cls(
            LogisticModel(ArrayValue(weights), -_N_SPREADS * score_spread, CLASSES), np.mean(places, 0), least, typical_hit, score_spread
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what `RunCalibration` is made of."""
        arrays = {name: getattr(self, name).tolist() for name in ("location", "spread", "typical_hit")}
        return {"weights": self.model.weights.values.tolist(), "bias": self.model.bias, **arrays, "score_spread": self.score_spread}


def fit_logistic(features: Floats, labels: Integers, *, penalty: float = _PENALTY) -> tuple[Floats, float]:
    """Weights, none of them negative, and bias with the least logistic loss, both classes counting alike.

    ``Σ c_y log(1 + exp(-s (w · x + b))) + penalty |w|² / 2`` with ``s = ±1`` and ``c_y = n / (2 n_y)``; convex, so that the minimum does
    not depend on where the search begins.

    Parameters
    ----------
    features : array, shape (n_items, n_features)
    labels : array of 0 and 1, shape (n_items,)
    penalty : float

    Raises
    ------
    DataError
        If a class has no items.

    Examples
    --------
    >>> weights, bias = fit_logistic(np.array([[0.0, 1.0], [1.0, 0.0], [9.0, 1.0], [8.0, 0.0]]), np.array([0, 0, 1, 1]))
    >>> weights.round(2).tolist(), round(bias, 1)
    ([0.76, 0.0], -3.4)
    """
    counts = np.bincount(labels, minlength=2)
    if not counts.all():
        raise DataError(
            f"each class needs frames that the network did not learn from, got {dict(zip(CLASSES, counts.tolist(), strict=True))}"
        )
    sign, cost = 2.0 * labels - 1, (len(labels) / (2 * counts))[labels]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, bias = parameters[:-1], parameters[-1]
        margin = sign * (features @ weights + bias)
        value = cost @ np.logaddexp(0, -margin) + penalty / 2 * weights @ weights
        slope = -cost * sign * expit(-margin)
        return float(value), np.append(features.T @ slope + penalty * weights, slope.sum())

    bounds = [(0, None)] * features.shape[1] + [(None, None)]
    found = minimize(
        loss, np.zeros(features.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-12}
    )
    return found.x[:-1], float(found.x[-1])


def _finite(table: Floats) -> Floats:
    kept: Floats = table[np.isfinite(table).all(1)]
    return kept


def _labels(run: sidpy.Dataset, given: npt.ArrayLike | None) -> Integers:
    labels = np.asarray(column(run, "labels") if given is None else given)
    if labels.shape != run.shape[:1] or labels.dtype.kind not in "iu" or not np.isin(labels, (-1, 0, 1)).all():
        raise DataError(
            f"labels must be {run.shape[0]} numbers, 0 for a miss, 1 for a hit, -1 for unknown; got {labels.dtype} {labels.shape}"
        )
    return labels.astype(np.int64)


def _one_each(name: str, given: Sequence[Any] | None, runs: Sequence[sidpy.Dataset]) -> Sequence[Any]:
    values: Sequence[Any] = [None] * len(runs) if given is None else list(given)
    if len(values) != len(runs):
        raise ParameterError(f"there are {len(values)} {name} for {len(runs)} runs: one for each is needed")
    return values
