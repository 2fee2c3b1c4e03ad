from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import sidpy

from pycroclass.errors import AxisError, ParameterError, WriteError
from pycroclass.readers import read
from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
from pycroclass.writers import write_cxi

RUN = draw_run(seed=8, hit_rate=0.5, experiment=Experiment(Detector(shape=(41, 53))))


@pytest.fixture
def datasets() -> dict[str, sidpy.Dataset]:
    return simulate_run(RUN, 11)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_read_gives_back_what_was_written(datasets: dict[str, sidpy.Dataset], tmp_path: Path, compression: str | None) -> None:
    path = write_cxi(datasets, tmp_path / "run.cxi", compression=compression, event_ids=[f"shot {i}" for i in range(11)])
    found = read(path)
    for name in ("image", "mask"):
        np.testing.assert_array_equal(found[name].compute(), datasets[name].compute())
        assert found[name].dtype == datasets[name].dtype
    image = found["image"]
    given = datasets["image"].metadata["geometry"]
    for name, value in image.metadata["geometry"].items():
        np.testing.assert_allclose(value, given[name], rtol=1e-9)
    assert [axis.name for axis in image._axes.values()] == ["frame", "y", "x"]
    assert list(image.metadata["event_ids"]) == [f"shot {i}" for i in range(11)]


def test_label_keeps_its_classes(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = write_cxi(datasets, tmp_path / "run.cxi")
    (label,) = read(f"{path}::/entry_1/result_1/label").values()
    np.testing.assert_array_equal(label.compute(), datasets["label"].compute())
    assert label.metadata["classes"] == ["miss", "hit"]


def test_layout(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    with h5py.File(write_cxi(datasets, tmp_path / "run.cxi"), "r") as file:
        detector = file["entry_1/instrument_1/detector_1"]
        assert isinstance(file["entry_1/data_1"].get("data", getlink=True), h5py.SoftLink)
        assert file["entry_1/data_1/data"] == detector["data"]
        assert (detector["data"].chunks, detector["data"].compression, detector["data"].shuffle) == ((1, 41, 53), "gzip", True)
        assert detector["mask"].dtype == np.uint32
        assert detector["data"].attrs["axes"] == "experiment_identifier:y:x"
        np.testing.assert_allclose(file["entry_1/instrument_1/source_1/energy"][()] / 1.602176634e-16, 9.7482, rtol=1e-4)  # keV
        (y, x), pixel = RUN.geometry.beam_centre, RUN.experiment.detector.pixel_size
        np.testing.assert_allclose(detector["corner_position"][()], [-(x + 0.5) * pixel, -(y + 0.5) * pixel, 0.1301])
        assert file["cxi_version"][()] == 160


def test_an_existing_file_stays(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = tmp_path / "run.cxi"
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_cxi(datasets, path)
    assert path.read_bytes() == b"precious"
    write_cxi(datasets, path, overwrite=True)
    assert read(path)["image"].shape == (11, 41, 53)


def test_what_does_not_fit_is_refused(datasets: dict[str, sidpy.Dataset], tmp_path: Path) -> None:
    path = tmp_path / "run.cxi"
    with pytest.raises(ParameterError, match="wanted image"):
        write_cxi({"mask": datasets["mask"]}, path)
    with pytest.raises(ParameterError, match="wanted image"):
        write_cxi({**datasets, "other": datasets["mask"]}, path)
    with pytest.raises(ParameterError, match="11 frames, got 2"):
        write_cxi(datasets, path, event_ids=["a", "b"])
    with pytest.raises(AxisError, match="shapes"):
        write_cxi({**datasets, "label": simulate_run(RUN, 5)["label"]}, path)
    with pytest.raises(AxisError, match="pixel size, distance and wavelength"):
        write_cxi({"image": sidpy.Dataset.from_array(np.zeros((2, 3, 4)))}, path)
    assert not path.exists()
