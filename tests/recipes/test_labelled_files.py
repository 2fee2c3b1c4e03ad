"""Files as groups of items: each by a name of its own, in training as in evaluation."""

from __future__ import annotations

import logging
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import sidpy

from pycroclass.estimators import NetworkClassifier
from pycroclass.recipes.labelled_files import LabelledFiles
from pycroclass.recipes.training import TrainingRecipe


def images(folder: Path, classes: dict[str, int]) -> str:
    """A folder of images for each class, and how many of each."""
    for name, n in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(n):
            imageio.imwrite(folder / name / f"{i}.png", np.random.default_rng(i).integers(0, 255, (12, 12), dtype=np.uint8))
    return str(folder)


def opened(*paths: str) -> LabelledFiles:
    return LabelledFiles.read(paths, key=None, labels=None, size=None, fit=None)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run, n in (("r0001", 3), ("r0002", 4)):
        images(tmp_path / run / "data", {"clear": n, "crystal": 2})
    files = opened(str(tmp_path / "r0001/data"), str(tmp_path / "r0002/data"))
    assert files.names == ("r0001/data", "r0002/data")
    assert files.groups is not None
    assert files.groups.tolist() == ["r0001/data"] * 5 + ["r0002/data"] * 6
    assert files.whole.shape[0] == 11
    monkeypatch.chdir(tmp_path)
    assert opened("r0001/data", "r0002/data").names == files.names
    assert opened("r0001/data").groups is None


def run_of(labels: list[int]) -> sidpy.Dataset:
    run = sidpy.Dataset.from_array(np.zeros((len(labels), 4, 4)))
    run.metadata = {"labels": labels, "classes": ["clear", "crystal"]}
    return run


def test_where_a_class_is_in_one_file_alone_files_are_no_groups(caplog: pytest.LogCaptureFixture) -> None:
    runs = tuple(run_of(labels) for labels in ([0, 1, -1], [0, 1], [0, 0]))
    groups = LabelledFiles(("a", "b", "c"), runs, ()).groups
    assert groups is not None
    assert groups.tolist() == ["a", "a", "a", "b", "b", "c", "c"]
    with caplog.at_level(logging.WARNING):
        assert LabelledFiles(("b", "c"), runs[1:], ()).groups is None
    assert "class of number 1 is in one file alone" in caplog.text


def test_several_files_are_held_back_as_a_whole(tmp_path: Path) -> None:
    paths = [images(tmp_path / name, {"clear": 3, "crystal": 3}) for name in ("a", "b", "c", "d")]
    recipe = TrainingRecipe(tuple(paths), NetworkClassifier(parameters={"width": 4}, epochs=1, validation=0.25))
    training = recipe.train().training
    assert training["split"]["by_group"]
    assert len(training["validation_groups"]) == 1
    assert training["counts"]["validation"] == {"clear": 3, "crystal": 3}
