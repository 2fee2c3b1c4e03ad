"""What frames are known to be, by recordings and by tables."""

from __future__ import annotations

from pathlib import Path

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
from selection_data import chosen, record

import pycroclass as pc
from pycroclass.errors import DataError, ReadError
from pycroclass.selection import places, truth_of, write_table


def test_recordings_and_tables_agree(runs: list[Path], tmp_path: Path) -> None:
    first = truth_of(runs)
    assert first.is_hit.tolist() == [False, True] * 3 + [False] + [False, True] * 2
    assert len(first.where) == 11
    names = np.where(first.is_hit, "hit", "miss")
    for labels in (names, first.is_hit.astype(int)):
        selection = chosen(first.where.file.tolist(), first.where.index, ["hit"] * 11, more={"label": labels})
        path = write_table(selection, tmp_path / "truth.csv", overwrite=True)
        assert truth_of([path]).is_hit.tolist() == first.is_hit.tolist()
    numbers, is_hit = truth_of([path]).among(places(pc.take(pc.read(runs[0])["image"], [3, 0])))
    assert (numbers.tolist(), is_hit.tolist()) == ([0, 1], [True, False])


def test_frames_without_a_label_are_left_out(runs: list[Path], tmp_path: Path) -> None:
    with h5py.File(runs[0], "a") as file:
        file["entry_1/result_1/label"][2] = -1
    assert truth_of([runs[0]]).where.index.tolist() == [0, 1, 3, 4, 5, 6]
    for k, name in enumerate(("hit", "miss")):
        (tmp_path / "images" / name).mkdir(parents=True)
        imageio.imwrite(tmp_path / "images" / name / f"{k}.png", np.zeros((4, 4), np.uint8))
    of_folders = truth_of([tmp_path / "images"])
    assert [(Path(file).name, bool(hit)) for file, hit in zip(of_folders.where.file, of_folders.is_hit, strict=True)] == [
        ("0.png", True),
        ("1.png", False),
    ]


def test_what_says_nothing(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no frame of the class 'crystal'; it has hit, miss"):
        truth_of(runs, positive="crystal")
    with h5py.File(runs[1], "a") as file:
        del file["entry_1/result_1/label"]
    with pytest.raises(DataError, match=r"run_2\.cxi has no labels"):
        truth_of(runs)
    path = write_table(chosen(runs[0], [0], ["hit"]), tmp_path / "a.csv")
    with pytest.raises(ReadError, match="has no column 'label'; it has file, dataset"):
        truth_of([path])
    other = places(pc.read(record(tmp_path / "other.cxi", 3, 0))["image"])
    with pytest.raises(DataError, match="none of the 3 frames is among the 7 whose class is known"):
        truth_of([runs[0]]).among(other)
