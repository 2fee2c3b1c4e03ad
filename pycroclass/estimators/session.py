"""How a training is carried out, which is no part of what is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycroclass.errors import ParameterError
from pycroclass.operator import set_field


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Parameters
    ----------
    epoch, n_epochs : int
        The epoch in hand, counted from 1, of how many.
    n_done, n_items : int
        Items of this epoch that were learned from, of how many.
    result : mapping, optional
        What the epoch gave, when it is at its end; as in ``bundle.training["history"]``.
    """

    epoch: int
    n_epochs: int
    n_done: int
    n_items: int
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Session:
    """Where a training keeps its state, how long it may take, and whom it tells.

    Parameters
    ----------
    checkpoint : path, optional
        File that holds all of the state of a training after an epoch, replaced each time as a whole. The same training with the same
        checkpoint goes on from there, and ends with the same weights as if it had never been cut off. Remove it when the bundle is
        saved.
    checkpoint_seconds : float
        Least time between two checkpoints; the last epoch always leaves one.
    max_seconds : float, optional
        No epoch but the first is begun that would, at the pace of the others, end later than this; the best weights so far are kept.
    log : path, optional
        Folder for ``history.csv``, and for TensorBoard where that is installed.
    progress : callable, optional
        Is given a `Progress` now and then.

    Raises
    ------
    ParameterError
        If a number of seconds is negative.
    """

    checkpoint: Path | None = None
    checkpoint_seconds: float = 30.0
    max_seconds: float | None = None
    log: Path | None = None
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        for name in ("checkpoint", "log"):
            if getattr(self, name) is not None:
                set_field(self, name, Path(getattr(self, name)))
        if self.checkpoint_seconds < 0 or (self.max_seconds is not None and self.max_seconds < 0):
            raise ParameterError(f"seconds must not be negative, got {self.checkpoint_seconds} and {self.max_seconds}")
