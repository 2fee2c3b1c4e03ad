"""What frames are known to be, to find thresholds from: labels of recordings, or a table of labelled frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import DataError, ReadError
from pycroclass.per_item import column, columns
from pycroclass.readers import read
from pycroclass.selection.frame_places import Places, places
from pycroclass.selection.frame_selection import Booleans, Integers
from pycroclass.selection.tables import read_table
from pycroclass.sid import classes_of, unwrap

_TABLES: Final = (".csv", ".parquet")
_LABEL: Final = "label"


@dataclass(frozen=True, eq=False)
class Truth:
    """Frames whose class is known.

    Parameters
    ----------
    where : Places
    is_hit : array of bool, shape (n_frames,)
    """

    where: Places
    is_hit: Booleans

    def among(self, where: Places) -> tuple[Integers, Booleans]:
        """Which of some frames are known, by number, and whether each of them is a hit. File and number tell.

        Raises
        ------
        DataError
            If none is known.
        """
        known = dict(zip(_keys(self.where), self.is_hit.tolist(), strict=True))
        found = [(i, known[key]) for i, key in enumerate(_keys(where)) if key in known]
        if not found:
            raise DataError(
                f"none of the {len(where)} frames is among the {len(known)} whose class is known. Are they of other recordings?"
            )
        numbers, is_hit = zip(*found, strict=True)
        return np.array(numbers, np.int64), np.array(is_hit, bool)


def truth_of(paths: Sequence[str | os.PathLike[str]], *, positive: str = "hit") -> Truth:
    """What labelled recordings and tables say of their frames.

    Parameters
    ----------
    paths : sequence of path
        Recordings that `read` opens with labels, such as CXI files with ``entry_1/result_1/label`` or folders of images for each class; or
        tables (CSV, Parquet) with the columns ``file``, ``index`` and ``label``, as `write_table` names them.
    positive : str
        Name of the class of hits. Labels that are numbers without names are 1 for a hit.

    Returns
    -------
    Truth
        Frames without a label are left out.

    Raises
    ------
    ReadError
        If a file cannot be read.
    DataError
        If one has no labels, or no class of that name.
    """
    parts = [_of_table(Path(path), positive) if Path(path).suffix.lower() in _TABLES else _of_recording(path, positive) for path in paths]
    return Truth(Places.joined([part.where for part in parts]), np.concatenate([part.is_hit for part in parts]))


def _of_table(path: Path, positive: str) -> Truth:
    table = read_table(path)
    if _LABEL not in table.more:
        raise ReadError(f"{path} has no column {_LABEL!r}; it has {', '.join(table.table())}")
    where = Places(table.file, table.dataset, table.index, table.event)
    labels = table.more[_LABEL]
    if labels.dtype.kind in "US":
        return _truth(where, labels.astype(str), labels != "", positive, str(path))
    return _truth(where, labels, np.isfinite(labels.astype(np.float64)) & (labels >= 0), positive, str(path))


def _of_recording(path: str | os.PathLike[str], positive: str) -> Truth:
    datasets = read(os.fspath(path))
    frames = datasets["image"] if "image" in datasets else next(iter(datasets.values()))
    labels, classes = _labels(datasets.get(_LABEL), frames, os.fspath(path))
    is_known = labels >= 0
    if not classes:
        return _truth(places(frames), labels, is_known, positive, os.fspath(path))
    return _truth(places(frames), np.array([*classes, ""])[np.where(is_known, labels, len(classes))], is_known, positive, os.fspath(path))


def _labels(stored: sidpy.Dataset | None, frames: sidpy.Dataset, path: str) -> tuple[Integers, tuple[str, ...]]:
    if stored is not None:
        return np.asarray(unwrap(stored)[0].compute()).ravel().astype(np.int64), unwrap(stored)[1].classes
    if "labels" not in columns(frames):
        raise DataError(f"{path} has no labels; wanted a recording with labels, or a table of frames with a column {_LABEL!r}")
    return column(frames, "labels").astype(np.int64), classes_of(frames.metadata)


def _truth(where: Places, labels: npt.NDArray[Any], is_known: Booleans, positive: str, path: str) -> Truth:
    if len(labels) != len(where):
        raise DataError(f"{path} has {len(labels)} labels for {len(where)} frames")
    is_hit = labels == (positive if labels.dtype.kind == "U" else 1)
    if labels.dtype.kind == "U" and is_known.any() and not is_hit.any():
        raise DataError(f"{path} has no frame of the class {positive!r}; it has {', '.join(sorted(set(labels[is_known].tolist())))}")
    return Truth(where.take(is_known), is_hit[is_known])


def _keys(where: Places) -> list[tuple[str, int]]:
    real = {file: os.path.realpath(file) for file in set(where.file.tolist())}
    return [(real[file], index) for file, index in zip(where.file.tolist(), where.index.tolist(), strict=True)]
