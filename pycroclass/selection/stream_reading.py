"""What CrystFEL found in each frame: from a stream file to a selection and a table of peaks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.crystfel import CrystFELGeometry
from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.metadata_json import decode
from pycroclass.provenance import FileStamp, Provenance
from pycroclass.readers.failure import failure
from pycroclass.selection.frame_selection import FrameSelection
from pycroclass.selection.stream_chunks import StreamChunk, read_header, stream_chunks
from pycroclass.selection.stream_format import SCORE, TO_CORNER, EventNames
from pycroclass.sid import wrap
from pycroclass.source import Source
from pycroclass.spec import Axis, AxisKind, Spec

Table = npt.NDArray[np.float32]

_FURTHER: Final = ("is_indexed", "indexed_by", "n_crystals", "n_peaks", "photon_energy_eV")
_COLUMNS: Final = ("file", "dataset", "index", "event", "score", "decision", "reason", *_FURTHER)


@dataclass(frozen=True, eq=False)
class Stream:
    """What a stream file says of its frames.

    Parameters
    ----------
    frames : FrameSelection
        A row for each chunk. ``decision`` is ``hit`` where the stream says so, or, where it says nothing of it, where the frame was
        indexed; then ``reason`` is ``hit``, too. ``score`` is the one that pycroclass wrote, else the number of peaks. Further columns
        are ``is_indexed``, ``indexed_by``, ``n_crystals``, ``n_peaks``, and ``photon_energy_eV``, NaN where it is not known.
    peaks : sidpy.Dataset
        ``(frame, peak, column)``, lazy, as `PeakFinder8` gives it: NaN behind the last peak, and in columns that a stream does not have.
        Peaks of modules are counted in the modules one below the other.
    geometry : CrystFELGeometry, optional
        Where the stream holds one.
    """

    frames: FrameSelection
    peaks: sidpy.Dataset
    geometry: CrystFELGeometry | None


def read_stream(path: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Stream:
    """Read a stream file, as indexamajig or `write_stream` made it; reflections are passed over.

    The file is read once, from front to back. In memory are only the peaks, 32 bytes for each.

    Parameters
    ----------
    path : path
    folder : path, optional
        Where files are looked for whose names in the stream are relative; by default where the stream lies.

    Returns
    -------
    Stream

    Raises
    ------
    ReadError
        If the file is missing or no stream, a chunk cannot be understood, or there is none.
    DataError
        If a frame is there twice.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> text = '''CrystFEL stream format 2.3
    ... ----- Begin chunk -----
    ... Image filename: /data/run.cxi
    ... Event: //7
    ... hit = 1
    ... indexed_by = mosflm-nolatt-nocell
    ... num_peaks = 1
    ... Peaks from peak search
    ...   fs/px   ss/px (1/d)/nm^-1   Intensity  Panel
    ...   12.50   30.50       1.20      640.00   p0
    ... End of peak list
    ... --- Begin crystal
    ... --- End crystal
    ... ----- End chunk -----
    ... '''
    >>> file = Path(mkdtemp()) / "run.stream"
    >>> _ = file.write_text(text)
    >>> stream = read_stream(file)
    >>> stream.frames.index.tolist(), stream.frames.more["is_indexed"].tolist(), np.asarray(stream.peaks)[0, 0, :2].tolist()
    ([7], [True], [12.0, 30.0])
    """
    file = Path(path)
    header = read_header(file)
    names, panels, base = EventNames.of(header.geometry), _Panels.of(header.geometry), Path(folder or file.parent)
    found: list[tuple[Any, ...]] = []
    tables: list[Table] = []
    for number, chunk in enumerate(stream_chunks(file)):
        try:
            found.append(_row(chunk, names, base))
            tables.append(panels.table(chunk))
        except ValueError as error:
            problem = f"chunk {number} cannot be understood: {error}"
            raise failure(file, problem, "It is damaged, or of a version that is not known.") from error
    if not found:
        raise failure(file, "holds no frame", "Wait until the program that writes it has finished one.")
    return Stream(_selection(found, header.about), _padded(tables, file), header.geometry)


def read_stream_frames(path: str | os.PathLike[str]) -> FrameSelection:
    """The frames alone of `read_stream`."""
    return read_stream(path).frames


def _row(chunk: StreamChunk, names: EventNames, base: Path) -> tuple[Any, ...]:
    """`_COLUMNS` of a frame."""
    dataset, index = names.place(chunk.event)
    shot = chunk.event.rpartition("//")[0]
    n_peaks, score = chunk.number("num_peaks"), chunk.number(SCORE)
    n = len(chunk.peaks) if np.isnan(n_peaks) else int(n_peaks)
    return (
        os.path.abspath(base / chunk.file),
        dataset,
        index,
        chunk.event if shot else "",
        n if np.isnan(score) else score,
        "hit" if chunk.is_hit else "miss",
        "hit" if chunk.is_hit else "",
        chunk.is_indexed,
        chunk.indexed_by,
        chunk.n_crystals,
        n,
        chunk.number("photon_energy_eV"),
    )


def _selection(rows: Sequence[tuple[Any, ...]], about: str) -> FrameSelection:
    columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
    further = {name: np.array(columns.pop(name)) for name in _FURTHER}
    return FrameSelection(**columns, more=further, about=decode(about) if about else {})


@dataclass(frozen=True)
class _Panels:
    """For each name of a panel its number, and the row of the frame at which its module begins."""

    places: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, geometry: CrystFELGeometry | None) -> Self:
        if geometry is None:
            return cls({})
        panels = [panel.place for panel in geometry.panels]
        n_rows = max(panel.max_ss for panel in panels) + 1
        return cls({panel.name: (number, (panel.module or 0) * n_rows) for number, panel in enumerate(panels)})

    def table(self, chunk: StreamChunk) -> Table:
        """The peaks of a frame, in `COLUMNS`."""
        table = np.full((len(chunk.peaks), len(COLUMNS)), np.nan, np.float32)
        for column, values in (
            ("fs", chunk.peaks[:, 0] - TO_CORNER),
            ("ss", chunk.peaks[:, 1] - TO_CORNER),
            ("intensity", chunk.peaks[:, 3]),
        ):
            table[:, COLUMNS.index(column)] = values
        if self.places and chunk.panels:
            if unknown := set(chunk.panels) - self.places.keys():
                raise ValueError(f"its geometry has no panel {', '.join(sorted(unknown))}")
            numbers, rows = zip(*(self.places[name] for name in chunk.panels), strict=True)
            table[:, COLUMNS.index("panel")] = numbers
            table[:, COLUMNS.index("ss")] += np.array(rows, np.float32)
        return table


@dataclass(frozen=True, eq=False)
class _PaddedTables:
    """Loads tables of all frames behind one another as ``(frame, peak, column)``, NaN behind the last peak.

    Parameters
    ----------
    values : float32 array, shape (n_peaks_of_all, column)
    start : int64 array, shape (n_frames + 1,)
    """

    values: Table
    start: npt.NDArray[np.int64]

    def __call__(self, part: tuple[slice, ...]) -> Table:
        """That part."""
        frames, peaks, wanted = part
        table = np.full((frames.stop - frames.start, peaks.stop - peaks.start, self.values.shape[1]), np.nan, np.float32)
        for out, first, last in zip(table, self.start[frames.start :], self.start[frames.start + 1 :]):
            own = self.values[first:last][peaks]
            out[: len(own)] = own
        return table[..., wanted]

    def narrowed(self, part: tuple[slice, ...]) -> tuple[_PaddedTables, tuple[slice, ...]]:
        """What reads this part alone."""
        start = self.start[part[0].start : part[0].stop + 1]
        return _PaddedTables(self.values[start[0] : start[-1]], start - start[0]), (slice(0, len(start) - 1), *part[1:])


def _padded(tables: Sequence[Table], path: Path) -> sidpy.Dataset:
    start = np.cumsum([0, *map(len, tables)])
    values = np.concatenate(tables)
    axes = (
        Axis("frame", len(tables), AxisKind.TEMPORAL),
        Axis("peak", max(1, *map(len, tables)), quantity="peak"),
        Axis("column", len(COLUMNS), AxisKind.CHANNEL, quantity="column"),
    )
    spec = Spec(axes, values.dtype, quantity="peak", title="peaks", classes=COLUMNS)
    load = _PaddedTables(values, start)
    given = Provenance("given", {"title": "peaks", "reason": f"of the stream {path}"})
    return wrap(Source(load, spec.shape, spec.dtype, [FileStamp.of(path)]).in_blocks(2), spec, provenance=given)
