"""What `plan` says of memory is what stages need."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

import pycroclass as pc
from pycroclass.recipes.planning import describe
from pycroclass.recipes.recipe import Recipe

CPU = pc.Execution(device="cpu")


def lines(path: Path, *steps: dict[str, object], execution: pc.Execution = CPU) -> dict[str, str]:
    (dataset,) = pc.read(path).values()
    told = describe(Recipe.from_dict({"pipeline": steps}), dataset, execution)
    return {line.split()[0]: line.partition(" ")[2].strip() for line in told}


def frames(path: Path, n: int) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", (n, 512, 512), "u2", chunks=(1, 512, 512))
    return path


def test_memory_of_a_task_counted_by_hand(tmp_path: Path) -> None:
    told = lines(frames(tmp_path / "run.h5", 1000), {"Crop": {"size": 350}}, {"Log1p": {}})
    n = (32 << 20) // (350 * 350 * 2)  # 32 MiB of what is read
    block, results = n * 350 * 350 * 2, n * 350 * 350 * 4
    item = 8 * 2 * 350 * 350  # twice input and output as float32
    n_items = min((16 << 20) // (4 * 350 * 350), (60 << 20) // item)
    assert f"up to {(block + results + n_items * item) / 1e6:.3g} MB" in told["memory"]
    assert f"batch of {n_items} × {item / 1e6:.3g} MB" in told["memory"]


def test_a_small_dataset_is_one_small_block(tmp_path: Path) -> None:
    told = lines(frames(tmp_path / "run.h5", 3), {"Log1p": {}})
    assert "block 1.57 MB, results 3.15 MB" in told["memory"]


def test_the_batch_that_was_asked_for_is_told(tmp_path: Path) -> None:
    execution = pc.Execution(device="cpu", batch_bytes=3 * 4 * 350 * 350)
    told = lines(frames(tmp_path / "run.h5", 1000), {"Crop": {"size": 350}}, {"Log1p": {}}, execution=execution)
    assert "batch of 3 ×" in told["memory"]


def test_tasks_at_once_are_those_of_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycroclass.recipes.planning.CPU_COUNT", 3)
    (dataset,) = pc.read(frames(tmp_path / "run.h5", 3)).values()
    assert any("3 tasks at once" in line for line in describe(Recipe.from_dict({"pipeline": [{"Log1p": {}}]}), dataset, CPU))
