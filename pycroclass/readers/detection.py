"""Which format a file has: by its first bytes, inside HDF5 by its groups and attributes, and by its name. No reader is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import h5py

from pycroclass.errors import ReadError
from pycroclass.readers.failure import failure, foreign
from pycroclass.readers.formats import Format, format_named, formats

_HEAD: Final = 2048 + 8
_TELLING: Final = 3
"""Shorter signatures stand in too many files by chance to tell a format without its name."""
_CONVERT: Final = (
    "Convert it to a common format, such as HDF5, TIFF, PNG, NPY or MRC; 'pycroclass formats' lists all. If it is of one of them and only "
    "its name does not tell, say which with format=…."
)


def detect(path: Path) -> Format:
    """The format of a file.

    Raises
    ------
    ReadError
        If it is empty, cannot be opened, is of no known format, or is not what its name says.
    """
    head = _head(path)
    named = [f for f in formats() if f.matches_name(path.name)]
    fitting = [f for f in formats() if f.matches_content(head)]
    both = [f for f in named if f in fitting]
    if specific := [f for f in both if not f.is_hdf5]:
        return specific[0]
    if any(f.is_hdf5 for f in fitting):
        return format_named(_hdf5_layout(path))
    if untold := [f for f in named if not f.signatures]:
        return untold[0]
    telling = [f for f in fitting if f.extensions and f.matches_content(head, _TELLING)]
    if named:
        raise _misnamed(path, named[0], telling)
    if telling:
        return telling[0]
    raise foreign(path, "is of no known format", _CONVERT)


def _misnamed(path: Path, named: Format, telling: list[Format]) -> ReadError:
    family = "HDF5" if named.is_hdf5 else named.name
    if telling:
        remedy = f"If it is {telling[0].name}, rename it or pass format={telling[0].name!r}."
        return foreign(path, f"is named like {family} but begins like {telling[0].name}", remedy)
    return foreign(path, f"is named like {family} but is no such file, or a damaged one", "Copy it again from where it was recorded.")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except PermissionError as error:
        raise failure(path, "cannot be read: permission denied", "Ask its owner for the right to read it.") from error
    if not head:
        raise failure(path, "is empty (0 bytes)", "Copy it again from where it was recorded.")
    return head


def _hdf5_layout(path: Path) -> str:
    """Name of the layout inside an HDF5 file."""
    try:
        with h5py.File(path, "r") as file:
            if "entry_1" in file or "cxi_version" in file:
                return "CXI"
            if "Version" in file and isinstance(file.get("Data"), h5py.Group):
                return "Velox EMD"
            if "num_pix" in file and "place_ones" in file:
                return "EMC HDF5"
            layout = file.visititems(_main_dataset)
            if layout is None and any(_is_entry(file.get(name)) for name in list(file)):
                return "NeXus"
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    return layout or "HDF5"


def _main_dataset(_: str, item: h5py.Group | h5py.Dataset) -> str | None:
    if isinstance(item, h5py.Dataset):
        if "main_data_name" in item.attrs:
            return "NSID"
        if "Position_Indices" in item.attrs:
            return "USID"
    return None


def _is_entry(item: object) -> bool:
    return isinstance(item, h5py.Group) and item.attrs.get("NX_class") in ("NXentry", b"NXentry")


def _damaged(path: Path, error: Exception) -> ReadError:
    return failure(path, f"is a truncated or damaged HDF5 file: {error}", "Copy it again from where it was recorded.")
