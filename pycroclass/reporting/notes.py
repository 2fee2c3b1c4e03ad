"""What a reader should know before believing the numbers: checked, and said in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pycroclass.bundle import Bundle
from pycroclass.evaluation.bootstrap import Interval
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.provenance import Provenance
from pycroclass.reporting.parts import Note, bounds, counted, listed, number

_FEW_GROUPS: Final = 10
_FEW_ITEMS: Final = 30
_LARGE_ECE: Final = 0.05
_OTHER_PRIOR: Final = 0.1
_WEAK_GROUP: Final = 0.15
_LARGE_GAP: Final = 0.03
_NORMAL: Final = 1.959964
"""Of the normal distribution 95 % lie between minus and plus this."""
_SCORE: Final = "balanced_accuracy"


def notes(evaluation: Evaluation, bundle: Bundle | None) -> list[Note]:
    """Warnings first, then what is only worth knowing."""
    found = [*_of_numbers(evaluation), *(_of_training(evaluation, bundle) if bundle else ())]
    return sorted(found, key=lambda note: not note.is_warning)


def _of_numbers(evaluation: Evaluation) -> Iterator[Note]:
    pooled, groups = evaluation.pooled, evaluation.per_group
    if not groups:
        yield Note(
            True,
            "Groups are not known, so the intervals treat every item as independent. If several items come from one sample, plate or run, "
            "they are too narrow: evaluate with groups.",
        )
    elif len(groups) < _FEW_GROUPS:
        yield Note(
            True, f"There are {len(groups)} groups only. An interval over so few is itself uncertain; more groups help, more items do not."
        )
    few = [f"{name} ({found.support})" for name, found in pooled.per_class.items() if found.support < _FEW_ITEMS]
    if few:
        yield Note(True, f"Few items of {listed(few)}: numbers of such a class hang on single items.")
    if pooled.ece > _LARGE_ECE:
        excess = sum(one.support * (one.confidence - one.accuracy) for one in evaluation.calibration.bins if one.support)
        side = "higher" if excess > 0 else "lower"
        yield Note(
            True,
            f"The confidence is no probability: it is {side} than the share of right answers, by {number(pooled.ece)} on average. "
            "Calibrate before a threshold is put on it.",
        )
    weak = {
        name: found.balanced_accuracy for name, found in groups.items() if found.balanced_accuracy < pooled.balanced_accuracy - _WEAK_GROUP
    }
    if weak:
        names = [f"{name} ({number(value, 2)})" for name, value in sorted(weak.items(), key=lambda pair: pair[1])]
        yield Note(True, f"Far below the rest: {listed(names, 4)}. Look at these before using the classifier on data like them.")
    gap = evaluation.gaps.get(_SCORE)
    if gap is not None and gap.difference > _LARGE_GAP:
        sure = "" if gap.interval.low > 0 else ", though groups are too few to be sure"
        yield Note(
            True,
            f"On groups that it has learned from it is better by {number(gap.difference)} in balanced accuracy{sure}. "
            "For next week's data expect the lower number.",
        )
    if pooled.coverage < 1:
        left = sum(pooled.uncertain)
        yield Note(False, f"Left uncertain, and counted as not found: {left} of {counted(pooled.support, 'item')}.")
    for what, why in (("n_unlabelled", "without a true class"), ("n_unanswered", "without an answer, because of NaN or inf")):
        if n := evaluation.provenance.get(what):
            yield Note(False, f"Left out: {counted(n, 'item')} {why}.")


def _of_training(evaluation: Evaluation, bundle: Bundle) -> Iterator[Note]:
    training = bundle.training
    evaluated = evaluation.provenance.get("bundle", {}).get("digest")
    if folds := evaluation.provenance.get("folds"):
        yield Note(
            False,
            f"{counted(len(folds), 'network')} judged these items, each those of groups that it had not seen "
            f"({evaluation.provenance.get('protocol')}). The bundle described here is a further one, trained in the same way or not.",
        )
    elif evaluated is not None and evaluated != bundle.digest:
        yield Note(True, "The bundle described here is not the one that was evaluated: their digests differ.")
    data = evaluation.provenance.get("data")
    yield from _of_data(data, training.get("sources", ()), "that the network has learned from")
    for entry in training.get("after_training", ()):
        ((name, _),) = entry["step"][0].items()
        yield from _of_data(data, [entry["evaluation"].get("data")], f"that {name} was found on")
    yield from _of_prior(evaluation, bundle)
    if (note := baseline_note(bundle)) is not None:
        yield note
    history = training.get("history", ())
    kept = kept_epoch(bundle)
    if len(history) > 1 and kept == history[-1].get("epoch"):
        yield Note(False, "The last epoch was the best one: the network was still learning, and more epochs may help.")
    if training.get("stopped") == "max_seconds":
        yield Note(True, f"The training ended for lack of time after {counted(len(history), 'epoch')}.")


def _of_data(evaluated: Mapping[str, Any] | None, sources: Sequence[Mapping[str, Any] | None], which: str) -> Iterator[Note]:
    """Whether items may have been both used and tested with; what was read and what was taken of it tell."""
    shared = files_of(evaluated) & {file for source in sources for file in files_of(source)}
    if any(_are_the_same(evaluated, source) for source in sources):
        yield Note(True, f"The evaluated data are those {which}: these very items, so that the numbers are too good.")
    elif shared and not all(_is_part(record) for record in (evaluated, *sources)):
        yield Note(
            True,
            f"{counted(len(shared), 'file')} of the evaluated data were read for those {which} too. "
            "If the same items are on both sides, these numbers are too good.",
        )
    elif shared:
        yield Note(
            False,
            f"The evaluated items and those {which} were taken from the same files, each its part. Whether parts resemble each other, "
            "because they show one sample, this report cannot see: split by groups, and look for near duplicates.",
        )


def _are_the_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two records mean equal data: equal files and steps, or, where data were given, an equal digest of their values."""
    if not one or not other:
        return False
    if "values" in one or "values" in other:
        return one.get("values") == other.get("values")
    return one == other and Provenance.from_dict(one).is_replayable


