"""One number for each frame, out of what a pipeline says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import dask
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import DataError
from pycroclass.operator import set_field
from pycroclass.selection.frame_selection import Floats, Integers
from pycroclass.sid import unwrap
from pycroclass.spec import Spec

Kind = Literal["probability", "peaks", "label"]
"""What a score is: the probability of a hit, a count of peaks, or what follows from a label that was given."""
NEEDED: Final[dict[Kind, str]] = {"probability": "probability", "peaks": "n_peaks", "label": "label"}
"""The result that tells each."""
MISS, UNCERTAIN, HIT = range(3)
"""Numbers of `DECISIONS`."""

Results: TypeAlias = Mapping[str, sidpy.Dataset] | sidpy.Dataset


@dataclass(frozen=True, eq=False)
class Scores:
    """A score for each frame, and what was decided already.

    Parameters
    ----------
    kind : {"probability", "peaks", "label"}
    values : array of float, shape (n_frames,)
        NaN where nobody can tell.
    decided : array of int, shape (n_frames,), optional
        Of ``label``: the number of one of `DECISIONS`.
    """

    kind: Kind
    values: Floats
    decided: Integers | None = None

    def __post_init__(self) -> None:
        set_field(self, "values", np.asarray(self.values, np.float64))
        if self.values.ndim != 1:
            raise DataError(f"scores have the shape {self.values.shape}, wanted one for each frame")


def scores_of(results: Results, kind: Kind, *, positive: str = "hit") -> Scores:
    """The scores of frames. Computes what is not computed yet, and nothing else.

    Parameters
    ----------
    results : mapping of str to sidpy.Dataset, or one of them
        As `classify`, a pipeline with `PeakFinder8` or `PeakCountRule`, or a result file gives them.
    kind : {"probability", "peaks", "label"}
        Which to take. The score of a frame with a label is its probability of a hit or its number of peaks, where that stands beside it;
        else by how much a `PeakCountRule` is sure of it, from -1 for a sure miss to 1 for a sure hit, which rises with the number of peaks.
    positive : str
        Name of the class of hits.

    Returns
    -------
    Scores
        Peaks of several modules are added.

    Raises
    ------
    DataError
        If the results do not tell it, or not for each frame.
    """
    known = named(results)
    if NEEDED[kind] not in known:
        raise DataError(f"wanted {NEEDED[kind]!r} among the results, got {', '.join(known) or 'none'}")
    wanted = [
        name for name in ("label", "confidence", "probability", "n_peaks") if name in known and (kind == "label" or name == NEEDED[kind])
    ]
    arrays, specs = zip(*(unwrap(known[name]) for name in wanted), strict=True)
    values = dict(zip(wanted, map(np.asarray, dask.compute(*arrays)), strict=True))
    meaning = dict(zip(wanted, specs, strict=True))
    if kind != "label":
        return Scores(kind, _one_each(values, meaning, positive))
    decided = _decided(values["label"], meaning["label"].classes, positive)
    if "probability" in values or "n_peaks" in values:
        return Scores(kind, _one_each(values, meaning, positive), decided)
    confidence = values.get("confidence", np.ones(len(decided)))
    return Scores(
        kind, np.select([decided == HIT, decided == MISS], [confidence, -confidence], np.where(values["label"] < 0, np.nan, 0)), decided
    )


def _one_each(values: Mapping[str, npt.NDArray[Any]], meaning: Mapping[str, Spec], positive: str) -> Floats:
    if "probability" not in values:
        counts: Floats = values["n_peaks"].astype(np.float64).reshape(len(values["n_peaks"]), -1)
        return np.asarray(counts.sum(1))
    probability, classes = values["probability"], meaning["probability"].classes
    if positive not in classes:
        raise DataError(f"no class {positive!r}: the classes are {', '.join(classes) or 'not named'}")
    if probability.ndim != 2:
        raise DataError(f"the probabilities have the axes {meaning['probability'].names}, wanted one answer for each frame")
    found: Floats = probability[:, classes.index(positive)].astype(np.float64)
    return found


def _decided(label: npt.NDArray[Any], classes: tuple[str, ...], positive: str) -> Integers:
    """The decision that each label stands for; a frame without an answer is uncertain."""
    if label.ndim != 1:
        raise DataError(f"the labels have the shape {label.shape}, wanted one for each frame")
    if positive not in classes:
        raise DataError(f"no label {positive!r}: the labels are {', '.join(classes) or 'not named'}")
    numbers = np.array([HIT if name == positive else UNCERTAIN if name == "uncertain" else MISS for name in classes] + [UNCERTAIN])
    return numbers[np.where(label < 0, len(classes), label)].astype(np.int64)


def named(results: Results) -> Mapping[str, sidpy.Dataset]:
    """Results by name, which is the last part of a path in a file; a single one has its title."""
    if isinstance(results, sidpy.Dataset):
        return {str(results.title): results}
    return {name.rsplit("/", 1)[-1]: dataset for name, dataset in results.items()}
