"""The frames that a selection keeps as a CXI file, with what was decided of them and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ParameterError
from pycroclass.per_item import ITEMS, take
from pycroclass.provenance import Provenance
from pycroclass.readers.cxi_results import SELECTION, facts
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_file import open_hdf5
from pycroclass.selection.frame_selection import FrameSelection
from pycroclass.selection.selected_frames import selected_frames
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec
from pycroclass.writers.cxi import Compression, write_cxi

_COLUMNS: Final = {
    "file": "source_file",
    "dataset": "source_dataset",
    "index": "source_index",
    "event": "source_event",
    "decision": "decision",
    "reason": "reason",
}
"""What the columns of a selection are called in the file."""
_PROBABILITY, _SCORE = "hit_probability", "score"


def write_selected_cxi(
    selection: FrameSelection,
    path: str | os.PathLike[str],
    *,
    datasets: Mapping[str, sidpy.Dataset] | None = None,
    peaks: Mapping[str, sidpy.Dataset] | None = None,
    compression: Compression | None = "gzip",
    overwrite: bool = False,
) -> Path:
    """Write the frames that are kept to a new CXI file, block by block; it appears when it is whole.

    ``entry_1/result_1`` gets ``source_file``, ``source_dataset``, ``source_index`` and ``source_event``, which say where each frame comes
    from, ``decision``, ``reason``, the further columns of the selection, and its scores: as ``hit_probability`` where all lie between 0
    and 1, else as ``score``. What decided stands as JSON in the attribute ``selection``.

    Parameters
    ----------
    selection : FrameSelection
    path : path
    datasets : mapping of str to sidpy.Dataset, optional
        As of `write_cxi`, all with one item for each row of the selection, in its order; such as frames that were corrected, and their
        peaks. By default the frames and masks of the files that the selection names, see `selected_frames`.
    peaks : mapping of str to sidpy.Dataset, optional
        ``n_peaks`` and ``peaks``, as `PeakFinder8` finds them, with one item for each row of the selection.
    compression : {"gzip", "lzf", "bitshuffle-lz4", None}
        As of `write_cxi`.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    DataError
        If no frame is kept.
    ParameterError
        If datasets and selection have not the same number of frames.
    WriteError, AxisError, ReadError
        As `write_cxi` and `selected_frames`.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.readers import read
    >>> from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
    >>> frames = simulate_run(draw_run(seed=1, experiment=Experiment(Detector(shape=(40, 50)))), 3)
    >>> places = {"file": ["/data/run.cxi"] * 3, "dataset": ["/entry_1/data_1/data"] * 3, "index": [0, 1, 2], "event": [""] * 3}
    >>> selection = FrameSelection(**places, score=[0.1, 0.9, 0.8], decision=["miss", "hit", "hit"], reason=["", "hit", "hit"])
    >>> path = write_selected_cxi(selection, Path(mkdtemp()) / "hits.cxi", datasets=frames)
    >>> found = read(path)
    >>> found["image"].shape, np.asarray(found["hit_probability"]).tolist(), read_selected_cxi(path).index.tolist()
    ((2, 40, 50), [0.9, 0.8], [1, 2])
    """
    kept = selection.kept_some()
    if datasets is not None and "image" not in datasets:
        raise ParameterError(f"wanted image among the datasets, got {', '.join(datasets) or 'nothing'}")
    some = selected_frames(kept) if datasets is None else _taken(datasets, selection.is_kept)
    some |= _taken(peaks or {}, selection.is_kept)
    image = some["image"]
    columns: dict[str, npt.NDArray[np.generic]] = {**kept.more, **{name: getattr(kept, column) for column, name in _COLUMNS.items()}}
    if _is_probability(kept.score):
        some[_PROBABILITY] = _of_frames(kept.score)
    else:
        columns[_SCORE] = kept.score
    items = {**(image.metadata.get(ITEMS) or {}), **{name: values.tolist() for name, values in columns.items()}}
    image.metadata = {**image.metadata, ITEMS: items, SELECTION: dict(kept.about)}
    event_ids = kept.event.tolist() if (kept.event != "").all() else None
    return write_cxi(some, path, event_ids=event_ids, compression=compression, overwrite=overwrite)


def read_selected_cxi(path: str | os.PathLike[str]) -> FrameSelection:
    """What was decided of the frames in a file that `write_selected_cxi` wrote, and where they come from.

    Parameters
    ----------
    path : path

    Returns
    -------
    FrameSelection
        In the order of the file: row ``i`` is of its frame ``i``.

    Raises
    ------
    ReadError
        If it is no such file.
    """
    file = Path(path)
    with open_hdf5(file) as opened:
        names = opened.get("entry_1/experiment_identifier")
        known = facts(opened["entry_1"], names.shape[0]) if names is not None and names.shape else {}
        columns = {name: np.asarray(values) for name, values in known.get("items", {}).items()}
        probability = opened.get(f"entry_1/result_1/{_PROBABILITY}")
        score = columns.pop(_SCORE, None) if probability is None else probability[()]
    if score is None or (missing := [name for name in _COLUMNS.values() if name not in columns]):
        lacking = ", ".join(missing) if score is not None else f"{_PROBABILITY} or {_SCORE}"
        raise failure(file, f"does not say what was decided of its frames: entry_1/result_1 has no {lacking}", "Was it made by pycroclass?")
    rows = {column: columns.pop(name) for column, name in _COLUMNS.items()}
    return FrameSelection(**rows, score=score, more=columns, about=known.get(SELECTION, {}))


def _taken(datasets: Mapping[str, sidpy.Dataset], is_kept: npt.NDArray[np.bool_]) -> dict[str, sidpy.Dataset]:
    """The kept items of all but the mask, which is of all frames."""
    for name, dataset in datasets.items():
        if name != "mask" and dataset.shape[:1] != is_kept.shape:
            raise ParameterError(f"{name} has the shape {dataset.shape}; the selection is of {len(is_kept)} frames")
    return {name: dataset if name == "mask" else take(dataset, is_kept) for name, dataset in datasets.items()}


def _is_probability(score: npt.NDArray[np.float64]) -> bool:
    return bool(((score >= 0) & (score <= 1)).all())


def _of_frames(score: npt.NDArray[np.float64]) -> sidpy.Dataset:
    spec = Spec((Axis("frame", len(score), AxisKind.TEMPORAL),), score.dtype, quantity="probability", title=_PROBABILITY)
    return wrap(da.from_array(score), spec, provenance=Provenance("given", {"title": _PROBABILITY, "reason": "of a selection"}))
