"""Files that hold selections, by their endings: what writes each, what reads it, and what it is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pycroclass.errors import ParameterError
from pycroclass.selection.frame_selection import FrameSelection


@dataclass(frozen=True)
class SelectionFormat:
    """One kind of file.

    Parameters
    ----------
    ending : str
    write : str
        ``module:function``, called with selection, path and ``overwrite``; imported when it is used.
    read : str, optional
        ``module:function``, called with a path; nothing where such a file does not say which frames it came from.
    description : str
        One line.
    """

    ending: str
    write: str
    read: str | None
    description: str


def _ours(ending: str, module: str, write: str, read: str | None, description: str) -> SelectionFormat:
    home = f"pycroclass.selection.{module}"
    return SelectionFormat(ending, f"{home}:{write}", f"{home}:{read}" if read else None, description)


FORMATS: Final = (
    _ours(".lst", "lists", "write_lst", "read_lst", "kept frames, a line for each, as CrystFEL reads them"),
    _ours(".csv", "tables", "write_table", "read_table", "all frames, with score, decision and reason"),
    _ours(".parquet", "tables", "write_table", "read_table", "the same in Parquet"),
    _ours(".h5", "virtual", "write_virtual", "read_selection_of", "kept frames as HDF5 that shows those of the sources, without a copy"),
    _ours(".cxi", "selected_cxi", "write_selected_cxi", "read_selected_cxi", "kept frames themselves, with peaks where there are any"),
    SelectionFormat(
        ".stream",
        "pycroclass.selection.stream_writing:write_stream",
        "pycroclass.selection.stream_reading:read_stream_frames",
        "all frames as chunks of a CrystFEL stream, with peaks where there are any",
    ),
    _ours(".emc", "selected_emc", "write_selected_emc", None, "kept frames as photons for Dragonfly"),
    _ours(".hf5", "results", "write_decisions", "read_decisions", "all decisions as a result, in NSID"),
)
"""All of them; the endings differ."""


def write_selection(selection: FrameSelection, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a selection in the format that the name ends with.

    Parameters
    ----------
    selection : FrameSelection
    path : path
        ``.lst``: the kept frames for CrystFEL; ``.stream``: all frames for CrystFEL; ``.csv`` and ``.parquet``: all frames as a table;
        ``.h5``: the kept frames without a copy; ``.cxi``: the kept frames themselves; ``.emc``: the same as photons; ``.hf5``: all
        decisions as a result. `write_selected_cxi`, `write_stream` and `write_selected_emc` can do more.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If no format has the ending.
    WriteError
        If the file exists or cannot be written, or the format cannot hold these frames.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> frames = {"file": ["/data/run.cxi"] * 2, "dataset": ["/data"] * 2, "index": [3, 7], "event": ["", ""]}
    >>> chosen = FrameSelection(**frames, score=[0.9, 0.1], decision=["hit", "miss"], reason=["hit", ""])
    >>> read_selection(write_selection(chosen, Path(mkdtemp()) / "run.csv")).reason.tolist()
    ['hit', '']
    """
    write = _function(format_of(path).write)
    written: Path = write(selection, path, overwrite=overwrite)
    return written


def read_selection(path: str | os.PathLike[str]) -> FrameSelection:
    """Read a selection in the format that the name ends with.

    Parameters
    ----------
    path : path

    Raises
    ------
    ParameterError
        If no format has the ending.
    ReadError
        If the file is missing, damaged, or holds no selection.
    """
    known = format_of(path)
    if known.read is None:
        raise ParameterError(f"{path}: a file of this kind does not say which frames it came from. Keep a table beside it.")
    selection: FrameSelection = _function(known.read)(path)
    return selection


def format_of(path: str | os.PathLike[str]) -> SelectionFormat:
    """The format that a name ends with.

    Raises
    ------
    ParameterError
        If there is none.
    """
    ending = Path(path).suffix.lower()
    for known in FORMATS:
        if known.ending == ending:
            return known
    raise ParameterError(f"{path}: a selection is written as {', '.join(known.ending for known in FORMATS)}; got {ending or 'no ending'}")


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
