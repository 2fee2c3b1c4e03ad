"""SMV frames (``.img``) of CCD and hybrid detectors, read through a memory map.

Makers disagree on which axis the header's beam centre means, and whether it is in millimetres or pixels: the header stays in the original
metadata, and a geometry is for the user to give.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.readers.building import lazy_dataset
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.readers.stack import FrameFormat, FrameHeader, image_axes, open_image, open_stack
from pycroclass.spec import Spec

_HEAD: Final = 1 << 16
_DTYPES: Final = {
    "unsigned_short": "u2",
    "unsigned_long": "u4",
    "signed_short": "i2",
    "signed_long": "i4",
    "long_integer": "i4",
    "float": "f4",
}
_ORDERS: Final = {"little_endian": "<", "big_endian": ">"}


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The frame of a file as ``image``, with axes ``(y, x)``.

    Raises
    ------
    ReadError
        If the file is truncated, or its header does not tell size and type of the pixels.
    """
    if options.size is not None:
        return {"image": open_image(path, options, _FRAMES)}
    load, header = _open(path)
    spec = Spec(image_axes(load.shape), np.dtype(load.dtype), quantity="counts", title=path.stem)
    return {"image": lazy_dataset("image", load, spec, path, options, original_metadata={"header": header})}


def open_files(paths: Sequence[Path], options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Frames as one stack ``(frame, y, x)``; see `pycroclass.readers.stack.open_stack`."""
    return open_stack(paths, options, _FRAMES, axis="frame")


def _open(path: Path) -> tuple[RawArray, dict[str, str]]:
    with path.open("rb") as file:
        text = file.read(_HEAD).partition(b"}")[0].decode("latin-1")
    header = {name: value.strip() for name, value in re.findall(r"(\w+)\s*=([^;\r\n]*)", text)}
    missing = {"HEADER_BYTES", "SIZE1", "SIZE2", "TYPE", "BYTE_ORDER"} - set(header)
    if missing or header["TYPE"] not in _DTYPES or header["BYTE_ORDER"] not in _ORDERS:
        problem = f"does not tell size and type of its pixels: missing {sorted(missing) or 'nothing'}, type {header.get('TYPE')}"
        raise failure(path, problem, "Convert it to CBF.")
    dtype = np.dtype(_ORDERS[header["BYTE_ORDER"]] + _DTYPES[header["TYPE"]])
    stored = int(header["SIZE2"]), int(header["SIZE1"])
    return RawArray.of(path, offset=int(header["HEADER_BYTES"]), stored=stored, dtype=dtype), header


def _frame_header(path: Path) -> FrameHeader:
    load, _ = _open(path)
    return FrameHeader(load.shape, np.dtype(load.dtype))


def _frame(path: str) -> npt.NDArray[Any]:
    load, _ = _open(Path(path))
    return load((slice(None), slice(None)))


_FRAMES: Final = FrameFormat(_frame_header, _frame)
