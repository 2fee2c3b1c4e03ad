"""A selection of frames as a stream file of CrystFEL."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass._version import __version__
from pycroclass.crystfel import CrystFELGeometry
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.geometry import PanelGeometry
from pycroclass.metadata_json import encode
from pycroclass.readers.detector import H_TIMES_C
from pycroclass.selection.frame_selection import FrameSelection
from pycroclass.selection.peak_places import PeakPlaces
from pycroclass.selection.stream_format import (
    CHUNK,
    FIRST_LINE,
    GEOMETRY,
    PEAK_HEADER,
    PEAKS,
    SCORE,
    TO_CORNER,
    EventNames,
    as_comments,
)
from pycroclass.sid import unwrap
from pycroclass.writers.atomic import whole_or_nothing
from pycroclass.writers.in_order import in_order

log = logging.getLogger(__name__)

Tables = npt.NDArray[np.float32]

_ELEMENTARY_CHARGE: Final = 1.602176634e-19
_ENERGY: Final = "photon_energy_eV"
_MOST_GEOMETRY: Final = (64 << 10) - 2
_AT_ONCE: Final = 1024
"""Frames without peaks whose text is made together."""


def write_stream(
    selection: FrameSelection,
    path: str | os.PathLike[str],
    *,
    peaks: sidpy.Dataset | None = None,
    geometry: CrystFELGeometry | PanelGeometry | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a chunk for each frame of a selection to a new stream file of CrystFEL, which appears when it is whole.

    A frame is a hit where it was decided so; ``indexed_by`` is ``none``. CrystFEL's programs read the file only with a geometry, and where
    the photon energy of each frame is known. What decided of the frames stands as comments in the geometry, scores as
    ``header/float/score``.

    Parameters
    ----------
    selection : FrameSelection
        Of all frames that shall be in it; ``selection.kept()`` are those that are kept. Its column ``photon_energy_eV``, where there is
        one, takes the place of the geometry's wavelength.
    path : path
    peaks : sidpy.Dataset, optional
        ``(frame, peak, column)``, as `PeakFinder8` finds them, with one item for each row of the selection; computed block by block. Peaks
        of modules are counted in the modules one below the other, as behind `StackModules`, with as many rows as the panels need.
    geometry : CrystFELGeometry or PanelGeometry, optional
        Of the frames as they lie in their files; needed for peaks. A flat detector is ``PanelGeometry.of_flat(geometry, shape)``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If there are peaks and no geometry that tells their resolution, or not as many tables as frames.
    AxisError
        If the table has no columns ``fs``, ``ss`` and ``intensity``.
    DataError
        If a peak lies on no panel, or an event cannot be named.
    WriteError
        If the file exists or cannot be written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> frames = {"file": ["/data/run.cxi"], "dataset": ["/entry_1/data_1/data"], "index": [7], "event": [""]}
    >>> chosen = FrameSelection(**frames, score=[0.9], decision=["hit"], reason=["hit"])
    >>> path = write_stream(chosen, Path(mkdtemp()) / "hits.stream")
    >>> print(path.read_text().partition("-----")[2])
     Begin chunk -----
    Image filename: /data/run.cxi
    Event: //7
    Image serial number: 1
    hit = 1
    indexed_by = none
    header/float/score = 0.9
    ----- End chunk -----
    """
    target = Path(path)
    file = CrystFELGeometry.of(geometry, data=_data_of(selection)) if isinstance(geometry, PanelGeometry) else geometry
    if file is not None and not isinstance(file, CrystFELGeometry):
        raise ParameterError(f"wanted a CrystFELGeometry or a PanelGeometry, got {type(file).__name__}. Use PanelGeometry.of_flat.")
    detector = None if file is None else file.detector()
    columns = _check_peaks(peaks, detector, len(selection))
    with whole_or_nothing(target, overwrite=overwrite) as partial:
        partial.write(_header(file, selection).encode())
        facts = _facts(selection, file, detector)
        if peaks is None or detector is None:
            for start in range(0, len(selection), _AT_ONCE):
                partial.write("".join(_chunk(next(facts), "") for _ in range(start, min(start + _AT_ONCE, len(selection)))).encode())
                partial.check()
        else:
            places = PeakPlaces(detector)
            for start, tables in in_order(unwrap(peaks)[0]):
                partial.write("".join(_chunk(next(facts), text) for text in _peak_lists(tables[..., columns], places, start)).encode())
                partial.check()
    return target


