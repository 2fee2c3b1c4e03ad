"""Pixels of an image as those of a small picture on a page."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pycroclass.evaluation.predictions import Floats

_SIDE: Final = 144
_N_COLOURS: Final = 3


def sized(image: Floats, *, has_peaks: bool = False) -> Floats:
    """Pixels of a small image as squares; squares of a large one as pixels: their mean, or their maximum, so that peaks stay seen."""
    largest = max(image.shape[:2])
    grown = max(1, _SIDE // largest)
    side = -(-largest // _SIDE)
    y, x = (size // side for size in image.shape[:2])
    squares = image[: side * y, : side * x].reshape(y, side, x, side, *image.shape[2:])
    pixels = squares.max((1, 3)) if has_peaks else squares.mean((1, 3))
    sized: Floats = pixels.repeat(grown, 0).repeat(grown, 1)
    return sized


def stretched(image: npt.NDArray[Any]) -> Floats:
    """Values between 0 and 1, shape (y, x, 3): those of a colour image of bytes as they are; else the few largest and smallest are cut
    off. Other than three channels are averaged."""
    if image.dtype == np.uint8 and image.shape[2:] == (_N_COLOURS,):
        return image / 255
    values = np.abs(image) if np.iscomplexobj(image) else image.astype(np.float64)
    if values.ndim == 3 and values.shape[2] != _N_COLOURS:
        values = values.mean(2)
    low, high = np.nanpercentile(values, (0.3, 99.7))
    shown: Floats = np.nan_to_num(((values - low) / max(high - low, 1e-30)).clip(0, 1))
    return shown if shown.ndim == 3 else shown[..., None].repeat(_N_COLOURS, 2)
