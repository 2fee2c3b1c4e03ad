"""Files that show frames of others: the same values, geometry and names, by our reader and by HDF5 itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_data import FRAMES, SHAPE, chosen, record

import pycroclass as pc
from pycroclass.errors import DataError, ReadError, WriteError
from pycroclass.selection import FrameSelection, places, read_selection_of, write_virtual
from pycroclass.selection.carried import missing_value
from pycroclass.writers import write_cxi

WANTED = [201, 203, 102, 105, 106]
"""What the frames of ``some`` hold: run 2 first, each in order."""


def test_our_reader_gives_the_kept_frames(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    found = pc.read(write_virtual(some, tmp_path / "kept.cxi"))
    source = pc.read(runs[0])
    assert found.keys() == source.keys()
    image = found["image"]
    np.testing.assert_array_equal(image.compute(), np.broadcast_to(np.array(WANTED)[:, None, None], (5, *SHAPE)))
    assert image.dtype == np.uint16
    assert image.metadata["geometry"] == source["image"].metadata["geometry"]
    assert image.metadata["detector"] == source["image"].metadata["detector"]
    assert list(image.metadata["event_ids"]) == [f"shot {i}" for i in WANTED]
    np.testing.assert_array_equal(found["mask"].compute(), source["mask"].compute())
    assert found["label"].compute().tolist() == [1, 1, 0, 1, 0]
    profile = pc.run(pc.RadialProfile(), image)
    np.testing.assert_array_equal(np.nanmax(profile.compute(), axis=1), WANTED)


def test_layout_is_that_of_the_sources(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    """What CrystFEL looks for is where the geometry file of the sources says."""
    with h5py.File(write_virtual(some, tmp_path / "kept.cxi"), "r") as file, h5py.File(runs[0], "r") as source:
        assert file["cxi_version"][()] == 160
        assert file[FRAMES].is_virtual
        assert dict(file[FRAMES].attrs) == dict(source[FRAMES].attrs)
        assert file["entry_1/data_1"].get("data", getlink=True).path == FRAMES
        np.testing.assert_array_equal(file["entry_1/data_1/data"][:, 1, 1], WANTED)
        np.testing.assert_array_equal(file["entry_1/data_1/mask"][()], source["entry_1/data_1/mask"][()])
        np.testing.assert_array_equal(file["entry_1/result_1/nPeaks"][()], WANTED)
        np.testing.assert_allclose(file["entry_1/instrument_1/source_1/pulse_energy"][()], 1e-3 * np.array(WANTED))
        assert file["entry_1/instrument_1/source_1/energy"][()] == 1.5e-15
        for name in ("corner_position", "basis_vectors", "distance"):
            np.testing.assert_array_equal(
                file[f"entry_1/instrument_1/detector_1/{name}"][()], source[f"entry_1/instrument_1/detector_1/{name}"][()]
            )
        assert set(source) | {"selection"} == set(file)


def test_nothing_is_copied(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 60000, (60, 128, 128), np.uint16)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file["data"] = frames
    with h5py.File(tmp_path / "large.h5", "a") as file:
        file["second"] = frames[:, ::-1]  # another detector
        file["per_frame"] = frames[:, 0, :8]
    path = write_virtual(chosen(tmp_path / "large.h5", [3, 50, 7], ["hit"] * 3, dataset="/data"), tmp_path / "kept.h5")
    assert path.stat().st_size < frames[:3].nbytes
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["data"], frames[[3, 7, 50]])
        np.testing.assert_array_equal(file["per_frame"], frames[[3, 7, 50], 0, :8])
        assert file["data"].is_virtual
        assert not file["per_frame"].is_virtual
        assert file["second"].is_virtual
        np.testing.assert_array_equal(file["second"], frames[[3, 7, 50], ::-1])


def test_selection_is_kept_beside(some: FrameSelection, tmp_path: Path) -> None:
    path = write_virtual(some, tmp_path / "kept.cxi")
    found = read_selection_of(path)
    kept = some.take(np.array([3, 0, 5, 1, 4]))  # by file, then by number
    for name in ("file", "dataset", "index", "event", "score", "decision", "reason"):
        np.testing.assert_array_equal(getattr(found, name), getattr(kept, name))
    assert found.about == some.about
    image = pc.read(path)["image"]
    for i, (file, dataset, index) in enumerate(zip(found.file, found.dataset, found.index, strict=True)):
        with h5py.File(file, "r") as source:
            np.testing.assert_array_equal(source[dataset][index], image[i].compute())
    assert set(places(image).file) == {str(path)}


@settings(max_examples=25)
@given(index=st.lists(st.integers(0, 39), min_size=1, max_size=40, unique=True), take=st.randoms(use_true_random=False))
def test_any_frames(tmp_path_factory: pytest.TempPathFactory, index: list[int], take) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("any")
    values = np.arange(40, dtype="f4")[:, None, None] + np.zeros((40, 3, 4), "f4")
    with h5py.File(folder / "run.h5", "w") as file:
        file.create_dataset("entry/data", data=values, chunks=(7, 3, 4))
    path = write_virtual(chosen(folder / "run.h5", index, ["hit"] * len(index), dataset="/entry/data"), folder / "kept.h5")
    (frames,) = (dataset for key, dataset in pc.read(path).items() if key == "entry/data")
    np.testing.assert_array_equal(frames.compute()[:, 0, 0], sorted(index))
    some = [take.randrange(len(index)) for _ in range(5)]
    np.testing.assert_array_equal(pc.take(frames, some).compute()[:, 1, 1], np.sort(index)[some])


def test_files_move_together(some: FrameSelection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_virtual(some, tmp_path / "kept.cxi")
    elsewhere = tmp_path.with_name(f"{tmp_path.name} moved")
    shutil.move(tmp_path, elsewhere)
    monkeypatch.chdir("/")
    assert pc.read(elsewhere / "kept.cxi")["image"][:, 0, 0].compute().tolist() == WANTED


def test_a_missing_source_is_an_error_and_no_blank_frame(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    path = write_virtual(some, tmp_path / "kept.cxi")
    image = pc.read(path)["image"]
    nested = write_virtual(chosen(path, [0, 2], ["hit", "hit"], dataset=FRAMES), tmp_path / "nested.cxi")
    assert pc.read(nested)["image"][:, 0, 0].compute().tolist() == [WANTED[0], WANTED[2]]
    runs[1].rename(runs[1].with_suffix(".gone"))
    for file in (path, nested):
        with pytest.raises(ReadError, match=r"run_2\.cxi, which is missing"):
            pc.read(file)
    with pytest.raises(ReadError, match=r"run_2\.cxi, which is missing"):
        image[0].compute()
    with h5py.File(path, "r") as file:
        assert file[FRAMES][:, 0, 0].tolist() == [65535, 65535, 102, 105, 106]


@pytest.mark.parametrize(("dtype", "value"), [("u2", 65535), ("i4", -(2**31)), ("f4", np.nan), ("c8", complex(np.nan)), ("?", True)])
def test_value_of_missing_frames(dtype: str, value: complex) -> None:
    np.testing.assert_equal(missing_value(dtype).item(), value)
    assert missing_value(dtype).dtype == np.dtype(dtype)


def test_energies_of_runs_become_energies_of_frames(tmp_path: Path) -> None:
    files = [record(tmp_path / f"{k}.cxi", 3, k, energy=k * 1e-15) for k in (1, 2)]
    selection = chosen([files[0], files[1], files[1]], [0, 1, 2], ["hit"] * 3)
    image = pc.read(write_virtual(selection, tmp_path / "kept.cxi"))["image"]
    assert image.metadata["photon_energies"] == pytest.approx([1e-15, 2e-15, 2e-15])


def test_as_many_frames_as_there_are_coordinates(tmp_path: Path) -> None:
    """Two frames and two basis vectors, three frames and three coordinates."""
    for n in (2, 3, 6):
        source = record(tmp_path / f"{n}.cxi", n, 10)
        image = pc.read(write_virtual(chosen(source, [1], ["hit"]), tmp_path / f"kept_{n}.cxi"))["image"]
        assert image.metadata["geometry"] == pc.read(source)["image"].metadata["geometry"]
        assert pc.read(tmp_path / f"kept_{n}.cxi")["mask"].shape == SHAPE


def test_as_many_frames_as_there_are_rows_of_pixels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["data"] = np.zeros((5, 5, 4))
        file["gain"] = np.arange(20).reshape(5, 4)
        file["energy"] = np.arange(5)
    with h5py.File(write_virtual(chosen(tmp_path / "run.h5", [3, 1], ["hit"] * 2, dataset="/data"), tmp_path / "kept.h5"), "r") as kept:
        assert (kept["gain"].shape, kept["energy"][()].tolist()) == ((5, 4), [1, 3])


def test_files_that_we_write(tmp_path: Path) -> None:
    from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run

    run = simulate_run(draw_run(seed=1, experiment=Experiment(Detector(shape=(20, 24)))), 6)
    source = write_cxi(run, tmp_path / "run.cxi")
    where = places(pc.read(source)["image"])
    selection = FrameSelection(**where.columns(), score=np.arange(6), decision=["miss", "hit"] * 3, reason=["", "hit"] * 3)
    found = pc.read(write_virtual(selection, tmp_path / "hits.cxi"))
    np.testing.assert_array_equal(found["image"].compute(), run["image"].compute()[1::2])
    assert found["image"].metadata["event_ids"] == ["1", "3", "5"]


def mixed_shapes(folder: Path) -> FrameSelection:
    files = [record(folder / "a.cxi", 3, 0), folder / "b.h5"]
    with h5py.File(files[1], "w") as file:
        file[FRAMES] = np.zeros((3, 2, 2), "u2")
    return chosen(files, [0, 0], ["hit"] * 2)


def mixed_types(folder: Path) -> FrameSelection:
    return chosen([record(folder / "a.cxi", 3, 0), record(folder / "b.cxi", 3, 0, dtype="i4")], [0, 0], ["hit"] * 2)


def other_distance(folder: Path) -> FrameSelection:
    return chosen([record(folder / "a.cxi", 3, 0), record(folder / "b.cxi", 3, 0, distance=0.2)], [0, 0], ["hit"] * 2)


def other_mask(folder: Path) -> FrameSelection:
    return chosen([record(folder / "a.cxi", 3, 0), record(folder / "b.cxi", 3, 0, mask=4)], [0, 0], ["hit"] * 2)


def other_path(folder: Path) -> FrameSelection:
    return chosen(record(folder / "a.cxi", 3, 0), [0, 1], ["hit"] * 2, dataset=[FRAMES, "/entry_1/data_1/data"])


def too_far(folder: Path) -> FrameSelection:
    return chosen(record(folder / "a.cxi", 3, 0), [3], ["hit"])


def no_frames(folder: Path) -> FrameSelection:
    return chosen(record(folder / "a.cxi", 3, 0), [0], ["hit"], dataset="/entry_1/result_1/nPeaks")


def no_hdf5(folder: Path) -> FrameSelection:
    return chosen(folder / "a.cbf", [0], ["hit"], dataset="")


def a_link(folder: Path) -> FrameSelection:
    source = record(folder / "a.cxi", 3, 0)
    with h5py.File(folder / "master.h5", "w") as file:
        file["data"] = h5py.ExternalLink(source.name, FRAMES)
    return chosen(folder / "master.h5", [0], ["hit"], dataset="/data")


def itself(folder: Path) -> FrameSelection:
    return chosen(record(folder / "kept.h5", 3, 0), [0], ["hit"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (mixed_shapes, r"b\.h5 holds frames of \(2, 2\) uint16, .*a\.cxi of \(6, 5\) uint16"),
        (mixed_types, r"b\.cxi holds frames of \(6, 5\) int32"),
        (other_distance, "/(corner_position|distance) is not the same in .*a.cxi"),
        (other_mask, "mask is not the same in"),
        (other_path, "the frames lie at different HDF5 paths"),
        (too_far, r"a\.cxi holds 3 frames, and frame 3 was chosen"),
        (no_frames, "wanted a stack of frames"),
        (no_hdf5, r"a\.cbf is no HDF5 file with a stack of frames"),
        (a_link, r"'/data' of .*master\.h5 is a link to .*a\.cxi; select frames of that file"),
        (itself, "is one of the files that hold the frames"),
    ],
)
def test_what_cannot_be_shown(tmp_path: Path, make: Callable[[Path], FrameSelection], message: str) -> None:
    selection = make(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(WriteError, match=message):
        write_virtual(selection, tmp_path / "kept.h5", overwrite=make is itself)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_nothing_is_overwritten_unasked(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "kept.cxi"
    path.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists already"):
        write_virtual(some, path)
    with pytest.raises(DataError, match="no frame is kept"):
        write_virtual(some.take(~some.is_kept), path, overwrite=True)
    runs[0].unlink()
    with pytest.raises(ReadError):
        write_virtual(some, path, overwrite=True)
    assert path.read_bytes() == b"precious"
    with pytest.raises(ReadError, match="keeps no selection"):
        read_selection_of(runs[1])
