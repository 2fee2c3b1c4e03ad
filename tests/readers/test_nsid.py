"""NSID files of pyNSID, of SciFiReaders' writer and of pycroclass: what was written comes back, lazily."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pyNSID
import pytest
import sidpy

from pycroclass.errors import ReadError
from pycroclass.metadata_json import HIDDEN, encode, member
from pycroclass.readers import read
from pycroclass.sid import provenance_of, unwrap
from pycroclass.spec import AxisKind

DTYPES = ["f2", "f4", "f8", "i1", "u1", "u2", "u4", "i8", "u8", "c8", "c16", ">f4", ">i2", "?"]


def spectrum_image(dtype: str = "f4") -> sidpy.Dataset:
    values = (np.arange(3 * 5 * 7) % 100).reshape(3, 5, 7).astype(dtype)
    dataset = sidpy.Dataset.from_array(values, title="scan", units="nA", quantity="current")
    dataset.data_type = "SPECTRAL_IMAGE"
    dataset.modality, dataset.source = "STM", "microscope"
    for i, (name, kind, units) in enumerate([("y", "spatial", "nm"), ("x", "spatial", "nm"), ("bias", "spectral", "V")]):
        axis = sidpy.Dimension(np.linspace(-1, 1, values.shape[i]) ** (3 if name == "bias" else 1), name=name)
        axis.dimension_type, axis.units, axis.quantity = kind, units, name
        dataset.set_dimension(i, axis)
    dataset.metadata = {"tip": {"radius": 2.5, "material": "PtIr"}, "setpoint": 3, "names": ["a", "µ"], "classes": ["one", "two"]}
    dataset.original_metadata = {"raw": np.arange(4)}
    return dataset


def written(path: Path, dataset: sidpy.Dataset, name: str = "scan") -> Path:
    with h5py.File(path, "a") as file:
        pyNSID.hdf_io.write_nsid_dataset(dataset, file.require_group("Measurement_000/Channel_000"), main_data_name=name)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_of_pynsid_keep_everything(tmp_path: Path, dtype: str) -> None:
    original = spectrum_image(dtype)
    expected = original.compute()
    (key, dataset), *others = read(written(tmp_path / "a.hf5", original)).items()
    assert not others
    assert key == "Measurement_000/Channel_000/scan/scan"
    assert dataset.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(np.asarray(dataset.compute()), np.asarray(expected))
    assert (dataset.title, dataset.units, dataset.quantity) == ("scan", "nA", "current")
    assert (dataset.modality, dataset.source, dataset.data_type.name) == ("STM", "microscope", "SPECTRAL_IMAGE")
    spec = unwrap(dataset)[1]
    assert spec.names == ("y", "x", "bias")
    assert [axis.units for axis in spec.axes] == ["nm", "nm", "V"]
    assert [axis.kind for axis in spec.axes] == [AxisKind.SPATIAL, AxisKind.SPATIAL, AxisKind.SPECTRAL]
    np.testing.assert_allclose(spec["bias"].values, np.linspace(-1, 1, 7) ** 3)
    assert dataset.metadata["tip"] == {"radius": 2.5, "material": "PtIr"}
    assert dataset.metadata["names"] == ["a", "µ"]
    assert spec.classes == ("one", "two")
    assert dataset.original_metadata["raw"].tolist() == [0, 1, 2, 3]


def test_provenance_of_the_file_is_kept_beside_ours(tmp_path: Path) -> None:
    original = spectrum_image()
    original.add_provenance("elsewhere", "made", version="3", linked_data={"n": 2})
    (dataset,) = read(written(tmp_path / "a.hf5", original)).values()
    packages = [entry.get("package") for entry in dataset.provenance.values()]
    assert {"elsewhere", "pycroclass"} <= set(packages)
    assert provenance_of(dataset).verb == "read"


def test_several_datasets_by_their_paths_and_one_by_key(tmp_path: Path) -> None:
    path = written(written(tmp_path / "a.hf5", spectrum_image()), spectrum_image("u2"), "second")
    assert list(read(path)) == ["Measurement_000/Channel_000/scan/scan", "Measurement_000/Channel_000/second/second"]
    (one,) = read(f"{path}::/Measurement_000/Channel_000/second/second").values()
    assert one.dtype == np.uint16
    (axis,) = read(f"{path}::/Measurement_000/Channel_000/second/bias").values()
    assert axis.shape == (7,)


def test_the_file_is_left_alone_and_tasks_carry_paths(tmp_path: Path) -> None:
    path = written(tmp_path / "a.hf5", spectrum_image())
    before = path.stat()
    (dataset,) = read(path).values()
    with h5py.File(path, "r+"):
        pass  # nobody holds it
    assert path.stat().st_mtime_ns >= before.st_mtime_ns
    array = unwrap(dataset)[0]
    again = pickle.loads(pickle.dumps(array))
    assert len(pickle.dumps(array)) < 5_000
    assert np.array_equal(again.compute(), dataset.compute())
    assert unwrap(next(iter(read(path).values())))[0].name == array.name or path.stat().st_mtime_ns != before.st_mtime_ns


def test_metadata_of_nsidwriter(tmp_path: Path) -> None:
    path = written(tmp_path / "a.hf5", spectrum_image())
    with h5py.File(path, "r+") as file:
        home = file["Measurement_000/Channel_000/scan"]
        del home["metadata"]
        home["_metadata/tip/radius"] = 2.5
        home["_metadata/material"] = "PtIr"
        home["_metadata/raw"] = np.arange(3)
        home["_metadata"].attrs["machine_id"] = "book-keeping"
    (dataset,) = read(path).values()
    assert dataset.metadata.pop("raw").tolist() == [0, 1, 2]
    assert dataset.metadata == {"tip": {"radius": 2.5}, "material": "PtIr"}


def ours(path: Path, metadata: dict[str, object], *, complete: bool = True, name: str = "scan") -> Path:
    written(path, spectrum_image(), name)
    with h5py.File(path, "r+") as file:
        home = file[f"Measurement_000/Channel_000/{name}"]
        home[f"{HIDDEN}/{member('metadata')}"] = encode(metadata)
        home[name].attrs["title"] = "a title / with more"
        if complete:
            home[name].attrs["complete"] = True
    return path


def test_our_files_keep_metadata_exactly(tmp_path: Path) -> None:
    metadata = {"none": None, "pair": (1, 2), 3: {"x"}, "geometry": {"beam_centre": [1.5, 2.5], "distance": 0.1}}
    (dataset,) = read(ours(tmp_path / "a.h5", metadata)).values()
    assert dataset.metadata == metadata
    assert dataset.title == "a title / with more"
    geometry = unwrap(dataset)[1].geometry
    assert geometry is not None
    assert geometry.beam_centre == (1.5, 2.5)


def test_unfinished_datasets_are_left_out_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = ours(tmp_path / "a.h5", {}, complete=False)
    with pytest.raises(ReadError, match="scan, which was never finished"):
        read(path)
    ours(path, {}, name="whole")
    with caplog.at_level(logging.WARNING):
        assert list(read(path)) == ["Measurement_000/Channel_000/whole/whole"]
    assert "never finished" in caplog.text
    with pytest.raises(ReadError, match="never finished"):
        read(f"{path}::/Measurement_000/Channel_000/scan/scan")


def test_damaged_hidden_metadata_are_an_error(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.h5", {})
    with h5py.File(path, "r+") as file:
        hidden = file[f"Measurement_000/Channel_000/scan/{HIDDEN}"]
        del hidden[member("metadata")]
        hidden[member("metadata")] = json.dumps([1])
    with pytest.raises(ReadError, match="damaged"):
        read(path)


def test_axes_without_scales_and_odd_names(tmp_path: Path) -> None:
    path = written(tmp_path / "a.hf5", spectrum_image())
    with h5py.File(path, "r+") as file:
        home = file["Measurement_000/Channel_000/scan"]
        for i, name in enumerate(("y", "x", "bias")):
            home["scan"].dims[i].detach_scale(home[name])
        home["scan"].dims[0].label = "mean"
        home["scan"].dims[1].label = r"$\sqrt E$"
        home["scan"].dims[2].label = ""
    (dataset,) = read(path).values()
    assert unwrap(dataset)[1].names == ("mean_", r"$\sqrt E$", "axis_2")


def test_chunks_are_multiples_of_stored_ones_and_keep_spectra_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.h5"
    with h5py.File(path, "w") as file:
        main = file.create_dataset("a/a", (512, 512, 1024), "f4", chunks=(3, 64, 256))
        main.attrs.update({"main_data_name": "a", "data_type": "SPECTRAL_IMAGE"})
        for i, (name, kind) in enumerate([("y", "SPATIAL"), ("x", "SPATIAL"), ("energy", "SPECTRAL")]):
            scale = file.create_dataset(f"a/{name}", data=np.arange(main.shape[i], dtype=float))
            scale.attrs["dimension_type"] = kind
            main.dims[i].label = name
            main.dims[i].attach_scale(scale)
    array = unwrap(next(iter(read(path).values())))[0]
    assert array.chunks[2] == (1024,)
    assert array.chunks[0][0] % 3 == 0
    assert isinstance(array, da.Array)
    assert 1 << 24 <= array.blocks[0, 0, 0].nbytes <= 1 << 26


@pytest.mark.shared
def test_the_bfo_map(shared: Path) -> None:
    (key, dataset), *_ = read(shared / "native/pycroscopy_sample/bfo_iv_final.hf5").items()
    assert key == "Measurement_000/Channel_000/IV_BFO/IV_BFO"
    assert dataset.shape == (50, 50, 53)
    assert dataset.title == "IV_BFO"
    assert dataset.quantity == "log J"
    spec = unwrap(dataset)[1]
    assert spec.names == ("x", "y", r"$\sqrt E$")
    assert [axis.kind.value for axis in spec.axes] == ["spatial", "spatial", "spectral"]
    assert [axis.units for axis in spec.axes] == ["m", "m", "$(V/m)^{0.5}$"]
    with h5py.File(shared / "native/pycroscopy_sample/bfo_iv_final.hf5", "r") as file:
        assert np.array_equal(np.asarray(dataset.compute()), file[key][()])
