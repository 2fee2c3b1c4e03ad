"""An HDF5 file that shows the kept frames of others without a copy.

It is built like its sources: the frames at the same HDF5 path, as a virtual dataset (HDF5 1.10 and later), and with them mask, geometry,
energies and whatever else the sources hold. So `pycroclass.read`, CrystFEL and other programs open it as they open the sources, with the
same geometry file. The group ``selection`` says of each frame where it lies, its score and what was decided.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pycroclass.errors import ReadError, WriteError
from pycroclass.readers.hdf5_file import open_hdf5, plain
from pycroclass.selection.carried import Part, carry
from pycroclass.selection.frame_selection import COLUMNS, FrameSelection, Integers
from pycroclass.writers.atomic import refuse_taken, whole_or_nothing

GROUP: Final = "selection"
"""Where a file keeps the selection of its frames: a dataset for each column, and ``about`` as JSON."""
_FORMAT: Final = "pycroclass selection 1"


def write_virtual(selection: FrameSelection, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a file that shows the frames that are kept, without copying them.

    Parameters
    ----------
    selection : FrameSelection
        Frames of HDF5 files. Those of one source stand together, in the order in which they were recorded.
    path : path
        Ends in ``.cxi`` or ``.h5``, as its sources do. Sources are named from its folder on: move them together.
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
    WriteError
        If the file exists or cannot be written; if frames lie in files that are no HDF5, differ in shape, type or HDF5 path; if sources
        differ in geometry or mask.
    ReadError
        If a source is missing or damaged.

    Notes
    -----
    `pycroclass.read` refuses the file where a source is missing. HDF5 itself gives a fill value and no error: NaN for real numbers, the
    lowest or else the highest number of the type for others.

    Where a master file names the files of a series, as those of Eiger detectors do, frames lie in the latter, and their geometry in the
    former: read the new file with ``read(path, geometry="detector.geom")``.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.readers import read
    >>> folder = Path(mkdtemp())
    >>> with h5py.File(folder / "run.h5", "w") as file:
    ...     file["data"] = np.arange(5 * 8 * 8).reshape(5, 8, 8)
    >>> frames = {"file": [folder / "run.h5"] * 2, "dataset": ["/data"] * 2, "index": [3, 4], "event": ["", ""]}
    >>> chosen = FrameSelection(**frames, score=[0.9, 0.1], decision=["hit", "miss"], reason=["hit", ""])
    >>> int(read(write_virtual(chosen, folder / "hits.h5"))["data"][0, 0, 0].compute())
    192
    """
    target = Path(path).absolute()
    refuse_taken(target, overwrite=overwrite)
    kept = selection.kept_some()
    order, parts = _parts(kept)
    if any(os.path.realpath(part.file) == os.path.realpath(target) for part in parts):
        raise WriteError(f"{target} is one of the files that hold the frames; choose another name")
    with whole_or_nothing(target, overwrite=overwrite) as partial, h5py.File(partial, "w") as file:
        carry(parts, file, target.parent)
        store_selection(kept.take(order), file)
    return target


def store_selection(selection: FrameSelection, file: h5py.File, name: str = GROUP) -> None:
    """Keep all columns of a selection, and ``about``, in a group of an HDF5 file; one that is there already gives way."""
    if name in file:
        del file[name]
    group = file.create_group(name)
    group.attrs["format"] = _FORMAT
    about = json.dumps(dict(selection.about), allow_nan=False)
    group.create_dataset("about", data=about, dtype=h5py.string_dtype())
    for column, values in [*((column, getattr(selection, column)) for column in COLUMNS), *selection.more.items()]:
        if values.dtype.kind == "U":
            group.create_dataset(column, data=values.astype(object), dtype=h5py.string_dtype())
        else:
            group.create_dataset(column, data=values)


def read_selection_of(path: str | os.PathLike[str], name: str = GROUP) -> FrameSelection:
    """The selection that an HDF5 file keeps of its frames, as `write_virtual` writes it. Places are those in the sources.

    Raises
    ------
    ReadError
        If the file cannot be read, or keeps none.
    """
    with open_hdf5(Path(path)) as file:
        group = file.get(name)
        if not isinstance(group, h5py.Group) or group.attrs.get("format") != _FORMAT:
            raise ReadError(f"{path} keeps no selection of its frames: wanted a group {name!r} of the format {_FORMAT!r}")
        columns: dict[str, Any] = {column: _column(group[column]) for column in group if column != "about"}
        about = json.loads(group["about"][()])
    fixed = {column: columns.pop(column) for column in COLUMNS}
    return FrameSelection(**fixed, more=columns, about=about)


def _column(dataset: h5py.Dataset) -> Any:
    return np.array(plain(dataset[()]), np.str_) if h5py.check_string_dtype(dataset.dtype) else dataset[()]


def _parts(kept: FrameSelection) -> tuple[Integers, list[Part]]:
    """The order in which frames are shown, and the sources in order of their first frame."""
    if len(where := sorted(set(kept.dataset.tolist()))) > 1:
        raise WriteError(f"the frames lie at different HDF5 paths: {', '.join(map(repr, where))}. Write a file for each.")
    orders = list(_by_file(kept))
    for order in orders:
        file = str(kept.file[order[0]])
        if not where[0]:
            raise WriteError(f"{file} is no HDF5 file with a stack of frames. Write a copy with write_cxi, or a list with write_lst.")
    return np.concatenate(orders), [Part(str(kept.file[order[0]]), where[0], kept.index[order]) for order in orders]


def _by_file(kept: FrameSelection) -> Iterator[Integers]:
    """Numbers of the frames of each file, by their place in it."""
    for file in dict.fromkeys(kept.file.tolist()):
        here = np.flatnonzero(kept.file == file)
        yield here[np.argsort(kept.index[here], kind="stable")]
