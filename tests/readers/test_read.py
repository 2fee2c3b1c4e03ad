"""`read`: paths, keys, folders, patterns, and every way in which a file can be bad."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from pycroclass.errors import MissingDependencyError, ParameterError, ReadError
from pycroclass.readers import read
from pycroclass.readers.formats import BUILT_IN, Format
from pycroclass.sid import provenance_of


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.arange(3 * 5 * 7, dtype="u2").reshape(3, 5, 7)
        file["entry/dark"] = np.ones((5, 7), "f4")
        file["entry/note"] = "text"
    return path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A reader module of the format ``Fake`` (.fake), to be filled by the test."""
    module = ModuleType("fake_reader")
    monkeypatch.setitem(sys.modules, "fake_reader", module)
    rows = (*BUILT_IN, Format("Fake", (".fake",), "fake_reader", "for tests", extra="cbf", is_stackable=True))
    for where in ("formats", "detection", "opening"):
        monkeypatch.setattr(f"pycroclass.readers.{where}.formats", lambda: rows)
    return module


def test_key_in_the_path_or_by_name(stack: Path) -> None:
    everything = read(stack)
    assert set(everything) == {"entry/data", "entry/dark"}
    for one in (read(f"{stack}::/entry/data"), read(stack, key="entry/data"), read(str(stack), key="/entry/data")):
        assert list(one) == ["entry/data"]
        assert np.array_equal(np.asarray(one["entry/data"].compute()), np.arange(105).reshape(3, 5, 7))


def test_unknown_key_lists_what_there_is(stack: Path) -> None:
    with pytest.raises(ReadError, match=r"nothing at '/entry/image'.*entry/data"):
        read(f"{stack}::/entry/image")
    with pytest.raises(ReadError, match="no dataset of numbers at '/entry/note'"):
        read(f"{stack}::/entry/note")


def test_a_file_named_with_colons_is_a_file(tmp_path: Path, stack: Path) -> None:
    odd = tmp_path / "a::b.h5"
    odd.write_bytes(stack.read_bytes())
    assert set(read(odd)) == {"entry/data", "entry/dark"}


def test_provenance_opens_the_same_again(stack: Path) -> None:
    dataset = read(f"{stack}::/entry/data")["entry/data"]
    record = provenance_of(dataset)
    assert record.verb == "read"
    assert record.files[0].path == str(stack)
    assert record.files[0].is_current()
    parameters = dict(record.parameters)
    again = read(parameters["path"], format=parameters["format"], **parameters["options"])[parameters["key"]]
    assert again.name == dataset.name


def test_size_needs_an_image_format(stack: Path) -> None:
    with pytest.raises(ParameterError, match="size and fit are for images"):
        read(stack, size=4, fit="pad")


def test_format_by_name_overrides(stack: Path) -> None:
    assert set(read(stack, format="hdf5")) == {"entry/data", "entry/dark"}
    with pytest.raises(ParameterError, match="no format 'tape'"):
        read(stack, format="tape")


def test_missing_empty_folder_and_foreign(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"none\.h5: does not exist"):
        read(tmp_path / "none.h5")
    with pytest.raises(ReadError, match="no folder"):
        read(tmp_path / "nowhere" / "none.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(ReadError, match="is empty"):
        read(tmp_path / "empty.h5")
    (tmp_path / "text.h5").write_text("this is text")
    with pytest.raises(ReadError, match=r"named like HDF5.*74 68 69 73.*'this is text'"):
        read(tmp_path / "text.h5")
    (tmp_path / "scan.xyz").write_text("this is text")
    with pytest.raises(
        ReadError, match=r"no known format \(it begins with .*'this is text'\)\. .*HDF5, TIFF.*'pycroclass formats'"
    ) as error:
        read(tmp_path / "scan.xyz")
    assert len(str(error.value)) < 400 + len(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="hold no images"):
        read(tmp_path / "empty")
    with pytest.raises(ReadError, match="no file matches"):
        read(tmp_path / "*.tif")
    with pytest.raises(ReadError, match="no files given"):
        read([])
    with pytest.raises(ReadError, match="is no file"):
        read([tmp_path / "empty"])


@pytest.mark.parametrize("keep", [20, 600, 0.5, 0.95])
def test_truncated_hdf5(stack: Path, keep: float) -> None:
    content = stack.read_bytes()
    stack.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(ReadError, match="truncated or damaged HDF5") as error:
        read(stack)
    assert "it begins with" not in str(error.value)


def test_damaged_hdf5_never_raises_anything_else(stack: Path) -> None:
    content = bytearray(stack.read_bytes())
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(8, len(content), 30):
            damaged[place] = random.integers(256)
        stack.write_bytes(damaged)
        with suppress(ReadError):
            for dataset in read(stack).values():
                dataset.compute()


def test_a_file_that_changes_after_opening_gives_our_error(stack: Path) -> None:
    dataset = read(stack)["entry/data"]
    stack.write_text("gone")
    with pytest.raises(ReadError, match="changed after it was opened"):
        dataset.compute()


def test_unreadable(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may read everything: let the system refuse

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
    else:
        stack.chmod(0)
    with pytest.raises(ReadError, match="permission denied"):
        read(stack)


def test_failures_of_a_reader_become_ours(tmp_path: Path, fake: ModuleType) -> None:
    path = tmp_path / "a.fake"
    path.write_bytes(b"x")

    def fail(error: Exception) -> None:
        def open_file(*_: object) -> None:
            raise error

        fake.open_file = open_file  # type: ignore[attr-defined]

    for error in (KeyError("tag"), AssertionError(), IndexError("list"), UnicodeDecodeError("utf8", b"a", 0, 1, "bad"), EOFError()):
        fail(error)
        with pytest.raises(ReadError, match=f"cannot be read as Fake: {type(error).__name__}") as caught:
            read(path)
        assert caught.value.__cause__ is error
    fail(ImportError("No module named 'fabio'", name="fabio"))
    with pytest.raises(MissingDependencyError, match=r"'fabio'.*pycroclass\[cbf\]"):
        read(path)
    fail(ParameterError("ours"))
    with pytest.raises(ParameterError, match="ours"):
        read(path)
    fake.open_file = lambda *_: {}  # type: ignore[attr-defined]
    with pytest.raises(ReadError, match="holds no data"):
        read(path)


def test_folders_patterns_and_lists(tmp_path: Path, fake: ModuleType) -> None:
    seen: list[list[str]] = []

    def open_files(paths: list[Path], options: object) -> dict[str, object]:
        seen.append([str(p.relative_to(tmp_path)) for p in paths])
        return {"image": None}

    fake.open_files = open_files  # type: ignore[attr-defined]
    for name in ("run/b.fake", "run/a.fake", "run/.hidden.fake", "run/readme.md", "classes/hit/1.fake", "classes/miss/0.fake"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    read(tmp_path / "run")
    read(tmp_path / "classes")
    read(tmp_path / "run" / "*.fake")
    read([tmp_path / "run/b.fake", tmp_path / "run/a.fake"])
    run = ["run/a.fake", "run/b.fake"]
    assert seen == [run, ["classes/hit/1.fake", "classes/miss/0.fake"], run, run[::-1]]
    with pytest.raises(ParameterError, match="names a dataset of one file"):
        read(tmp_path / "run", key="a")
    (tmp_path / "run/c.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ReadError, match="3 files of Fake, NPY do not make one stack"):
        read(tmp_path / "run")
