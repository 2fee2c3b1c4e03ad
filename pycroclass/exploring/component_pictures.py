"""A picture of a decomposition: each component beside the map of how much of it is where."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pycroclass.errors import AxisError
from pycroclass.exploring.map_picture import draw_map
from pycroclass.sid import unwrap
from pycroclass.spec import Spec

_PER_ROW: Final = 2
_HEIGHT: Final = 1.9
_OUTSIDE: Final = (1, 99)
"""Percentiles between which a map is coloured: a few bright pixels must not hide the rest."""


def component_page(components: sidpy.Dataset, maps: sidpy.Dataset, residual: sidpy.Dataset | None = None) -> Figure:
    """Each component, a spectrum or an image, beside the map of its scores or abundances; at the end what is left over.

    Parameters
    ----------
    components : sidpy.Dataset
        Of `components`, `decompose` or `unmix`: spectra in columns, or a stack of images.
    maps : sidpy.Dataset
        Their scores, (component, …): maps of a scan, or a curve over a series.
    residual : sidpy.Dataset, optional
        One number for each item.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    AxisError
        If there are not as many maps as components, or either is not on one or two axes.

    Examples
    --------
    >>> import pycroclass as pc
    >>> found = pc.decompose(pc.NMF(3), dataset)  # doctest: +SKIP
    >>> pc.component_page(found["components"], found["maps"], found["residual"]).savefig("nmf.png")  # doctest: +SKIP
    """
    shapes, shape_spec = _stacked(components, "component")
    amounts, amount_spec = _stacked(maps, "map")
    if len(shapes) != len(amounts):
        raise AxisError(f"{len(shapes)} components need as many maps, got {len(amounts)}")
    n = len(shapes) + (residual is not None)
    n_rows = math.ceil(n / _PER_ROW)
    figure = Figure(figsize=(6.2 * _PER_ROW, _HEIGHT * n_rows + 0.4), layout="constrained")
    grid = figure.subplots(n_rows, 2 * _PER_ROW, squeeze=False, width_ratios=(1.6, 1) * _PER_ROW)
    cells = grid.reshape(-1, 2)
    name = shape_spec.title.removesuffix("s") if shape_spec.title else "component"
    for number, (left, right) in enumerate(cells[: len(shapes)]):
        _draw(left, shapes[number], shape_spec)
        _draw(right, amounts[number], amount_spec, is_coloured=True)
        left.set_title(f"{name} {number + 1}", fontsize=9)
    for left, right in cells[len(shapes) :]:
        left.set_axis_off()
        right.set_axis_off()
    if residual is not None:
        left, right = cells[len(shapes)]
        array, spec = unwrap(residual)
        right.set_axis_on()
        _draw(right, np.asarray(array.compute()), spec, is_coloured=True)
        right.set_title(f"residual ({spec.units})", fontsize=9, parse_math=False)
    return figure


def _stacked(dataset: sidpy.Dataset, noun: str) -> tuple[npt.NDArray[Any], Spec]:
    """Arrays along a first axis that counts them, and what each is."""
    array, spec = unwrap(dataset)
    counted = next((axis.name for axis in spec.axes if axis.name in ("component", "endmember", "cluster")), None)
    if counted is None or not 2 <= len(spec.axes) <= 3:
        raise AxisError(f"wanted a {noun} of one or two axes for each component, got the axes {spec.names}")
    values = np.moveaxis(np.asarray(array.compute()), spec.names.index(counted), 0)
    return values, spec.only(tuple(name for name in spec.names if name != counted))


def _draw(axes: Axes, values: npt.NDArray[Any], spec: Spec, *, is_coloured: bool = False) -> None:
    axes.tick_params(labelsize=7)
    if len(spec.axes) == 1:
        (along,) = spec.axes
        axes.plot(along.values, values, lw=0.9)
        axes.set_xlabel(f"{along.quantity} ({along.units})", fontsize=7, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        return
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _OUTSIDE) if finite.size else (0, 1)
    image = draw_map(axes, values, spec.axes, fontsize=7, cmap="viridis" if is_coloured else "gray", vmin=low, vmax=high)
    if axes.figure is not None:
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
        bar.ax.tick_params(labelsize=7)
        bar.ax.yaxis.get_offset_text().set_fontsize(7)
