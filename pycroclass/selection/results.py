"""Decisions as a result like any other: an NSID file with score and decision of each frame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import dask.array as da
import numpy as np
import sidpy

from pycroclass.errors import ReadError
from pycroclass.per_item import ITEMS, column
from pycroclass.provenance import FileStamp, Provenance
from pycroclass.readers.results import read_results
from pycroclass.selection.frame_selection import DECISIONS, FrameSelection
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec
from pycroclass.writers import write

ABOUT: Final = "selection"
"""Metadata that hold ``about``."""
_COLUMNS: Final = ("file", "dataset", "index", "reason")


def decisions(selection: FrameSelection) -> dict[str, sidpy.Dataset]:
    """Score and decision of each frame as datasets, with all else that is known of the frames in their metadata.

    Parameters
    ----------
    selection : FrameSelection

    Returns
    -------
    dict of str to sidpy.Dataset
        ``score`` and ``decision`` (frame), the latter an integer for each of `DECISIONS`. Files, numbers and reasons are columns of the
        items, see `column`. The provenance says what decided, and which files hold the frames.

    Raises
    ------
    ReadError
        If a file of the frames is missing.
    """
    frame = Axis("frame", len(selection), AxisKind.TEMPORAL, "frame")
    sources = tuple(_source(*place) for place in dict.fromkeys(zip(selection.file.tolist(), selection.dataset.tolist(), strict=True)))
    items = {name: getattr(selection, name).tolist() for name in _COLUMNS} | {
        name: values.tolist() for name, values in selection.more.items()
    }
    metadata: dict[str, Any] = {ITEMS: items, "event_ids": selection.event.tolist(), ABOUT: dict(selection.about)}
    number = {name: i for i, name in enumerate(DECISIONS)}
    values = {
        "score": (selection.score, Spec((frame,), np.dtype("f8"), "score", title="score")),
        "decision": (
            np.array([number[name] for name in selection.decision.tolist()], np.int32),
            Spec((frame,), np.dtype("i4"), "label", title="decision", classes=DECISIONS),
        ),
    }
    return {
        name: wrap(
            da.from_array(np.array(array), chunks=-1),
            spec,
            provenance=Provenance("select", {"about": dict(selection.about), "output": name}, sources),
            metadata=metadata,
        )
        for name, (array, spec) in values.items()
    }


def _source(file: str, dataset: str) -> Provenance:
    """How the frames of a file are read."""
    key = dataset.strip("/")
    try:
        stamp = FileStamp.of(file)
    except OSError as error:
        raise ReadError(f"{file} is missing, and holds frames of the selection. Put it back, or write a table.") from error
    return Provenance("read", {"path": file, "key": key or "image", "options": {"key": key} if key else {}}, files=(stamp,))


def write_decisions(selection: FrameSelection, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write `decisions` to a new NSID file, which other pycroscopy tools open.

    Parameters
    ----------
    selection : FrameSelection
    path : path
        Ends in ``.hf5``, by custom.
    overwrite : bool
        Replace a file that exists.

    Raises
    ------
    WriteError
        If the file exists or cannot be written.
    ReadError
        If a file of the frames is missing.
    """
    return write(decisions(selection), path, overwrite=overwrite)


def read_decisions(path: str | os.PathLike[str]) -> FrameSelection:
    """Read what `write_decisions` wrote.

    Raises
    ------
    ReadError
        If the file cannot be read, or holds no decisions.
    """
    found = read_results(Path(path))
    if not {"score", "decision"} <= found.keys() or ABOUT not in found["decision"].metadata:
        raise ReadError(f"{path} holds no decisions of a veto, but {', '.join(found)}")
    decision = found["decision"]
    items = dict(decision.metadata[ITEMS])
    fixed = {name: items.pop(name) for name in _COLUMNS}
    return FrameSelection(
        **fixed,
        event=column(decision, "event_ids"),
        score=np.asarray(found["score"].compute()),
        decision=np.array(DECISIONS)[np.asarray(decision.compute())],
        more={name: np.array(values) for name, values in items.items()},
        about=decision.metadata[ABOUT],
    )
