"""DigitalMicrograph files (DM3, DM4): images, stacks, spectra and spectrum images, read through a memory map.

A file holds a list of images, each with its name, calibrations and tags; its thumbnail is left out. Positions on an axis are
``(index - origin) * scale``. The file stores x fastest: the axes here are ``(y, x)``, ``(page, y, x)`` and, with an energy axis,
``(energy_loss,)``, ``(x, energy_loss)`` and ``(y, x, energy_loss)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import sidpy

from pycroclass.readers.building import lazy_dataset, unique_keys
from pycroclass.readers.dm_tags import TagArray, Tags, read_tags
from pycroclass.readers.failure import failure
from pycroclass.readers.options import ReadOptions
from pycroclass.readers.raw import RawArray
from pycroclass.spec import Axis, AxisKind, Spec

_DTYPES: Final = {
    1: "i2",
    2: "f4",
    3: "c8",
    6: "u1",
    7: "i4",
    9: "i1",
    10: "u2",
    11: "u4",
    12: "f8",
    13: "c16",
    14: "?",
    39: "i8",
    40: "u8",
}
_COLOURS: Final = (8, 23)


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Every image of a DM3 or DM4 file by its name, without the thumbnail.

    Raises
    ------
    ReadError
        If the file is no DM file, is damaged or truncated, or holds numbers of a kind that is not supported (packed complex).
    """
    with path.open("rb") as file:
        tags, is_little = read_tags(file)
    images = list(_images(tags))
    if not images:
        raise failure(path, "holds no image", "Open it in DigitalMicrograph.")
    keys = unique_keys([str(image.get("Name") or "image") for image in images])
    return {key: _dataset(key, image, is_little, path, options) for key, image in zip(keys, images)}


def _images(tags: Tags) -> Iterator[Tags]:
    images = [image for image in tags.get("ImageList", {}).values() if isinstance(image.get("ImageData", {}).get("Data"), TagArray)]
    thumbnails = {entry.get("ImageIndex") for entry in tags.get("Thumbnails", {}).values()}
    yield from (image for i, image in enumerate(images) if len(images) == 1 or i not in thumbnails)


def _dataset(key: str, image: Tags, is_little: bool, path: Path, options: ReadOptions) -> sidpy.Dataset:
    data = image["ImageData"]
    calibrations = data.get("Calibrations", {})
    stored = tuple(int(n) for n in data["Dimensions"].values())[::-1]  # the file names x first
    axes = _stored_axes(stored, list(calibrations.get("Dimension", {}).values()))
    if data["DataType"] in _COLOURS:
        axes.append(Axis("channel", 4, kind=AxisKind.CHANNEL, quantity="colour"))
    order = tuple(sorted(range(len(axes)), key=lambda d: axes[d].kind is AxisKind.SPECTRAL))  # the energy axis last
    dtype = _dtype(path, data["DataType"], is_little)
    load = RawArray.of(path, offset=data["Data"].offset, stored=tuple(axis.size for axis in axes), dtype=dtype, order=order)
    units = str(calibrations.get("Brightness", {}).get("Units") or "generic").lower()
    spec = Spec(tuple(axes[d] for d in order), dtype, quantity="intensity", units=units, title=key)
    return lazy_dataset(key, load, spec, path, options, metadata={"experiment": _experiment(image)}, original_metadata=_plain(image))


def _dtype(path: Path, code: int, is_little: bool) -> np.dtype[Any]:
    name = "u1" if code in _COLOURS else _DTYPES.get(code)
    if name is None:
        raise failure(
            path,
            f"holds numbers of DigitalMicrograph's type {code}; integers, reals, complex numbers and colours can be read",
            "Change their type in DigitalMicrograph (Edit, Change Data Type).",
        )
    return np.dtype(name).newbyteorder("<" if is_little else ">")


def _stored_axes(stored: tuple[int, ...], calibrations: Sequence[Mapping[str, Any]]) -> list[Axis]:
    """Axes in stored order. Units tell energy and reciprocal axes; the others are x, y, page from the fastest one on."""
    spatial, reciprocal = iter(("x", "y", "page", "page_2", "page_3")), iter(("kx", "ky", "kz"))
    axes = []
    known: list[Mapping[str, Any]] = [*calibrations, *({} for _ in stored)]
    for size, calibration in zip(stored[::-1], known):
        units = str(calibration.get("Units") or "").strip()
        kind, quantity = _meaning(units)
        match kind:
            case AxisKind.SPECTRAL:
                name = "energy_loss" if units == "eV" else "energy"
            case AxisKind.RECIPROCAL:
                name = next(reciprocal)
            case _:
                name = next(spatial)
        if name.startswith("page"):
            kind, quantity = AxisKind.TEMPORAL, "frame"
        scale = float(calibration.get("Scale", 1.0)) or 1.0
        offset = -float(calibration.get("Origin", 0.0)) * scale
        axes.append(Axis(name, size, kind, quantity, units or "generic", offset, scale))
    return axes[::-1]


def _meaning(units: str) -> tuple[AxisKind, str]:
    if units.endswith("eV"):
        return AxisKind.SPECTRAL, "energy"
    if "1/" in units or units in ("mrad", "rad"):
        return AxisKind.RECIPROCAL, "reciprocal distance"
    return AxisKind.SPATIAL, "distance"


def _experiment(image: Tags) -> dict[str, Any]:
    """What every electron microscope tells: voltage in volts, exposure in seconds, signal, angles in mrad; only what is there."""
    tags = image.get("ImageTags", {})
    microscope, eels = tags.get("Microscope Info", {}), tags.get("EELS", {})
    conditions = eels.get("Experimental Conditions", {})
    known = {
        "microscope": microscope.get("Microscope"),
        "acceleration_voltage": microscope.get("Voltage"),
        "exposure_time": eels.get("Integration", {}).get("Integration (s)"),
        "single_exposure_time": eels.get("Acquisition", {}).get("Exposure (s)"),
        "convergence_angle": conditions.get("Convergence Angle"),
        "collection_angle": conditions.get("Collection Angle"),
        "signal": tags.get("Meta Data", {}).get("Signal"),
    }
    return {name: value for name, value in known.items() if value is not None}


def _plain(tags: Any) -> Any:
    """Tags as plain values: what lies in large arrays is said, not shown."""
    if isinstance(tags, dict):
        return {name: _plain(value) for name, value in tags.items()}
    return f"{tags.size} bytes from byte {tags.offset} on" if isinstance(tags, TagArray) else tags
