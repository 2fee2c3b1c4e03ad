"""Comparisons count what sets of Python count."""

from __future__ import annotations

import math
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from selection_data import chosen

from pycroclass.errors import DataError, ParameterError
from pycroclass.selection import FrameSelection, compare, read_lst, write_lst

FILES = ("/data/run_1.cxi", "/data/run_2.cxi")


def kept_of(frames: dict[tuple[int, int], bool]) -> FrameSelection:
    """A selection that looked at these frames, (file, number), and kept some."""
    decision = ["hit" if is_kept else "miss" for is_kept in frames.values()]
    return chosen([FILES[file] for file, _ in frames], [index for _, index in frames], decision)


frames = st.dictionaries(st.tuples(st.integers(0, 1), st.integers(0, 6)), st.booleans(), min_size=1)


@settings(max_examples=150)
@given(st.lists(frames, min_size=2, max_size=4))
def test_sets(given_frames: list[dict[tuple[int, int], bool]]) -> None:
    common = set.intersection(*(set(one) for one in given_frames))
    everything = set.union(*(set(one) for one in given_frames))
    names = [f"set {i}" for i in range(len(given_frames))]
    selections = [kept_of(one) for one in given_frames]
    if not common:
        with pytest.raises(DataError, match="no frame was looked at by all"):
            compare(*selections)
        return
    found = compare(*selections, names=names)
    kept = [{frame for frame in common if one[frame]} for one in given_frames]
    assert found.n_kept == tuple(map(len, kept))
    assert found.n_looked == tuple(map(len, given_frames))
    assert (len(found.frames), found.n_left_out) == (len(common), len(everything - common))
    table = found.intersections()
    counted = {tuple(map(bool, row[:-1])): row[-1] for row in table.itertuples(index=False)}
    for who in product((False, True), repeat=len(kept)):
        members = {frame for frame in common if all((frame in one) == is_in for one, is_in in zip(kept, who, strict=True))}
        assert counted.get(who, 0) == len(members)
    assert table["frames"].tolist() == sorted(table["frames"], reverse=True)
    assert table["frames"].sum() == len(common)
    jaccard = found.jaccard().to_numpy()
    for (i, a), (j, b) in product(enumerate(kept), repeat=2):
        assert jaccard[i, j] == len(a & b) / len(a | b) if a | b else math.isnan(jaccard[i, j])
    rows = found.table()
    assert {(FILES.index(row.file), row.index) for row in rows.itertuples(index=False) if row[4]} == kept[0]


def test_lists_have_looked_at_all(tmp_path: Path) -> None:
    """A list, a list elsewhere with other paths, and a table."""
    mine = kept_of({(0, i): i < 5 for i in range(10)})
    theirs = kept_of({(0, i): True for i in (3, 4, 5, 11)})
    listed = read_lst(write_lst(theirs, tmp_path / "theirs.lst"))
    found = compare(mine, listed, names=("mine", "theirs"))
    assert found.n_kept == (5, 3)
    assert (found.n_looked, found.n_left_out) == ((10, 4), 1)
    assert found.jaccard().loc["mine", "theirs"] == 2 / 6
    assert set(found.frames.dataset) == set(mine.dataset)
    both = compare(listed, read_lst(write_lst(mine, tmp_path / "mine.lst")))
    assert (len(both.frames), both.n_left_out, both.n_kept) == (7, 0, (4, 5))
    moved = chosen([file.replace("/data", "/elsewhere") for file in theirs.file], theirs.index, theirs.decision)
    with pytest.raises(DataError, match="Compare them by name"):
        compare(mine, moved)
    assert compare(mine, moved, by_name=True).n_kept == (2, 3)


def test_several_datasets_of_a_file() -> None:
    """Frame 1 of one detector is not that of another; where only one is named, its path does not matter."""
    two = chosen("/data/a.h5", [1, 1], ["hit", "miss"], dataset=["/near", "/far"])
    other = chosen("/data/a.h5", [1, 1], ["miss", "miss"], dataset=["far", "near"])
    assert compare(two, other).n_kept == (1, 0)
    with pytest.raises(DataError, match=r"1 has frames of several datasets of /data/a\.h5, and 2 does not say of which"):
        compare(two, chosen("/data/a.h5", [1], ["hit"], dataset=""))
    linked = chosen("/data/a.h5", [1], ["hit"], dataset="/link")
    assert compare(chosen("/data/a.h5", [1], ["hit"], dataset="/near"), linked).jaccard().iloc[0, 1] == 1
    with pytest.raises(DataError, match="several files of the same name"):
        compare(chosen(["/a/x.h5", "/b/x.h5"], [0, 0], ["hit"] * 2), linked, by_name=True)


def test_summary_and_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    selections = [kept_of({(i % 2, i // 2): rng.random() < p for i in range(400)}) for p in (0.5, 0.3, 0.1, 0.0)]
    found = compare(*selections, names=["network [a]", "peaks", "$x_2", "nobody"])
    console = Console(width=140, record=True, file=StringIO())
    console.print(found.summary())
    text = console.export_text()
    for row in found.intersections().itertuples(index=False):
        assert str(row[-1]) in text
    assert "network [a] + peaks" in text
    assert "400 frames" in text
    figure = found.figure()
    bars, dots, sizes = figure.axes
    n_sets = sum(1 for row in found.intersections().to_numpy() if row[:-1].any())
    assert [bar.get_height() for bar in bars.patches] == sorted((bar.get_height() for bar in bars.patches), reverse=True)
    assert len(bars.patches) == n_sets
    assert [bar.get_width() for bar in sizes.patches] == list(found.n_kept)
    assert [label.get_text() for label in dots.get_yticklabels()] == list(found.names)
    figure.savefig(tmp_path / "a.png")
    empty = compare(kept_of({(0, 0): False}), kept_of({(0, 0): False}))
    empty.figure().savefig(tmp_path / "b.png")
    assert np.isnan(empty.jaccard().to_numpy()).all()


def test_what_cannot_be_compared() -> None:
    one = kept_of({(0, 0): True})
    for selections, names, message in (
        ([one], None, "wanted 2 to 16 selections, got 1"),
        ([one] * 2, ["a", "a"], "wanted 2 different names"),
        ([one] * 2, ["a"], "wanted 2 different names"),
    ):
        with pytest.raises(ParameterError, match=message):
            compare(*selections, names=names)
