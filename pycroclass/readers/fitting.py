"""Images brought to one size and one number of colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pycroclass.readers.options import Fit

AnyArray = npt.NDArray[Any]


def can_fit(found: tuple[int, int], wanted: tuple[int, int], fit: Fit) -> bool:
    """Whether `fit_image` can bring an image of one size to another: padding only enlarges, cropping only reduces.

    Examples
    --------
    >>> can_fit((5, 7), (8, 8), "pad"), can_fit((5, 7), (4, 8), "crop")
    (True, False)
    """
    match fit:
        case "pad":
            return all(f <= w for f, w in zip(found, wanted))
        case "crop":
            return all(f >= w for f, w in zip(found, wanted))
        case "resize":
            return True


def fit_image(image: AnyArray, size: tuple[int, int], fit: Fit) -> AnyArray:
    """The image at another size.

    ``pad`` puts it in the middle of zeros, ``crop`` keeps its middle, ``resize`` interpolates linearly in float32 and, where it becomes
    smaller, averages over what a new pixel covers (a triangle filter, as Pillow does); whole numbers are rounded.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, channel)
    size : (int, int)
        ``(y, x)``.
    fit : "pad", "crop" or "resize"

    Examples
    --------
    >>> fit_image(np.array([[1, 2, 3]]), (3, 3), "pad").tolist()
    [[0, 0, 0], [1, 2, 3], [0, 0, 0]]
    """
    if image.shape[:2] == size:
        return image
    match fit:
        case "pad":
            gaps = [(wanted - found) for found, wanted in zip(image.shape, size)]
            return np.pad(image, [(gap // 2, gap - gap // 2) for gap in gaps] + [(0, 0)] * (image.ndim - 2))
        case "crop":
            y, x = ((found - wanted) // 2 for found, wanted in zip(image.shape, size))
            return image[y : y + size[0], x : x + size[1]]
        case "resize":
            return _resized(image, size)


def match_colours(image: AnyArray, n_colours: int) -> AnyArray:
    """The image with 3 or 4 colours, or with no channel axis for 1: grey in every colour, and full opacity as the fourth.

    Examples
    --------
    >>> match_colours(np.array([[7]], "u1"), 4).tolist()
    [[[7, 7, 7, 255]]]
    """
    if n_colours == 1:
        return image
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] < n_colours:
        opaque = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
        image = np.concatenate([image, np.full_like(image[..., :1], opaque)], axis=2)
    return image


def _resized(image: AnyArray, size: tuple[int, int]) -> AnyArray:
    planes = image[..., None] if image.ndim == 2 else image
    resized = np.stack([_resized_plane(planes[..., c], size) for c in range(planes.shape[2])], axis=2)
    if image.dtype.kind in "iu":
        resized = np.rint(resized)
    return resized.astype(image.dtype).reshape(*size, *image.shape[2:])


def _resized_plane(plane: AnyArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), dtype=np.float32)
