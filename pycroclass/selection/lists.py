"""Lists of frames as CrystFEL reads and writes them: one line for each.

A line is the path of a file, and behind a space the event: ``run.cxi //123`` is frame 123, ``run.h5 panels//123`` frame 123 where
``panels`` stands for the ``%`` in the HDF5 path that the geometry file names (``data = /%/data``). A file that holds one frame stands
there alone. CrystFEL takes what follows the last space of a line for an event if ``//`` is in it, and all of the line for a path if not:
spaces in paths need no quotes, and quotes would be taken for a part of the name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py

from pycroclass.errors import ParameterError, ReadError, WriteError
from pycroclass.readers import read
from pycroclass.selection.frame_places import places
from pycroclass.selection.frame_selection import DECISIONS, PLACE, FrameSelection
from pycroclass.writers.atomic import whole_or_nothing

LISTED: Final = "listed"
"""Reason for a frame that a list names: nothing more is known of it."""
ONLY_KEPT: Final = "only_kept"
"""In ``about``: whether it is known of the kept frames alone that they were looked at."""
_ABOUT: Final = ".json"

Row = tuple[str, str, int, str]
"""A place."""


def write_lst(
    selection: FrameSelection,
    path: str | os.PathLike[str],
    *,
    decision: str | None = None,
    relative: bool = False,
    data: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the frames that are kept as a list for CrystFEL, and ``about`` beside it, as ``PATH.json``.

    Parameters
    ----------
    selection : FrameSelection
    path : path
        Ends in ``.lst``, by custom.
    decision : str, optional
        One of `DECISIONS`: write all frames that were called so instead, kept or not.
    relative : bool
        Write paths from the folder of the list on. CrystFEL looks for them from where it is started, or from its ``--prefix`` on.
    data : str, optional
        HDF5 path of the frames as the geometry file names it, where a part of it is the event's: ``/%/data``.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    Path
        Of the list. An empty selection gives an empty list.

    Raises
    ------
    ParameterError
        If the decision is none, or a dataset is not one that ``data`` describes.
    WriteError
        If a file exists or cannot be written; if CrystFEL could not find a frame: one of several in a file that is no HDF5, or with a
        path that begins or ends with a space, or holds a line break.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> frames = {"file": ["/data/run.cxi"] * 2, "dataset": ["/entry_1/data_1/data"] * 2, "index": [3, 7], "event": ["", ""]}
    >>> chosen = FrameSelection(**frames, score=[0.9, 0.1], decision=["hit", "miss"], reason=["hit", ""])
    >>> print(write_lst(chosen, Path(mkdtemp()) / "hits.lst").read_text(), end="")
    /data/run.cxi //3
    """
    if decision is not None and decision not in DECISIONS:
        raise ParameterError(f"decision must be one of {', '.join(DECISIONS)}, got {decision!r}")
    target = Path(path)
    beside = target.with_name(target.name + _ABOUT)
    chosen = selection.kept() if decision is None else selection.take(selection.decision == decision)
    folder = target.absolute().parent if relative else None
    lines = [
        _line(*place, folder, data) for place in zip(chosen.file.tolist(), chosen.dataset.tolist(), chosen.index.tolist(), strict=True)
    ]
    record = {"list": target.name, "frames": decision or "kept", "about": dict(selection.about)}
    with whole_or_nothing(target, overwrite=overwrite) as listed, whole_or_nothing(beside, overwrite=overwrite) as about:
        listed.write(os.fsencode("".join(f"{line}\n" for line in lines)))
        about.write(json.dumps(record, indent=1, allow_nan=False).encode())
    return target


