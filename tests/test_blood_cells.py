"""The blood cell example on real micrographs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import SciFiReaders

EXAMPLE = Path(__file__).parents[1] / "examples" / "blood_cells.py"


@pytest.mark.shared
@pytest.mark.slow
def test_tells_cells_of_new_micrographs_apart(shared: Path, tmp_path: Path) -> None:
    assert runpy.run_path(str(EXAMPLE))["main"](shared / "bccd", tmp_path) >= 0.97
    assert "data:image/svg" in (tmp_path / "report.html").read_text()
    reader = SciFiReaders.NSIDReader(str(tmp_path / "classified.h5"))
    results = {dataset.title: dataset for dataset in reader.read().values()}
    label = results["label"]
    assert list(label.metadata["classes"]) == ["Platelets", "RBC", "WBC"]
    assert set(label.compute().tolist()) == {0, 1, 2}
    assert results["probability"].shape == (*label.shape, 3)
