"""How all figures of a report look, and how they become text that a page can hold."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

WIDTH: Final = 3.75
"""Inches of a figure: 360 pixels of a page, so that its letters are as large as those around it on a phone too."""
INK: Final = "#1c2430"
QUIET: Final = "#6a7482"
GRID: Final = "#dfe3e8"
RIGHT: Final = "#00775a"
WRONG: Final = "#c24a00"
UNCERTAIN: Final = "#946200"
ACCENT: Final = "#0061a4"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#404040")
"""Told apart by colour-blind readers too (Okabe and Ito, 2008)."""
DASHES: Final = ("-", "--", ":", "-.")

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "text.color": INK,
    "text.parse_math": False,  # names of classes are shown as they are: not all are sound TeX
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "pycroclass",
}
_FONT: Final = re.compile(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*")


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the report; letters that matplotlib's font lacks are left to the fonts of the reader."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def panel(height: float, *, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of one panel, in inches; to be used within `styled`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def svg(figure: Figure) -> str:
    """The figure as SVG with letters in the font of the page; equal figures give equal text.

    Examples
    --------
    >>> with styled():
    ...     figure, axes = panel(2.0)
    ...     text = svg(figure)
    >>> text.startswith("<?xml"), text == svg(figure)
    (True, True)
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _FONT.sub(r"\1system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", buffer.getvalue())


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file, for pictures with too many points for SVG; sharp on screens of two pixels for one."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Pixels, shape ``(y, x)`` or ``(y, x, 3)``, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Pixels, shape ``(y, x)`` or ``(y, x, 3)``, as a JPEG file, which is smaller than PNG where there is noise."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="jpeg", quality=85, subsampling=0)
    return buffer.getvalue()


def data_url(content: str | bytes) -> str:
    """SVG text, a PNG or a JPEG file as an address that holds the content itself.

    Examples
    --------
    >>> data_url("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    kind = "svg+xml" if isinstance(content, str) else "png" if content.startswith(b"\x89PNG") else "jpeg"
    encoded = content.encode() if isinstance(content, str) else content
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