def read_lst(path: str | os.PathLike[str], *, data: str | None = None, decision: str = "hit") -> FrameSelection:
    """The frames that a list for CrystFEL names.

    Parameters
    ----------
    path : path
        Paths in it are from its own folder on where they are relative.
    data : str, optional
        HDF5 path of the frames as the geometry file names it. Without it the dataset of a frame stays empty.
    decision : str
        What its frames are called: a list does not say.

    Returns
    -------
    FrameSelection
        All frames are kept, with the reason ``listed`` and the score NaN. A line without an event that names an HDF5 file stands for all
        frames of that file. ``about`` is that of the selection that was written, where ``PATH.json`` is there.

    Raises
    ------
    ReadError
        If the list is missing, or a line cannot be understood; names the line.
    DataError
        If a frame stands there twice.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "hits.lst"
    >>> _ = file.write_text("/data/run.cxi //3\\n/data/run.cxi //7\\n")
    >>> read_lst(file).index.tolist()
    [3, 7]
    """
    source = Path(path)
    try:
        text = os.fsdecode(source.read_bytes())
    except OSError as error:
        raise ReadError(f"cannot read the list {source}: {error.strerror}") from error
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    rows = [row for number, line in lines for row in _read_line(source, number, line, data)]
    n = len(rows)
    columns: dict[str, Any] = dict(zip(PLACE, zip(*rows, strict=True) if rows else ([], [], [], []), strict=True))
    columns |= {"score": [float("nan")] * n, "decision": [decision] * n, "reason": [LISTED] * n}
    return FrameSelection(**columns, about={ONLY_KEPT: True, **_about(source)})


def _line(file: str, dataset: str, index: int, folder: Path | None, data: str | None) -> str:
    shown = file if folder is None else os.path.relpath(file, folder)
    if shown != shown.strip() or "\n" in shown or "\r" in shown:
        raise WriteError(f"CrystFEL cannot find {shown!r}: its path begins or ends with a space, or holds a line break. Rename it.")
    if not dataset:
        if index:
            raise WriteError(f"CrystFEL cannot find frame {index} of {file}: the file is no HDF5. Write a copy with write_cxi.")
        return shown
    return f"{shown} {_event(dataset, index, data)}"


def _event(dataset: str, index: int, data: str | None) -> str:
    if data is None or "%" not in data:
        if data is not None and dataset.strip("/") != data.strip("/"):
            raise ParameterError(f"the frames lie at {dataset!r}, not at data={data!r}")
        return f"//{index}"
    found = re.fullmatch(_pattern(data), dataset.strip("/"))
    if found is None or " " in (middle := "/".join(found.groups())):
        raise ParameterError(f"data={data!r} does not describe {dataset!r}, or what stands for '%' has a space in it")
    return f"{middle}//{index}"


def _pattern(data: str) -> str:
    return "([^/]+)".join(re.escape(part) for part in data.strip("/").split("%"))


def _read_line(source: Path, number: int, line: str, data: str | None) -> list[Row]:
    name, _, event = line.strip().rpartition(" ")
    if "//" not in event or not name:
        name, event = line.strip(), ""
    file = os.path.normpath(source.absolute().parent / name)
    if not event:
        return _all_of(file, data)
    middle, _, index = event.rpartition("//")
    if not index.isdecimal():
        raise ReadError(f"{source}, line {number}: {event!r} is no event; wanted //NUMBER, or PATH//NUMBER")
    dataset = _dataset(middle, data)
    if dataset is None:
        wanted = (
            f"data={data!r} has not as many '%' as that has parts"
            if data
            else "say what it stands for, as the geometry file does: data='/…/%/…'"
        )
        raise ReadError(f"{source}, line {number}: {middle!r} stands for a part of the HDF5 path; {wanted}")
    return [(file, dataset, int(index), "")]


def _dataset(middle: str, data: str | None) -> str | None:
    """The HDF5 path with the parts of an event in the place of ``%``; None where they do not fit."""
    parts: Iterator[str] = iter(middle.split("/") if middle else [])
    if data is None:
        return None if middle else ""
    if data.count("%") != len(middle.split("/") if middle else []):
        return None
    return "/" + re.sub("%", lambda _: next(parts), data).strip("/")


def _all_of(file: str, data: str | None) -> list[Row]:
    """All frames of an HDF5 file; the one frame of any other."""
    if not (Path(file).is_file() and h5py.is_hdf5(file)):
        return [(file, "", 0, "")]
    found = read(file, key=data)
    there = places(found["image"] if "image" in found else next(iter(found.values())))
    return list(zip(*(values.tolist() for values in there.columns().values()), strict=True))


def _about(source: Path) -> dict[str, Any]:
    """What was written beside the list, if anything."""
    beside = source.with_name(source.name + _ABOUT)
    if not beside.is_file():
        return {}
    try:
        record = json.loads(beside.read_bytes())
        return dict(record["about"]) if record["list"] == source.name else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(f"{beside} is damaged: {error!r}. Remove it, to read the list alone.") from error
