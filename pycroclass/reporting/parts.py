"""What a page is made of, as plain values: the template lays them out and knows nothing of classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pycroclass.evaluation.bootstrap import Interval

NOTHING: Final = "–"
"""How a page writes a number that is not defined."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Parameters
    ----------
    url : str
        Address that holds the picture itself.
    alt : str
        What it shows, for those who cannot see it.
    title, caption : str
    """

    url: str
    alt: str
    title: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of the page; the first column names the rows.

    Parameters
    ----------
    title : str
    header : tuple of str
    rows : tuple of tuple of str
        What stands behind a line break in a cell is written small below it, such as an interval.
    n_main : int
        So many rows at the top are set apart.
    caption : str
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_main: int = 0
    caption: str = ""


@dataclass(frozen=True)
class Fact:
    """A name and what stands behind it.

    Parameters
    ----------
    name, value : str
    detail : str
        In small letters, such as the interval of a number.
    """

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """Something that a reader must know before believing a number.

    Parameters
    ----------
    is_warning : bool
        Whether it speaks against the classifier or its numbers.
    text : str
    """

    is_warning: bool
    text: str


@dataclass(frozen=True)
class Tile:
    """One item of the montage.

    Parameters
    ----------
    name, group : str
        Empty where not known.
    truth, called : str
    confidence : float
        Probability of the most probable class.
    of_truth : float
        Probability of the true class.
    picture : str
        Address that holds the picture.
    evidence : str
        Address that holds the picture under its Grad-CAM; empty where there is none.
    """

    name: str
    group: str
    truth: str
    called: str
    confidence: float
    of_truth: float
    picture: str
    evidence: str


@dataclass(frozen=True)
class Shelf:
    """Some items of one kind, side by side.

    Parameters
    ----------
    kind : str
        Also the name of its style.
    title : str
    tiles : tuple of Tile
    """

    kind: str
    title: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Wall:
    """All that is shown of one class.

    Parameters
    ----------
    name : str
    shelves : tuple of Shelf
    """

    name: str
    shelves: tuple[Shelf, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Parameters
    ----------
    key : str
        Its anchor.
    title : str
    text : str
    facts : tuple of Fact
    pictures : tuple of Picture
    grids : tuple of Grid
    walls : tuple of Wall
    details : tuple of Fact
        Long texts, folded away.
    """

    key: str
    title: str
    text: str = ""
    facts: tuple[Fact, ...] = ()
    pictures: tuple[Picture, ...] = ()
    grids: tuple[Grid, ...] = ()
    walls: tuple[Wall, ...] = ()
    details: tuple[Fact, ...] = ()


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits behind the point; one below 1 never becomes 1, one above 0 never 0.

    Examples
    --------
    >>> number(0.98765), number(0.99996), number(1.0), number(0.0001), number(float("nan"))
    ('0.988', '> 0.999', '1.000', '< 0.001', '–')
    """
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = f"{value:.{digits}f}"
    step = 10**-digits
    if value < 1 and float(text) == 1:
        return f"> {1 - step:.{digits}f}"
    if value > 0 and float(text) == 0:
        return f"< {step:.{digits}f}"
    return text.replace("-", "−")


def bounds(interval: Interval | None) -> str:
    """An interval in words; nothing where there is none.

    Examples
    --------
    >>> bounds(Interval(0.91, 0.97)), bounds(None)
    ('0.910 to 0.970', '')
    """
    if interval is None or math.isnan(interval.low):
        return ""
    return f"{number(interval.low)} to {number(interval.high)}"


def percent(share: float) -> str:
    """A share in percent, without a decimal that it has not earned.

    Examples
    --------
    >>> percent(0.5), percent(0.9987), percent(float("nan"))
    ('50 %', '99.9 %', '–')
    """
    if math.isnan(share):
        return NOTHING
    text = f"{100 * share:.0f}"
    return f"{text} %" if 0.01 <= share <= 0.99 or share in (0, 1) else f"{100 * share:.1f} %"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefgh"), 3)
    ('a', 'a, b and c', 'a, b, c and 5 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def counted(n: int, what: str) -> str:
    """A number of things, with thin spaces between thousands.

    Examples
    --------
    >>> counted(1, "item"), counted(12345, "item")
    ('1 item', '12\\u202f345 items')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}".replace(",", "\u202f")
