"""Every place, opened with another library, holds the frame that the dataset gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
import sidpy
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_data import FRAMES, record

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ReadError
from pycroclass.selection import Places, places


def check(dataset: sidpy.Dataset, found: Places) -> None:
    """The frames at these places are those of the dataset."""
    assert len(found) == dataset.shape[0]
    for i, (file, name, index) in enumerate(zip(found.file, found.dataset, found.index, strict=True)):
        assert Path(file).is_absolute()
        with h5py.File(file, "r") as source:
            np.testing.assert_array_equal(source[name][index], dataset[i].compute())


def test_frames_as_they_are_read(runs: list[Path]) -> None:
    for run in runs:
        image = pc.read(run)["image"]
        found = places(image)
        check(image, found)
        assert set(found.dataset) <= {FRAMES, "/entry_1/data_1/data"}
        assert found.event.tolist() == [f"shot {value}" for value in np.asarray(image[:, 0, 0])]


def test_no_frame_is_read(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    image = pc.read(runs[0])["image"]

    def refuse(*_: object) -> None:
        raise AssertionError("a frame was read")

    monkeypatch.setattr("pycroclass.readers.hdf5_file.Hdf5Array.__call__", refuse)
    monkeypatch.setattr("pycroclass.readers.hdf5_file.open_regions", refuse)
    assert len(places(pc.take(pc.concatenate([image, image]), [9, 2]))) == 2


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[sidpy.Dataset]:
    folder = tmp_path_factory.mktemp("both")
    return [pc.read(record(folder / f"run_{k}.cxi", n, 100 * k))["image"] for k, n in ((1, 7), (2, 4))]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["take", "concatenate", "select", "log"]), st.randoms(use_true_random=False)), max_size=4))
def test_whatever_is_done_with_frames(both: list[sidpy.Dataset], steps: list) -> None:  # type: ignore[type-arg]
    """The value of each pixel is the number of its frame."""
    frames = both[0]
    expected = np.asarray(frames[:, 0, 0]).astype(int)
    for step, random in steps:
        n = frames.shape[0]
        if step == "take":
            numbers = [random.randrange(n) for _ in range(random.randint(1, 6))]
            frames, expected = pc.take(frames, numbers), expected[numbers]
        elif step == "concatenate" and n < 40:
            frames = pc.concatenate([frames, both[0], frames])
            expected = np.concatenate([expected, np.arange(100, 107), expected])
        elif step == "select" and n > 1 and frames._axes[0].values.tolist() == list(range(n)):
            low, high = sorted(random.sample(range(n), 2))
            frames, expected = pc.Select(frame=(low, high))(frames), expected[low : high + 1]
    result = pc.SumMask(np.ones(frames.shape[1:]))(frames) if steps and steps[0][0] == "log" else frames
    found = places(result)
    assert (100 + found.index).tolist() == expected.tolist()
    assert {Path(file).name for file in found.file} == {"run_1.cxi"}


def test_concatenated_runs(both: list[sidpy.Dataset]) -> None:
    whole = pc.concatenate(both)
    check(whole, places(whole))
    some = pc.take(whole, [10, 0, 7, 6])
    check(some, places(some))
    assert [Path(file).name for file in places(some).file] == ["run_2.cxi", "run_1.cxi", "run_2.cxi", "run_1.cxi"]


def test_what_a_pipeline_made_is_traced_through_files(runs: list[Path], tmp_path: Path) -> None:
    image = pc.take(pc.concatenate([pc.read(run)["image"] for run in runs]), [8, 2, 3])
    finder = pc.PeakFinder8(50, min_pixels=1, min_snr=4)
    result = pc.write(finder(image), tmp_path / "peaks.h5")
    stored = next(dataset for key, dataset in pc.read(result).items() if key.endswith("/n_peaks"))
    check(image, places(stored))
    again = pc.write({"rule": pc.PeakCountRule(2, 10)(stored)["label"]}, tmp_path / "rule.h5")
    check(image, places(next(iter(pc.read(again).values()))))
    with_geometry = pc.with_geometry(image, pc.Geometry((2.0, 2.0)))
    check(image, places(with_geometry))
    selected = (pc.Select(frame=(2, 4), x=(None, 3e-4)) | pc.Log1p())(pc.read(runs[0])["image"])
    stored = next(iter(pc.read(pc.write({"log": selected}, tmp_path / "selected.h5")).values()))
    assert places(selected).index.tolist() == places(stored).index.tolist() == [2, 3, 4]


def test_a_source_that_was_moved_is_found_beside_the_result(runs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = pc.write({"log": pc.Log1p()(pc.read(runs[0])["image"])}, tmp_path / "log.h5")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in (result, runs[0]):
        shutil.move(file, elsewhere)
    stored = next(iter(pc.read(elsewhere / "log.h5").values()))
    assert set(places(stored).file) == {str(elsewhere / "run_1.cxi")}
    assert "was changed" not in caplog.text
    record(elsewhere / "run_1.cxi", 9, 100)
    with pytest.raises(DataError, match="7 positions on its first axis, and comes from 9 frames"):
        places(stored)
    assert "run_1.cxi was changed since it was read" in caplog.text
    (elsewhere / "run_1.cxi").unlink()
    with pytest.raises(ReadError, match="does not exist"):
        places(stored)


def test_parts_of_a_series(tmp_path: Path) -> None:
    for part in (1, 2):
        with h5py.File(tmp_path / f"series_data_{part}.h5", "w") as file:
            file["entry/data/data"] = np.full((3, 4, 5), 10 * part, "u2") + np.arange(3, dtype="u2")[:, None, None]
    with h5py.File(tmp_path / "series_master.h5", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry.create_group("instrument").attrs["NX_class"] = "NXinstrument"
        entry.create_group("instrument/detector").attrs["NX_class"] = "NXdetector"
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        for part in (1, 2):
            data[f"data_{part:06d}"] = h5py.ExternalLink(f"series_data_{part}.h5", "/entry/data/data")
    image = pc.read(tmp_path / "series_master.h5")["image"]
    found = places(image)
    check(image, found)
    assert [Path(file).name for file in found.file] == ["series_data_1.h5"] * 3 + ["series_data_2.h5"] * 3


def test_images_of_their_own(tmp_path: Path) -> None:
    for i in range(3):
        imageio.imwrite(tmp_path / f"{i}.png", np.full((4, 5), 10 * i, np.uint8))
    stack = pc.take(next(iter(pc.read(tmp_path).values())), [2, 0])
    found = places(stack)
    assert [imageio.imread(file)[0, 0] for file in found.file] == [20, 0]
    assert (found.dataset.tolist(), found.index.tolist()) == (["", ""], [0, 0])
    result = pc.write({"sums": pc.SumMask(np.ones((4, 5)))(stack)}, tmp_path / "sums.h5")
    assert places(next(iter(pc.read(result).values()))).file.tolist() == found.file.tolist()


def test_files_of_one_frame_and_of_no_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["frame"] = np.zeros((4, 5))
    np.save(tmp_path / "many.npy", np.zeros((3, 4, 5)))
    one = places(pc.read(tmp_path / "one.h5")["frame"])
    assert (one.file.tolist(), one.dataset.tolist(), one.index.tolist()) == ([str(tmp_path / "one.h5")], [""], [0])
    many = places(next(iter(pc.read(tmp_path / "many.npy").values())))
    assert (set(many.file), many.dataset.tolist(), many.index.tolist()) == ({str(tmp_path / "many.npy")}, [""] * 3, [0, 1, 2])


def test_what_cannot_be_told(runs: list[Path], tmp_path: Path) -> None:
    image = pc.read(runs[0])["image"]
    with pytest.raises(DataError, match="nobody can tell where its frames lie: 'generic' was not returned by pycroclass"):
        places(sidpy.Dataset.from_array(np.zeros((3, 4, 5))))
    with pytest.raises(DataError, match="or changed since"):
        places(image[1:3])
    stored = pc.write({"changed": pc.Log1p()(image[1:3])}, tmp_path / "changed.h5")
    with pytest.raises(DataError, match="or changed since"):
        places(next(iter(pc.read(stored).values())))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["scan"] = np.zeros((2, 3, 4, 5))
    with pytest.raises(AxisError, match="wanted them along its first axis alone"):
        places(pc.read(tmp_path / "scan.h5")["scan"])
    with pytest.raises(DataError, match="file has the shape"):
        Places(["a"], [""], [1, 2], [""])
