"""CrystFEL's stream files, chunk by chunk: gigabytes of text of which one frame is held at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from pycroclass.crystfel import CrystFELGeometry
from pycroclass.crystfel.parsing import parse
from pycroclass.readers.failure import failure
from pycroclass.selection.stream_format import CHUNK, CRYSTAL, FIRST_LINE, GEOMETRY, PEAKS, REFLECTIONS, VERSIONS, from_comments

log = logging.getLogger(__name__)

Peaks = npt.NDArray[np.float64]

_CHUNK, _PEAKS, _REFLECTIONS = ([mark.encode() for mark in marks] for marks in (CHUNK, PEAKS, REFLECTIONS))
_CRYSTAL: Final = CRYSTAL.encode()
_FIRST_OF_LINE: Final = b"-PR"
"""First characters of the marks above."""
_NO_PEAKS: Final = np.zeros((0, 4))


@dataclass(frozen=True, eq=False)
class StreamChunk:
    """What a stream says of one frame.

    Parameters
    ----------
    file : str
        As it stands there.
    event : str
    facts : mapping of str to str
        All lines ``name = value`` and ``name: value`` of the frame itself, not of its crystals: ``hit``, ``indexed_by``, ``num_peaks``,
        ``photon_energy_eV``, ….
    n_crystals : int
    peaks : float array, shape (n_peaks, 4)
        ``fs``, ``ss`` in pixels from the corner of the array, ``1/d`` in 1/nm, intensity.
    panels : tuple of str
        Of each peak; empty where the stream does not name them.
    """

    file: str
    event: str
    facts: dict[str, str] = field(default_factory=dict)
    n_crystals: int = 0
    peaks: Peaks = field(default_factory=lambda: _NO_PEAKS)
    panels: tuple[str, ...] = ()

    @property
    def indexed_by(self) -> str:
        """The indexing method that succeeded; ``none`` where none did."""
        return self.facts.get("indexed_by", "none" if not self.n_crystals else "unknown")

    @property
    def is_indexed(self) -> bool:
        """Whether a crystal was found."""
        return self.n_crystals > 0 or self.indexed_by != "none"

    @property
    def is_hit(self) -> bool:
        """As the stream says; where it does not, whether the frame was indexed."""
        return self.facts["hit"] == "1" if "hit" in self.facts else self.is_indexed

    def number(self, name: str) -> float:
        """A fact as a number, whatever its units; NaN where it is not known."""
        words = self.facts.get(name, "").split()
        return float(words[0]) if words else np.nan


@dataclass(frozen=True)
class StreamHeader:
    """What stands before the chunks.

    Parameters
    ----------
    audit : tuple of str
        Lines that say how the stream was made.
    geometry : CrystFELGeometry, optional
    about : str
        The comments of pycroclass in the geometry file, as one text.
    """

    audit: tuple[str, ...]
    geometry: CrystFELGeometry | None
    about: str


def stream_chunks(path: str | os.PathLike[str]) -> Iterator[StreamChunk]:
    """What a stream says of each frame, one after the other; reflections are passed over.

    A chunk that does not end, as a killed program leaves it, is left out with a warning in the log.

    Parameters
    ----------
    path : path

    Yields
    ------
    StreamChunk

    Raises
    ------
    ReadError
        If the file is missing or no stream, or a chunk cannot be understood; it names the chunk.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> text = '''CrystFEL stream format 2.3
    ... ----- Begin chunk -----
    ... Image filename: run.cxi
    ... Event: //7
    ... hit = 1
    ... indexed_by = none
    ... ----- End chunk -----
    ... '''
    >>> path = Path(mkdtemp()) / "run.stream"
    >>> _ = path.write_text(text)
    >>> [(chunk.event, chunk.is_hit, chunk.is_indexed) for chunk in stream_chunks(path)]
    [('//7', True, False)]
    """
    file = Path(path)
    with _opened(file) as lines:
        _first_line(file, lines)
        number = 0
        for line in lines:
            if line.startswith(_CHUNK[0]):
                try:
                    chunk = _chunk(lines)
                except (ValueError, LookupError) as error:
                    problem = f"chunk {number} cannot be understood: {error}"
                    raise failure(file, problem, "It is damaged, or of a version that is not known.") from error
                if chunk is None:
                    log.warning("%s: chunk %d does not end and is left out; the program that wrote it was stopped", file, number)
                    return
                yield chunk
                number += 1


def read_header(path: Path) -> StreamHeader:
    """What stands before the chunks.

    Raises
    ------
    ReadError
        If the file is no stream, or its geometry cannot be understood.
    """
    with _opened(path) as lines:
        _first_line(path, lines)
        before: list[str] = []
        geometry: list[str] | None = None
        for raw in lines:
            line = raw.decode(errors="replace")
            if raw.startswith(_CHUNK[0]):
                break
            if line.startswith(GEOMETRY[0]):
                geometry = [one.decode(errors="replace") for one in _until(lines, GEOMETRY[1].encode())]
            else:
                before.append(line.rstrip("\r\n"))
    text = "".join(geometry or ())
    return StreamHeader(tuple(before), parse(text, f"{path}, geometry file") if geometry else None, from_comments(geometry or ()))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb", buffering=1 << 20))
        except OSError as error:
            raise failure(path, f"cannot be read: {error.strerror}", "Check the path.") from error
        yield file


def _first_line(path: Path, lines: Iterator[bytes]) -> None:
    first = next(lines, b"")[:200].decode(errors="replace").strip()
    if first not in [f"{FIRST_LINE[:-3]}{version}" for version in VERSIONS]:
        raise failure(path, f"is no stream of CrystFEL: it begins with {first!r}, wanted {FIRST_LINE!r}", "Choose another file.")


def _chunk(lines: Iterator[bytes]) -> StreamChunk | None:
    """The chunk whose first line was just read; ``None`` where the file ends before it does."""
    facts: dict[str, str] = {}
    peaks, n_crystals = _NO_PEAKS, 0
    panels: tuple[str, ...] = ()
    for line in lines:
        if line[:1] in _FIRST_OF_LINE:
            if line.startswith(_REFLECTIONS[0]):
                for passed in lines:
                    if passed.startswith(_REFLECTIONS[1]):
                        break
                continue
            if line.startswith(_CHUNK[1]):
                return StreamChunk(facts["Image filename"], facts.get("Event", "//"), facts, n_crystals, peaks, panels)
            if line.startswith(_PEAKS[0]):
                next(lines, None)  # names of the columns
                peaks, panels = _peaks([row.split() for row in _until(lines, _PEAKS[1])])
                continue
            n_crystals += line.startswith(_CRYSTAL)
        if not n_crystals:
            name, is_fact, value = _divided(line)
            if is_fact:
                facts[name] = value
    return None


def _divided(line: bytes) -> tuple[str, bool, str]:
    """``name = value``, or ``name: value``, whichever comes first."""
    text = line.decode(errors="replace").strip()
    by_colon, by_equals = text.find(": "), text.find(" = ")
    at, width = min(((at, width) for at, width in ((by_colon, 2), (by_equals, 3)) if at > 0), default=(-1, 0))
    return (text[:at], True, text[at + width :].strip()) if at > 0 else ("", False, "")


def _until(lines: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    for line in lines:
        if line.startswith(end):
            return
        yield line


def _peaks(rows: list[list[bytes]]) -> tuple[Peaks, tuple[str, ...]]:
    if not rows:
        return _NO_PEAKS, ()
    values = np.array([row[:4] for row in rows], np.float64)
    return values, tuple(row[4].decode() for row in rows) if len(rows[0]) > 4 else ()
