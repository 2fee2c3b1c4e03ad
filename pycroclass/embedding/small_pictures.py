"""Images of a collection as small squares to put on a map or a page."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import sidpy
from PIL import Image

from pycroclass.leakage import stack_of_images
from pycroclass.per_item import take
from pycroclass.reporting.pixels import stretched

Pixels = npt.NDArray[np.uint8]


def small_pictures(dataset: sidpy.Dataset, numbers: npt.ArrayLike, side: int) -> Pixels:
    """Some images of a stack as squares of pixels, shape (n, side, side, 3).

    Grey values are stretched for each image by itself, colours of bytes are shown as they are; what the image leaves of the square is
    white. Only these images are computed.

    Raises
    ------
    DataError
        If the items are no images.
    """
    images = stack_of_images(take(dataset, numbers))
    dropped = list(range(4, images.ndim))
    new = [3] if images.ndim == 3 else []
    small = images.map_blocks(
        _small,
        side,
        drop_axis=dropped,
        new_axis=new,
        chunks=(images.chunks[0], side, side, 3),
        dtype=np.uint8,
        meta=np.empty((0, side, side, 3), np.uint8),
    )
    pixels: Pixels = small.compute()
    return pixels


def _small(images: npt.NDArray[Any], side: int) -> Pixels:
    small = np.full((len(images), side, side, 3), 255, np.uint8)
    for number, image in enumerate(images):
        shown = stretched(image if image.ndim == 2 else image.transpose(1, 2, 0))
        picture = Image.fromarray((255 * shown).round().astype(np.uint8))
        share = side / max(picture.size)
        width, height = (max(1, round(share * length)) for length in picture.size)
        fitted = np.asarray(picture.resize((width, height), Image.Resampling.NEAREST if share >= 2 else Image.Resampling.LANCZOS))
        top, left = ((side - length) // 2 for length in fitted.shape[:2])
        small[number, top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return small
