"""The lines of CrystFEL's stream files, and how they name a frame.

After the description of stream format 2.3 in the program that writes them, indexamajig. Positions of peaks are distances from the corner
of the array, so that the centre of the first pixel is at 1/2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from pycroclass.crystfel import CrystFELGeometry
from pycroclass.errors import DataError

FIRST_LINE: Final = "CrystFEL stream format 2.3"
VERSIONS: Final = ("2.0", "2.1", "2.2", "2.3")
GEOMETRY: Final = ("----- Begin geometry file -----", "----- End geometry file -----")
CHUNK: Final = ("----- Begin chunk -----", "----- End chunk -----")
PEAKS: Final = ("Peaks from peak search", "End of peak list")
PEAK_HEADER: Final = "  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel"
REFLECTIONS: Final = ("Reflections measured after indexing", "End of reflections")
CRYSTAL: Final = "--- Begin crystal"
SCORE: Final = "header/float/score"
ABOUT: Final = "; pycroclass selection: "
"""Comments in the geometry file that hold, piece by piece, what decided of the frames."""
TO_CORNER: Final = 0.5
"""From the centre of a pixel to its corner."""
_LONGEST: Final = 1000
"""Characters of a line that CrystFEL reads whole."""


@dataclass(frozen=True)
class EventNames:
    """How events name the frames of files: ``//7`` is frame 7; ``shot-3//`` and ``shot-3//7`` name a part of the path, too.

    Parameters
    ----------
    data : str
        Path of the frames in their file, ``%`` where events differ; empty where it is not known.
    is_stack : bool
        Whether frames are counted along an axis of the dataset.

    Examples
    --------
    >>> EventNames("/data/%/raw", is_stack=False).place("shot-3//"), EventNames("/data/%/raw", is_stack=False).name("/data/shot-3/raw", 0)
    (('/data/shot-3/raw', 0), 'shot-3//')
    >>> EventNames().place("//7"), EventNames("/entry_1/data_1/data").name("/entry_1/data_1/data", 7)
    (('', 7), '//7')
    """

    data: str = ""
    is_stack: bool = True

    @classmethod
    def of(cls, geometry: CrystFELGeometry | None) -> Self:
        """As a geometry file says."""
        if geometry is None:
            return cls()
        return cls(geometry.data[0] or "", any("%" in panel.dims for panel in geometry.panels))

    def name(self, dataset: str, index: int) -> str:
        """The event of a frame; ``//`` where the file holds one.

        Raises
        ------
        DataError
            If the dataset is not where the geometry file says that it is.
        """
        number = str(index) if dataset and self.is_stack else ""
        if "%" not in self.data:
            return f"//{number}"
        pattern = "([^/]+)".join(re.escape(part) for part in self.data.strip("/").split("%"))
        if not (found := re.fullmatch(pattern, dataset.strip("/"))):
            raise DataError(f"the geometry has its frames at {self.data}, the selection at {dataset}: its events cannot be named")
        return "/".join(found.groups()) + f"//{number}"

    def place(self, event: str) -> tuple[str, int]:
        """Dataset and index that an event names; the dataset is empty where nothing tells it.

        Raises
        ------
        ValueError
            If it names places along several axes, or something that is no number.
        """
        path, _, number = event.rpartition("//")
        if number and not number.isdecimal():
            raise ValueError(f"the event {event!r} names a place along several axes, or none")
        parts = [part for part in path.split("/") if part]
        if self.data.count("%") != len(parts):
            return "/".join(["", *parts]), int(number or 0)
        pieces = self.data.split("%")
        return "".join(piece + part for piece, part in zip(pieces, [*parts, ""], strict=True)), int(number or 0)


def as_comments(text: str) -> list[str]:
    """A text as comments of a geometry file, no line too long."""
    step = _LONGEST - len(ABOUT)
    return [ABOUT + text[start : start + step] for start in range(0, len(text), step)]


def from_comments(lines: Sequence[str]) -> str:
    """The text that `as_comments` made these lines of."""
    return "".join(line.removeprefix(ABOUT).removesuffix("\n") for line in lines if line.startswith(ABOUT))
