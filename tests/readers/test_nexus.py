"""NeXus: Eiger series over several files, masks, geometry in units, and other plottable data."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from pycroclass.errors import ReadError
from pycroclass.readers import read
from pycroclass.sid import provenance_of, unwrap

FRAMES = np.random.default_rng(0).poisson(2, (7, 33, 41)).astype("u4")


def valued(group: h5py.Group, name: str, value: object, units: str | None) -> None:
    group[name] = value
    if units is not None:
        group[name].attrs["units"] = units


def eiger(folder: Path, sizes: tuple[int, ...] = (3, 3, 1), units: bool = True) -> Path:
    """A master file with links to bitshuffle-LZ4 files, as the detector writes them."""
    start = 0
    with h5py.File(folder / "run_master.h5", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs["NX_class"] = np.bytes_(b"NXdata")
        for i, size in enumerate(sizes, 1):
            name = f"run_data_{i:06d}.h5"
            with h5py.File(folder / name, "w") as part:
                frames = FRAMES[start : start + size]
                part.create_dataset("entry/data/data", data=frames, chunks=(1, 33, 41), **hdf5plugin.Bitshuffle(cname="lz4"))
            data[f"data_{i:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
            start += size
        instrument = entry.create_group("instrument")
        instrument.attrs["NX_class"] = "NXinstrument"
        detector = instrument.create_group("detector")
        detector.attrs["NX_class"] = "NXdetector"
        for name, value, unit in [
            ("beam_center_x", 20.5, "pixel"),
            ("beam_center_y", 12.5, "pixel"),
            ("x_pixel_size", 75e-6, "m"),
            ("y_pixel_size", 0.075, "mm"),
            ("detector_distance", 0.2, "m"),
        ]:
            valued(detector, name, value, unit if units else None)
        valued(instrument.create_group("beam"), "incident_wavelength", 1.0, "angstrom" if units else None)
        detector["detectorSpecific/pixel_mask"] = (FRAMES[0] > 5).astype("u4")
        detector["description"] = "Dectris Eiger"
    return folder / "run_master.h5"


def test_a_series_is_one_stack_in_order(tmp_path: Path) -> None:
    found = read(eiger(tmp_path))
    assert list(found) == ["image", "mask"]
    assert np.array_equal(np.asarray(found["image"].compute()), FRAMES)
    assert np.array_equal(np.asarray(found["mask"].compute()), FRAMES[0] > 5)
    assert [Path(s.path).name for s in provenance_of(found["image"]).files] == [
        "run_master.h5",
        *(f"run_data_{i:06d}.h5" for i in (1, 2, 3)),
    ]
    spec = unwrap(found["image"])[1]
    assert spec.names == ("frame", "y", "x")
    assert spec["x"].step == 75e-6
    assert found["image"].original_metadata["instrument/detector/description"] == "Dectris Eiger"


def test_geometry_in_si(tmp_path: Path) -> None:
    geometry = unwrap(read(eiger(tmp_path))["mask"])[1].geometry
    assert geometry is not None
    assert geometry.beam_centre == (12, 20)
    assert geometry.pixel_size == pytest.approx((75e-6, 75e-6))
    assert geometry.distance == 0.2
    assert geometry.wavelength == pytest.approx(1e-10)


def test_no_units_no_geometry(tmp_path: Path) -> None:
    dataset = read(eiger(tmp_path, units=False))["image"]
    assert unwrap(dataset)[1].geometry is None
    assert dataset.original_metadata["instrument/detector/detector_distance"] == 0.2


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    (tmp_path / "run_data_000002.h5").unlink()
    with pytest.raises(ReadError, match=r"links to run_data_000002\.h5, which is missing"):
        read(path)


def test_a_damaged_or_foreign_part_is_named(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    part = tmp_path / "run_data_000003.h5"
    part.write_bytes(part.read_bytes()[:900])
    with pytest.raises(ReadError, match=r"run_data_000003\.h5"):
        read(path)
    with h5py.File(part, "w") as file:
        file["entry/data/data"] = np.zeros((2, 5, 5), "u4")
    with pytest.raises(ReadError, match=r"run_data_000003\.h5: holds frames of \(5, 5\)"):
        read(path)
    with h5py.File(part, "w") as file:
        file["other"] = 1
    with pytest.raises(ReadError, match=r"run_data_000003\.h5: has no dataset of numbers at '/entry/data/data'"):
        read(path)


def test_other_data_by_their_path(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "xanes"})
        for name in ("map", "xanes"):
            group = entry.create_group(name)
            group.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["sample_x", "energy"]})
            group["counts"] = np.ones((3, 9))
            valued(group, "sample_x", [0.0, 1.0, 2.0], "um")
            valued(group, "energy", np.linspace(7000, 7100, 9), "eV")
    found = read(tmp_path / "a.nxs")
    assert list(found) == ["entry/xanes", "entry/map"]
    spec = unwrap(found["entry/map"])[1]
    assert [(axis.name, axis.kind.value, axis.units) for axis in spec.axes] == [("sample_x", "spatial", "um"), ("energy", "spectral", "eV")]


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    found = read(shared / "diffraction/formats/nexus-example.hdf5")
    spec = unwrap(found["image"])[1]
    assert spec.names == ("sample_times", "vertical", "horizontal")
    assert spec.shape == (10, 195, 487)
    assert spec.units == "counts"
    assert spec.geometry is not None
    assert spec.geometry.beam_centre == pytest.approx((-6.15, 99.45), abs=0.01)  # the file has it in pixels as well: -5.65, 99.95
    assert spec.geometry.distance == pytest.approx(0.5408)
    assert spec.geometry.wavelength == pytest.approx(0.59040224e-10)
    with h5py.File(shared / "diffraction/formats/nexus-example.hdf5", "r") as file:
        assert np.array_equal(np.asarray(found["image"].compute()), file["entry/data/frames"][()])
    silver = read(shared / "diffraction/formats/AgBehenate_228.hdf5")["image"]
    assert silver.shape == (195, 487)
    assert unwrap(silver)[1].geometry is None
    assert silver.metadata["detector"]["wavelength"] == pytest.approx(0.73362836e-10)
