"""Draws a map on its axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from pycroclass.spec import Axis


def draw_map(axes: Axes, values: npt.NDArray[Any], of: Sequence[Axis], *, fontsize: float | None = None, **colours: Any) -> AxesImage:
    """Each value as a pixel at its place.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    values : array
        (y, x)
    of : sequence of Axis
        y and x.
    fontsize : float, optional
        Of the labels.
    **colours
        As of `matplotlib.axes.Axes.imshow`.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    y, x = of
    (left, right), (top, bottom) = _edges(x), _edges(y)
    for axis, label in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
        label(f"{axis.name} ({axis.units})", fontsize=fontsize, parse_math=False)
    return axes.imshow(values, extent=(left, right, bottom, top), interpolation="nearest", **colours)


def _edges(axis: Axis) -> tuple[float, float]:
    """Outer edges of the first and last pixel."""
    half = (axis.values[-1] - axis.values[0]) / max(axis.size - 1, 1) / 2 or 0.5
    return float(axis.values[0] - half), float(axis.values[-1] + half)
