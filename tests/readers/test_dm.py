"""DM3 and DM4: files made here by the published layout, and real ones against SciFiReaders."""

from __future__ import annotations

import pickle
import struct
import time
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import SciFiReaders

from pycroclass.errors import ReadError
from pycroclass.readers import read

_CODES: Final = {"i2": 2, "i4": 3, "u2": 4, "f4": 6, "f8": 7, "u1": 8}
_TYPES: Final = {"i2": 1, "f4": 2, "c8": 3, "u1": 6, "i4": 7, "u2": 10, "f8": 12}


HOLE: Final = b"(here lie the values)"


class DmWriter:
    """The smallest writer of DM files: dictionaries are groups, arrays are arrays."""

    def __init__(self, version: int, order: str = "<") -> None:
        self.length = ">q" if version == 4 else ">i"
        self.version, self.order = version, order

    def file(self, tags: dict[str, Any]) -> bytes:
        body = self.group(tags)
        return struct.pack(">i", self.version) + self.n(len(body)) + struct.pack(">i", self.order == "<") + body + b"\0" * 8

    def n(self, *numbers: int) -> bytes:
        return b"".join(struct.pack(self.length, number) for number in numbers)

    def group(self, tags: dict[str, Any]) -> bytes:
        return b"\0\0" + self.n(len(tags)) + b"".join(self.entry(name, value) for name, value in tags.items())

    def entry(self, name: str, value: Any) -> bytes:
        body = self.group(value) if isinstance(value, dict) else self.value(value)
        text = b"" if name.isdigit() else name.encode("latin-1")
        kind = 20 if isinstance(value, dict) else 21
        return struct.pack(">BH", kind, len(text)) + text + (self.n(len(body)) if self.version == 4 else b"") + body

    def value(self, value: Any) -> bytes:
        match value:
            case str():
                text = value.encode("utf-16-le" if self.order == "<" else "utf-16-be")
                return b"%%%%" + self.n(3, 20, 4, len(value)) + text
            case int():
                return b"%%%%" + self.n(1, 3) + struct.pack(self.order + "i", value)
            case float():
                return b"%%%%" + self.n(1, 7) + struct.pack(self.order + "d", value)
            case tuple():  # a struct of 16-bit integers
                head = self.n(3 + 2 * len(value), 15, 0, len(value), *(n for _ in value for n in (0, 2)))
                return b"%%%%" + head + struct.pack(f"{self.order}{len(value)}h", *value)
            case np.ndarray() if 0 in value.strides:
                return b"%%%%" + self.n(3, 20, _CODES[value.dtype.str[1:]], value.size) + HOLE
            case np.ndarray():
                if value.dtype.kind == "c":  # an array of structs of two reals
                    return b"%%%%" + self.n(9, 20, 15, 0, 2, 0, 6, 0, 6, value.size) + value.astype(self.order + "c8").tobytes()
                code = value.dtype.str[1:]
                return b"%%%%" + self.n(3, 20, _CODES[code], value.size) + value.astype(self.order + code).tobytes()
        raise TypeError(value)


def image(array: np.ndarray, calibrations: list[tuple[float, float, str]], name: str = "Signal") -> dict[str, Any]:
    """Tags of one image; sizes and calibrations are x first, as in the file."""
    dimensions = {str(d): {"Origin": o, "Scale": s, "Units": u} for d, (o, s, u) in enumerate(calibrations)}
    return {
        "Name": name,
        "ImageData": {
            "Calibrations": {"Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": "Counts"}, "Dimension": dimensions},
            "Data": array if 0 in array.strides else array.ravel(),
            "DataType": _TYPES[array.dtype.str[1:]],
            "Dimensions": {str(d): n for d, n in enumerate(array.shape[::-1])},
        },
        "ImageTags": {"Microscope Info": {"Voltage": 200000.0}, "Position": (3, -4)},
    }


def write(path: Path, *images: dict[str, Any], version: int = 4, order: str = "<") -> Path:
    tags = {"ImageList": {str(i): one for i, one in enumerate(images)}}
    if len(images) > 1:
        tags["Thumbnails"] = {"0": {"ImageIndex": 0}}
    path.write_bytes(DmWriter(version, order).file(tags))
    return path


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "u1", "f4", "f8", "c8"])
def test_image(tmp_path: Path, version: int, order: str, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 99, (5, 7)).astype(dtype)
    file = write(tmp_path / "a.dm4", image(values, [(2.0, 0.5, "nm"), (0.0, 0.25, "nm")]), version=version, order=order)
    dataset = read(file)["Signal"]
    assert dataset.dtype == values.dtype
    assert dataset.dtype.isnative
    np.testing.assert_array_equal(dataset.compute(), values)
    assert [(a.name, a.units, a.dimension_type.name) for a in dataset._axes.values()] == [("y", "nm", "SPATIAL"), ("x", "nm", "SPATIAL")]
    np.testing.assert_allclose(dataset.x.values[:2], [-1.0, -0.5])  # (index - origin) * scale
    assert dataset.units == "counts"
    assert dataset.data_type.name == "IMAGE"
    assert dataset.metadata["experiment"]["acceleration_voltage"] == 200000.0
    assert dataset.original_metadata["ImageTags"]["Position"] == [3, -4]


