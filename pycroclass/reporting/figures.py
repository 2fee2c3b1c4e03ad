"""The figures of a report, each from plain arrays: what a classifier was wrong about, how sure it was, how it learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from pycroclass.evaluation.reliability import Reliability
from pycroclass.reporting.style import ACCENT, COLOURS, DASHES, INK, QUIET, WIDTH, WRONG, panel, styled

_MOST_POINTS: Final = 300
_MOST_NUMBERED: Final = 12
_MOST_SHARES: Final = 7
_MOST_LETTERS: Final = 34
_MOST_TICKS: Final = 30
_MOST_CURVES: Final = 14
_ROW: Final = 0.22
_LONGEST_NAME: Final = 18


@dataclass(frozen=True)
class Row:
    """A number with its interval, such as the accuracy of one run.

    Parameters
    ----------
    name : str
    value : float
    low, high : float
        Ends of the interval; NaN where there is none.
    is_main : bool
        Whether it is the one that the others are compared with.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    is_main: bool = False


def confusion(counts: npt.NDArray[np.integer[Any]], truth: Sequence[str], called: Sequence[str]) -> Figure:
    """Confusion matrix: each row a true class, shaded by its share; cells hold share and count where there is room.

    Parameters
    ----------
    counts : array of int, shape (n_truth, n_called)
    truth, called : sequence of str
        Names of rows and columns; there may be a column for the uncertain.

    Examples
    --------
    >>> figure = confusion(np.array([[90, 10], [5, 95]]), ("miss", "hit"), ("miss", "hit"))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['90%', '90', '10%', '10', '5%', '5', '95%', '95']
    """
    totals = counts.sum(1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with styled():
        turned = sum(len(_short(name)) for name in called) > _MOST_LETTERS
        cell = (WIDTH - 0.4 - 0.065 * max(len(_short(name)) for name in truth)) / len(called)
        figure, axes = panel(cell * len(truth) + (1.1 if turned else 0.5))
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        if len(called) <= _MOST_NUMBERED:
            _numbers(axes, counts, share)
        step = -(-len(called) // _MOST_TICKS)
        for axis, names, angle in ((axes.xaxis, called, 45 if turned else 0), (axes.yaxis, truth, 0)):
            axis.set_ticks(range(0, len(names), step), [_short(name) for name in names[::step]], rotation=angle)
        if turned:
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="called", ylabel="truth")
    return figure


def _numbers(axes: Axes, counts: npt.NDArray[np.integer[Any]], share: npt.NDArray[np.float64]) -> None:
    size = min(9.0, 42 / counts.shape[1] + 2)
    for (row, column), n in np.ndenumerate(counts):
        style: dict[str, Any] = {"ha": "center", "fontsize": size, "color": "w" if share[row, column] > 0.55 else INK if n else QUIET}
        if counts.shape[1] <= _MOST_SHARES:
            axes.text(column, row - 0.04, _percent(float(share[row, column])), va="bottom", **style)
            axes.text(column, row + 0.04, str(n), va="top", **style)
        else:
            axes.text(column, row, str(n), va="center", **style)


def roc(is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], classes: Sequence[str]) -> Figure:
    """Sensitivity against the share of false alarms, each class against the rest, with the area under the curve.

    Parameters
    ----------
    is_class : array of bool, shape (n, k)
        Whether each item is of each class.
    score : array, shape (n, k)
        Probability of each class.
    classes : sequence of str
    """
    curves = []
    for k, name in _judgeable(is_class, classes):
        x, y, _ = roc_curve(is_class[:, k], score[:, k])
        curves.append((name, x, y, auc(x, y)))
    return _curves(curves, "false positive rate", "sensitivity", "AUC", diagonal=True)


