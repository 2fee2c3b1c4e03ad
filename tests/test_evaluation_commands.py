"""``pycroclass evaluate`` and ``pycroclass report`` from labelled files to a page."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
import torch

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.evaluation import Evaluation
from pycroclass.item_spec import ItemSpec
from pycroclass.networks import ImageResNet
from pycroclass.sid import unwrap
from pycroclass.spec import Domain

CLASSES = ("dark", "light")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of images in a folder for each class, and a bundle whose network was never trained."""
    folder = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(0)
    for run in ("monday", "tuesday"):
        for name in CLASSES:
            for i in range(6):
                path = folder / run / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                imageio.imwrite(path, rng.integers(0, 100 if name == "dark" else 250, (24, 20), dtype=np.uint8))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        module = ImageResNet(n_classes=2, width=4)
    network = pc.Classify("resnet_small", {"n_classes": 2, "width": 4}, module.state_dict(), classes=CLASSES)
    item = ItemSpec.of(unwrap(pc.read(folder / "monday")["image"])[1], Domain.IMAGE)
    pc.Bundle(pc.ZScore() | network, item, CLASSES).save(folder / "bundle.safetensors")
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["pycroclass", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_from_files_to_a_page_and_again_from_the_stored_evaluation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    bundle, runs = folder / "bundle.safetensors", (folder / "monday", folder / "tuesday")
    outputs = ("--output", tmp_path / "e.json", "--report", tmp_path / "a.html", "--table", tmp_path / "t.parquet")
    assert call(monkeypatch, "evaluate", bundle, *runs, *outputs, "--n-bootstrap", "50") == 0
    assert "balanced_accuracy" in capsys.readouterr().out
    found = Evaluation.load(tmp_path / "e.json")
    assert list(found.per_group) == ["monday", "tuesday"]
    assert found.pooled.support == 24
    assert pd.read_parquet(tmp_path / "t.parquet").loc["monday", "items"] == 12

    data = ("--data", runs[0], "--data", runs[1])
    assert call(monkeypatch, "report", tmp_path / "e.json", "-o", tmp_path / "b.html", "--bundle", bundle, *data) == 0
    first, second = (path.read_text(encoding="utf-8") for path in (tmp_path / "a.html", tmp_path / "b.html"))
    assert 'id="items"' in first
    assert first == second


def test_several_evaluations_are_compared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in ("monday", "tuesday"):
        output = ("--output", tmp_path / f"{run}.json", "--n-bootstrap", "0")
        assert call(monkeypatch, "evaluate", folder / "bundle.safetensors", folder / run, *output) == 0
    files = (tmp_path / "monday.json", tmp_path / "tuesday.json")
    assert call(monkeypatch, "report", *files, "-o", tmp_path / "both.html", "--title", "Two days") == 0
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<title>Two days</title>" in page
    assert "monday minus tuesday" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "bundle.safetensors", "monday", "--report", "bundle.safetensors"), "exists already"),
        (("evaluate", "bundle.safetensors", "monday", "--groups", "plate"), "no column 'plate'"),
        (("evaluate", "bundle.safetensors", "monday", "--prior", "0.1"), "a prior is for a bundle that ends with a ClassThreshold"),
        (("report", "bundle.safetensors", "-o", "x.html"), "no evaluation"),
        (("report", "bundle.safetensors", "-o", "x.html", "--data", "monday"), "--data needs --bundle"),
        (("report", "a/e.json", "b/e.json", "-o", "x.html"), "different file names"),
    ],
)
def test_says_what_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(folder)
    assert call(monkeypatch, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("x.html").exists()
