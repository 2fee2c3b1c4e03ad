"""The frames of a selection, opened where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.api import concatenate
from pycroclass.errors import AxisError, DataError
from pycroclass.geometry import DetectorGeometry
from pycroclass.per_item import take
from pycroclass.provenance import Provenance
from pycroclass.readers import read
from pycroclass.readers.hdf5_file import Hdf5Array, open_hdf5
from pycroclass.selection.frame_selection import FrameSelection
from pycroclass.sid import unwrap, wrap
from pycroclass.source import source_of

Rows = npt.NDArray[np.intp]

_IMAGE: Final = "image"
_MASK: Final = "mask"


def selected_frames(selection: FrameSelection, *, geometry: str | Path | DetectorGeometry | None = None) -> dict[str, sidpy.Dataset]:
    """The frames of a selection as one lazy stack, in its order, from as many files as there are.

    Parameters
    ----------
    selection : FrameSelection
        Such as ``selection.kept()``.
    geometry : str, Path, Geometry or PanelGeometry, optional
        As of `read`, for all files.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``image``; ``mask`` where each file has one: a pixel has all bits that any of the files gives it.

    Raises
    ------
    DataError
        If there is no frame.
    ReadError
        If a file is missing, or has not the dataset.
    ParameterError
        If a dataset has not so many frames.
    AxisError
        If the files differ in the shape or type of their frames.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
    >>> from pycroclass.writers import write_cxi
    >>> run = draw_run(seed=1, experiment=Experiment(Detector(shape=(40, 50))))
    >>> file = write_cxi(simulate_run(run, 5), Path(mkdtemp()) / "run.cxi")
    >>> places = {"file": [str(file)] * 2, "dataset": ["/entry_1/data_1/data"] * 2, "index": [4, 1], "event": [""] * 2}
    >>> selection = FrameSelection(**places, score=[0.9, 0.8], decision=["hit"] * 2, reason=["hit"] * 2)
    >>> {name: dataset.shape for name, dataset in selected_frames(selection).items()}
    {'image': (2, 40, 50), 'mask': (40, 50)}
    """
    if not len(selection):
        raise DataError("the selection holds no frame")
    images, masks, rows = [], [], []
    for some in _by_source(selection):
        part = selection.take(some)
        found = _of_images(part, geometry) if part.dataset[0] == "" else _of_hdf5(part, geometry)
        images.append(take(found[_IMAGE], part.index if part.dataset[0] else np.arange(len(part))))
        masks.append(found.get(_MASK))
        rows.append(some)
    image = images[0] if len(images) == 1 else concatenate(images)
    order = np.argsort(np.concatenate(rows))
    if (order != np.arange(len(order))).any():
        image = take(image, order)
    known = [mask for mask in masks if mask is not None]
    return {_IMAGE: image} | ({_MASK: _joined(known)} if len(known) == len(masks) else {})


def _by_source(selection: FrameSelection) -> list[Rows]:
    """The rows of each dataset of each file; all files of one frame are one source."""
    sources: dict[tuple[str, str], list[int]] = {}
    for row, (file, dataset) in enumerate(zip(selection.file.tolist(), selection.dataset.tolist(), strict=True)):
        sources.setdefault((file if dataset else "", dataset), []).append(row)
    return [np.array(rows) for rows in sources.values()]


def _of_images(part: FrameSelection, geometry: str | Path | DetectorGeometry | None) -> dict[str, sidpy.Dataset]:
    if part.index.any():
        raise DataError(f"{part.file[part.index > 0][0]}: a frame with a number above 0 needs the name of its dataset")
    return {_IMAGE: next(iter(read(part.file.tolist(), geometry=geometry).values()))}


def _of_hdf5(part: FrameSelection, geometry: str | Path | DetectorGeometry | None) -> dict[str, sidpy.Dataset]:
    """What the reader of the file makes of the dataset, which knows more of it than that it is an array; and the mask."""
    path, name = Path(part.file[0]), str(part.dataset[0])
    datasets = read(path, geometry=geometry)
    with open_hdf5(path) as file:
        wanted = file.get(name)
        for key, dataset in datasets.items():
            source = source_of(unwrap(dataset)[0])
            load = source.load if source else None
            if not isinstance(load, Hdf5Array) or load.path != str(path.absolute()):
                continue
            if wanted is not None and file.get(load.name) == wanted:  # a dataset may have several names
                mask = datasets.get(key.replace(_IMAGE, _MASK)) if _IMAGE in key else None
                return {_IMAGE: dataset} | ({} if mask is None else {_MASK: mask})
    return {_IMAGE: next(iter(read(path, key=name, geometry=geometry).values()))}


def _joined(masks: Sequence[sidpy.Dataset]) -> sidpy.Dataset:
    """All bits of all masks."""
    if len(masks) == 1:
        return masks[0]
    arrays = [array if array.dtype.kind in "biu" else array != 0 for array, _ in map(unwrap, masks)]
    if len({array.shape for array in arrays}) > 1:
        raise AxisError(f"the masks of the files differ in shape: {', '.join(str(array.shape) for array in arrays)}")
    joined: da.Array = reduce(da.bitwise_or, arrays)
    given = Provenance("given", {"title": _MASK, "reason": f"joined of {len(masks)} masks"})
    return wrap(joined, replace(unwrap(masks[0])[1], dtype=joined.dtype), provenance=given)
