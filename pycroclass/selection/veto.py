"""Which frames are kept: a policy that people agree on, and the thresholds that follow from it.

Whoever throws frames away has to say before what it may cost. A `VetoPolicy` says that in one number, the share of the hits to be found,
with the confidence in it. Fitted to frames whose truth is known it becomes a `Veto`, which says where its thresholds came from and what
to expect; applied, a `FrameSelection`, which says so of each frame. A few misses are kept whatever their score, so that the loss can be
checked later.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import sidpy
from scipy import stats

from pycroclass.array_value import ArrayValue
from pycroclass.errors import DataError, ParameterError, ReadError
from pycroclass.evaluation.predictions import Predictions
from pycroclass.evaluation.thresholds import Target, rank, threshold_for
from pycroclass.files import refuse_existing, write_whole
from pycroclass.operator import set_field
from pycroclass.operators.peak_count_rule import PeakCountRule
from pycroclass.selection.expectation import Expectation
from pycroclass.selection.frame_places import Places, places
from pycroclass.selection.frame_selection import DECISIONS, Booleans, Floats, FrameSelection, Integers
from pycroclass.selection.sampling import sample_uniform
from pycroclass.selection.score_record import scores_record
from pycroclass.selection.scores import HIT, MISS, NEEDED, UNCERTAIN, Kind, Results, Scores, named, scores_of
from pycroclass.writers.record import versions

log = logging.getLogger(__name__)

_FORMAT: Final = "pycroclass veto 1"
_NOUNS: Final[dict[Kind, str]] = {"probability": "a probability", "peaks": "peaks", "label": "a label"}
NO_ANSWER: Final = "no answer"
"""Reason for a frame that is kept because nobody can tell what it is."""
SAMPLED: Final = "sampled miss"
"""Reason for a miss that is kept by chance."""


@dataclass(frozen=True)
class VetoPolicy:
    """What is asked of a veto, before any data are seen.

    Parameters
    ----------
    target : Target
        Share of the hits to be found, with its guarantee and confidence.
    sure : Target, optional
        When a frame is a hit for sure: a ``precision`` of the sure hits, or a ``specificity``, the share of the misses that are not
        among them. Frames below that and above the veto are uncertain, and are kept. Without it nothing is uncertain.
    keep_misses : float
        Share of the misses that are kept as a sample, from 0 to 1.
    seed : int
        Of the sample.

    Raises
    ------
    ParameterError
        If ``target`` is no sensitivity, ``sure`` neither precision nor specificity, or ``keep_misses`` no share.

    Examples
    --------
    >>> policy = VetoPolicy(Target("sensitivity", 0.9), keep_misses=0.05)
    >>> is_hit = np.arange(1000) % 5 == 0
    >>> n_peaks = np.random.default_rng(0).poisson(np.where(is_hit, 30, 8))
    >>> veto = policy.fit_scores(n_peaks, is_hit)
    >>> print(veto)
    frames with at least 21 peaks are kept: sensitivity at least 0.9 with confidence 0.95, from 200 hits among 1000 frames
    >>> print(veto.expected(10000, hit_rate=0.1))
    of 10000 frames, 10.0% of them hits, about 1407 are kept; 6.14% of the hits are lost on average (61.4), with confidence 0.95 no more
    than 9.06% (90.6)
    """

    target: Target = field(default_factory=lambda: Target("sensitivity", 0.98))
    sure: Target | None = None
    keep_misses: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target.quantity != "sensitivity":
            raise ParameterError(f"the target of a veto is a sensitivity, such as Target('sensitivity', 0.98); got {self.target}")
        if self.sure is not None and self.sure.quantity not in ("precision", "specificity"):
            raise ParameterError(f"hits are sure by a precision or a specificity, such as Target('precision', 0.95); got {self.sure}")
        if not isinstance(self.keep_misses, int | float) or not 0 <= self.keep_misses <= 1:
            raise ParameterError(f"keep_misses must be a share from 0 to 1, got {self.keep_misses!r}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ParameterError(f"seed must be a whole number of at least 0, got {self.seed!r}")
        set_field(self, "keep_misses", float(self.keep_misses))

    def fit(self, predictions: Predictions, positive: str = "hit") -> Veto:
        """Thresholds on the probability of a hit, from frames that took no part in training.

        Parameters
        ----------
        predictions : Predictions
            Of independent frames. Those of one run resemble each other: for a promise about runs to come give
            ``predictions.one_of_each_group()``.
        positive : str
            Name of the class of hits.

        Raises
        ------
        ParameterError
            If there is no class of that name.
        DataError
            If no frame is a hit, or no threshold reaches the precision.
        """
        c = predictions.class_index(positive)
        return self.fit_scores(predictions.probability[:, c], predictions.labels == c, kind="probability", positive=positive)

    def fit_scores(self, scores: npt.ArrayLike, is_hit: npt.ArrayLike, *, kind: Kind = "peaks", positive: str = "hit") -> Veto:
        """As `fit`, from any score that is higher where a hit is more likely, such as the number of peaks.

        Parameters
        ----------
        scores : array, shape (n_frames,)
        is_hit : array of bool, shape (n_frames,)
            The truth.
        kind : {"peaks", "probability"}
        positive : str

        Raises
        ------
        DataError
            If shapes differ, a score is NaN, no frame is a hit, or no threshold reaches the precision.
        """
        values, truth = np.asarray(scores, np.float64), np.asarray(is_hit, bool)
        if values.ndim != 1 or values.shape != truth.shape or np.isnan(values).any():
            raise DataError(f"wanted a score and a truth for each frame, none of them NaN; got shapes {values.shape} and {truth.shape}")
        if not truth.any():
            raise DataError("no frame is a hit: there is nothing to find a threshold from")
        keep_from = threshold_for(values, truth, self.target)
        sure_from = keep_from if self.sure is None else max(keep_from, threshold_for(values, truth, self.sure))
        calibration = _calibration(values, truth, keep_from, self.target)
        of = f"from {calibration['n_hits']} hits among {calibration['n_frames']} frames"
        origin = f"{self.target}, {of}" + (f"; hits are sure by {self.sure}" if self.sure else "")
        if math.isinf(keep_from):
            log.warning("%d hits are too few for %s: every frame is kept", truth.sum(), self.target)
        if math.isinf(sure_from) and sure_from > 0:
            log.warning("%d misses are too few for %s: no hit is sure", (~truth).sum(), self.sure)
        return Veto(self, kind, keep_from, sure_from, origin, positive, calibration)

    def at(self, keep_from: float, sure_from: float | None = None, *, kind: Kind = "probability", positive: str = "hit") -> Veto:
        """Thresholds that somebody chose; nothing is known of what they lose.

        Parameters
        ----------
        keep_from : float
            Frames with a score of at least this are kept.
        sure_from : float, optional
            Frames with a score of at least this are hits; by default all that are kept.
        kind : {"probability", "peaks"}
        positive : str
        """
        return Veto(self, kind, keep_from, keep_from if sure_from is None else sure_from, "chosen by hand", positive)

    def by_rule(self, rule: PeakCountRule) -> Veto:
        """The bounds of a rule for numbers of peaks, which `PeakCount` learns from a run."""
        origin = f"PeakCountRule: a miss below {rule.miss_below} peaks, a hit above {rule.hit_above}"
        return Veto(self, "peaks", float(rule.miss_below), float(rule.hit_above + 1), origin)

    def by_label(self, positive: str = "hit") -> Veto:
        """Keep what a classifier or a rule called a hit or uncertain, by the thresholds that it has itself."""
        return Veto(self, "label", 0.0, 0.0, "the labels of the results", positive)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        sure = known["sure"]
        return cls(**{**known, "target": Target(**known["target"]), "sure": None if sure is None else Target(**sure)})


@dataclass(frozen=True)
class Veto:
    """Thresholds on a score: frames below are misses, frames above are kept; from `VetoPolicy`.

    Parameters
    ----------
    policy : VetoPolicy
    kind : {"probability", "peaks", "label"}
        What the score is. A ``label`` is itself the decision: the thresholds are not used.
    keep_from : float
        Frames with a score of at least this are kept; ``-inf``: all.
    sure_from : float
        Frames with a score of at least this are hits, those between are uncertain; ``inf``: no hit is sure.
    origin : str
        Where the thresholds came from, in words.
    positive : str
        Name of the class of hits.
    calibration : mapping, optional
        Of a veto that was fitted: how many frames and hits it was fitted to, what it does to them, and their digest. JSON-ready.

    Raises
    ------
    ParameterError
        If a threshold is NaN, or hits would be sure before they are kept.
    """

    policy: VetoPolicy
    kind: Kind
    keep_from: float
    sure_from: float
    origin: str
    positive: str = "hit"
    calibration: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in _NOUNS:
            raise ParameterError(f"kind must be one of {', '.join(_NOUNS)}, got {self.kind!r}")
        for name in ("keep_from", "sure_from"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or math.isnan(value):
                raise ParameterError(f"{name} must be a number, got {value!r}")
            set_field(self, name, float(value))
        if self.sure_from < self.keep_from:
            raise ParameterError(f"hits cannot be sure from {self.sure_from:g} on and kept from {self.keep_from:g} on; exchange the two")

    def select(self, scores: Results | Sequence[Results] | npt.ArrayLike, where: Places | None = None) -> FrameSelection:
        """Decide of each frame, and say why it is kept.

        Parameters
        ----------
        scores : results, or several of them, or array of shape (n_frames,)
            As `classify`, a pipeline with `PeakFinder8` or `PeakCountRule`, or `read` of a result file gives them; computed if they are
            not yet. Those of several recordings are put one behind the other.
        where : Places, optional
            Of the frames; by default what `places` says of the results.

        Returns
        -------
        FrameSelection
            ``reason`` is ``hit``, ``uncertain``, ``sampled miss``, ``no answer`` (the score is NaN: the frame is uncertain, and kept), or
            empty. Which misses are sampled follows from the seed, and name, dataset and number of the frame, and from nothing else.

        Raises
        ------
        DataError
            If the results do not tell this kind of score, there is not one place for each, or nobody can tell the places.
        """
        parts: list[Any] = list(scores) if _are_several(scores) else [scores]  # type: ignore[arg-type]  # that is a sequence
        found = [self._scores(part) for part in parts]
        if where is None:
            where = Places.joined([places(_frames_of(part, self.kind)) for part in parts])
        values = np.concatenate([part.values for part in found])
        if len(values) != len(where):
            raise DataError(f"there are {len(values)} scores and {len(where)} places; wanted one place for each frame")
        decided = np.concatenate([self._decide(part) for part in found])
        is_sampled = (decided == MISS) & (sample_uniform(where, self.policy.seed) < self.policy.keep_misses)
        reason = np.select(
            [np.isnan(values) & (decided == UNCERTAIN), decided == HIT, decided == UNCERTAIN, is_sampled],
            [NO_ANSWER, "hit", "uncertain", SAMPLED],
            "",
        )
        about = {"veto": self.to_dict(), "scores": scores_record(parts, values), "versions": versions()}
        decision = np.array(DECISIONS)[decided]
        return FrameSelection(where.file, where.dataset, where.index, where.event, values, decision, reason, about=about)

    def expected(self, n_frames: int, *, hit_rate: float | None = None) -> Expectation:
        """What to expect on new frames that are like those it was fitted to.

        The score of the ``k``-th lowest of ``n`` hits leaves a share of new hits below it that follows the distribution
        Beta(k, n − k + 1); sampled misses bring some of them back.

        Parameters
        ----------
        n_frames : int
        hit_rate : float, optional
            Share of hits among them; by default that of the frames it was fitted to.

        Raises
        ------
        DataError
            If it was not fitted: nothing is known of what it loses.
        """
        known = self.calibration
        if known is None:
            raise DataError(f"nothing is known of what a veto loses that was {self.origin}; fit it to frames whose truth is known")
        rate = known["n_hits"] / known["n_frames"] if hit_rate is None else hit_rate
        if not 0 <= rate <= 1:
            raise ParameterError(f"a hit rate is a share from 0 to 1, got {rate}")
        k, n, thrown = known["rank"], known["n_hits"], 1 - self.policy.keep_misses
        confidence = self.policy.target.confidence
        mean, bound = (k / (n + 1), float(stats.beta.ppf(confidence, k, n - k + 1))) if k else (0.0, 0.0)
        vetoed = rate * known["hits_below"] + (1 - rate) * known["misses_below"]
        return Expectation(n_frames, rate, n_frames * (1 - vetoed * thrown), mean * thrown, bound * thrown, confidence)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite are texts."""
        calibration = None if self.calibration is None else dict(self.calibration)
        bounds = {
            name: value if math.isfinite(value) else str(value) for name in ("keep_from", "sure_from") for value in [getattr(self, name)]
        }
        return {
            "format": _FORMAT,
            "policy": self.policy.to_dict(),
            "kind": self.kind,
            **bounds,
            "origin": self.origin,
            "positive": self.positive,
            "calibration": calibration,
        }

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises
        ------
        DataError
            If it is no veto, or of a newer version.
        """
        if not isinstance(known, Mapping) or known.get("format") != _FORMAT:
            raise DataError(f"it is no veto, or of a newer version: wanted the format {_FORMAT!r}")
        try:
            values = {name: value for name, value in known.items() if name != "format"}
            bounds = {name: float(values[name]) for name in ("keep_from", "sure_from")}
            return cls(**{**values, **bounds, "policy": VetoPolicy.from_dict(values["policy"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the veto is damaged: {error!r}") from error

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it as a JSON file, from which `load` makes an equal value.

        Raises
        ------
        WriteError
            If the file exists and is not to be overwritten, or cannot be written.
        """
        refuse_existing(Path(path), overwrite=overwrite)
        write_whole(Path(path), json.dumps(self.to_dict(), indent=1, allow_nan=False).encode())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ReadError
            If the file is missing, or no veto.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise ReadError(f"cannot read the veto {path}: {error.strerror}") from error
        except ValueError as error:  # DataError is one
            raise ReadError(f"{path}: {error}") from error

    def __str__(self) -> str:
        if self.kind == "label":
            return f"frames called {self.positive!r} or uncertain are kept: {self.origin}"
        between = "" if self.sure_from == self.keep_from else f", are sure from {self.sure_from:.4g} on"
        least = f"{self.keep_from:.4g} peaks" if self.kind == "peaks" else f"a probability of {self.keep_from:.4g}"
        return f"frames with at least {least} are kept{between}: {self.origin}"

    def _scores(self, part: Any) -> Scores:
        if isinstance(part, Scores):
            scores = part
        elif isinstance(part, Mapping | sidpy.Dataset):
            scores = scores_of(part, self.kind, positive=self.positive)
        else:
            scores = Scores(self.kind, np.asarray(part, np.float64))
        if scores.kind != self.kind or (self.kind == "label" and scores.decided is None):
            raise DataError(f"the veto is for {_NOUNS[self.kind]}, and got {_NOUNS[scores.kind]} of each frame alone")
        return scores

    def _decide(self, scores: Scores) -> Integers:
        if scores.decided is not None:
            return scores.decided
        above = [np.isnan(scores.values), scores.values >= self.sure_from, scores.values >= self.keep_from]
        return np.select(above, [UNCERTAIN, HIT, UNCERTAIN], MISS)


def _calibration(scores: Floats, is_hit: Booleans, keep_from: float, target: Target) -> dict[str, Any]:
    is_below = scores < keep_from
    return {
        "n_frames": len(scores),
        "n_hits": int(is_hit.sum()),
        "rank": rank(int(is_hit.sum()), 1 - target.value, target),
        "hits_below": float(is_below[is_hit].mean()),
        "misses_below": float(is_below[~is_hit].mean()) if not is_hit.all() else 0.0,
        "digest": ArrayValue(np.stack([scores, is_hit])).digest,
    }


def _are_several(scores: Any) -> bool:
    return isinstance(scores, list | tuple) and bool(scores) and all(isinstance(part, Mapping | sidpy.Dataset | Scores) for part in scores)


def _frames_of(part: Any, kind: Kind) -> sidpy.Dataset:
    """The result whose places are those of the frames."""
    if isinstance(part, sidpy.Dataset):
        return part
    if not isinstance(part, Mapping):
        raise DataError("scores alone do not say where their frames lie: give their places, or the results that they came from")
    return named(part)[NEEDED[kind]]
