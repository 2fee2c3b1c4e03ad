"""Velox EMD: files made here by the published layout, and real ones."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import SciFiReaders

from pycroclass.errors import ReadError
from pycroclass.readers import read

RNG = np.random.default_rng(0)
N_Y, N_X, N_CHANNELS = 3, 4, 64


def facts(detector: str, unit: str = "m") -> dict[str, Any]:
    return {
        "BinaryResult": {
            "Detector": detector,
            "PixelSize": {"width": "2e-9", "height": "3e-9"},
            "Offset": {"x": "-4e-9", "y": "6e-9"},
            "PixelUnitX": unit,
        },
        "Scan": {
            "ScanSize": {"width": "8", "height": "6"},
            "ScanArea": {"left": "0.25", "top": "0.5", "right": "0.75", "bottom": "1"},
            "FrameTime": "0.5",
        },
        "Optics": {"AccelerationVoltage": "200000"},
        "Detectors": {"Detector-4": {"DetectorName": "SuperX1", "OffsetEnergy": "-100", "Dispersion": "10"}},
    }


def add(file: h5py.File, place: str, data: np.ndarray, metadata: dict[str, Any]) -> h5py.Group:
    group = file.create_group(f"Data/{place}")
    group["Data"] = data
    text = np.frombuffer(json.dumps(metadata).encode().ljust(4000, b"\0"), np.uint8)
    group["Metadata"] = np.repeat(text[:, None], 2, axis=1)
    return group


def write(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames (y, x, frame), and the spectrum image that the stream stands for."""
    frames = RNG.integers(0, 999, (N_Y, N_X, 5)).astype("u2")
    spectra = np.zeros((N_Y * N_X, N_CHANNELS), np.uint32)
    stream: list[int] = []
    for pixel in [*range(N_Y * N_X)] * 3:  # three frames
        counts = RNG.integers(0, N_CHANNELS, RNG.poisson(4))
        np.add.at(spectra[pixel], counts, 1)
        stream += [*counts.tolist(), 65535]
    with h5py.File(path, "w") as file:
        file["Version"] = "1.0"
        add(file, "Image/a1", frames, facts("HAADF"))
        add(file, "Image/a2", frames[..., :1], facts("Ceta", "1/m"))
        group = add(file, "SpectrumStream/b1", np.array(stream, "u2")[:, None], facts("SuperX"))
        group.create_dataset("AcquisitionSettings", data=[json.dumps({"bincount": str(N_CHANNELS)})], dtype=h5py.string_dtype())
        shown = {"dataPath": "/Data/Image/a1", "display": {"label": "My image"}}
        display = file.create_group("Presentation/Displays/ImageDisplay")
        display.create_dataset("c1", data=[json.dumps(shown)], dtype=h5py.string_dtype())
    return frames, spectra.reshape(N_Y, N_X, N_CHANNELS)


def test_images_and_spectra(tmp_path: Path) -> None:
    frames, spectra = write(tmp_path / "a.emd")
    datasets = read(tmp_path / "a.emd")
    assert list(datasets) == ["My image", "Ceta", "SuperX"]
    np.testing.assert_array_equal(datasets["My image"].compute(), np.moveaxis(frames, 2, 0))
    np.testing.assert_array_equal(datasets["My image"][1:3, 2, 1:].compute(), np.moveaxis(frames, 2, 0)[1:3, 2, 1:])
    np.testing.assert_array_equal(datasets["Ceta"].compute(), frames[..., 0])
    np.testing.assert_array_equal(datasets["SuperX"].compute(), spectra)
    assert [dataset.data_type.name for dataset in datasets.values()] == ["IMAGE_STACK", "IMAGE", "SPECTRAL_IMAGE"]


def test_axes(tmp_path: Path) -> None:
    write(tmp_path / "a.emd")
    datasets = read(tmp_path / "a.emd")
    image, diffraction, spectra = datasets.values()
    assert (image.x.units, diffraction.kx.units, spectra.energy.units) == ("nm", "1/nm", "eV")
    np.testing.assert_allclose(image.x.values[:2], [-4, -2])
    np.testing.assert_allclose(image.y.values[:2], [6, 9])
    np.testing.assert_allclose(spectra.energy.values[:2], [-100, -90])
    assert spectra.metadata["experiment"]["acceleration_voltage"] == 200000.0


def test_blocks_of_spectra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, spectra = write(tmp_path / "a.emd")
    monkeypatch.setattr("pycroclass.source.CHUNK_BYTES", 2 * N_CHANNELS * 4)
    dataset = read(tmp_path / "a.emd")["SuperX"]
    assert dataset.chunks[:2] == ((1, 1, 1), (2, 2))
    np.testing.assert_array_equal(dataset.compute(), spectra)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset)).compute(), spectra)


def test_damaged_file(tmp_path: Path) -> None:
    write(tmp_path / "a.emd")
    with h5py.File(tmp_path / "a.emd", "r+") as file:
        del file["Data/Image/a1/Metadata"]
    with pytest.raises(ReadError, match=r"a\.emd"):
        read(tmp_path / "a.emd")


def test_file_without_data(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["Version"] = "1.0"
        file.create_group("Data/Text")
    with pytest.raises(ReadError, match="neither images nor spectrum streams"):
        read(tmp_path / "a.emd")


def test_truncated_after_opening(tmp_path: Path) -> None:
    write(tmp_path / "a.emd")
    datasets = read(tmp_path / "a.emd")
    (tmp_path / "a.emd").write_bytes((tmp_path / "a.emd").read_bytes()[:3000])
    for dataset in datasets.values():
        with pytest.raises(ReadError, match=r"a\.emd"):
            dataset.compute()


@pytest.mark.shared
def test_sum_spectrum_is_the_one_of_velox(shared: Path) -> None:
    file = shared / "native/scifidatasets/EMDReader_Spectrum_FEI.emd"
    with h5py.File(file, "r") as velox:
        (stored,) = (group["Data"][:, 0] for group in velox["Data/Spectrum"].values())
    np.testing.assert_array_equal(read(file)["SuperXG2"].compute(), stored)


@pytest.mark.shared
def test_real_files_as_scifireaders_reads_them(shared: Path, tmp_path: Path) -> None:
    """SciFiReaders counts x first, puts each count one channel too low when it does not bin, and opens the file for writing."""
    source = shared / "native/scifidatasets/EMDReader_SpectrumImage_Si.emd"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = shutil.copy(source, tmp_path / "a.emd")
        image, spectra = SciFiReaders.EMDReader(str(copy)).read(bin_xy=1).values()
    ours = read(source)
    np.testing.assert_array_equal(ours["HAADF"].compute(), np.asarray(image))
    np.testing.assert_array_equal(ours["SuperXG2"].compute()[..., 1:], np.asarray(spectra)[..., :-1])
    np.testing.assert_allclose(np.diff(ours["SuperXG2"].x.values), np.diff(spectra.x.values))
