"""Labels to train with, from what an indexing program made of the frames."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pycroclass.errors import DataError
from pycroclass.selection.stream_reading import Stream

log = logging.getLogger(__name__)

Key = tuple[str, str, int]

INDEXED: Final = ("not indexed", "indexed")
"""Names of the classes."""
_UNKNOWN: Final = -1


class Places(Protocol):
    """Where frames lie: a `FrameSelection`, or anything with these columns of it."""

    @property
    def file(self) -> npt.NDArray[np.str_]:
        """Absolute path of the recording."""

    @property
    def dataset(self) -> npt.NDArray[np.str_]:
        """Path of the frames inside it."""

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """Position along its first axis."""


def labels_from_stream(stream: Stream, places: Places) -> npt.NDArray[np.int32]:
    """Which frames were indexed, in any order of the frames: labels for `train`.

    Frames are known again by file and index, and by dataset where the stream has several in one file. Where none of the files has the
    path that the stream names, as after a copy, the name of the file decides.

    Parameters
    ----------
    stream : Stream
    places : FrameSelection, or another with ``file``, ``dataset`` and ``index``
        Of the frames that shall get a label.

    Returns
    -------
    int32 array, shape (n_frames,)
        1 where a frame was indexed, 0 where not, -1 where it is not in the stream. The names of the classes are `INDEXED`.

    Raises
    ------
    DataError
        If no frame is in the stream, or the names of files do not tell which is which.

    Examples
    --------
    >>> from pycroclass.selection import FrameSelection
    >>> place = {"file": ["/data/run.cxi"] * 2, "dataset": [""] * 2, "index": [7, 9], "event": [""] * 2, "score": [0, 0]}
    >>> found = FrameSelection(**place, decision=["hit"] * 2, reason=["hit"] * 2, more={"is_indexed": np.array([True, False])})
    >>> class Frames:
    ...     file, dataset, index = np.array(["/copy/run.cxi"] * 3), np.array(["/data"] * 3), np.array([9, 8, 7])
    >>> labels_from_stream(Stream(found, peaks=None, geometry=None), Frames()).tolist()
    [0, -1, 1]
    """
    frames = stream.frames
    ours, theirs = set(places.file.tolist()), set(frames.file.tolist())
    by_name = not ours & theirs
    if by_name:
        _check_names(ours, theirs)
    has_several = len(set(zip(frames.file.tolist(), frames.dataset.tolist()))) > len(theirs)
    known = dict(zip(_keys(frames, by_name, has_several), np.asarray(frames.more["is_indexed"]).tolist(), strict=True))
    labels = np.array([known.get(key, _UNKNOWN) for key in _keys(places, by_name, has_several)], np.int32)
    if (labels == _UNKNOWN).all():
        raise DataError(
            f"none of the {len(labels)} frames is in the stream. It has frames like {_shown(frames)}, wanted are such as {_shown(places)}."
        )
    return labels


def _keys(places: Places, by_name: bool, has_several: bool) -> list[Key]:
    files = [Path(file).name if by_name else file for file in places.file.tolist()]
    datasets = [name.strip("/") if has_several else "" for name in places.dataset.tolist()]
    return list(zip(files, datasets, places.index.tolist(), strict=True))


def _check_names(ours: set[str], theirs: set[str]) -> None:
    for files in (ours, theirs):
        if len({Path(file).name for file in files}) < len(files):
            raise DataError(
                f"the stream names other paths ({min(theirs)}, wanted {min(ours)}), and several files have the same name: which is which "
                "cannot be told. Read the stream with folder=, where its paths are relative."
            )
    log.info("the stream names other paths: frames are known again by the names of their files (%s, %s)", min(theirs), min(ours))


def _shown(places: Any) -> str:
    return f"{places.file[0]} {places.dataset[0]} {places.index[0]}" if len(places.index) else "none"