def precision_recall(is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], classes: Sequence[str]) -> Figure:
    """Precision against sensitivity, each class against the rest, with average precision; the dots are what chance would give.

    Parameters
    ----------
    is_class : array of bool, shape (n, k)
        Whether each item is of each class.
    score : array, shape (n, k)
        Probability of each class.
    classes : sequence of str
    """
    curves = []
    prior = []
    for k, name in _judgeable(is_class, classes):
        y, x, _ = precision_recall_curve(is_class[:, k], score[:, k])
        curves.append((name, x[::-1], y[::-1], float(average_precision_score(is_class[:, k], score[:, k]))))
        prior.append(is_class[:, k].mean())
    figure = _curves(curves, "sensitivity (recall)", "precision", "AP", diagonal=False)
    for i, share in enumerate(prior):
        figure.axes[0].plot([1.03], [share], marker="<", ms=4, color=COLOURS[i % len(COLOURS)], clip_on=False)
    return figure


def _judgeable(is_class: npt.NDArray[np.bool_], classes: Sequence[str]) -> list[tuple[int, str]]:
    """Classes that some items are of and some are not: there is no curve for others."""
    return [(k, name) for k, name in enumerate(classes) if is_class[:, k].any() and not is_class[:, k].all()]


def _curves(
    curves: Sequence[tuple[str, npt.NDArray[Any], npt.NDArray[Any], float]], across: str, up: str, area: str, *, diagonal: bool
) -> Figure:
    shown = sorted(range(len(curves)), key=lambda i: curves[i][3])[:_MOST_CURVES]
    with styled():
        figure, axes = panel(WIDTH * 0.92 + 0.16 * -(-len(shown) // 2))
        if diagonal:
            axes.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls=":")
        for i in sorted(shown):
            name, x, y, value = curves[i]
            x, y = _thinned(x, y)
            dashes = DASHES[i // len(COLOURS) % len(DASHES)]
            axes.plot(x, y, color=COLOURS[i % len(COLOURS)], ls=dashes, label=f"{_short(name)}  {area} {_below_one(value)}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=across, ylabel=up, aspect="equal")
        axes.grid(visible=True)
        if shown:
            figure.legend(loc="outside lower center", ncols=2, handlelength=1.6, columnspacing=1.2)
    return figure


def _thinned(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """So few points of a monotonic path that the eye sees no difference: one for each step along it."""
    if len(x) <= _MOST_POINTS:
        return x, y
    path = np.concatenate(([0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    kept = np.unique(np.searchsorted(path, np.linspace(0, path[-1], _MOST_POINTS)).clip(0, len(x) - 1))
    return x[kept], y[kept]


def reliability(found: Reliability) -> Figure:
    """How often the answer is right against how sure it was, bin by bin; bars below say how many items.

    The thick lines are the gap that a calibrated classifier would not have, the thin ones the 95 % interval of each share (Wilson, 1927).

    Parameters
    ----------
    found : Reliability
    """
    bins = [one for one in found.bins if one.support]
    mean, share, n = (np.array([getattr(one, name) for one in bins]) for name in ("confidence", "accuracy", "support"))
    with styled():
        figure = Figure(figsize=(WIDTH, WIDTH * 1.12), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        above.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls=":")
        above.vlines(mean, mean, share, color=WRONG, lw=4, alpha=0.3)
        above.errorbar(mean, share, _wilson(share, n), fmt="o-", color=ACCENT, ms=3.5, lw=1.2, elinewidth=0.8, capsize=0)
        above.set(ylabel="share that is right", ylim=(-0.02, 1.02), xlim=(0, 1))
        above.grid(visible=True)
        width = [one.high - one.low for one in found.bins]
        below.bar([one.low for one in found.bins], [one.support for one in found.bins], width, align="edge", color=ACCENT, ec="w", lw=0.5)
        below.set(xlabel="confidence", ylabel="items")
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return figure


def _wilson(share: npt.NDArray[np.float64], n: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """How far the ends of the 95 % interval of a share lie below and above it, shape (2, bins)."""
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum([share - (middle - half), middle + half - share], 0)


def intervals(rows: Sequence[Row], quantity: str, *, reference: float | None = None) -> Figure:
    """Numbers and their intervals one below the other, on one scale, such as those of each run or of each baseline.

    Parameters
    ----------
    rows : sequence of Row
    quantity : str
        What the numbers are.
    reference : float, optional
        Where to draw a line, such as the pooled number or that of chance.
    """
    with styled():
        figure, axes = panel(0.55 + _ROW * max(len(rows), 2))
        for place, row in enumerate(rows):
            colour = ACCENT if row.is_main else INK
            if math.isfinite(row.low) and math.isfinite(row.high):
                axes.plot([row.low, row.high], [place, place], color=colour, lw=2.2 if row.is_main else 1.2, solid_capstyle="butt")
            axes.plot([row.value], [place], marker="D" if row.is_main else "o", ms=5 if row.is_main else 4, color=colour, clip_on=False)
        if reference is not None:
            axes.axvline(reference, color=QUIET, lw=0.8, ls=":")
        axes.set_yticks(range(len(rows)), [_short(row.name, 26) for row in rows])
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row.is_main else "normal")
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=quantity)
        ends = [value for row in rows for value in (row.value, row.low)] + ([] if reference is None else [reference])
        low = min(filter(math.isfinite, ends), default=0.0)
        axes.set_xlim(max(-0.02, math.floor(low * 10 - 0.5) / 10), 1.02)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    return figure


def learning(history: Sequence[Mapping[str, Any]], kept: int | None = None) -> Figure:
    """The loss on training and validation items, and below the scores on the latter, epoch by epoch.

    Parameters
    ----------
    history : sequence of mapping
        ``epoch``, and any of ``training_loss``, ``validation_loss``, ``accuracy``, ``balanced_accuracy``.
    kept : int, optional
        The epoch whose weights were kept.
    """
    with styled():
        figure = Figure(figsize=(WIDTH, WIDTH * 1.05), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        epochs = [entry.get("epoch", i) for i, entry in enumerate(history)]
        lines = (
            (above, "training_loss", "training", COLOURS[6], "-"),
            (above, "validation_loss", "validation", COLOURS[0], "-"),
            (below, "accuracy", "accuracy", COLOURS[5], "--"),
            (below, "balanced_accuracy", "balanced accuracy", COLOURS[0], "-"),
        )
        for axes, key, name, colour, dashes in lines:
            values = [_number(entry.get(key)) for entry in history]
            if any(map(math.isfinite, values)):
                axes.plot(epochs, values, color=colour, ls=dashes, label=name, marker="." if len(epochs) < 40 else None, ms=4)
        for axes in (above, below):
            if kept is not None:
                axes.axvline(kept, color=QUIET, lw=0.8, ls=":")
            axes.grid(visible=True)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best")
        if kept is not None:
            above.annotate("kept", (kept, 1), xycoords=above.get_xaxis_transform(), xytext=(2, -8), textcoords="offset points", fontsize=7)
        above.set(ylabel="loss")
        below.set(ylabel="on validation items", xlabel="epoch")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


def filters(weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """The filters of a first layer side by side, as pixels of shape (y, x, 3), zero in the middle of the scale.

    Parameters
    ----------
    weights : array, shape (n, c, y, x)
        With three channels they are shown in colours, else each channel by itself, blue below zero and red above.
    """
    n, c, height, width = weights.shape
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(weights, largest, out=np.zeros_like(weights), where=largest > 0)
    if c == 3:
        tiles = 0.5 + 0.5 * scaled.transpose(0, 2, 3, 1)
    else:
        flat = scaled.reshape(n * c, height, width, 1)
        tiles = 1 - np.maximum(flat, 0) * [0.25, 0.85, 0.9] + np.minimum(flat, 0) * [0.95, 0.65, 0.25]
    columns = min(len(tiles), max(4, math.ceil(math.sqrt(2 * len(tiles)))))
    rows = -(-len(tiles) // columns)
    sheet = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, 3))
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        sheet[y : y + height, x : x + width] = tile
    enlarged = sheet.repeat(4, 0).repeat(4, 1) if max(height, width) < 32 else sheet
    return (enlarged * 255).round().astype(np.uint8)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _short(name: str, length: int = _LONGEST_NAME) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _percent(share: float) -> str:
    """Whole percent, but 0 and 100 only where it is none or all."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _below_one(value: float) -> str:
    """Three digits, but never a 1 that is none."""
    return "1" if value == 1 else f"{min(value, 0.9999):.3f}" if value < 0.9995 else f"{math.floor(value * 1e4) / 1e4:.4f}"
