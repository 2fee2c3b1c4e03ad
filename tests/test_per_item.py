"""What is known of each item stays with it: through takes, cuts, joins and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sidpy
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_images import drops, save

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.per_item import columns
from pycroclass.sid import provenance_of, unwrap


def rows(dataset: sidpy.Dataset) -> list[tuple]:
    """What is known of each item, one tuple for each."""
    return list(zip(*columns(dataset).values(), strict=True))


def test_column_by_name() -> None:
    dataset = drops()
    assert pc.column(dataset, "plate").tolist() == dataset.metadata["items"]["plate"]
    assert pc.column(dataset, "labels").tolist() == dataset.metadata["labels"]
    assert pc.column(dataset, "files")[3] == "3.jpg"
    with pytest.raises(ParameterError, match="no column 'site' of its items; it has plate, source, score, labels, files"):
        pc.column(dataset, "site")
    dataset.metadata["items"]["plate"] = ["A"]
    with pytest.raises(DataError, match="'plate' has 1 values, wanted 10"):
        pc.column(dataset, "plate")


def test_metadata_of_others_named_items_are_left_alone() -> None:
    dataset = drops()
    dataset.metadata["items"] = 5
    assert list(columns(dataset)) == ["labels", "files"]
    assert pc.take(dataset, [1]).metadata["items"] == 5


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_take_is_numpy_indexing(index: list[int]) -> None:
    dataset = drops()
    some = pc.take(dataset, index)
    np.testing.assert_array_equal(some.compute(), dataset.compute()[index])
    assert rows(some) == [rows(dataset)[i] for i in index]
    assert unwrap(some)[1].axes[0].values.tolist() == index
    assert some.data_type == dataset.data_type


def test_take_by_mask_and_twice() -> None:
    dataset = drops()
    some = pc.take(pc.take(dataset, pc.column(dataset, "plate") != "P0"), [0, 5])
    assert some.metadata["files"] == ["1.jpg", "7.jpg"]
    assert provenance_of(some).verb == "take"


@pytest.mark.parametrize("index", [[], [10], [-1], [0.5], [[0]], [True, False], [False] * 10])
def test_what_cannot_be_taken(index: list) -> None:
    with pytest.raises(ParameterError, match="item"):
        pc.take(drops(), index)


def test_files_that_are_not_taken_are_not_read(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", i) for i in range(5)]
    stack = pc.read(tmp_path)["image"]
    paths[0].unlink()
    paths[4].unlink()
    assert pc.take(stack, [3, 1]).compute()[:, 0, 0].tolist() == [3, 1]


def test_cuts_and_joins_and_runs() -> None:
    dataset = drops()
    cut = pc.run(pc.Select(frame=(2, 5)) | pc.Bin(2), dataset)
    assert rows(cut) == rows(dataset)[2:6]
    both = pc.concatenate([dataset, pc.take(dataset, [4])])
    assert rows(both) == [*rows(dataset), rows(dataset)[4]]
    other = drops()
    del other.metadata["items"]["source"]
    assert list(pc.concatenate([dataset, other]).metadata["items"]) == ["plate", "score"]


def test_means_are_of_no_item() -> None:
    dataset = drops(colours=1)
    labels = sidpy.Dataset.from_array(np.array([0, 1] * 5))
    labels.set_dimension(0, sidpy.Dimension(np.arange(10), name="frame", dimension_type="TEMPORAL"))
    assert "items" not in pc.mean_by_label(dataset, labels)["mean"].metadata
