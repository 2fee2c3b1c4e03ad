"""What was decided of the frames of one or several files, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.array_value import frozen
from pycroclass.errors import DataError
from pycroclass.operator import set_field

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]
Booleans = npt.NDArray[np.bool_]

DECISIONS: Final = ("miss", "uncertain", "hit")
"""What a frame can be called."""
PLACE: Final = {"file": np.str_, "dataset": np.str_, "index": np.int64, "event": np.str_}
"""Columns that say where a frame lies, and their types."""
COLUMNS: Final = {**PLACE, "score": np.float64, "decision": np.str_, "reason": np.str_}
"""All columns that every selection has."""


@dataclass(frozen=True, eq=False)
class FrameSelection:
    """A row for each frame that was looked at: where it lies, its score, what was decided, and why it is kept.

    Parameters
    ----------
    file : array of str, shape (n_frames,)
        Absolute path of the recording.
    dataset : array of str, shape (n_frames,)
        Path of the frames inside an HDF5 file, such as ``/entry_1/data_1/data``; empty where the file holds one frame.
    index : array of int, shape (n_frames,)
        Position along the first axis of the dataset.
    event : array of str, shape (n_frames,)
        Name of the shot, where the recording names it; else empty.
    score : array of float, shape (n_frames,)
        Higher where a frame is more likely a hit: a probability, or a count of peaks.
    decision : array of str, shape (n_frames,)
        One of `DECISIONS`.
    reason : array of str, shape (n_frames,)
        Why a frame is kept, such as ``hit`` or ``sampled miss``; empty where it is not kept.
    more : mapping of str to array, shape (n_frames,)
        Further columns by name.
    about : mapping
        What decided, JSON-ready: policy, thresholds, versions, and the digests of what they came from.

    Raises
    ------
    DataError
        If lengths differ, a decision is none, or a frame stands there twice.

    Examples
    --------
    >>> frames = {"file": ["/data/run.cxi"] * 3, "dataset": ["/entry_1/data_1/data"] * 3, "index": [0, 1, 2], "event": [""] * 3}
    >>> chosen = FrameSelection(**frames, score=[0.1, 0.9, 0.5], decision=["miss", "hit", "uncertain"], reason=["", "hit", ""])
    >>> len(chosen), chosen.is_kept.tolist(), chosen.kept().index.tolist()
    (3, [False, True, False], [1])
    """

    file: Strings
    dataset: Strings
    index: Integers
    event: Strings
    score: Floats
    decision: Strings
    reason: Strings
    more: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in COLUMNS.items():
            set_field(self, name, frozen(getattr(self, name), dtype))
        set_field(self, "more", {name: frozen(values) for name, values in self.more.items()})
        self._check()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def is_kept(self) -> Booleans:
        """Which frames are kept."""
        kept: Booleans = self.reason != ""
        return kept

    def kept(self) -> FrameSelection:
        """The frames that are kept."""
        return self.take(self.is_kept)

    def kept_some(self) -> FrameSelection:
        """As `kept`, where there must be some.

        Raises
        ------
        DataError
            If no frame is kept.
        """
        kept = self.kept()
        if not len(kept):
            raise DataError(f"the selection keeps none of its {len(self)} frames: no frame is kept, there is nothing to write")
        return kept

    def take(self, frames: Integers | Booleans | slice) -> FrameSelection:
        """Some of the frames, by number, by a mask or by a slice."""
        columns = {name: getattr(self, name)[frames] for name in COLUMNS}
        return FrameSelection(**columns, more={name: values[frames] for name, values in self.more.items()}, about=self.about)

    def table(self) -> pd.DataFrame:
        """A row for each frame."""
        import pandas as pd  # takes half a second, which few need

        return pd.DataFrame({name: getattr(self, name) for name in COLUMNS} | dict(self.more))

    def _check(self) -> None:
        for name, values in {**{name: getattr(self, name) for name in COLUMNS}, **self.more}.items():
            if values.shape != (len(self.index),):
                raise DataError(f"{name} has the shape {values.shape}, wanted ({len(self.index)},): one value for each frame")
        if unknown := set(self.decision.tolist()) - set(DECISIONS):
            raise DataError(f"wanted decisions among {', '.join(DECISIONS)}, got {', '.join(sorted(unknown))}")
        seen: set[tuple[str, str, int]] = set()
        for place in zip(self.file.tolist(), self.dataset.tolist(), self.index.tolist(), strict=True):
            if place in seen:
                raise DataError("frame {2} of {1!r} in {0} stands there twice".format(*place))
            seen.add(place)
