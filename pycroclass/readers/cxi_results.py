"""What a CXI file knows of its frames beside their pixels: peaks, probabilities, and facts of each.

The lists of peaks are those of Cheetah and OnDA in ``entry_1/result_1``: ``nPeaks``, and a row of ``peakXPosRaw`` (along fs),
``peakYPosRaw`` (along ss), ``peakTotalIntensity`` and more for each frame, zeros behind the last peak. Positions are those of pixels in
the array of a frame, an integer being the centre of a pixel; CrystFEL, which counts from the corner, adds a half.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.metadata_json import decode
from pycroclass.provenance import FileStamp
from pycroclass.readers.hdf5_file import Hdf5Array, Stored, is_numeric, plain, stored, text
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import wrap
from pycroclass.source import Source
from pycroclass.spec import Axis, AxisKind, Spec

RESULTS: Final = "entry_1/result_1"
COUNT: Final = "nPeaks"
PEAK_LISTS: Final = {
    "fs": "peakXPosRaw",
    "ss": "peakYPosRaw",
    "panel": "peakPanel",
    "intensity": "peakTotalIntensity",
    "max": "peakMaximumValue",
    "sigma": "peakSigma",
    "snr": "peakSNR",
    "n_pixels": "peakNPixels",
}
"""Of each column of a table of peaks the name of its list. ``peakPanel`` and ``peakSigma`` are ours."""
SELECTION: Final = "selection"
"""Attribute of `RESULTS`: what decided of the frames, as JSON."""
OF_FRAMES: Final = ("n_peaks", "hit_probability")
"""Results that are datasets of one number for each frame."""
_KNOWN: Final = {COUNT, "label", *OF_FRAMES, *PEAK_LISTS.values()}


@dataclass(frozen=True)
class PeakLists:
    """Loads the lists of peaks as a table ``(frame, peak, column)``, NaN behind the last peak of a frame and where a list is missing.

    Parameters
    ----------
    count : Hdf5Array
    lists : tuple of Hdf5Array or None
        One for each column.
    """

    count: Hdf5Array
    lists: tuple[Hdf5Array | None, ...]

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """That part of the table."""
        frames, peaks, wanted = part
        count = self.count((frames,))
        lists = self.lists[wanted]
        table = np.full((len(count), peaks.stop - peaks.start, len(lists)), np.nan, np.float32)
        for i, values in enumerate(lists):
            if values is not None:
                table[..., i] = values((frames, peaks))
        table[np.arange(peaks.start, peaks.stop) >= count[:, None]] = np.nan
        return table


def open_results(path: Path, file: h5py.File, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """``n_peaks``, ``peaks`` and ``hit_probability``, as far as they are there.

    ``peaks`` is the table that `PeakFinder8` gives; ``n_peaks`` counts all that were found, also where the lists are shorter.
    """
    group = file.get(RESULTS)
    if not isinstance(group, h5py.Group):
        return {}
    found = {}
    for key in OF_FRAMES:
        known = stored(path, group, key) or (stored(path, group, COUNT) if key == "n_peaks" else None)
        if known is not None and len(known.shape) == 1:
            found[key] = _of_frames(key, known, path, options)
    if (table := _peaks(path, group, options)) is not None:
        found["peaks"] = table
    return found


def facts(entry: h5py.Group, n_frames: int) -> dict[str, Any]:
    """Further columns of one value for each frame, as ``items``, and what decided of the frames, as ``selection``."""
    group = entry.get("result_1")
    if not isinstance(group, h5py.Group):
        return {}
    columns = {name: plain(item[()]) for name in group if name not in _KNOWN and _is_column(item := group.get(name), n_frames)}
    items = {name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in columns.items()}
    about = text(group, SELECTION)
    return ({"items": items} if items else {}) | ({SELECTION: decode(about)} if about else {})


def _is_column(item: object, n_frames: int) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape == (n_frames,) and item.dtype.kind in "biufSO"


def _of_frames(key: str, held: Stored, path: Path, options: ReadOptions) -> sidpy.Dataset:
    quantity = "count" if key == "n_peaks" else "probability"
    spec = Spec((_frames(held.shape[0]),), held.dtype, quantity=quantity, title=key)
    return wrap(held.lazy(spec), spec, provenance=provenance(key, path, options, also=_others(held, path=path)))


def _peaks(path: Path, group: h5py.Group, options: ReadOptions) -> sidpy.Dataset | None:
    count = stored(path, group, COUNT) if is_numeric(group.get(COUNT)) else None
    lists = {column: stored(path, group, name) for column, name in PEAK_LISTS.items()}
    first = lists["fs"]
    if count is None or first is None or len(first.shape) != 2 or count.shape != first.shape[:1]:
        return None
    fitting = [held if held is not None and held.shape == first.shape else None for held in lists.values()]
    load = PeakLists(_array(count), tuple(None if held is None else _array(held) for held in fitting))
    axes = (Axis("peak", first.shape[1], quantity="peak"), Axis("column", len(COLUMNS), AxisKind.CHANNEL, quantity="column"))
    spec = Spec((_frames(first.shape[0]), *axes), np.dtype(np.float32), quantity="peak", title="peaks", classes=COLUMNS)
    used = [held for held in (count, *fitting) if held is not None]
    files = dict.fromkeys(file for held in used for file in held.files)
    array = Source(load, spec.shape, spec.dtype, [FileStamp.of(file) for file in files]).in_blocks(2)
    return wrap(array, spec, provenance=provenance("peaks", path, options, also=_others(*used, path=path)))


def _frames(n: int) -> Axis:
    return Axis("frame", n, AxisKind.TEMPORAL)


def _array(held: Stored) -> Hdf5Array:
    return Hdf5Array(str(held.path), held.name)


def _others(*held: Stored, path: Path) -> list[Path]:
    """The files that links lead to."""
    return [file for file in dict.fromkeys(file for one in held for file in one.files) if file != path.absolute()]
