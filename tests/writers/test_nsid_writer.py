"""Files that every NSID reader opens, with the same values, axes, units and titles."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
from pyNSID import hdf_utils
from SciFiReaders import NSIDReader

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, DataError, ParameterError, WriteError
from pycroclass.metadata_json import HIDDEN, decode
from pycroclass.provenance import Provenance, digest_file
from pycroclass.readers import read
from pycroclass.sid import provenance_of, unwrap
from pycroclass.writers import append, write

Make = Callable[..., sidpy.Dataset]

SHAPES = {1: (7,), 2: (7, 5), 3: (7, 5, 11), 4: (7, 5, 11, 3)}
DTYPES = ["u1", "i1", "u2", ">i2", "u4", "i8", "f2", "f4", ">f4", "f8", "c8", "c16", "?"]


class Colour(Enum):
    RED = 1


TORTURE: dict[Any, Any] = {
    "none": None,
    "text": "µm",
    "nul": "a\0b",
    "surrogate": "\ud800",
    "long": "x" * 70_000,
    "flag": True,
    "int": -3,
    "huge": 2**70,
    "unsigned": 2**64 - 1,
    "nan": float("nan"),
    "complex": 1 + 2j,
    "numbers": [1, 2.5],
    "empty list": [],
    "names": ["hit", "miß"],
    "names nul": ["a\0"],
    "mixed": [1, "a"],
    "with none": [1, None],
    "tuples": [(1, 2), (3,)],
    "ragged": [[1], [2, 3]],
    "set": {1, 2},
    "bytes": b"abc",
    "bytes nul": b"a\0",
    "not utf": b"\xff",
    "when": datetime(2026, 1, 2, tzinfo=UTC),
    "path": PurePosixPath("/data/run 1"),
    "enum": Colour.RED,
    "array": np.arange(6).reshape(2, 3),
    "large": np.arange(20_000.0),
    "objects": np.array([None, 1], dtype=object),
    "words": np.array(["a", "µ"]),
    "scalar": np.float32(0.1),
    "records": [{"a": 1}, {"a": None}],
    "nested": {"deep": {"er": [None]}, "": 1, ".": {"x": 1}, "..": 2},
    "a/b": {"c/d": 1},
    "title": {"shape": 1},
    1: "one",
    "1": "also one",
    (1, 2): "tuple key",
    "nul\0key": 1,
    "": {},
}


def read_all(path: Path) -> list[sidpy.Dataset]:
    reader = NSIDReader(str(path))
    try:
        return list(reader.read().values())
    finally:
        reader.close()


def hidden(path: Path, name: str) -> h5py.Group:
    return h5py.File(path)[f"Measurement_000/Channel_000/{name}/{HIDDEN}"]


@pytest.mark.parametrize("ndim", SHAPES)
def test_every_reader_sees_the_same(tmp_path: Path, make: Make, ndim: int) -> None:
    values = np.random.default_rng(ndim).normal(size=SHAPES[ndim])
    dataset = make(values, metadata={"voltage": 3.5}, original_metadata={"raw": {"x": 1}}, modality="STM", source="scope")
    axes = unwrap(dataset)[1].axes
    path = write({"current": dataset}, tmp_path / "out.h5")

    with h5py.File(path) as file:
        main = file["Measurement_000/Channel_000/current/current"]
        assert [item.name for item in hdf_utils.get_all_main(file)] == [main.name]
        np.testing.assert_array_equal(main[()], values)
        assert main.attrs["complete"]
        assert main.chunks is None
        for axis, dimension in zip(axes, main.dims, strict=True):
            assert dimension.label == axis.name
            np.testing.assert_array_equal(dimension[0][()], axis.values)
            assert dict(dimension[0].attrs)["units"] == axis.units

    (back,) = read_all(path)
    np.testing.assert_array_equal(np.array(back), values)
    assert (back.title, back.units, back.quantity, back.modality, back.source) == ("µ-current/forward", "nA", "current", "STM", "scope")
    assert back.data_type == dataset.data_type
    for i, axis in enumerate(axes):
        dimension = back._axes[i]
        assert (dimension.name, dimension.units, dimension.quantity) == (axis.name, axis.units, axis.quantity)
        assert dimension.dimension_type.name == axis.kind.name
        np.testing.assert_array_equal(dimension.values, axis.values)
    assert back.metadata["voltage"] == 3.5
    assert back.original_metadata["raw"]["x"] == 1
    assert any(step["package"] == "pycroclass" for step in back.provenance.values() if "package" in step)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"chunks": True}, {"chunks": (2, 5), "compression": "lzf"}], ids=str)
def test_dtype_is_exact(tmp_path: Path, make: Make, dtype: str, storage: dict[str, Any]) -> None:
    values = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, (7, 5)).astype(dtype)
    path = write({"a": make(values)}, tmp_path / "out.h5", **storage)
    with h5py.File(path) as file:
        main = file["Measurement_000/Channel_000/a/a"]
        assert main.dtype == np.dtype(dtype)
        assert main[()].tobytes() == values.tobytes()
        assert main.compression == storage.get("compression")
        assert (main.chunks is None) == (not storage)
    (back,) = read_all(path)
    np.testing.assert_array_equal(np.array(back), values.astype(np.complex64 if dtype.startswith("c") else float))


def test_metadata_lose_nothing_and_break_no_reader(tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    dataset = make(np.eye(5)[:, :5].repeat(2, 0)[:7], metadata=TORTURE, original_metadata={"again": TORTURE})
    path = write({"a": dataset}, tmp_path / "out.h5")
    back = decode(hidden(path, "a")["metadata_json"][()])
    assert list(back) == list(TORTURE)
    for key in TORTURE.keys() - {"array", "large", "objects", "words", "path", "enum", "nan"}:
        assert back[key] == TORTURE[key]
        assert type(back[key]) is type(TORTURE[key])
    np.testing.assert_array_equal(back["large"], TORTURE["large"])
    assert decode(hidden(path, "a")["original_metadata_json"][()])["again"]["huge"] == 2**70
    assert "kept as text" not in caplog.text

    (seen,) = read_all(path)
    metadata = seen.metadata
    assert len(metadata) == len(TORTURE)
    assert metadata["none"] == "null"
    assert metadata["text"] == "µm"
    assert list(metadata["names"]) == ["hit", "miß"]
    assert metadata["with none"] == "[1, null]"
    assert metadata["records"]["1"]["a"] == "null"
    assert metadata["enum"] == "RED"
    assert "hidden" in metadata["large"]
    assert seen.original_metadata["again"]["a_b"]["c_d"] == 1


@pytest.mark.parametrize("ndim", SHAPES)
def test_read_gives_back_what_was_written(tmp_path: Path, make: Make, ndim: int) -> None:
    values = np.random.default_rng(ndim).integers(0, 99, SHAPES[ndim]).astype("u2")
    metadata = {key: value for key, value in TORTURE.items() if key not in ("array", "large", "objects", "words", "nan", "path", "enum")}
    dataset = make(values, metadata=metadata, original_metadata=metadata)
    path = write({"current": dataset}, tmp_path / "out.h5", compression="gzip")
    (back,) = read(path).values()
    assert unwrap(back)[1] == unwrap(dataset)[1]
    np.testing.assert_array_equal(back.compute(), values)
    assert back.metadata == back.original_metadata == metadata
    assert back.data_type == dataset.data_type


def test_several_datasets_share_one_pass(tmp_path: Path, make: Make) -> None:
    calls: list[int] = []

    def load(block: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        calls.append(1)
        return block + 1.0

    raw = da.zeros((7, 5), chunks=(3, 2)).map_blocks(load, dtype=float, meta=np.empty((0, 0)))
    datasets = {"sum": make(raw.sum(axis=1)), "twice": make(raw * 2), "raw": make(raw), "again": make(raw)}
    seen: list[tuple[int, int]] = []
    path = write(datasets, tmp_path / "out.h5", progress=lambda written: seen.append((written.done, written.total)))
    assert len(calls) == raw.npartitions
    n_blocks = sum(dataset.npartitions for dataset in datasets.values())
    assert seen == [(i + 1, n_blocks) for i in range(n_blocks)]
    with h5py.File(path) as file:
        channel = file["Measurement_000/Channel_000"]
        assert sorted(channel) == sorted(datasets)
        np.testing.assert_array_equal(channel["sum/sum"][()], np.full(7, 5.0))
        np.testing.assert_array_equal(channel["twice/twice"][()], np.full((7, 5), 2.0))
        np.testing.assert_array_equal(channel["again/again"][()], np.ones((7, 5)))


def test_record_holds_what_replay_needs(tmp_path: Path, make: Make, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dark = ArrayValue(np.arange(6, dtype="u2"))
    read = make(np.zeros(7))
    tree = Provenance(
        "run",
        {"pipeline": [{"SubtractDark": {"dark": {"$array": dark.digest}}}], "device": "cpu"},
        (provenance_of(read),),
        arrays={dark.digest: dark},
    )
    digests: list[str] = []
    monkeypatch.setattr("pycroclass.provenance.digest_file", lambda path, kind: digests.append(path) or digest_file(path, kind))
    path = write({name: make(np.zeros(7), provenance=tree) for name in "abc"}, tmp_path / "out.h5", digest="full", group="/M/C/")
    assert digests == [str(source)]
    with h5py.File(path) as file:
        place = file[f"M/C/b/{HIDDEN}"]
        text = place["provenance_json"].asstr()[()]
        record = json.loads(text)
        np.testing.assert_array_equal(place[f"arrays/{dark.digest}"][()], dark.values)
        assert place["arrays"][dark.digest] == file[f"M/C/a/{HIDDEN}/arrays"][dark.digest]
        assert hdf_utils.get_all_main(file)
    assert (record["format"], record["dataset"], record["device"]) == (1, "b", "cpu")
    assert {"python", "pycroclass", "torch", "numpy", "dask", "sidpy", "h5py"} <= set(record["versions"])
    assert record["started"] <= record["finished"]
    back = Provenance.from_dict(record["tree"], {dark.digest: dark})
    assert (back.verb, back.inputs[0].verb) == ("run", "read")
    assert back.inputs[0].files[0].digest == digest_file(source, "full")
    assert len(read_all(path)) == 3


def test_given_data_are_recorded_as_such(tmp_path: Path) -> None:
    path = write({"x": sidpy.Dataset.from_array(np.eye(3), title="t")}, tmp_path / "out.h5")
    assert json.loads(hidden(path, "x")["provenance_json"][()])["tree"]["verb"] == "given"


def test_changed_sources_are_refused(tmp_path: Path, make: Make, source: Path) -> None:
    dataset = make(np.zeros(7))
    source.write_bytes(b"else")
    with pytest.raises(WriteError, match="changed or removed since it was read"):
        write({"a": dataset}, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_source_that_changes_meanwhile_is_refused(tmp_path: Path, make: Make, source: Path) -> None:
    def touch(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        source.write_bytes(b"else")
        return block

    dataset = make(da.zeros(7, chunks=3).map_blocks(touch, dtype=float, meta=np.empty(0)))
    with pytest.raises(WriteError, match="changed while"):
        write({"a": dataset}, tmp_path / "out.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.raw"]


def test_a_new_time_alone_is_no_change(tmp_path: Path, make: Make, source: Path) -> None:
    def touch(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        source.touch()
        return block

    write({"a": make(da.zeros(7, chunks=3).map_blocks(touch, dtype=float, meta=np.empty(0)))}, tmp_path / "out.h5")


BAD_NAMES = ["", " ", "a/b", "a-b", ".", "_x", "a ", "metadata", 3]


@pytest.mark.parametrize("name", BAD_NAMES, ids=str)
def test_bad_names(tmp_path: Path, make: Make, name: str) -> None:
    with pytest.raises(ParameterError, match="name"):
        write({name: make(np.zeros(7))}, tmp_path / "out.h5")


def test_what_cannot_be_written(tmp_path: Path, make: Make) -> None:
    out = tmp_path / "out.h5"
    fine = make(np.zeros((7, 5)))
    with pytest.raises(ParameterError, match="by name"):
        write({}, out)
    with pytest.raises(ParameterError, match="by name"):
        write(fine, out)
    with pytest.raises(AxisError, match="ndarray"):
        write({"a": np.zeros(3)}, out)
    with pytest.raises(WriteError, match="beside its axis 'row'"):
        write({"row": fine}, out)
    with pytest.raises(WriteError, match="object"):
        write({"a": make(np.array(["a"] * 7, dtype=object))}, out)
    with pytest.raises(WriteError, match="U1"):
        write({"a": make(np.array(["a"] * 7))}, out)
    with pytest.raises(ParameterError, match="compression"):
        write({"a": fine}, out, compression="zip")
    with pytest.raises(ParameterError, match="chunks"):
        write({"a": fine}, out, chunks=(2,))
    with pytest.raises(ParameterError, match="chunks"):
        write({"a": fine}, out, chunks=5)
    with pytest.raises(ParameterError, match="digest"):
        write({"a": fine}, out, digest="md5")
    with pytest.raises(WriteError, match="cannot hold"):
        write({"a": make(np.zeros(7), title="nul\0")}, out)
    with pytest.raises(ParameterError, match="group"):
        write({"a": fine}, out, group="a//b")
    with pytest.raises(WriteError, match="no folder"):
        write({"a": fine}, tmp_path / "missing" / "out.h5")
    with pytest.raises(WriteError, match="is a folder"):
        write({"a": fine}, tmp_path)
    with pytest.raises(WriteError, match="is a source"):
        write({"a": fine}, tmp_path / "source.raw", overwrite=True)
    varying = make(np.zeros(7))
    varying.variance = np.ones(7)
    with pytest.raises(WriteError, match="variance"):
        write({"a": varying}, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.raw"]


@pytest.mark.parametrize("wrong", [lambda b: b[:1], lambda b: b + 0.5], ids=["shape", "dtype"])
def test_blocks_other_than_declared(tmp_path: Path, make: Make, wrong: Any) -> None:
    array = da.zeros(7, chunks=3, dtype="i4").map_blocks(wrong, dtype="i4", meta=np.empty(0, "i4"))
    with pytest.raises(DataError, match="declared"):
        write({"a": make(array)}, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_append_beside_the_source(tmp_path: Path, make: Make) -> None:
    path = write({"raw": make(np.arange(7.0))}, tmp_path / "out.h5")
    path.chmod(0o640)
    place = append({"label": make(np.ones(7, "u1"), title="label")}, path, name="KMeans")
    assert place == "/Measurement_000/Channel_000/Log_KMeans_000"
    assert append({"label": make(np.zeros(7))}, path, beside="Measurement_000/Channel_000/raw/raw", name="KMeans").endswith("_001")
    assert append({"label": make(np.zeros(7))}, path, beside="Measurement_000/Channel_000/raw").endswith("Log_pycroclass_000")
    assert append({"label": make(np.zeros(7))}, path, beside="Measurement_000/Channel_000").endswith("Log_pycroclass_001")
    assert append({"more": make(np.zeros(7))}, path, beside=f"{place}/label/label").endswith("Channel_000/Log_pycroclass_002")
    assert path.stat().st_mode & 0o777 == 0o640
    with h5py.File(path) as file:
        assert len(hdf_utils.get_all_main(file)) == 6
        np.testing.assert_array_equal(file["Measurement_000/Channel_000/raw/raw"][()], np.arange(7.0))
        np.testing.assert_array_equal(file[f"{place}/label/label"][()], 1)
    assert [back.title for back in read_all(path)].count("label") == 1


def test_append_refuses(tmp_path: Path, make: Make, source: Path) -> None:
    dataset = make(np.zeros(7))
    with pytest.raises(WriteError, match="does not exist"):
        append({"a": dataset}, tmp_path / "none.h5")
    with pytest.raises(WriteError, match="no HDF5 file"):
        append({"a": dataset}, source)
    path = write({"raw": dataset}, tmp_path / "out.h5")
    before = path.read_bytes()
    with pytest.raises(WriteError, match="nothing at"):
        append({"a": dataset}, path, beside="nowhere")
    with pytest.raises(ParameterError, match="name"):
        append({"a": dataset}, path, name="a/b")
    with h5py.File(path, "r+"), pytest.raises(WriteError, match="open for writing"):
        append({"a": dataset}, path)
    assert path.read_bytes() == before
    with h5py.File(path, "r+") as file:
        file.copy("Measurement_000/Channel_000", "Measurement_000/Channel_001")
    with pytest.raises(WriteError, match="2 channels"):
        append({"a": dataset}, path)
    assert append({"a": dataset}, path, beside="Measurement_000/Channel_001").startswith("/Measurement_000/Channel_001/Log_")


def test_main_dataset_directly_in_the_channel(tmp_path: Path, make: Make) -> None:
    path = write({"raw": make(np.zeros(7))}, tmp_path / "out.h5", group="Measurement_000")
    place = append({"a": make(np.zeros(7))}, path)
    assert place == "/Measurement_000/Log_pycroclass_000"
    assert len(read_all(path)) == 2
