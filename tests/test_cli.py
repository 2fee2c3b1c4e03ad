"""The command line, as a user calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
import sidpy

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.commands import training

RECIPE = """
pipeline:
  - PCA: {n_components: 3}
  - KMeans: {n_clusters: 2, seed: 0}
mean_by_label: true
"""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Call pycroclass with arguments; gives exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pycroclass", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return invoke


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["entry/data"] = rng.normal(size=(30, 8, 9)).astype("f4") + (np.arange(30) % 2 * 5)[:, None, None]
        file["entry/other"] = np.zeros((4, 5), "f4")
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("n_components: 3", "n_components: 3, axes: [y, x]"))
    return path


def test_info(call, stack: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("info", stack, "--picture", tmp_path / "thumbnails.png")
    assert code == 0
    assert "entry/data" in out
    assert "30 × 8 × 9" in out
    assert (tmp_path / "thumbnails.png").stat().st_size > 1000


def test_plan_computes_nothing(call, stack: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "recipe.yaml"
    path.write_text("- Clip: {low: 0}\n- Log1p\n")
    code, out, _ = call("plan", path, stack, "--key", "entry/data")
    assert code == 0
    assert "Clip | Log1p" in out
    assert "tasks" in out


def test_run_and_replay(call, stack: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "recipe.yaml"
    path.write_text("dataset: entry/data\npipeline:\n  - Log1p\n  - Clip: {low: 0}\n")
    output = tmp_path / "out.h5"
    code, out, err = call("run", path, stack, "-o", output)
    assert (code, err) == (0, "")
    assert "out.h5" in out
    code, out, _ = call("replay", output)
    assert code == 0
    assert "identical" in out
    code, out, _ = call("run", path, stack, "-o", output)
    assert code == 0
    assert "already done" in out
    path.write_text("dataset: entry/data\npipeline:\n  - Log1p\n")
    code, _, err = call("run", path, stack, "-o", output)
    assert code == 2
    assert "exists already" in err
    assert len(err.strip().splitlines()) == 1
    with h5py.File(stack, "r+") as file:
        file["entry/data"][0] = 7
    code, out, _ = call("replay", output)
    assert code == 2
    assert "source changed" in out


def test_several_files_go_to_a_folder(call, stack: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    second = tmp_path / "second.h5"
    second.write_bytes(stack.read_bytes())
    path = tmp_path / "recipe.yaml"
    path.write_text("dataset: entry/data\npipeline: [Log1p]\n")
    code, _, _ = call("run", path, stack, second, "-o", tmp_path / "results")
    assert code == 0
    assert {p.name for p in (tmp_path / "results").iterdir()} == {"run.h5", "second.h5"}


def test_train_and_classify(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    for name in ("one.h5", "two.h5"):
        truth = np.arange(40) % 2
        image = rng.normal(size=(40, 16, 16)).astype("f4") + 3 * truth[:, None, None]
        with h5py.File(tmp_path / name, "w") as file:
            file["image"] = image
        datasets = {"image": f"{tmp_path / name}::image"}
        stack = pc.read(datasets["image"])["image"]
        labels = sidpy.Dataset.from_array(truth.astype("i4"), title="label")
        labels.set_dimension(0, stack._axes[0])
        labels.metadata = {"classes": ["dim", "bright"]}
        pc.write({"image": stack, "label": labels}, tmp_path / f"labelled_{name}")
    runs = [tmp_path / f"labelled_{name}" for name in ("one.h5", "two.h5")]
    keys = ("--key", "Measurement_000/Channel_000/image/image", "--labels", "Measurement_000/Channel_000/label/label")
    code, out, err = call("train", *runs, "-o", tmp_path / "b.safetensors", "--epochs", 3, *keys)
    assert (code, err) == (0, "")
    assert "classes dim, bright" in out
    recipe = tmp_path / "sort.yaml"
    recipe.write_text("bundle: b.safetensors\n")
    code, _, _ = call("run", recipe, tmp_path / "one.h5", "-o", tmp_path / "sorted.h5", "--key", "image")
    assert code == 0
    assert "within tolerance" in (shown := call("replay", tmp_path / "sorted.h5")[1]) or "identical" in shown


TRAINING = """
data: spots
output: spots.safetensors
classifier:
  parameters: {width: 4}
  epochs: 3
  batch_size: 8
  validation: 0.25
  augmentation: {preset: dihedral, noise: 0.1}
  baselines: true
