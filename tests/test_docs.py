"""What the documentation shows runs: each page of the how-to from top to bottom, the README, recipes, examples."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.recipes.training import TrainingRecipe
from pycroclass.simulate import draw_run, simulate_run
from pycroclass.writers import write_cxi, write_tfrecord

ROOT = Path(__file__).parents[1]
SCAN = ROOT / "docs" / "how-to" / "a-scan-to-try.md"
PAGES = [page for page in sorted(SCAN.parent.glob("*.md")) if page != SCAN]
BLOCK = re.compile(r"^```(?:\{code-block\} )?(python|bash|yaml)\n(?::caption: (\S+)\n)?(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = re.findall(r"^EXAMPLES := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
CELLS = {"platelet": 4, "red": 9, "white": 13}
"""Radius of each kind of cell, in pixels."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages read: the spectrum image of the page that makes one, cells in a folder per class, and cells of unknown class."""
    folder = tmp_path_factory.mktemp("docs")
    with chdir(folder):
        ((_, _, text),) = BLOCK.findall(SCAN.read_text())
        exec(compile(text, SCAN.name, "exec"), {})
    rng = np.random.default_rng(0)
    for name, radius in CELLS.items():
        for number in range(20):
            draw_cell(folder / "cells" / name / f"{number:03}.png", radius, rng)
        draw_cell(folder / "unknown" / f"a_{name}.png", radius, rng)
    rows = [f"cells/{name}/{number:03}.png,{name},P{number % 4},Hamburg" for name in CELLS for number in range(20)]
    (folder / "labels.csv").write_text("\n".join(["path,label,plate,site", *rows]))
    (folder / "shards").mkdir()
    write_tfrecord(pc.read(folder / "cells")["image"], folder / "shards")
    return folder


def draw_cell(path: Path, radius: float, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:32, :32] - 16 + rng.normal(0, 1, (2, 1, 1))
    image = 200 - 100 * (np.hypot(y, x) < radius) + rng.normal(0, 8, (32, 32))
    imageio.imwrite(path, np.clip(image, 0, 255).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)  # a page may change its files
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for language, file_name, text in BLOCK.findall(page.read_text()):
        if language == "yaml":
            Path(file_name).write_text(text)
        elif language == "bash":
            run_commands(text, monkeypatch)
        elif not text.startswith("Case("):
            exec(compile(text, page.name, "exec"), names)


@pytest.mark.slow
@pytest.mark.shared
def test_readme_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.dm3").symlink_to(shared / "native" / "scifidatasets" / "DMReader_SpectrumImage_SI-EELS.dm3")
    frames = simulate_run(draw_run(seed=1, hit_rate=0.5), 20)
    write_cxi(frames, tmp_path / "run.cxi")
    classifier = pc.NetworkClassifier(classes=("miss", "hit"), epochs=1)
    bundle = pc.train(frames["image"], classifier, preprocessing=pc.Bin(10), labels=frames["label"])
    bundle.save(tmp_path / "hits.safetensors")
    monkeypatch.chdir(tmp_path)
    (text,) = (text for language, _, text in BLOCK.findall((ROOT / "README.md").read_text()) if language == "python")
    names: dict[str, object] = {}
    exec(compile(text, "README.md", "exec"), names)
    assert set(names["result"]) == {"probability", "label", "confidence"}


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def run_commands(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, line


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_and_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert list(tmp_path.iterdir()) == []


def test_recipes_of_the_reference_load(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "reference" / "recipes.md").read_text())
    assert len(blocks) == 4
    for _, _, text in blocks:
        (tmp_path / "recipe.yaml").write_text(text)
        (TrainingRecipe if "classifier:" in text else pc.Recipe).load(tmp_path / "recipe.yaml")


def test_every_public_name_is_in_the_reference() -> None:
    listed = set(re.findall(r"^   (\w+)$", (ROOT / "docs" / "reference" / "api.md").read_text(), re.MULTILINE))
    assert set(pc.__all__) - {"__version__"} <= listed