def _is_part(record: Mapping[str, Any] | None) -> bool:
    """Whether only some of the items of the files were taken."""
    return record is not None and any(node.verb == "take" for node in Provenance.from_dict(record).walk())


def _of_prior(evaluation: Evaluation, bundle: Bundle) -> Iterator[Note]:
    """Whether the confidence may be off for no other reason than that classes are rarer, or more frequent, than was stated."""
    stated = training_prior(bundle)
    shares = {name: found.support / evaluation.pooled.support for name, found in evaluation.pooled.per_class.items()}
    if evaluation.pooled.ece <= _LARGE_ECE or stated.keys() != shares.keys():
        return
    if 0.5 * sum(abs(stated[name] - shares[name]) for name in shares) > _OTHER_PRIOR:
        pairs = [f"{name} {number(stated[name])} stated, {number(shares[name])} here" for name in shares]
        yield Note(
            True,
            f"The network was trained for other shares of the classes than these items have ({listed(pairs, 4)}). That alone makes a "
            "confidence wrong here, where it may be right with the stated shares.",
        )


def baseline_note(bundle: Bundle) -> Note | None:
    """Whether the network is better than simpler models on the validation items, as far as that can be told; None where none is known."""
    score, baselines = network_score(bundle), baseline_scores(bundle)
    if not baselines or math.isnan(score):
        return None
    better = [f"{name} ({number(value)})" for name, value in baselines.items() if value >= score]
    if better:
        return Note(
            True,
            f"The network ({number(score)}) does not beat {listed(better)} in balanced accuracy on the validation items. "
            "A simpler model would do, and is easier to trust.",
        )
    favoured = " Its epoch was chosen on these items, which favours it." if len(bundle.training.get("history", ())) > 1 else ""
    counts = list(((bundle.training.get("counts") or {}).get("validation") or {}).values())
    leads = {name: lead(score, value, counts) for name, value in baselines.items()}
    told = {name: f"{name} ({'; difference '.join(filter(None, (number(baselines[name]), bounds(leads[name]))))})" for name in baselines}
    alike = [told[name] for name in baselines if not leads[name].low > 0]
    if alike:
        return Note(
            True,
            f"The network ({number(score)}) cannot be told apart from {listed(alike)} in balanced accuracy on so few validation items: "
            f"the difference may be none.{favoured}",
        )
    return Note(
        False,
        f"The network ({number(score)}) beats every baseline in balanced accuracy on the validation items; the best is "
        f"{told[max(baselines, key=lambda name: baselines[name])]}.{favoured}",
    )


def lead(score: float, other: float, counts: Sequence[int]) -> Interval:
    """How much larger one balanced accuracy is than another: bounds of the difference with a confidence of 95 %.

    After Agresti and Caffo (The American Statistician 54, 280, 2000), the classes one by one. The two are taken as if they came from
    different items, and with the same recall in each class, which makes the interval rather too wide than too narrow.

    Parameters
    ----------
    score, other : float
    counts : sequence of int
        Items of each class; they are taken as independent.

    Examples
    --------
    >>> lead(0.95, 0.80, [50, 50]).low > 0, lead(0.95, 0.80, [5, 5]).low > 0
    (True, False)
    """
    n = np.array([count for count in counts if count > 0], np.float64)
    if not len(n):
        return Interval(math.nan, math.nan)
    means, variances = [], []
    for value in (score, other):
        share = (value * n + 1) / (n + 2)
        means.append(share.mean())
        variances.append((share * (1 - share) / (n + 2)).sum() / len(n) ** 2)
    middle, margin = means[0] - means[1], _NORMAL * math.sqrt(sum(variances))
    return Interval(float(middle - margin), float(middle + margin))


def network_score(bundle: Bundle) -> float:
    """Balanced accuracy of the network on its validation items; NaN where not recorded."""
    return _score(bundle.metrics.get("validation"))


def training_prior(bundle: Bundle) -> dict[str, float]:
    """The share of each class that the network was trained for; empty where not recorded."""
    return dict((bundle.training.get("balance") or {}).get("prior") or {})


def baseline_scores(bundle: Bundle) -> dict[str, float]:
    """Balanced accuracy of each baseline on the same items, by name."""
    found = {name: _score(values) for name, values in (bundle.training.get("baselines") or {}).items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def kept_epoch(bundle: Bundle) -> int | None:
    """The epoch whose weights the bundle holds."""
    epoch = (bundle.metrics.get("validation") or {}).get("epoch")
    return epoch if isinstance(epoch, int) else None


def files_of(record: Mapping[str, Any] | None) -> set[tuple[str, int, str | None]]:
    """Path, size and digest of the files that a record of provenance begins with."""
    if not record:
        return set()
    return {(stamp.path, stamp.size, stamp.digest) for node in Provenance.from_dict(record).walk() for stamp in node.files}


def _score(values: Any) -> float:
    found = values.get(_SCORE) if isinstance(values, Mapping) else None
    return float(found) if isinstance(found, int | float) else math.nan
