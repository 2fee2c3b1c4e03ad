"""NumPy files, memory-mapped."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from pycroclass.errors import ReadError
from pycroclass.readers import read


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">f8", "<c8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.asarray(np.random.default_rng(0).integers(0, 99, (3, 5, 7)).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    dataset = read(tmp_path / "a.npy")["array"]
    assert dataset.dtype.isnative
    assert dataset.data_type.name == "UNKNOWN"
    np.testing.assert_array_equal(dataset.compute(), values)
    np.testing.assert_array_equal(dataset[1, 2:4].compute(), values[1, 2:4])


def test_image_and_spectrum_are_told_by_their_number_of_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.ones((4, 6)))
    np.save(tmp_path / "spectrum.npy", np.ones(9))
    assert read(tmp_path / "image.npy")["array"].data_type.name == "IMAGE"
    assert read(tmp_path / "spectrum.npy")["array"].data_type.name == "SPECTRUM"


def test_stack_of_files(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).random((5, 4, 6))
    for i, frame in enumerate(frames):
        np.save(tmp_path / f"{i}.npy", np.asfortranarray(frame) if i % 2 else frame)
    np.testing.assert_array_equal(read(tmp_path)["image"].compute(), frames)


def test_stacks_do_not_make_a_stack(tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((2, 4, 6)))
    with pytest.raises(ReadError, match=r"a\.npy.*\(2, 4, 6\).*by itself"):
        read(tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive(tmp_path: Path, save: object) -> None:
    values = {"frames": np.random.default_rng(2).random((3, 4, 5)), "mask": np.ones((4, 5), bool)}
    save(tmp_path / "a.npz", **values, distance=0.13, names=np.array(["a", "b"]))
    datasets = read(tmp_path / "a.npz")
    assert set(datasets) == set(values)
    for name, dataset in datasets.items():
        np.testing.assert_array_equal(dataset.compute(), values[name])
        assert dataset.metadata["left_out"] == ["distance", "names"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(datasets["mask"])).compute(), values["mask"])


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ReadError, match="an array of numbers is wanted"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("keep", [9, 60, 128, 200])
def test_truncated(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.ones((9, 9)))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"a\.npy"):
        read(file)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_truncated_after_opening(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    (np.save if name == "a.npy" else np.savez)(file, np.ones((99, 99)))
    (dataset,) = read(file).values()
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(ReadError, match="changed after it was opened"):
        dataset.compute()


def test_large_file_opens_at_once(tmp_path: Path) -> None:
    file, shape = tmp_path / "large.npy", (4001, 500, 800)
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<u2", "fortran_order": False, "shape": shape})
        out.truncate(out.tell() + 2 * int(np.prod(shape)))
    read(file)
    began = time.perf_counter()
    dataset = read(file)["array"]
    assert time.perf_counter() - began < 0.1
    assert len(pickle.dumps(dataset.dask)) < 200_000
    assert not dataset[4000].compute().any()


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    for file in sorted((shared / "native/gpim").glob("*.npy")):
        np.testing.assert_array_equal(read(file)["array"].compute(), np.load(file))