def _data_of(selection: FrameSelection) -> str | None:
    return next((name for name in selection.dataset.tolist() if name), None)


def _check_peaks(peaks: sidpy.Dataset | None, detector: PanelGeometry | None, n_frames: int) -> list[int]:
    """Which columns of the table are written."""
    if peaks is None:
        return []
    if detector is None:
        raise ParameterError("peaks need a geometry, which tells their panels and resolution. Pass geometry=read_crystfel(file).")
    PeakPlaces(detector).resolution(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))  # refuses before anything is computed
    classes = unwrap(peaks)[1].classes
    if peaks.ndim != 3 or (missing := [name for name in ("fs", "ss", "intensity") if name not in classes]):
        found = f"its columns lack {', '.join(missing)}" if peaks.ndim == 3 else f"got the shape {peaks.shape}"
        raise AxisError(f"wanted a table (frame, peak, column) with fs, ss and intensity; {found}")
    if peaks.shape[0] != n_frames:
        raise ParameterError(f"there are tables of peaks for {peaks.shape[0]} frames, the selection has {n_frames}")
    return [classes.index(name) for name in ("fs", "ss", "intensity")]


def _header(geometry: CrystFELGeometry | None, selection: FrameSelection) -> str:
    lines = [FIRST_LINE, f"Generated by pycroclass {__version__}"]
    if geometry is not None:
        about = as_comments(encode(dict(selection.about))) if selection.about else []
        text = "\n".join([*about, geometry.to_text().rstrip("\n")])
        if len(text) > _MOST_GEOMETRY:
            log.warning("the geometry in the stream has %d characters; CrystFEL reads no more than %d", len(text), _MOST_GEOMETRY)
        lines += [GEOMETRY[0], text, GEOMETRY[1]]
    return "\n".join(lines) + "\n"


def _facts(selection: FrameSelection, geometry: CrystFELGeometry | None, detector: PanelGeometry | None) -> Iterator[list[str]]:
    """What is said of each frame before its peaks."""
    names = EventNames.of(geometry)
    energy = np.full(len(selection), np.nan)
    if detector is not None and detector.wavelength is not None:
        energy[:] = H_TIMES_C / detector.wavelength / _ELEMENTARY_CHARGE
    energy = np.asarray(selection.more.get(_ENERGY, energy), np.float64)
    distances = [panel.z for panel in detector.panels if panel.z is not None] if detector else []
    of_all = [f"average_camera_length = {np.mean(distances):f} m"] if distances else []
    for i, (file, dataset, index) in enumerate(zip(selection.file.tolist(), selection.dataset.tolist(), selection.index.tolist())):
        yield [
            f"Image filename: {file}",
            f"Event: {names.name(dataset, index)}",
            f"Image serial number: {i + 1}",
            f"hit = {int(selection.decision[i] == 'hit')}",
            "indexed_by = none",
            *([f"{_ENERGY} = {energy[i]:f}"] if np.isfinite(energy[i]) else []),
            f"{SCORE} = {selection.score[i]}",
            *of_all,
        ]


def _peak_lists(tables: Tables, places: PeakPlaces, start: int) -> Iterator[str]:
    """The list of each frame; ``tables`` hold fs, ss and intensity."""
    is_peak = np.isfinite(tables[..., 0])
    fs, ss, intensity = tables[is_peak].astype(np.float64).T
    panels = places.panels(fs, ss)
    if (panels < 0).any():
        first = int(np.flatnonzero(panels < 0)[0])
        frame = start + int(np.nonzero(is_peak)[0][first])
        raise DataError(
            f"a peak of frame {frame} at fs = {fs[first]:g}, ss = {ss[first]:g} lies on no panel: this is the geometry of other frames"
        )
    resolution = places.resolution(fs, ss, panels)
    names = [panel.name for panel in places.geometry.panels]
    in_file = ss - places.first_rows()[panels] if panels.size else ss
    columns = (fs + TO_CORNER, in_file + TO_CORNER, resolution, intensity, panels)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for n in is_peak.sum(1).tolist():
        lines = [f"{x:7.2f} {y:7.2f} {q:10.2f}  {total:10.2f}   {names[panel]}" for x, y, q, total, panel in islice(rows, n)]
        yield "\n".join([f"num_peaks = {n}", PEAKS[0], PEAK_HEADER, *lines, PEAKS[1]]) + "\n"


def _chunk(facts: list[str], peaks: str) -> str:
    return "\n".join([CHUNK[0], *facts]) + f"\n{peaks}{CHUNK[1]}\n"