def test_spectrum_image_has_its_energy_axis_last(tmp_path: Path) -> None:
    stored = np.random.default_rng(1).random((11, 3, 5)).astype("f4")  # energy, y, x
    file = write(tmp_path / "si.dm3", image(stored, [(0.0, 1.0, "nm"), (0.0, 2.0, "nm"), (-700.0, 0.5, "eV")]), version=3)
    dataset = read(file)["Signal"]
    assert dataset.data_type.name == "SPECTRAL_IMAGE"
    np.testing.assert_array_equal(dataset.compute(), np.moveaxis(stored, 0, -1))
    np.testing.assert_allclose(dataset.energy_loss.values[:2], [350.0, 350.5])
    np.testing.assert_array_equal(dataset[1:3, 2].compute(), np.moveaxis(stored, 0, -1)[1:3, 2])


def test_diffraction_patterns_of_a_scan(tmp_path: Path) -> None:
    stored = np.random.default_rng(2).integers(0, 9, (2, 3, 4, 5)).astype("u2")
    calibrations = [(0.0, 0.1, "1/nm"), (0.0, 0.1, "1/nm"), (0.0, 2.0, "nm"), (0.0, 2.0, "nm")]
    dataset = read(write(tmp_path / "scan.dm4", image(stored, calibrations)))["Signal"]
    assert [axis.name for axis in dataset._axes.values()] == ["y", "x", "ky", "kx"]
    assert dataset.data_type.name == "IMAGE_4D"
    np.testing.assert_array_equal(dataset.compute(), stored)


def test_thumbnail_is_left_out_and_names_are_told_apart(tmp_path: Path) -> None:
    one = np.arange(6, dtype="f4").reshape(2, 3)
    plain = [(0.0, 1.0, "")] * 2
    file = write(tmp_path / "two.dm4", image(one, plain, "Thumb"), image(one + 1, plain), image(one + 2, plain))
    datasets = read(file)
    assert list(datasets) == ["Signal", "Signal 2"]
    np.testing.assert_array_equal(datasets["Signal 2"].compute(), one + 2)


@pytest.mark.parametrize("keep", [3, 14, 60, 200, 560])
def test_truncated(tmp_path: Path, keep: int) -> None:
    file = write(tmp_path / "a.dm4", image(np.zeros((9, 9), "f8"), [(0.0, 1.0, "nm")] * 2))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"a\.dm4"):
        read(file)


def test_truncated_after_opening(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dm4", image(np.zeros((99, 99), "f8"), [(0.0, 1.0, "nm")] * 2))
    dataset = read(file)["Signal"]
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(ReadError, match="changed after it was opened"):
        dataset.compute()


def test_damaged_tags(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dm4", image(np.zeros((9, 9), "f8"), [(0.0, 1.0, "nm")] * 2))
    file.write_bytes(file.read_bytes().replace(b"%%%%", b"%%%!", 2))
    with pytest.raises(ReadError, match="%%%%"):
        read(file)


def test_large_file_opens_at_once(tmp_path: Path) -> None:
    shape = (4001, 500, 800)  # 3.2 GB
    stack = np.lib.stride_tricks.as_strided(np.zeros(1, "u2"), shape, (0, 0, 0))
    head, tail = DmWriter(4).file({"ImageList": {"0": image(stack, [(0.0, 1.0, "nm")] * 3)}}).split(HOLE)
    file = tmp_path / "large.dm4"
    with file.open("wb") as out:  # nothing of the hole lies on the disk
        out.write(head)
        out.seek(stack.size * 2, 1)
        out.write(tail)
    read(file)
    began = time.perf_counter()
    dataset = read(file)["Signal"]
    assert time.perf_counter() - began < 0.1
    assert dataset.shape == shape
    assert len(pickle.dumps(dataset.dask)) < 200_000
    assert dataset.chunksize[1:] == shape[1:]
    assert not dataset[4000].compute().any()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["EELS_STO.dm3", "EELS_STO.dm4", "Image_SI-Survey.dm3", "SI-HAADF.dm3", "SpectrumImage_SI-EELS.dm3"])
def test_real_files_as_scifireaders_reads_them(shared: Path, name: str) -> None:
    """Same values, positions and units; SciFiReaders counts x first, and calls an axis without units a frame."""
    file = shared / "native/scifidatasets" / f"DMReader_{name}"
    (ours,) = read(file).values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (theirs,) = SciFiReaders.DMReader(str(file)).read().values()
    assert ours.title == theirs.title
    assert ours.data_type.name == theirs.data_type.name
    names = [axis.name for axis in theirs._axes.values()]
    order = [names.index(axis.name) for axis in ours._axes.values()]
    np.testing.assert_array_equal(ours.compute(), np.asarray(theirs).transpose(order))
    for d, axis in ours._axes.items():
        known = theirs._axes[order[d]]
        np.testing.assert_allclose(axis.values, known.values)
        assert axis.units == known.units or (axis.units, known.units) == ("generic", "frame")
