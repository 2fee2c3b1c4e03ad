"""Labels from folders and their names; both layouts of MARCO on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_images import drops, save

import pycroclass as pc
from pycroclass.errors import ParameterError, ReadError
from pycroclass.readers.class_names import number_classes
from pycroclass.readers.options import ReadOptions
from pycroclass.replay import Verdict

NAMES = st.lists(st.sampled_from(["Clear", "clear", "crystal", "Crystals", "other one", "Other_One", "OTHER-ONE", ""]), max_size=12)


def folder(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        save(root / name, number)
    return root


def test_layout_of_kaggle(tmp_path: Path) -> None:
    """train/{Clear,Crystals,Other,Precipitate}"""
    root = folder(tmp_path, *(f"train/{name}/{i}.png" for name in ("Precipitate", "Clear", "Crystals", "Other") for i in range(2)))
    for source in (root, root / "train"):
        image = pc.read(source)["image"]
        assert image.metadata["classes"] == ["Clear", "Crystals", "Other", "Precipitate"]
        assert image.metadata["labels"] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert set(image.metadata["items"]["split"]) == {"train"}


def test_layout_of_csiro(tmp_path: Path) -> None:
    """train|test/{clear,crystal,precipitate,other}, read with the classes of a network that learned from the other layout."""
    root = folder(tmp_path, "train/clear/0.png", "train/crystal/1.png", "test/precipitate/2.png", "test/Crystals/3.png")
    assert pc.read(root)["image"].metadata["classes"] == ["Crystals", "clear", "precipitate"]
    image = pc.read(root, classes=["Clear", "Crystals", "Other", "Precipitate"])["image"]
    assert image.metadata["files"] == ["test/Crystals/3.png", "test/precipitate/2.png", "train/clear/0.png", "train/crystal/1.png"]
    assert image.metadata["labels"] == [1, 3, 0, 1]
    assert image.metadata["items"] == {"split": ["test", "test", "train", "train"]}
    assert image.compute()[:, 0, 0].tolist() == [3, 2, 0, 1]
    parts = pc.split_as_given(image)
    assert parts.training.metadata["labels"] == [0, 1]
    assert parts.testing.compute()[:, 0, 0].tolist() == [3, 2]


def test_a_test_set_without_labels(tmp_path: Path) -> None:
    root = folder(tmp_path, "train/hit/0.png", "train/miss/1.png", "test/2.png")
    image = pc.read(root)["image"]
    assert image.metadata["labels"] == [-1, 0, 1]
    root = folder(tmp_path / "flat", "train/0.png", "test/1.png")
    found = pc.read(root)
    assert list(found) == ["image"]
    assert found["image"].metadata["items"] == {"split": ["test", "train"]}


def test_spellings_are_one_class_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path, "train/Clear/0.png", "train/Crystals/1.png", "train/Crystals/2.png", "test/crystal/3.png")
    with caplog.at_level(logging.WARNING):
        assert pc.read(root)["image"].metadata["classes"] == ["Clear", "Crystals"]
    assert "'Crystals' (2), 'crystal' (1) are taken as one class, 'Crystals'" in caplog.text


def test_other_names_for_a_class(tmp_path: Path) -> None:
    root = folder(tmp_path, "needles/0.png", "plates/1.png", "nothing/2.png")
    classes = {"clear": ["nothing"], "crystals": ["needles", "Plates"]}
    assert pc.read(root, classes=classes)["label"].compute().tolist() == [1, 0, 1]
    with pytest.raises(ReadError, match=r"'needles' \(1\), 'plates' \(1\) are none of the classes clear"):
        pc.read(root, classes={"clear": ["nothing"]})


def test_one_folder_is_a_class_where_classes_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "Crystals", "0.png")
    assert pc.read(root, classes=["clear", "crystals"])["label"].compute().tolist() == [1]
    with pytest.raises(ReadError, match=r"'Crystals' .* none of the classes hit"):
        pc.read(root, classes=["hit", "miss"])


def test_png_and_jpeg_together(tmp_path: Path) -> None:
    image = pc.read(folder(tmp_path, "hit/0.png", "hit/1.jpg", "miss/2.bmp"))["image"]
    assert image.compute()[:, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes", ["hit", [], ["hit", "hit"], {"a": ["b"], "b": []}, [""], 3])
def test_classes_that_are_no_names(classes: object) -> None:
    with pytest.raises(ParameterError, match="class"):
        ReadOptions(classes=classes)  # type: ignore[arg-type]


def test_classes_of_a_file_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="classes are for labelled images"):
        pc.read(save(tmp_path / "a.png"), classes=["hit", "miss"])


@given(NAMES)
def test_every_spelling_has_the_number_of_its_class(names: list[str]) -> None:
    classes, numbers = number_classes(names, None, "here")
    assert list(classes) == sorted(classes)
    assert set(range(len(classes))) == {number for number in numbers if number >= 0}
    for name, number in zip(names, numbers, strict=True):
        assert (number == -1) == (name == "")
        assert not name or classes[number][:2].lower() == name[:2].lower()
    assert number_classes(names, dict.fromkeys(classes, ()), "here") == (classes, numbers)


def test_exact_names_come_first() -> None:
    cobalt = {"Co": (), "CO": ()}
    assert number_classes(["CO", "Co"], cobalt, "here")[1] == [1, 0]
    with pytest.raises(ReadError, match="'co'"):
        number_classes(["co"], cobalt, "here")


def test_nsid_keeps_all_that_is_known(tmp_path: Path) -> None:
    dataset = drops()
    pc.write({"image": dataset}, tmp_path / "drops.h5")
    (found,) = pc.read(tmp_path / "drops.h5").values()
    assert found.metadata == dataset.metadata
    np.testing.assert_array_equal(pc.take(found, [3, 1]).compute(), dataset.compute()[[3, 1]])


def test_replay(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", "train/clear/0.png", "test/crystal/3.png")
    image = pc.read(root, classes={"clear": [], "crystals": ["xtal"]})["image"]
    pc.write({"some": pc.run(pc.Cast("float32"), pc.take(image, [1]))}, tmp_path / "out.h5")
    (replayed,) = pc.replay(tmp_path / "out.h5")
    assert replayed.verdict is Verdict.IDENTICAL


@pytest.mark.shared
def test_real_folders(shared: Path) -> None:
    cells = pc.read(shared / "malaria_mini/cells", size=100, fit="resize")
    assert set(cells["image"].metadata["items"]["split"]) <= {"train", "valid", "test"}
    assert cells["image"].metadata["classes"] == ["Parasitized", "Uninfected"]
