"""MRC files of electron microscopes, read through a memory map.

A single section is an image ``(y, x)``; a stack of images has axes ``(image, y, x)``, a volume ``(z, y, x)``, a stack of volumes
``(volume, z, y, x)``; a scan whose extended FEI header tells its size is 4-D STEM, ``(scan_y, scan_x, ky, kx)``. ``z`` counts images and is
of the temporal kind, as sidpy's stacks are. The voxel size, in Angstrom in the file, becomes steps in nm.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import sidpy
from mrcfile import dtypes, utils

from pycroclass.readers.building import lazy_dataset
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.spec import Axis, AxisKind, Spec

_HEADER_BYTES: Final = dtypes.HEADER_DTYPE.itemsize
_NM: Final = 0.1  # one Angstrom


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The array of the file as ``image``.

    Raises
    ------
    ReadError
        If the file is no MRC file, is truncated, or holds numbers of a kind that the format does not define.
    """
    header = _header(path)
    extended = _first_extended(path, header)
    shape = tuple(int(n) for n in utils.data_shape_from_header(header))
    axes = _axes(shape, header, extended)
    dtype = utils.data_dtype_from_header(header)
    offset = _HEADER_BYTES + int(header.nsymbt)
    load = RawArray.of(path, offset=offset, stored=tuple(axis.size for axis in axes), dtype=dtype)
    spec = Spec(axes, dtype, title=path.stem)
    original = {"header": _plain(header), "labels": [bytes(label).decode("latin-1").strip() for label in header.label[: header.nlabl]]}
    if extended is not None:
        original["extended_header"] = _plain(extended)
    return {"image": lazy_dataset("image", load, spec, path, options, original_metadata=original)}


def _header(path: Path) -> Any:
    """The main header as a record of no axes, in the byte order that its machine stamp tells."""
    content = _read(path, 0, _HEADER_BYTES)
    header: Any = np.frombuffer(content, dtypes.HEADER_DTYPE).view(np.recarray).reshape(())
    if bytes(header.map)[:3] != b"MAP":
        raise failure(path, "is no MRC2014 file: MAP is missing at byte 208", "Convert it with a program that knows its variant.")
    order = utils.byte_order_from_machine_stamp(header.machst)
    return np.frombuffer(content, dtypes.HEADER_DTYPE.newbyteorder(order)).view(np.recarray).reshape(())  # its fields keep their order


def _first_extended(path: Path, header: Any) -> Any | None:
    """The extended header of the first image, where it is one of FEI's."""
    dtype = dtypes.get_ext_header_dtype(bytes(header.exttyp), header.mode.dtype.byteorder)
    if dtype is None or header.nsymbt < dtype.itemsize:
        return None
    return np.frombuffer(_read(path, _HEADER_BYTES, dtype.itemsize), dtype)[0]


def _read(path: Path, start: int, n_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise failure(path, f"ends inside its header, before byte {start + n_bytes}", "Copy it again from where it was recorded.")
    return content


def _axes(shape: tuple[int, ...], header: Any, extended: Any | None) -> tuple[Axis, ...]:
    if (scan := _scan_shape(shape, extended)) is not None:
        scanned = (Axis(f"scan_{name}", n, AxisKind.SPATIAL, "distance") for name, n in zip("yx", scan))
        return *scanned, *_reciprocal(shape[-2:], extended)
    steps = [float(cell) / n * _NM if n > 0 and cell > 0 else None for cell, n in _cells(header)]
    outer = {2: (), 3: ("z",) if header.ispg else ("frame",), 4: ("volume", "z")}[len(shape)]
    names = (*outer, "y", "x")
    return tuple(_axis(name, size, steps["zyx".index(name)] if name in "zyx" else None) for name, size in zip(names, shape))


def _cells(header: Any) -> Iterator[tuple[float, int]]:
    """Size of the cell in Angstrom and its number of intervals, along z, y and x."""
    yield from ((float(header.cella[name]), int(header[f"m{name}"])) for name in "zyx")


def _axis(name: str, size: int, step: float | None) -> Axis:
    kind = AxisKind.SPATIAL if name in "yx" else AxisKind.TEMPORAL
    if step is None:
        return Axis(name, size, kind, "distance" if name in "zyx" else name)
    return Axis(name, size, kind, "distance", "nm", step=step)


def _scan_shape(shape: tuple[int, ...], extended: Any | None) -> tuple[int, int] | None:
    """Rows and columns of a scan, where the extended header tells them and the number of images agrees."""
    if extended is None or len(shape) != 3:
        return None
    height = abs(int(extended["Scan size bottom"]) - int(extended["Scan size top"])) if "Scan size top" in extended.dtype.names else 0
    width = abs(int(extended["Scan size right"]) - int(extended["Scan size left"])) if height else 0
    return (height, width) if height * width == shape[0] and shape[0] > 1 else None


def _reciprocal(shape: tuple[int, ...], extended: Any) -> Iterator[Axis]:
    """Axes of a diffraction pattern: FEI gives their pixels in 1/m."""
    for name, size in zip("yx", shape):
        step = float(extended[f"Pixel size {name.upper()}"]) * 1e-9
        units, step = ("1/nm", step) if step > 0 else ("generic", 1.0)
        yield Axis(f"k{name}", size, AxisKind.RECIPROCAL, "reciprocal distance", units, step=step)


def _plain(record: Any) -> dict[str, Any]:
    """The numbers and texts of a record."""
    values = {name: np.asarray(record[name]).tolist() for name in record.dtype.names if name != "label"}
    return {name: value.decode("latin-1").rstrip("\0 ") if isinstance(value, bytes) else value for name, value in values.items()}