"""


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    """A folder per class, and a recipe beside it."""
    rng = np.random.default_rng(0)
    for i in range(24):
        image = rng.integers(0, 60, (12, 12), dtype=np.uint8)
        image[4:8, 4:8] += 150 * (i % 2)
        path = tmp_path / "spots" / ("dim", "bright")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(path, image)
    path = tmp_path / "train.yaml"
    path.write_text(TRAINING)
    return path


def test_train_by_recipe(call, spots: Path) -> None:  # type: ignore[no-untyped-def]
    output = spots.parent / "spots.safetensors"
    code, out, err = call("train", spots, "--log", spots.parent / "log", "--max-time", 0)
    assert code == 0
    assert "stopped after epoch 1 of 3 for lack of time; run the same command again to go on" in err
    assert (spots.parent / "spots.safetensors.checkpoint").exists()
    code, out, err = call("train", spots, "--log", spots.parent / "log")
    assert (code, err) == (0, "")
    assert "classes bright, dim" in out
    assert "total intensity" in out
    bundle = pc.Bundle.load(output)
    assert len(bundle.training["history"]) == 3
    assert len((spots.parent / "log" / "history.csv").read_text().splitlines()) == 4
    assert not list(spots.parent.glob("*.checkpoint"))
    code, _, err = call("train", spots)
    assert (code, "exists already" in err) == (2, True)
    assert call("train", spots, "--overwrite", "--quiet")[0] == 0
    assert pc.Bundle.load(output).digest == bundle.digest
    elsewhere = spots.parent / "other.safetensors"
    assert call("train", spots, "-o", elsewhere, "--seed", 1, "--epochs", 1, "--augmentation", "none")[0] == 0
    training = pc.Bundle.load(elsewhere).training
    assert (len(training["history"]), training["split"]["seed"], training["augmentation"]) == (1, 1, {})


def test_gallery_trains_nothing(call, spots: Path) -> None:  # type: ignore[no-untyped-def]
    picture = spots.parent / "seen.png"
    code, out, _ = call("train", spots, "--gallery", picture)
    assert code == 0
    assert "seen.png" in out
    assert imageio.imread(picture).shape[2] == 4
    assert not list(spots.parent.glob("*.safetensors*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: spots", "where to?"),
        ("output: b.safetensors", "has data"),
        ("data: spots\nepoch: 3", "a recipe for training knows"),
        ("data: spots\nclassifier: {epoch: 3}", "no parameter epoch"),
        ("data: spots\nclassifier: {balance: {way: 3}}", "Balance has no way"),
        ("data: [", "cannot be read as a recipe"),
    ],
)
def test_bad_training_recipes(call, spots: Path, text: str, message: str) -> None:  # type: ignore[no-untyped-def]
    spots.write_text(text)
    code, _, err = call("train", spots)
    assert code == 2
    assert message in err


def test_bad_time(call, spots: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("train", spots, "--max-time", "soon")
    assert code == 2
    assert "30m" in err


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30m", 1800), ("1.5h", 5400), ("1:30:00", 5400), ("2d", 172800), ("10s", 10)])
def test_times(text: str, seconds: float) -> None:
    assert training._seconds(text) == seconds


def test_formats(call) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("formats")
    assert code == 0
    assert ".dm3" in out
    assert "pycroclass[igor]" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipeline: [Nonsense]", "no operator or estimator 'Nonsense'"),
        ("pipeline:\n  - Clip: {lower: 1}", "no parameter lower"),
        ("pipelin: []", "a recipe knows"),
        ("pipeline: [", "cannot be read as a recipe"),
        ("dataset: x", "needs either a pipeline"),
    ],
)
def test_bad_recipes(call, stack: Path, tmp_path: Path, text: str, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    code, _, err = call("run", path, stack, "-o", tmp_path / "out.h5")
    assert code == 2
    assert message in err
    assert not (tmp_path / "out.h5").exists()


def test_bad_input(call, recipe: Path, stack: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "missing.h5" in call("info", tmp_path / "missing.h5")[2]
    _, _, err = call("run", recipe, stack, "-o", tmp_path / "out.h5")
    assert "name one with --key: entry/data, entry/other" in err
    _, _, err = call("run", recipe, stack, "-o", tmp_path / "out.h5", "--key", "nothing")
    assert "no dataset 'nothing'" in err


def test_version(call) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("pycroclass ")
