"""How many items of each class there are, so far and in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.writers import Written

NDArray = npt.NDArray[Any]
Counts = Mapping[str, Mapping[str, int]]
"""Of each output that holds labels: how many items of each class, by name."""
NO_CLASS: Final = "(none)"
"""What the label -1 counts as."""
_READ_BACK: Final = 1 << 30
"""Labels of up to so many bytes are read again where they were not all seen."""


class Tallies:
    """Items per class in all blocks that came by."""

    def __init__(self, results: Mapping[str, sidpy.Dataset]) -> None:
        self._specs = {name: spec for name, result in results.items() if _holds_labels(spec := unwrap(result)[1])}
        self._tallies = {name: np.zeros(len(spec.classes) + 1, np.int64) for name, spec in self._specs.items()}

    def add(self, written: Written) -> None:
        """Count the labels of one block."""
        if written.name in self._tallies and written.values is not None:
            self._tallies[written.name] = _summed(self._tallies[written.name], _tally(written.values))

    @property
    def are_whole(self) -> bool:
        """Whether every label was seen."""
        return all(self._tallies[name].sum() == math.prod(spec.shape) for name, spec in self._specs.items())

    @property
    def counts(self) -> Counts:
        """By class name."""
        return {name: _named(self._tallies[name], spec.classes) for name, spec in self._specs.items()}


def count_labels(results: Mapping[str, sidpy.Dataset]) -> Counts:
    """Items per class of each dataset of labels in a finished file; of large ones nothing is said."""
    counts = {}
    for name, dataset in results.items():
        array, spec = unwrap(dataset)
        if _holds_labels(spec) and array.nbytes <= _READ_BACK:
            counts[name] = _named(_tally(array.compute(scheduler="threads")), spec.classes)
    return counts


def _holds_labels(spec: Spec) -> bool:
    return spec.dtype.kind in "iu" and spec.quantity == "label"


def _tally(labels: NDArray) -> NDArray:
    """How often -1, 0, 1, … occur."""
    tally: NDArray = np.bincount(np.ravel(labels).astype(np.int64).clip(-1) + 1, minlength=1)
    return tally


def _summed(a: NDArray, b: NDArray) -> NDArray:
    size = max(len(a), len(b))
    total: NDArray = np.pad(a, (0, size - len(a))) + np.pad(b, (0, size - len(b)))
    return total


def _named(tally: NDArray, classes: Sequence[str]) -> dict[str, int]:
    names = [*classes, *map(str, range(len(classes), len(tally) - 1))]
    counts = {name: int(n) for name, n in zip(names, [*tally[1:], *[0] * len(names)], strict=False)}
    return counts | ({NO_CLASS: int(tally[0])} if tally[0] else {})
