"""USID files: main datasets of two axes become N-dimensional, lazily."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

from pycroclass.errors import ReadError
from pycroclass.readers import read
from pycroclass.readers.hdf5_file import Hdf5Array
from pycroclass.readers.usid import UsidArray
from pycroclass.sid import unwrap

Axes = list[tuple[str, str, np.ndarray]]
POSITIONS: Axes = [("Y", "m", np.arange(5) * 2e-9), ("X", "m", np.arange(7) * 1e-9)]
SPECTRA: Axes = [("Cycle", "", np.arange(2.0)), ("Bias", "V", np.sin(np.arange(11)))]


def usid(path: Path, values: np.ndarray, positions: Axes, spectra: Axes, keep: int | None = None, reverse: bool = False) -> Path:
    """Slowest axis first in ``positions``; pyUSID writes the fastest first when ``reverse``."""
    with h5py.File(path, "w") as file:
        file["Measurement_000"] = (group := file.create_group("tmp"))
        del file["tmp"]
        group.attrs["instrument"] = "SPM"
        channel = group.create_group("Channel_000")
        main = channel.create_dataset("Raw_Data", data=values.reshape(int(np.prod([len(a[2]) for a in positions])), -1)[:keep])
        main.attrs.update({"quantity": "Current", "units": "nA"})
        for side, axes in (("Position", positions), ("Spectroscopic", spectra)):
            table = np.array(list(product(*(range(len(a[2])) for a in axes))), dtype="u4")
            points = np.stack([axis[2][table[:, i]] for i, axis in enumerate(axes)], 1)
            order = range(len(axes))[:: -1 if reverse else 1]
            for what, array in (("Indices", table[:, list(order)]), ("Values", points[:, list(order)])):
                array = array[:keep] if side == "Position" else array.T
                held = channel.create_dataset(f"{side}_{what}", data=array)
                held.attrs["labels"] = [axes[i][0] for i in order]
                held.attrs["units"] = [axes[i][1] for i in order]
                main.attrs[f"{side}_{what}"] = held.ref
    return path


@pytest.mark.parametrize("reverse", [False, True])
def test_all_axes_with_values_and_units(tmp_path: Path, reverse: bool) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7, 2, 11)).astype("f4")
    (key, dataset), *others = read(usid(tmp_path / "a.h5", values, POSITIONS, SPECTRA, reverse=reverse)).items()
    assert not others
    assert key == "Measurement_000/Channel_000/Raw_Data"
    assert (dataset.title, dataset.units, dataset.quantity) == ("Raw_Data", "nA", "Current")
    assert np.array_equal(np.asarray(dataset.compute()), values)
    array, spec = unwrap(dataset)
    assert spec.names == ("Y", "X", "Cycle", "Bias")
    assert [axis.kind.value for axis in spec.axes] == ["spatial", "spatial", "spectral", "spectral"]
    assert spec["Bias"].units == "V"
    np.testing.assert_allclose(spec["Bias"].values, np.sin(np.arange(11)))
    np.testing.assert_allclose(spec["Y"].values, np.arange(5) * 2e-9)
    assert np.array_equal(array[1:4, 2, :, 3:5].compute(), values[1:4, 2, :, 3:5])
    assert dataset.metadata["instrument"] == "SPM"


def test_any_chunk_of_any_grid(tmp_path: Path) -> None:
    values = np.arange(5 * 7 * 2 * 11.0).reshape(5, 7, 2, 11)
    path = usid(tmp_path / "a.h5", values, POSITIONS, SPECTRA)
    load = UsidArray(Hdf5Array(str(path), "/Measurement_000/Channel_000/Raw_Data"), values.shape, 2)
    for part in [(slice(1, 3), slice(2, 5), slice(0, 2), slice(4, 9)), (slice(4, 5), slice(6, 7), slice(1, 2), slice(10, 11))]:
        assert np.array_equal(load(part), values[part])


def test_a_map_that_was_stopped_keeps_its_points(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(5, 7, 2, 11))
    (dataset,) = read(usid(tmp_path / "a.h5", values, POSITIONS, SPECTRA, keep=20)).values()
    assert unwrap(dataset)[1].names == ("position", "Cycle", "Bias")
    assert np.array_equal(np.asarray(dataset.compute()), values.reshape(35, 2, 11)[:20])


def test_one_position_and_a_single_step(tmp_path: Path) -> None:
    one: Axes = [("Y", "m", np.zeros(1)), ("X", "m", np.zeros(1))]
    (dataset,) = read(usid(tmp_path / "a.h5", np.arange(11.0), one, SPECTRA[1:])).values()
    assert dataset.shape == (1, 1, 11)


def test_ancillary_data_must_fit(tmp_path: Path) -> None:
    path = usid(tmp_path / "a.h5", np.zeros((5, 7, 2, 11)), POSITIONS, SPECTRA)
    with h5py.File(path, "r+") as file:
        channel = file["Measurement_000/Channel_000"]
        channel["short"] = np.zeros((3, 2), "u4")
        channel["Raw_Data"].attrs["Position_Indices"] = channel["short"].ref
    with pytest.raises(ReadError, match="does not fit"):
        read(path)
    with h5py.File(path, "r+") as file:
        channel = file["Measurement_000/Channel_000"]
        del channel["Spectroscopic_Values"]
        del channel["Raw_Data"].attrs["Spectroscopic_Values"]
        channel["Raw_Data"].attrs["Position_Indices"] = channel["Position_Indices"].ref
    with pytest.raises(ReadError, match="has no Spectroscopic_Values"):
        read(path)
    assert "Measurement_000/Channel_000/Raw_Data" in read(path, format="HDF5")
