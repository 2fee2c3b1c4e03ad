"""Labelled data of one or several files, for the commands that train and evaluate."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.api import concatenate
from pycroclass.per_item import column, columns
from pycroclass.readers import read
from pycroclass.recipes.batch import choose
from pycroclass.sid import unwrap

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Runs, images or spectra, each of a file or folder of its own.

    Parameters
    ----------
    names : tuple of str
        One for each file: its path from the folder that holds them all.
    runs : tuple of sidpy.Dataset
        Lazy.
    label_runs : tuple of sidpy.Dataset
        Their labels, where they are datasets of their own; else none.
    """

    names: tuple[str, ...]
    runs: tuple[sidpy.Dataset, ...]
    label_runs: tuple[sidpy.Dataset, ...]

    @classmethod
    def read(cls, paths: Sequence[str], *, key: str | None, labels: str | None, size: int | None, fit: str | None) -> Self:
        """Open files or folders.

        Parameters
        ----------
        paths : sequence of str
        key, labels : str, optional
            Of the datasets that hold items and labels; by default the only one or ``image``, and ``label`` where all have it.
        size, fit : int, str, optional
            As of `pycroclass.read`.
        """
        found = {path: read(path, size=size, fit=fit) for path in paths}  # type: ignore[arg-type]  # checked there
        runs = tuple(choose(path, key, datasets)[1] for path, datasets in found.items())
        label = labels or ("label" if all("label" in datasets for datasets in found.values()) else None)
        label_runs = tuple(choose(path, label, datasets)[1] for path, datasets in found.items()) if label else ()
        common = os.path.commonpath([Path(path).absolute().parent for path in found])
        return cls(tuple(Path(os.path.relpath(path, common)).as_posix() for path in found), runs, label_runs)

    @property
    def whole(self) -> sidpy.Dataset:
        """All items, one behind the other."""
        return concatenate(self.runs) if len(self.runs) > 1 else self.runs[0]

    @property
    def truth(self) -> sidpy.Dataset | None:
        """The labels of all items, where they are a dataset of their own."""
        return concatenate(self.label_runs) if self.label_runs else None

    @cached_property
    def groups(self) -> npt.NDArray[np.str_] | None:
        """The file of each item, where there are several and each class is in two of them or more; else nothing can be told by file."""
        if len(self.runs) < 2 or not (self.label_runs or all("labels" in columns(run) for run in self.runs)):
            return None
        labels = [unwrap(run)[0].compute() for run in self.label_runs] or [column(run, "labels") for run in self.runs]
        classes, n_files = np.unique(np.concatenate([np.unique(some[some >= 0]) for some in labels]), return_counts=True)
        if (n_files < 2).any():
            rare = ", ".join(str(number) for number in classes[n_files < 2])
            log.warning("items are not grouped by file, for the class of number %s is in one file alone; name a column with --groups", rare)
            return None
        return np.repeat(self.names, [some.size for some in labels])
