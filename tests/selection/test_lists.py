"""Lists for CrystFEL, written and read back, and parsed as CrystFEL parses them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_data import FRAMES, chosen

from pycroclass.errors import DataError, ParameterError, ReadError, WriteError
from pycroclass.selection import FrameSelection, read_lst, write_lst


def as_crystfel(path: Path) -> list[tuple[str, str]]:
    """File and event of each line: what follows the last space is an event if ``//`` is in it."""
    found = []
    for line in path.read_text().splitlines():
        file, space, event = line.rpartition(" ")
        found.append((file, event) if space and "//" in event else (line, ""))
    return found


def test_kept_frames(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    path = write_lst(some, tmp_path / "kept.lst")
    first, second = map(str, runs)
    assert as_crystfel(path) == [(second, "//3"), (first, "//5"), (second, "//1"), (first, "//6"), (first, "//2")]
    found = read_lst(path, data=FRAMES)
    kept = some.kept()
    for name in ("file", "dataset", "index"):
        np.testing.assert_array_equal(getattr(found, name), getattr(kept, name))
    assert found.about["veto"] == some.about["veto"]
    assert (set(found.reason), set(found.decision), np.isnan(found.score).all()) == ({"listed"}, {"hit"}, True)
    assert set(read_lst(path).dataset) == {""}


def test_one_list_for_each_decision(some: FrameSelection, tmp_path: Path) -> None:
    for decision in ("hit", "uncertain", "miss"):
        path = write_lst(some, tmp_path / f"{decision}.lst", decision=decision)
        wanted = some.take(some.decision == decision)
        assert read_lst(path, decision=decision).index.tolist() == wanted.index.tolist()
    assert read_lst(path, decision="miss").decision.tolist() == ["miss"] * 2


def test_relative_paths_move_with_their_folder(some: FrameSelection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    path = write_lst(some, tmp_path / "lists" / "kept.lst", relative=True)
    assert as_crystfel(path)[0] == (os.path.join("..", "day two", "run_2.cxi"), "//3")
    monkeypatch.chdir("/")
    assert read_lst(path).file.tolist() == some.kept().file.tolist()


def test_part_of_the_hdf5_path_in_the_event(tmp_path: Path) -> None:
    selection = chosen("/data/run.h5", [4, 0], ["hit", "hit"], dataset=["/entry/a/x/data", "/entry/b/y/data"])
    path = write_lst(selection, tmp_path / "a.lst", data="/entry/%/%/data")
    assert as_crystfel(path) == [("/data/run.h5", "a/x//4"), ("/data/run.h5", "b/y//0")]
    assert read_lst(path, data="/entry/%/%/data").dataset.tolist() == selection.dataset.tolist()
    with pytest.raises(ReadError, match=r"a.lst, line 1: 'a/x' stands for a part of the HDF5 path; say what"):
        read_lst(path)
    with pytest.raises(ReadError, match="has not as many '%'"):
        read_lst(path, data="/entry/%/data")
    with pytest.raises(ParameterError, match="does not describe '/entry/a/x/data'"):
        write_lst(selection, tmp_path / "b.lst", data="/entry/%/data")
    with pytest.raises(ParameterError, match="not at data='/entry/data'"):
        write_lst(selection, tmp_path / "b.lst", data="/entry/data")


def test_files_of_one_frame(tmp_path: Path) -> None:
    selection = chosen(["/data/a b_1.cbf", "/data/c.cbf"], [0, 0], ["hit", "hit"], dataset="")
    path = write_lst(selection, tmp_path / "a.lst")
    assert path.read_text() == "/data/a b_1.cbf\n/data/c.cbf\n"
    assert as_crystfel(path) == [("/data/a b_1.cbf", ""), ("/data/c.cbf", "")]
    assert read_lst(path).file.tolist() == selection.file.tolist()


def test_a_file_without_an_event_stands_for_all_its_frames(runs: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "all.lst"
    path.write_text("run_1.cxi\nday two/run_2.cxi //2\n\n")
    found = read_lst(path, data=FRAMES)
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5, 6, 2]
    assert found.file.tolist() == [str(runs[0])] * 7 + [str(runs[1])]


name = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n\r", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
folder = st.lists(st.one_of(name, st.tuples(name, name).map(" ".join)), min_size=1, max_size=3)


@settings(max_examples=60)
@given(st.lists(st.tuples(folder, st.integers(0, 10**6)), max_size=6, unique_by=lambda row: ("/".join(row[0]), row[1])))
def test_any_path_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], int]]) -> None:
    files = [os.path.normpath("/" + "/".join(parts)) for parts, _ in rows]
    places = {(file, index) for file, (_, index) in zip(files, rows, strict=True)}
    selection = chosen([file for file, _ in places], [index for _, index in places], ["hit"] * len(places))
    path = write_lst(selection, tmp_path_factory.mktemp("any") / "a.lst")
    found = read_lst(path, data=FRAMES)
    for column in ("file", "dataset", "index"):
        np.testing.assert_array_equal(getattr(found, column), getattr(selection, column))
    assert as_crystfel(path) == [(file, f"//{index}") for file, index in zip(selection.file, selection.index, strict=True)]


def test_what_crystfel_could_not_find(tmp_path: Path) -> None:
    for file in ("/data/run.h5 ", "/data/a\nb.h5"):
        with pytest.raises(WriteError, match="CrystFEL cannot find"):
            write_lst(chosen(file, [0], ["hit"]), tmp_path / "a.lst")
    with pytest.raises(WriteError, match=r"cannot find frame 3 of /data/stack\.tif: the file is no HDF5"):
        write_lst(chosen("/data/stack.tif", [3], ["hit"], dataset=""), tmp_path / "a.lst")
    with pytest.raises(ParameterError, match="decision must be one of"):
        write_lst(chosen("/data/run.h5", [3], ["hit"]), tmp_path / "a.lst", decision="maybe")
    assert not list(tmp_path.iterdir())


def test_lists_that_cannot_be_read(some: FrameSelection, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_lst(tmp_path / "none.lst")
    path = tmp_path / "a.lst"
    path.write_text("run.h5 //a\n")
    with pytest.raises(ReadError, match=r"a.lst, line 1: '//a' is no event"):
        read_lst(path)
    path.write_text("run.h5 //1\nrun.h5 //1\n")
    with pytest.raises(DataError, match="stands there twice"):
        read_lst(path)
    path.unlink()
    write_lst(some, path)
    (tmp_path / "a.lst.json").write_text("{")
    with pytest.raises(ReadError, match="is damaged"):
        read_lst(path)


def test_nothing_is_overwritten_unasked(some: FrameSelection, tmp_path: Path) -> None:
    path = write_lst(some, tmp_path / "a.lst")
    before = path.read_bytes()
    with pytest.raises(WriteError, match="exists already"):
        write_lst(some.take([0]), path)
    path.unlink()
    with pytest.raises(WriteError, match=r"a\.lst\.json exists already"):
        write_lst(some, path)
    write_lst(some, path, overwrite=True)
    assert path.read_bytes() == before
    empty = write_lst(some.take(np.zeros(0, int)), tmp_path / "empty.lst")
    assert (empty.read_bytes(), len(read_lst(empty))) == (b"", 0)
