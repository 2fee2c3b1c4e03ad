"""Small recordings, and a selection of their frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from selection_data import chosen, record

from pycroclass.selection import FrameSelection


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of 7 and 4 frames, the second in a folder of its own, with a space in its name."""
    (tmp_path / "day two").mkdir()
    return [record(tmp_path / "run_1.cxi", 7, 100), record(tmp_path / "day two" / "run_2.cxi", 4, 200)]


@pytest.fixture
def some(runs: list[Path]) -> FrameSelection:
    """Frames of both runs, in no order, of every decision."""
    files = [runs[1], runs[0], runs[0], runs[1], runs[0], runs[0]]
    index = [3, 5, 0, 1, 6, 2]
    decision = ["hit", "hit", "miss", "uncertain", "miss", "hit"]
    reason = ["hit", "hit", "", "uncertain", "sampled miss", "hit"]
    return chosen(files, index, decision, reason=reason, about={"veto": {"kind": "peaks"}, "versions": {"pycroclass": "0"}})
