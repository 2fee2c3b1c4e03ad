"""The frames that a selection keeps as photons for Dragonfly."""

from __future__ import annotations

import os
from pathlib import Path

import dask.array as da
import numpy as np
import sidpy

from pycroclass.geometry import bad_pixels
from pycroclass.operators import ToPhotons
from pycroclass.provenance import Provenance
from pycroclass.selection.frame_selection import FrameSelection
from pycroclass.selection.selected_frames import selected_frames
from pycroclass.sid import unwrap, wrap
from pycroclass.writers.emc import write_emc


def write_selected_emc(
    selection: FrameSelection, path: str | os.PathLike[str], *, gain: float | None = None, overwrite: bool = False
) -> Path:
    """Write the frames that are kept to a new file for Dragonfly, block by block; it appears when it is whole.

    Pixels that the masks of the files call unusable are empty. Which file a frame comes from is not in such a file: keep a table of the
    selection beside it. Frames that need more than a gain, such as a dark, go through `selected_frames` and `write_emc`.

    Parameters
    ----------
    selection : FrameSelection
    path : path
        HDF5 where it ends in ``.h5`` or ``.hdf5``, else binary.
    gain : float, optional
        What one photon adds, in the units of the data, see `ToPhotons`; by default the files hold photons.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    DataError
        If no frame is kept, or a value is no number of photons.
    WriteError, ReadError
        As `write_emc` and `selected_frames`.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.readers import read_emc
    >>> folder = Path(mkdtemp())
    >>> np.save(folder / "frame.npy", np.array([[0, 260], [130, 10]]))
    >>> place = {"file": [str(folder / "frame.npy")], "dataset": [""], "index": [0], "event": [""]}
    >>> selection = FrameSelection(**place, score=[0.9], decision=["hit"], reason=["hit"])
    >>> np.asarray(read_emc(write_selected_emc(selection, folder / "hits.emc", gain=130))).tolist()
    [[0, 2, 1, 0]]
    """
    kept = selection.kept_some()
    found = selected_frames(kept)
    image = found["image"] if gain is None else ToPhotons(gain)(found["image"])
    return write_emc(_without_bad(image, found.get("mask")), path, overwrite=overwrite)


def _without_bad(image: sidpy.Dataset, mask: sidpy.Dataset | None) -> sidpy.Dataset:
    if mask is None:
        return image
    values, (array, spec) = np.asarray(mask), unwrap(image)
    bad = bad_pixels(values) if values.dtype.kind in "iu" else values != 0
    return wrap(da.where(bad, array.dtype.type(0), array), spec, provenance=Provenance("given", {"title": "photons", "reason": "masked"}))
