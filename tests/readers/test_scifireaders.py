from __future__ import annotations

import csv
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import sidpy

from pycroclass.errors import MissingDependencyError, ReadError
from pycroclass.readers import read, scifireaders
from pycroclass.readers.cache import LoadedFiles
from pycroclass.readers.scifireaders import ADAPTERS, Adapter

MEASURED = Path(__file__).parents[2] / "docs" / "reference" / "native_files.csv"
FORMAT = "Omicron ASC"
"""A format that is told by its name alone: the fake reader below stands in for it."""


def rows() -> list[dict[str, str]]:
    with MEASURED.open(newline="") as file:
        return list(csv.DictReader(file))


def axes_of(dataset: sidpy.Dataset) -> str:
    return ", ".join(f"{a.name} ({a.dimension_type.name.lower()}, {a.units})" for a in dataset._axes.values())


def image(title: str = "generic", *, quantity: str = "generic", dtype: str = "f4") -> sidpy.Dataset:
    dataset = sidpy.Dataset.from_array(np.arange(15, dtype=dtype).reshape(3, 5), title=title, quantity=quantity)
    dataset.data_type = "image"
    for i, name in enumerate("yx"):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(dataset.shape[i]), name, dimension_type="temporal", units="frame"))
    return dataset


class FakeReader:
    """Returns and does what a test asks for."""

    found: ClassVar[Any] = None
    n_loads: ClassVar[int] = 0

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def read(self, **options: object) -> object:
        type(self).n_loads += 1
        print("frames: 3")
        np.array([1.0]) / np.array([0.0])
        if self.path.suffix == ".bad":
            raise AssertionError
        return type(self).found

    @classmethod
    def returns(cls, found: object) -> None:
        cls.found, cls.n_loads = found, 0


class ScribblingReader(FakeReader):
    """Changes the file that it reads."""

    def read(self, **options: object) -> object:
        with self.path.open("ab") as file:
            file.write(b"mine")
        return image("scan")


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scifireaders, "_CACHE", LoadedFiles(scifireaders._size))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setitem(ADAPTERS, FORMAT, Adapter("FakeReader", module=__name__))
    path = tmp_path / "scan.asc"
    path.write_bytes(b"something")
    return path


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        (image("height"), ["height"]),
        ([image("height"), image("height"), image("phase")], ["height", "height 2", "phase"]),
        ({"Channel_000": image("height"), "text": None}, ["height"]),
        ({"Channel_000": image()}, ["Channel_000"]),
        (image(quantity="current"), ["current"]),
        (image(quantity='S [Deflection] "Deflection Error"'), ["Deflection Error"]),
        ({"scan": image("height"), "cloud": {"point_0": image("s"), "point_1": image("s")}}, ["height", "cloud/point_0", "cloud/point_1"]),
    ],
    ids=["single", "list", "dict with None", "untitled", "quantity", "quoted", "nested"],
)
def test_whatever_a_reader_returns_becomes_one_dict(file: Path, found: object, keys: list[str]) -> None:
    FakeReader.returns(found)
    datasets = read(file)
    assert list(datasets) == keys
    assert [dataset.title for dataset in datasets.values()] == keys


def test_dtype_is_native_and_image_axes_are_spatial(file: Path) -> None:
    FakeReader.returns(image("height", dtype=">f4"))
    dataset = read(file)["height"]
    assert dataset.dtype.isnative
    assert axes_of(dataset) == "y (spatial, generic), x (spatial, generic)"
    np.testing.assert_array_equal(dataset.compute(), np.arange(15).reshape(3, 5))


def test_a_file_is_loaded_once_and_its_values_do_not_travel(file: Path) -> None:
    FakeReader.returns([image("a"), image("b")])
    datasets = read(file)
    read(file)
    graph = pickle.dumps(dict(datasets["a"].dask))
    for dataset in datasets.values():
        dataset.compute()
    assert FakeReader.n_loads == 1
    assert len(graph) < 2000
    assert np.arange(15, dtype="f4").tobytes() not in graph


