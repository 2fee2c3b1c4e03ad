"""The frames that are kept as a CXI file: from several files, with where they come from and why they are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import sidpy

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError, ReadError, WriteError
from pycroclass.readers import read
from pycroclass.selection import FrameSelection, read_selected_cxi, selected_frames, write_selected_cxi
from pycroclass.sid import unwrap
from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
from pycroclass.writers import write_cxi

RUNS = [draw_run(seed=seed, hit_rate=0.5, experiment=Experiment(Detector(shape=(41, 53)))) for seed in (8, 9)]
SAME = [replace(run, beam_shift=(1.5, -2.0)) for run in RUNS]
DATA = "/entry_1/data_1/data"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [write_cxi(simulate_run(run, 5), folder / f"run_{i}.cxi") for i, run in enumerate(SAME)]


@pytest.fixture
def selection(files: list[Path]) -> FrameSelection:
    """Ten frames of two files, one after the other in turn; seven are kept."""
    reason = np.array(["hit", "", "hit", "sampled miss", "hit", "", "hit", "hit", "", "uncertain"])
    return FrameSelection(
        file=[str(files[i % 2]) for i in range(10)],
        dataset=[DATA] * 10,
        index=[4 - i // 2 for i in range(10)],
        event=[""] * 10,
        score=np.linspace(0.95, 0.05, 10),
        decision=["hit" if why == "hit" else "uncertain" if why == "uncertain" else "miss" for why in reason],
        reason=reason,
        more={"n_spots": np.arange(10), "jet": np.array([f"j{i}" for i in range(10)])},
        about={"policy": {"sensitivity": 0.98}, "version": "1"},
    )


def stack(files: list[Path], selection: FrameSelection, name: str = DATA) -> np.ndarray:
    """Read with h5py, frame by frame."""
    frames = []
    for file, index in zip(selection.file, selection.index):
        with h5py.File(file, "r") as opened:
            frames.append(opened[name][index])
    return np.stack(frames)


def test_frames_of_several_files_in_the_order_of_the_selection(files: list[Path], selection: FrameSelection) -> None:
    found = selected_frames(selection)
    np.testing.assert_array_equal(found["image"].compute(), stack(files, selection))
    masks = [read(file)["mask"].compute() for file in files]
    np.testing.assert_array_equal(found["mask"].compute(), masks[0] | masks[1])
    assert (masks[0] != masks[1]).any(), "the masks must differ for this test to say something"
    assert unwrap(found["image"])[1].geometry == unwrap(read(files[0])["image"])[1].geometry


def test_any_name_of_a_dataset_finds_its_geometry(files: list[Path], selection: FrameSelection) -> None:
    other = replace(selection.take(np.array([0, 2])), dataset=["entry_1/instrument_1/detector_1/data"] * 2)
    found = selected_frames(other)
    assert unwrap(found["image"])[1].geometry is not None
    assert "mask" in found
    np.testing.assert_array_equal(found["image"].compute(), stack(files, other))


def test_frames_of_other_files(tmp_path: Path) -> None:
    """Any HDF5, and files of one frame each."""
    values = np.random.default_rng(0).poisson(4, (6, 9, 8)).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/data"] = values
    place = {
        "dataset": ["/x/data"] * 2,
        "index": [5, 1],
        "event": [""] * 2,
        "score": [1, 1],
        "decision": ["hit"] * 2,
        "reason": ["hit"] * 2,
    }
    found = selected_frames(FrameSelection(file=[str(tmp_path / "a.h5")] * 2, **place))
    np.testing.assert_array_equal(found["image"].compute(), values[[5, 1]])
    assert list(found) == ["image"]
    for i in range(3):
        np.save(tmp_path / f"f{i}.npy", values[i])
    place |= {"dataset": [""] * 2, "index": [0, 0]}
    single = FrameSelection(file=[str(tmp_path / f"f{i}.npy") for i in (2, 0)], **place)
    np.testing.assert_array_equal(selected_frames(single)["image"].compute(), values[[2, 0]])
    with pytest.raises(DataError, match="needs the name of its dataset"):
        selected_frames(replace(single, index=[0, 1]))
    with pytest.raises(ParameterError, match="numbers 0 to 5"):
        selected_frames(FrameSelection(file=[str(tmp_path / "a.h5")] * 2, **{**place, "dataset": ["x/data"] * 2, "index": [5, 6]}))
    with pytest.raises(ReadError, match="nope"):
        selected_frames(FrameSelection(file=[str(tmp_path / "a.h5")] * 2, **{**place, "dataset": ["/nope"] * 2, "index": [0, 1]}))
    with pytest.raises(DataError, match="no frame"):
        selected_frames(single.take(np.zeros(2, bool)))


@pytest.mark.parametrize("compression", ["gzip", "bitshuffle-lz4"])
def test_what_is_kept_and_why(files: list[Path], selection: FrameSelection, tmp_path: Path, compression: str) -> None:
    path = write_selected_cxi(selection, tmp_path / "hits.cxi", compression=compression)
    kept = selection.kept()
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[DATA][()], stack(files, kept))
        results = file["entry_1/result_1"]
        for name, values in {"source_file": kept.file, "decision": kept.decision, "reason": kept.reason, "jet": kept.more["jet"]}.items():
            assert results[name].asstr()[()].tolist() == values.tolist()
        np.testing.assert_array_equal(results["source_index"][()], kept.index)
        np.testing.assert_array_equal(results["hit_probability"][()], kept.score)
        np.testing.assert_array_equal(results["n_spots"][()], kept.more["n_spots"])
        assert json.loads(results.attrs["selection"]) == selection.about
    found = read(path)
    assert set(found) == {"image", "mask", "hit_probability"}
    assert pc.column(found["image"], "decision").tolist() == kept.decision.tolist()
    assert unwrap(found["hit_probability"])[1].names == ("frame",)
    assert unwrap(found["image"])[1].geometry.beam_centre == pytest.approx(SAME[0].geometry.beam_centre)


def test_the_selection_comes_back(selection: FrameSelection, tmp_path: Path) -> None:
    again = read_selected_cxi(write_selected_cxi(selection, tmp_path / "hits.cxi"))
    kept = selection.kept()
    for name in ("file", "dataset", "index", "event", "score", "decision", "reason"):
        np.testing.assert_array_equal(getattr(again, name), getattr(kept, name))
        assert getattr(again, name).dtype.kind == getattr(kept, name).dtype.kind
    assert set(again.more) == {"n_spots", "jet"}
    assert again.about == selection.about
    with pytest.raises(ReadError, match="was decided"):
        read_selected_cxi(str(selection.file[0]))


def test_counts_are_no_probabilities(selection: FrameSelection, tmp_path: Path) -> None:
    counts = replace(selection, score=np.arange(10) * 3, event=[f"shot {i}" for i in range(10)])
    path = write_selected_cxi(counts, tmp_path / "hits.cxi")
    found = read(path)
    assert "hit_probability" not in found
    assert pc.column(found["image"], "score").tolist() == counts.kept().score.tolist()
    assert list(found["image"].metadata["event_ids"]) == counts.kept().event.tolist()
    np.testing.assert_array_equal(read_selected_cxi(path).score, counts.kept().score)


def test_frames_that_were_worked_on(files: list[Path], selection: FrameSelection, tmp_path: Path) -> None:
    """Corrected frames and their peaks instead of what lies in the files."""
    raw = selected_frames(selection)
    image = pc.Clip(0, 50)(raw["image"])
    found = pc.PeakFinder8(threshold=30, min_snr=5, max_peaks=20, mask=raw["mask"])(image)
    path = write_selected_cxi(selection, tmp_path / "hits.cxi", datasets={"image": image, "mask": raw["mask"], **found})
    again = read(path)
    is_kept = selection.is_kept
    np.testing.assert_array_equal(again["image"].compute(), np.clip(stack(files, selection), 0, 50)[is_kept])
    for name in ("peaks", "n_peaks"):
        np.testing.assert_array_equal(again[name].compute(), found[name].compute()[is_kept])


def test_what_does_not_fit_is_refused(selection: FrameSelection, tmp_path: Path) -> None:
    path = tmp_path / "hits.cxi"
    with pytest.raises(DataError, match="none of its 10 frames"):
        write_selected_cxi(replace(selection, reason=[""] * 10), path)
    with pytest.raises(ParameterError, match="of 10 frames"):
        write_selected_cxi(selection, path, datasets=selected_frames(selection.kept()))
    with pytest.raises(ParameterError, match="wanted image"):
        write_selected_cxi(selection, path, datasets={"mask": sidpy.Dataset.from_array(np.zeros((3, 3)))})
    assert not path.exists()
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_selected_cxi(selection, path)
    assert path.read_bytes() == b"precious"


def test_runs_of_different_geometry(tmp_path: Path, selection: FrameSelection) -> None:
    """No single geometry is right for all: one must be said."""
    moved = replace(SAME[0], beam_shift=(3.0, 4.0))
    paths = [write_cxi(simulate_run(run, 5), tmp_path / f"{i}.cxi") for i, run in enumerate((SAME[0], moved))]
    other = replace(selection, file=[str(paths[i % 2]) for i in range(10)])
    with pytest.raises(AxisError, match="pixel size, distance and wavelength"):
        write_selected_cxi(other, tmp_path / "hits.cxi")
    frames = selected_frames(other.kept(), geometry=moved.geometry)
    assert unwrap(frames["image"])[1].geometry == moved.geometry
