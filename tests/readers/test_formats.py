"""The table of formats, and telling a file's format by its content."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import h5py
import numpy as np
import pytest

from pycroclass.errors import ParameterError, PycroclassError, ReadError
from pycroclass.readers import formats as table
from pycroclass.readers.detection import detect
from pycroclass.readers.formats import BUILT_IN, Format, format_named
from pycroclass.readers.options import ReadOptions


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_names_are_unique_and_found_in_any_case() -> None:
    assert len({f.name.lower() for f in BUILT_IN}) == len(BUILT_IN)
    assert format_named("nsid").name == "NSID"
    with pytest.raises(ParameterError, match="known are NSID"):
        format_named("word")


def test_the_table_imports_no_reader() -> None:
    code = "import sys, pycroclass.readers.formats; assert not {'sidpy', 'h5py', 'dask', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.dm3", b"\0\0\0\x03", "DM3/DM4"),
        ("a.tif", b"II*\0", "TIFF"),
        ("A.TIFF", b"MM\0*", "TIFF"),
        ("a.ome.tif", b"II+\0", "TIFF"),
        ("no_extension", b"\x89PNG\r\n\x1a\n", "PNG"),
        ("wrong.jpg", b"\x89PNG\r\n\x1a\n", None),
        ("a.cbf.bz2", b"BZh9", "CBF"),
        ("archive.bz2", b"BZh9", None),
        ("photo.bmp", b"BM\0\0", "BMP"),
        ("book.txt", b"BMW is a brand", None),
        ("scan.001", b"\\*Force file list\r\n", "Bruker AFM"),
        ("a.npy", b"\x93NUMPY", "NPY"),
        ("a.mrc", b"\0" * 208 + b"MAP ", "MRC"),
        ("a.sxm", b":NANONIS_VERSION:\n2", "Nanonis image"),
        ("notes.md", b"# hello", None),
        ("Labels.CSV", b"path,label", "CSV"),
        ("labels.parquet", b"PAR1", "Parquet"),
        ("train-00000-of-00407", b"\x10\0\0", "TFRecord"),
        ("train-00000-of-00407.gz", b"\x1f\x8b", "TFRecord"),
        ("train-00000-of-00407.partial", b"\x10\0\0", None),
        ("drops.tfrecord", b"\x10\0\0", "TFRecord"),
    ],
)
def test_format_by_content_and_name(tmp_path: Path, name: str, head: bytes, expected: str | None) -> None:
    path = written(tmp_path / name, head + b" ")
    if expected is None:
        with pytest.raises(ReadError, match="begins with"):
            detect(path)
    else:
        assert detect(path).name == expected


@pytest.mark.parametrize("user_block", [0, 512])
def test_layout_inside_hdf5(tmp_path: Path, user_block: int) -> None:
    def made(name: str, fill: object) -> str:
        with h5py.File(tmp_path / name, "w", userblock_size=user_block) as file:
            fill(file)  # type: ignore[operator]
        return detect(tmp_path / name).name

    def main(attribute: str) -> object:
        return lambda file: file.create_dataset("a/b", data=np.zeros((2, 3))).attrs.update({attribute: "x"})

    assert made("a.h5", main("main_data_name")) == "NSID"
    assert made("a.hf5", main("Position_Indices")) == "USID"
    assert made("b.h5", lambda file: file.create_dataset("entry_1/data_1/data", data=np.zeros((2, 3)))) == "CXI"
    assert made("c.h5", lambda file: file.create_group("entry").attrs.update({"NX_class": np.bytes_(b"NXentry")})) == "NeXus"
    assert made("d.emd", lambda file: (file.create_group("Data/Image"), file.create_dataset("Version", data="{}"))) == "Velox EMD"
    assert made("e.anything", lambda file: file.create_dataset("x", data=np.zeros(3))) == "HDF5"


def test_plug_ins_add_formats_and_broken_ones_are_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    good = EntryPoint("mine", f"{__name__}:MINE", "pycroclass.readers")
    broken = EntryPoint("broken", "no_such_module_anywhere:X", "pycroclass.readers")
    odd = EntryPoint("odd", "math:pi", "pycroclass.readers")
    monkeypatch.setattr(table, "entry_points", lambda group: [good, broken, odd])
    table.formats.cache_clear()
    try:
        assert table.formats()[-1] == MINE
        assert "broken" in caplog.text
        assert "odd" in caplog.text
    finally:
        monkeypatch.undo()
        table.formats.cache_clear()


MINE = Format("Mine", (".mine",), "mine", "a plug-in")


@pytest.mark.parametrize(
    "wrong", [{"size": 5}, {"fit": "pad"}, {"size": 0, "fit": "pad"}, {"size": (3,), "fit": "crop"}, {"size": 4, "fit": "stretch"}]
)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(PycroclassError, match="got"):
        ReadOptions(**wrong)  # type: ignore[arg-type]
