"""TIFF through memory map, tifffile and Pillow; axes and calibration of OME and ImageJ."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pycroclass.errors import MissingDependencyError, ReadError
from pycroclass.readers import read

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 5000, (2, 3, 4, 17, 19), dtype=np.uint16)


def axes_of(dataset: Any) -> list[tuple[str, str, float]]:
    return [(axis.name, axis.units, float(axis.values[1] - axis.values[0])) for axis in dataset._axes.values()]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("values", "keywords", "names"),
    [
        (STACK[0, 0, 0], {}, "y x"),
        (STACK[0, 0], {"photometric": "minisblack"}, "page y x"),
        (STACK[0, 0], {"photometric": "minisblack", "byteorder": ">", "bigtiff": True}, "page y x"),
        (STACK[0, 0].astype("f4"), {"photometric": "minisblack", "tile": (16, 16)}, "page y x"),
        (RNG.integers(0, 255, (17, 19, 3), dtype=np.uint8), {"photometric": "rgb"}, "y x channel"),
        (RNG.integers(0, 255, (5, 17, 19, 3), dtype=np.uint8), {"photometric": "rgb"}, "page y x channel"),
        (RNG.integers(0, 255, (3, 17, 19), dtype=np.uint8), {"photometric": "rgb", "planarconfig": "separate"}, "channel y x"),
    ],
)
def test_values_and_axes(tmp_path: Path, compression: str | None, values: np.ndarray, keywords: dict[str, Any], names: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression, **keywords)
    dataset = read(tmp_path / "a.tif")["image"]
    assert dataset.dtype == values.dtype
    np.testing.assert_array_equal(dataset.compute(), values)
    np.testing.assert_array_equal(dataset[1:3, 2:9].compute(), values[1:3, 2:9])
    assert " ".join(axis.name for axis in dataset._axes.values()) == names
    assert dataset.title == "a"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome(tmp_path: Path, compression: str | None) -> None:
    sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.1, "PhysicalSizeZ": 3.0, "TimeIncrement": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, ome=True, compression=compression, metadata={"axes": "TCZYX", **sizes})
    dataset = read(tmp_path / "a.ome.tif")["image"]
    np.testing.assert_array_equal(dataset.compute(), STACK)
    np.testing.assert_array_equal(dataset[1, :, 2:4].compute(), STACK[1, :, 2:4])
    calibrated = [("time", "s", 2.0), ("channel", "generic", 1.0), ("z", "µm", 3.0), ("y", "µm", 0.1), ("x", "nm", 0.2)]
    assert axes_of(dataset) == calibrated
    assert "PhysicalSizeX" in dataset.original_metadata["ome"]


def test_several_series_by_their_names(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(STACK[0, 0], metadata={"axes": "ZYX", "Name": "first", "PhysicalSizeX": 0.5})
        writer.write(STACK[0, 0, 0, :9].astype("f4"), metadata={"axes": "YX", "Name": "second", "PhysicalSizeX": 0.25})
    datasets = read(tmp_path / "a.ome.tif")
    assert {name: dataset.shape for name, dataset in datasets.items()} == {"first": (4, 17, 19), "second": (9, 19)}
    assert axes_of(datasets["first"])[-1] == ("x", "µm", 0.5)
    assert axes_of(datasets["second"])[-1] == ("x", "µm", 0.25)
    np.testing.assert_array_equal(datasets["second"].compute(), STACK[0, 0, 0, :9])


@pytest.mark.parametrize("unit", ["um", "\\u00B5m", "micron"])
def test_imagej(tmp_path: Path, unit: str) -> None:
    values = STACK.transpose(0, 2, 1, 3, 4)
    metadata = {"axes": "TZCYX", "unit": unit, "spacing": 2.5, "finterval": 0.5}
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata=metadata, resolution=(10.0, 5.0))
    dataset = read(tmp_path / "a.tif")["image"]
    np.testing.assert_array_equal(dataset.compute(), values)
    calibrated = [("time", "s", 0.5), ("z", "µm", 2.5), ("channel", "generic", 1.0), ("y", "µm", 0.2), ("x", "µm", 0.1)]
    assert axes_of(dataset) == calibrated


def test_the_resolution_of_a_printer_is_no_calibration(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0, 0], resolution=(300.0, 300.0), resolutionunit="INCH")
    assert axes_of(read(tmp_path / "a.tif")["image"]) == [("y", "generic", 1.0), ("x", "generic", 1.0)]


@pytest.mark.parametrize("values", [STACK[0, 0, 0], RNG.integers(0, 255, (17, 19, 3), dtype=np.uint8)], ids=["grey", "colour"])
def test_lzw(tmp_path: Path, values: np.ndarray) -> None:
    images = [Image.fromarray(values), Image.fromarray(values[::-1].copy())]
    images[0].save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=images[1:])
    np.testing.assert_array_equal(read(tmp_path / "a.tif")["image"].compute(), [values, values[::-1]])


@pytest.mark.skipif(5 in tifffile.TIFF.DECOMPRESSORS, reason="imagecodecs is installed")
def test_what_neither_library_decodes_names_the_extra(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, RNG.integers(0, 9, (17, 19, 3), dtype=np.uint16), photometric="rgb", compression="zlib", metadata=None)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(5)
    with pytest.raises(MissingDependencyError, match="imagecodecs"):
        read(file)


def test_stack_of_files(tmp_path: Path) -> None:
    for i, frame in enumerate(STACK[0, 0]):
        tifffile.imwrite(tmp_path / f"{i}.tif", frame, compression="zlib" if i % 2 else None)
    np.testing.assert_array_equal(read(tmp_path)["image"].compute(), STACK[0, 0])
    np.testing.assert_array_equal(read(tmp_path / "1.tif", size=4, fit="crop")["image"].compute(), STACK[0, 0, 1, 6:10, 7:11])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated(tmp_path: Path, compression: str | None) -> None:
    file = tmp_path / "a.tif"
    values = RNG.integers(0, 5000, (9, 99, 99), dtype=np.uint16)
    tifffile.imwrite(file, values, compression=compression, photometric="minisblack")
    dataset = read(file)["image"]
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ReadError, match=r"a\.tif"):
        dataset.compute()
    with pytest.raises(ReadError, match=r"a\.tif"):
        read(file)["image"].compute()


def test_large_file_opens_at_once(tmp_path: Path) -> None:
    file, shape = tmp_path / "large.tif", (4001, 500, 800)
    tifffile.memmap(file, shape=shape, dtype="u2", bigtiff=True, photometric="minisblack")
    read(file)
    began = time.perf_counter()
    dataset = read(file)["image"]
    assert time.perf_counter() - began < 0.1
    assert len(pickle.dumps(dataset.dask)) < 200_000
    assert dataset.shape == shape
    assert not dataset[4000].compute().any()


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    for name in ("au_xgrating_20cm", "moo3_20cm"):
        file = shared / f"diffraction/formats/{name}.tif"
        np.testing.assert_array_equal(read(file)["image"].compute(), tifffile.imread(file))
    file = shared / "native/pycroscopy_sample/re48.tiff"
    np.testing.assert_array_equal(read(file)["image"].compute(), np.asarray(Image.open(file)))
