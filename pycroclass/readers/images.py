"""PNG, JPEG and BMP images through Pillow: one image, or many as a lazy stack.

Grey stays grey (8 bits, 16 bits, 32 bits or real), colour stays colour. Palettes, CMYK and YCbCr become RGB, or RGBA where there is
transparency; black and white images become 0 and 255. An EXIF rotation is not applied: pixels stay as they were recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import sidpy
from PIL import Image

from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.stack import FrameFormat, FrameHeader, open_image, open_stack

MODES: Final = {"L": "u1", "I;16": "u2", "I;16B": "u2", "I;16L": "u2", "I": "i4", "F": "f4", "RGB": "u1", "RGBA": "u1"}
"""Pillow's modes that are read as they are, with the type of their numbers."""


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The image of a file as ``image``, with axes ``(y, x)`` or ``(y, x, channel)``.

    Raises
    ------
    ReadError
        If the file is damaged, or is a PNG of 16 bits per colour, of which Pillow reads 8.
    """
    return {"image": open_image(path, options, _FRAMES)}


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Images as one stack; see `pycroclass.readers.stack.open_stack`."""
    return open_stack(paths, options, _FRAMES)


def frame_header(file: Path | IO[bytes], name: Path | str) -> FrameHeader:
    """Shape and type of the image in a file.

    Raises
    ------
    ReadError
        If it has 16 bits per colour.
    """
    with Image.open(file) as image:
        size, mode = image.size[::-1], _mode(image)
        if mode.startswith("RGB") and any(";16" in str(tile[3]) for tile in image.tile):
            raise failure(name, "has 16 bits per colour, of which 8 would be lost", "Save it as TIFF.")
    colours = (len(mode),) if mode.startswith("RGB") else ()
    return FrameHeader((*size, *colours), np.dtype(MODES[mode]))


def frame(file: str | IO[bytes]) -> npt.NDArray[Any]:
    """The image in a file."""
    with Image.open(file) as image:
        mode = _mode(image)
        return np.array(image if image.mode == mode else image.convert(mode))


def _mode(image: Image.Image) -> str:
    """The mode that the image is read in."""
    if image.mode == "1":
        return "L"
    if image.mode in MODES:
        return image.mode
    return "RGBA" if image.has_transparency_data else "RGB"


def _header(path: Path) -> FrameHeader:
    return frame_header(path, path)


_FRAMES: Final = FrameFormat(_header, frame)
