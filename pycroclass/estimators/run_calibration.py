"""What the misses of a run look like, learned from the run without labels, so that what was learned on other runs holds on it."""

from __future__ import annotations

import logging
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, OutOfDomainError, ParameterError
from pycroclass.estimators._items import check_item
from pycroclass.estimators.scaling import Scale
from pycroclass.operator import Composable, Pipeline, set_field
from pycroclass.operators._checks import positive
from pycroclass.operators.logistic_model import LogisticModel
from pycroclass.reduction import Data, Estimator
from pycroclass.spec import Domain, Spec

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_SD_PER_MAD: Final = 1.4826
_MOST_LOOKED_AT: Final = 1 << 16
_FEWEST: Final = 20
"""Frames of which most can be told from few."""
_LOWEST: Final = 2 / 3
_HIGHEST: Final = 4.0
"""Of the bound that a run tells, against that of the training."""
_FEW_HITS: Final = 0.05
"""Of the frames: fewer do not tell a bound."""
_FAR_OUT: Final = 100.0
"""In spreads: what stands out by more is alike in that it is a hit."""


def misses_of(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the misses of a run lie, and how they spread, in each feature by itself.

    Most frames of a run miss, and misses are alike: the shortest interval that holds half of all values (Andrews et al., Robust
    Estimates of Location, 1972; the lowest of equals) is made of misses, and its median is their location ``m``. Hits lie above, so that
    the values up to ``m`` show how misses spread: ``1.4826`` times the median of ``m - x`` over ``x <= m``.

    Parameters
    ----------
    features : array, shape (n_frames, n_features)

    Returns
    -------
    location, spread : arrays, shape (n_features,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> misses, hits = rng.normal(2, 0.5, (700, 1)), rng.uniform(4, 12, (300, 1))
    >>> location, spread = misses_of(np.concatenate([misses, hits]))
    >>> abs(location - 2).item() < 0.2, abs(spread - 0.5).item() < 0.1
    (True, True)
    """
    ordered = np.sort(features, axis=0)
    n = len(ordered)
    half = n // 2 + 1
    widths = ordered[half - 1 :] - ordered[: n - half + 1]
    first = widths.argmin(0)
    location = np.array([np.median(column[start : start + half]) for column, start in zip(ordered.T, first, strict=True)])
    spread = [np.median(m - column[column <= m]) if (column <= m).any() else 0.0 for column, m in zip(ordered.T, location, strict=True)]
    return location, _SD_PER_MAD * np.array(spread)


def otsu(values: FloatArray) -> float:
    """Where values fall into two groups: the bound between neighbours that sets the means of the groups furthest apart.

    It has the greatest variance between groups, ``n_0 n_1 (mean_1 - mean_0)²``, and thus the least within them (Otsu, IEEE Trans. Syst.
    Man Cybern. 9, 62, 1979), and lies in the middle of both neighbours; the lowest of equals.

    Parameters
    ----------
    values : array, shape (n,)
        Two at least.

    Examples
    --------
    >>> otsu(np.array([1.0, 9.0, 2.0, 7.0, 1.0]))
    4.5
    """
    ordered = np.sort(values)
    n_below = np.arange(1, len(ordered))
    n_above = n_below[::-1]
    sums = np.cumsum(ordered)
    between = n_below * n_above * np.square((sums[-1] - sums[:-1]) / n_above - sums[:-1] / n_below)
    first = int(between.argmax())
    return float(ordered[first] + ordered[first + 1]) / 2


@dataclass(frozen=True)
class RunCalibration(Estimator):
    """Fits a model of hits to one run, without labels: features are counted in standard deviations of the misses of this run.

    What a network answers and how many peaks noise makes drifts with flux, background and detector, and with them every threshold. The
    misses of a run tell where it has drifted to: `misses_of` finds their location ``m`` and spread ``s`` in each feature, and then those
    of the weighted sum ``S`` of ``(feature - m) / s``, ``m_S`` and ``s_S``. A frame stands out of the misses of its run by
    ``z = (S - m_S) / s_S`` of their standard deviations, and is a hit where that is more than ``t``; its log odds become
    ``score_spread (z - t)``, ``score_spread`` being the spread of ``S`` in the training runs.

    In the training a hit stands out by ``n = -bias / score_spread``. How far the rarest misses reach, and how weak hits are, differs from
    run to run; but where there are hits, frames fall into two groups. So ``√t`` is Otsu's bound on ``√z`` of the frames (`otsu`), with
    ``z`` kept in 0 to 100, within ``2 n / 3 <= t <= 4 n``. A run of which less than 5 % of the frames stand out by ``n`` does not tell
    it: then ``t = n``. Fitting gives a `Scale` and a `LogisticModel`.

    A run in which the model cannot work is refused with the reason, for a wrong label would look like a sure one:

    - *no room*: a hit such as those of the training, seen in this run, would not stand out of its misses: with the bound of the training
      it would get a probability of less than ``least_probability``. Misses of this run look like the hits of the training, or spread
      too widely.
    - *mostly hits*: more than ``most_hits`` of the frames would be hits, so that what most frames look like is not what misses look like.

    Parameters
    ----------
    model : LogisticModel
        Of scaled features, for a run like those of the training.
    location, spread : array, shape (n_features,)
        Of the misses of the training runs. No run's spread is taken for smaller than that: few distinct values show too little of it.
    typical_hit : array, shape (n_features,)
        Of the training runs, in the units of the features.
    score_spread : float
        Of ``S`` in the misses of the training runs. No run's is taken for smaller.
    least_probability : float
        That a typical hit must get; one half says that it must be called a hit.
    most_hits : float
        Share of the frames of a run.

    Raises
    ------
    ParameterError
        If the arrays do not fit together, or a share is none.
    AxisError
        If the items have other features.
    DataError
        If there are fewer than 20 frames, or values are not finite.
    OutOfDomainError
        If the model cannot work on this run; see above.

    Notes
    -----
    It sees at most 65 536 frames, chosen by their number.

    Examples
    --------
    >>> import pycroclass as pc
    >>> model = pc.fit(features | calibration, frames)  # doctest: +SKIP
    >>> model(frames)["label"]  # doctest: +SKIP
    """

    domain: ClassVar[Domain] = Domain.SPECTRUM

    model: LogisticModel
    location: ArrayValue
    spread: ArrayValue
    typical_hit: ArrayValue
    score_spread: float
    _: KW_ONLY
    least_probability: float = 0.5
    most_hits: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        model = self.model.steps()[0] if isinstance(self.model, Composable) and len(self.model.steps()) == 1 else None
        if not isinstance(model, LogisticModel):
            raise ParameterError(f"model must be a LogisticModel, got {self.model!r}")
        set_field(self, "model", model)
        for name in ("location", "spread", "typical_hit"):
            value = ArrayValue(np.asarray(ArrayValue(getattr(self, name)).values, np.float64))
            if value.shape != model.weights.shape or not np.isfinite(value.values).all():
                raise ParameterError(
                    f"{name} must be a finite number for each of the {model.weights.shape[0]} features, got {value.values!r}"
                )
            set_field(self, name, value)
        if not (self.spread.values > 0).all():
            raise ParameterError(f"spread must be above zero, got {self.spread.values}")
        set_field(self, "score_spread", positive("score_spread", self.score_spread))
        for name in ("least_probability", "most_hits"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(f"{name} must lie between 0 and 1, got {getattr(self, name)!r}")

    def fit(self, data: Data, spec: Spec) -> Pipeline:
        """The scale of this run and the model, from one pass."""
        check_item(spec, self.model.weights.shape, "RunCalibration")
        if data.n_items < _FEWEST:
            raise DataError(f"RunCalibration needs at least {_FEWEST} frames to tell what most of them look like, got {data.n_items}")
        features = data.sample(_MOST_LOOKED_AT, seed=0).astype(np.float64)
        location, spread = misses_of(features)
        scale = Scale(ArrayValue(location), ArrayValue(1 / np.maximum(spread, self.spread.values)), axes=self.axes)
        model = self._fitted_to(scale, features)
        names = spec.classes or tuple(map(str, range(len(location))))
        self._check_room(scale, model, _listed(names, location, spread), _listed(names, self.location.values, self.spread.values))
        model = self._bounded(model, _scores(scale, model, features))
        share = float((_scores(scale, model, features) > 0).mean())
        if share > self.most_hits:
            raise OutOfDomainError(
                f"{share:.0%} of the frames of {spec.title!r} would be hits, at most {self.most_hits:.0%} are allowed: what most frames "
                "look like may not be what misses look like. Label frames of this run, or raise most_hits if you know that it is so rich."
            )
        log.info("misses of %r: %s; %.1f%% of the frames are hits", spec.title, _listed(names, location, spread), 100 * share)
        return Pipeline((scale, model))

    def _fitted_to(self, scale: Scale, features: FloatArray) -> LogisticModel:
        """The model in units of how the misses of this run spread in its weighted sum."""
        sums = _scores(scale, self.model, features) - self.model.bias
        location, spread = (float(value[0]) for value in misses_of(sums[:, None]))
        factor = self.score_spread / max(spread, self.score_spread)
        weights = ArrayValue(factor * self.model.weights.values)
        return replace(self.model, weights=weights, bias=self.model.bias - factor * location, axes=self.axes)

    def _bounded(self, model: LogisticModel, scores: FloatArray) -> LogisticModel:
        """With the bound where the frames of this run fall into two groups."""
        n = -self.model.bias / self.score_spread
        stands_out = n + scores / self.score_spread
        if n <= 0 or (stands_out > n).mean() < _FEW_HITS:
            return model
        bound = otsu(np.sqrt(np.clip(stands_out, 0, _FAR_OUT))) ** 2
        bound = min(max(bound, _LOWEST * n), _HIGHEST * n)
        return replace(model, bias=model.bias - self.score_spread * (bound - n))

    def _check_room(self, scale: Scale, model: LogisticModel, here: str, there: str) -> None:
        """Refuse a run in which a typical hit does not stand out."""
        probability = float(expit(_scores(scale, model, self.typical_hit.values[None])[0]))
        if probability < self.least_probability:
            raise OutOfDomainError(
                f"there is no room between misses and hits in this run: a typical hit of the training would get the probability "
                f"{probability:.2g}, wanted {self.least_probability:g}. Its misses have {here}; those of the training {there}. "
                "Mask defects, or train on runs like this one."
            )


def _scores(scale: Scale, model: LogisticModel, features: FloatArray) -> FloatArray:
    scores: FloatArray = model.score(scale.transform(torch.from_numpy(features.copy()))).numpy()
    return scores


def _listed(names: tuple[str, ...], location: FloatArray, spread: FloatArray) -> str:
    return ", ".join(f"{name} {m:.2g} ± {s:.2g}" for name, m, s in zip(names, location, spread, strict=True))
