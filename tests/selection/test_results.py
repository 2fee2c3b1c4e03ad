"""Decisions as NSID results, and files by their endings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyNSID
import pytest
from selection_data import chosen

import pycroclass as pc
from pycroclass.errors import ParameterError, ReadError, WriteError
from pycroclass.readers.records import records
from pycroclass.replay import Verdict
from pycroclass.selection import FORMATS, FrameSelection, places, read_decisions, read_selection, write_decisions, write_selection
from pycroclass.selection.formats import _function


def test_decisions_come_back(some: FrameSelection, tmp_path: Path) -> None:
    selection = FrameSelection(**{**vars(some), "more": {"n_peaks": np.arange(6), "sample": np.array(list("abcdef"))}})
    path = write_decisions(selection, tmp_path / "decisions.hf5")
    found = read_decisions(path)
    for name in ("file", "dataset", "index", "event", "score", "decision", "reason"):
        np.testing.assert_array_equal(getattr(found, name), getattr(selection, name))
    for name, values in selection.more.items():
        np.testing.assert_array_equal(found.more[name], values)
    assert found.about == selection.about
    stored = {key.rsplit("/", 1)[1]: dataset for key, dataset in pc.read(path).items()}
    assert stored["decision"].metadata["classes"] == ["miss", "uncertain", "hit"]
    assert pc.column(stored["decision"], "reason").tolist() == selection.reason.tolist()
    with pytest.raises(WriteError, match="exists already"):
        write_decisions(selection, path)


def test_other_tools_and_the_record(some: FrameSelection, runs: list[Path], tmp_path: Path) -> None:
    import h5py

    path = write_decisions(some, tmp_path / "decisions.hf5")
    with h5py.File(path, "r") as file:
        assert sorted(main.name.rsplit("/", 1)[1] for main in pyNSID.hdf_utils.get_all_main(file)) == ["decision", "score"]
    for record in records(path).values():
        assert record.provenance.verb == "select"
        assert record.provenance.parameters["about"] == some.about
        stamps = [stamp for node in record.provenance.walk() for stamp in node.files]
        assert {stamp.path for stamp in stamps} == set(map(str, runs))
        assert all(stamp.digest for stamp in stamps)
    assert {one.verdict for one in pc.replay(path)} == {Verdict.NOT_REPLAYABLE}
    runs[0].unlink()
    with pytest.raises(ReadError, match=r"run_1\.cxi is missing, and holds frames of the selection"):
        write_decisions(some, tmp_path / "again.hf5")


def test_every_format(some: FrameSelection, tmp_path: Path) -> None:
    """A stream knows hits alone, and not why other frames are kept."""
    for known in FORMATS:
        kept = some.take(some.decision == "hit") if known.ending == ".stream" else some.kept()
        wanted = {(str(file), int(index)) for file, index in zip(kept.file, kept.index, strict=True)}
        assert _function(known.write).__doc__
        path = write_selection(some, tmp_path / f"selection{known.ending}")
        with pytest.raises(WriteError, match="exists already"):
            write_selection(some, path)
        write_selection(some, path, overwrite=True)
        if known.read is None:
            with pytest.raises(ParameterError, match="does not say which frames"):
                read_selection(path)
            continue
        found = read_selection(path)
        assert {(str(file), int(index)) for file, index in zip(found.kept().file, found.kept().index, strict=True)} == wanted
        assert known.ending == ".stream" or found.about["veto"] == some.about["veto"]
    assert len({known.ending for known in FORMATS}) == len(FORMATS)
    for path in (tmp_path / "a.txt", tmp_path / "a"):
        with pytest.raises(ParameterError, match=r"a selection is written as \.lst, \.csv"):
            write_selection(some, path)


def test_a_result_without_decisions(runs: list[Path], tmp_path: Path) -> None:
    path = pc.write({"log": pc.Log1p()(pc.read(runs[0])["image"])}, tmp_path / "log.hf5")
    with pytest.raises(ReadError, match="holds no decisions of a veto, but log"):
        read_selection(path)
    assert len(places(pc.read(runs[0])["image"])) == 7
    assert len(chosen(runs[0], [0], ["hit"])) == 1
