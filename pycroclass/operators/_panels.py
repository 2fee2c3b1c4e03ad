"""The panels of a detector: rectangles of the slab of pixels that a file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry, PanelGeometry


def panels_value(given: Any) -> ArrayValue:
    """The parameter as whole numbers: one size ``(ss, fs)``, or a row ``(ss_start, ss_stop, fs_start, fs_stop)`` for each panel.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    values = ArrayValue(given).values
    is_size = values.shape == (2,) and (values >= 1).all()
    is_rows = values.ndim == 2 and values.shape[1] == 4 and len(values) > 0
    if is_rows:
        is_rows = bool((values[:, ::2] >= 0).all() and (values[:, ::2] < values[:, 1::2]).all())
    if values.dtype.kind not in "iu" or not (is_size or is_rows):
        raise ParameterError(
            "panels must be the size (ss, fs) of modules that tile the frame, or whole numbers (ss_start, ss_stop, fs_start, fs_stop) "
            f"for each panel, where each stop lies beyond its start; got {values.tolist()}"
        )
    return ArrayValue(values.astype(np.int64))


def panels_of(geometry: DetectorGeometry | None) -> ArrayValue | None:
    """The panels of a geometry that has some, as such rows."""
    if not isinstance(geometry, PanelGeometry):
        return None
    return ArrayValue(np.array([(one.min_ss, one.max_ss + 1, one.min_fs, one.max_fs + 1) for one in geometry.panels], np.int64))


def panel_bounds(panels: ArrayValue | None, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Rows ``(ss_start, ss_stop, fs_start, fs_stop)`` for frames ``(y, x)`` of a shape; without panels the frame is one.

    Raises
    ------
    AxisError
        If panels do not fit the frames, or share pixels.
    """
    if panels is None:
        return np.array([[0, shape[0], 0, shape[1]]], np.int32)
    values = panels.values
    if values.ndim == 1:
        return _tiles((int(values[0]), int(values[1])), shape)
    if (values[:, [1, 3]] > shape).any():
        reach = values[:, [1, 3]].max(0).tolist()
        raise AxisError(f"panels reach to {reach}, the frames are of {shape} pixels. Were they cropped or binned?")
    n_covered = np.zeros(shape, np.int32)
    for top, bottom, left, right in values:
        n_covered[top:bottom, left:right] += 1
    if n_covered.max() > 1:
        raise AxisError(f"{np.count_nonzero(n_covered > 1)} pixels lie on several panels; each must lie on one at most")
    return values.astype(np.int32)


def _tiles(size: tuple[int, int], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    if shape[0] % size[0] or shape[1] % size[1]:
        raise AxisError(
            f"frames of {shape} pixels are not tiled by panels of {size}. Give a row (ss_start, ss_stop, fs_start, fs_stop) for each."
        )
    starts = [(y, x) for y in range(0, shape[0], size[0]) for x in range(0, shape[1], size[1])]
    return np.array([(y, y + size[0], x, x + size[1]) for y, x in starts], np.int32)