def test_computed_values_are_a_copy(file: Path) -> None:
    FakeReader.returns(image("height"))
    dataset = read(file)["height"]
    dataset.compute()[:] = -1
    assert dataset.compute().max() == 14


def test_prints_and_warnings_are_logged(file: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    FakeReader.returns(image("height"))
    with caplog.at_level(logging.INFO):
        read(file)
    assert capsys.readouterr().out == ""
    assert "frames: 3" in caplog.text
    assert "divide by zero" in caplog.text


def test_any_error_of_a_reader_is_ours(tmp_path: Path, file: Path) -> None:
    bad = file.rename(tmp_path / "scan.bad")
    with pytest.raises(ReadError, match=r"scan\.bad: SciFiReaders\.FakeReader cannot read this file \(AssertionError\)") as caught:
        read(bad, format=FORMAT)
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("found", [None, [], {}, sidpy.Dataset.from_array(np.array(["text"]))], ids=["None", "list", "dict", "text"])
def test_a_file_without_numbers_is_an_error(file: Path, found: object) -> None:
    FakeReader.returns(found)
    with pytest.raises(ReadError, match="no arrays of numbers"):
        read(file)


def test_a_file_that_changed_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeReader.returns(image("height"))
    dataset = read(file)["height"]
    file.write_bytes(b"something else")
    monkeypatch.setattr(scifireaders, "_CACHE", LoadedFiles(scifireaders._size))
    with pytest.raises(ReadError, match="changed or removed"):
        dataset.compute()


def test_a_reader_that_writes_gets_a_copy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADAPTERS, FORMAT, Adapter("ScribblingReader", module=__name__, is_writer=True))
    file.chmod(0o444)
    before = file.stat()
    assert list(read(file)) == ["scan"]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (b"something", before.st_mtime_ns)


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADAPTERS, "Igor IBW", Adapter("IgorIBWReader", package="no_such_package"))
    path = tmp_path / "scan.ibw"
    path.write_bytes(b"\x05\0 and so on")
    with pytest.raises(MissingDependencyError, match=r"'no_such_package'.*pycroclass\[igor\]"):
        read(path)


def test_a_foreign_file_is_refused_before_its_reader_can_hang(tmp_path: Path) -> None:
    path = tmp_path / "scan.mdt"
    path.write_bytes(b"\xff" * 4096)
    with pytest.raises(ReadError, match="does not begin as a file of NT-MDT does"):
        read(path, format="NT-MDT")


def test_every_reader_of_scifireaders_is_there() -> None:
    exported = {reader.__name__ for reader in __import__("SciFiReaders").readers.all_readers}
    assert exported - {"DM3Reader"} <= {adapter.reader for adapter in ADAPTERS.values()}


@pytest.mark.shared
@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['file'][-28:]}-{row['key']}")
def test_real_file(shared: Path, row: dict[str, str]) -> None:
    path = shared / "native" / "scifidatasets" / row["file"]
    before = path.stat()
    if row["error"]:
        with pytest.raises(ReadError, match=r"SciFiReaders\.\w+ cannot read this file") as caught:
            read(path)
        assert type(caught.value.__cause__).__name__ == row["error"]
        return
    datasets = read(path)
    dataset = datasets[row["key"]]
    assert len(datasets) == int(row["datasets"])
    assert "×".join(map(str, dataset.shape)) == row["shape"]
    assert (str(dataset.dtype), dataset.units, axes_of(dataset)) == (row["dtype"], row["units"], row["axes"])
    values = dataset.compute()
    assert (values.shape, values.dtype) == (dataset.shape, dataset.dtype)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.shared
def test_nanonis_grid_is_calibrated(shared: Path) -> None:
    dataset = read(shared / "native" / "scifidatasets" / "NanonisReader_STS_grid_lockin.3ds")["Current (A)"]
    y, x, bias = (np.array(dataset._axes[i].values) for i in range(3))
    np.testing.assert_allclose([bias[0], bias[-1]], [-0.22, 0.22], rtol=1e-6)
    np.testing.assert_allclose([y[1] - y[0], x[1] - x[0]], 5e-9 / 30)
    assert dataset.quantity == "Current"
