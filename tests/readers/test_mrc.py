"""MRC images, stacks, volumes and scans."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pycroclass.errors import ReadError
from pycroclass.readers import read

RNG = np.random.default_rng(0)


def write(path: Path, values: np.ndarray, *, is_volume: bool = False) -> Path:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(values)
        file.voxel_size = (1.0, 2.0, 4.0)  # x, y, z in Angstrom
        if values.ndim == 3:
            file.set_volume() if is_volume else file.set_image_stack()
    return path


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "c8", "f2"])
def test_values(tmp_path: Path, dtype: str) -> None:
    values = RNG.integers(0, 99, (3, 5, 7)).astype(dtype)
    dataset = read(write(tmp_path / "a.mrc", values))["image"]
    assert dataset.dtype == values.dtype
    np.testing.assert_array_equal(dataset.compute(), values)


@pytest.mark.parametrize(
    ("shape", "is_volume", "names"),
    [((5, 7), False, "y x"), ((3, 5, 7), False, "frame y x"), ((3, 5, 7), True, "z y x"), ((2, 3, 5, 7), True, "volume z y x")],
)
def test_axes(tmp_path: Path, shape: tuple[int, ...], is_volume: bool, names: str) -> None:
    values = RNG.integers(0, 99, shape).astype("i2")
    dataset = read(write(tmp_path / "a.mrc", values, is_volume=is_volume))["image"]
    np.testing.assert_array_equal(dataset.compute(), values)
    axes = {axis.name: axis for axis in dataset._axes.values()}
    assert " ".join(axes) == names
    steps = {"x": 0.1, "y": 0.2, "z": 0.4}
    for name in set(axes) & set(steps):
        assert axes[name].units == "nm"
        np.testing.assert_allclose(axes[name].values[:2], [0, steps[name]])


def test_big_endian(tmp_path: Path) -> None:
    values = RNG.random((5, 7)).astype("f4")
    header = np.zeros((), mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">"))
    header["nx"], header["ny"], header["nz"], header["mode"], header["map"] = 7, 5, 1, 2, b"MAP "
    header["machst"] = (0x11, 0x11, 0, 0)
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + values.astype(">f4").tobytes())
    dataset = read(tmp_path / "a.mrc")["image"]
    np.testing.assert_array_equal(dataset.compute(), values)
    assert dataset.x.units == "generic"


def test_scan_from_the_extended_header(tmp_path: Path) -> None:
    values = RNG.random((6, 5, 7)).astype("f4")
    extended = np.zeros(6, mrcfile.dtypes.get_ext_header_dtype(b"FEI2", "<"))
    extended["Scan size right"], extended["Scan size bottom"] = 3, 2
    extended["Pixel size X"] = extended["Pixel size Y"] = 2e8
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(values)
        file.set_extended_header(np.frombuffer(extended.tobytes(), "V1"))
        file.header.exttyp = b"FEI2"
    dataset = read(tmp_path / "a.mrc")["image"]
    np.testing.assert_array_equal(dataset.compute(), values.reshape(2, 3, 5, 7))
    assert [axis.name for axis in dataset._axes.values()] == ["scan_y", "scan_x", "ky", "kx"]
    assert dataset.data_type.name == "IMAGE_4D"
    assert dataset.kx.units == "1/nm"
    np.testing.assert_allclose(dataset.kx.values[1], 0.2)


@pytest.mark.parametrize("keep", [300, 1023, 1024, 1100])
def test_truncated(tmp_path: Path, keep: int) -> None:
    file = write(tmp_path / "a.mrc", np.ones((9, 9), "f4"))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"a\.mrc"):
        read(file)


def test_unknown_number_type(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mrc", np.ones((9, 9), "f4"))
    with file.open("r+b") as out:
        out.seek(12)
        out.write(b"\x63\0\0\0")
    with pytest.raises(ReadError, match="mode"):
        read(file)


def test_large_file_opens_at_once(tmp_path: Path) -> None:
    file, shape = tmp_path / "large.mrc", (4001, 500, 800)
    mrcfile.new_mmap(file, shape, mrc_mode=6).close()
    read(file)
    began = time.perf_counter()
    dataset = read(file)["image"]
    assert time.perf_counter() - began < 0.1
    assert dataset.shape == shape
    assert len(pickle.dumps(dataset.dask)) < 200_000
    assert not dataset[4000].compute().any()
