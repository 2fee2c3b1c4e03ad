"""``pycroclass cluster``, ``decompose``, ``unmix`` and ``embed`` from a file to results, a report and the recipe that does the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import sidpy

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.embedding import read_map
from pycroclass.errors import RecipeError
from pycroclass.recipes.recipe import Recipe
from pycroclass.replay import Verdict

SPECTRA = np.array([[9.0, 5, 2, 1, 0, 0], [0, 0, 1, 6, 1, 0], [0, 1, 0, 0, 2, 8]])
SAME = {Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three materials in stripes, each pixel of one of them, counts."""
    random = np.random.default_rng(0)
    counts = random.poisson(30 * np.repeat(SPECTRA, 4, 0)[None].repeat(10, 0) + 1).astype(np.float32)
    dataset = sidpy.Dataset.from_array(counts, title="scan", units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    for i, (name, kind) in enumerate({"y": "spatial", "x": "spatial", "energy": "spectral"}.items()):
        units = "eV" if name == "energy" else "nm"
        dataset.set_dimension(i, sidpy.Dimension(np.arange(float(counts.shape[i])), name, units=units, dimension_type=kind))
    return pc.write({"scan": dataset}, tmp_path_factory.mktemp("scan") / "scan.h5")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs, large and small."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    for i in range(24):
        image = 60 + 120 * (np.hypot(y, x) < (4, 9)[i % 2]) + random.normal(0, 6, (24, 24))
        imageio.imwrite(folder / f"{i:02}.png", image.clip(0, 255).astype(np.uint8))
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["pycroclass", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def results(path: Path) -> dict[str, np.ndarray]:
    return {key.rsplit("/", 1)[-1]: np.asarray(dataset.compute()) for key, dataset in pc.read(path).items()}


def test_cluster(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("-o", tmp_path / "c.h5", "--report", tmp_path / "c.html", "--save-recipe", tmp_path / "c.yaml")
    assert call(monkeypatch, "cluster", scan, *files, "--components", "2", "--clusters", "3") == 0
    found = results(tmp_path / "c.h5")
    assert set(found) == {"label", "confidence", "mean_by_label", "sd_by_label", "count_by_label"}
    assert [len(np.unique(stripe)) for stripe in np.split(found["label"], 3, axis=1)] == [1, 1, 1]
    assert found["count_by_label"].tolist() == [40, 40, 40]
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.count("<img src=") == 1
    assert re.findall(r"<td>(40|33 %)</td>", page) == ["40", "33 %"] * 3
    assert "PCA: variance explained" in page
    assert "sampled:" in page

    assert call(monkeypatch, "run", tmp_path / "c.yaml", scan, "-o", tmp_path / "again.h5") == 0
    for name, values in results(tmp_path / "again.h5").items():
        np.testing.assert_array_equal(values, found[name])
    assert {one.verdict for one in pc.replay(tmp_path / "c.h5")} <= SAME


def test_the_number_of_clusters_is_chosen_and_its_doubt_told(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("-o", tmp_path / "c.h5", "--report", tmp_path / "c.html")
    assert call(monkeypatch, "cluster", scan, *files, "--components", "2", "--method", "gaussian") == 0
    assert "3 clusters, doubt: " in capsys.readouterr().out
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "How many clusters" in page
    assert page.count("<img src=") == 2
    assert call(monkeypatch, "cluster", scan, "-o", tmp_path / "s.h5", "--clusters", "3", "--smooth", "3") == 0
    assert set(results(tmp_path / "s.h5")) == {"label", "mean_by_label", "sd_by_label", "count_by_label"}
    assert call(monkeypatch, "cluster", scan, scan, "-o", tmp_path / "two") == 2
    assert "say --clusters" in capsys.readouterr().err
    assert call(monkeypatch, "cluster", scan, "-o", tmp_path / "d.h5", "--method", "magic") == 2
    assert "kmeans" in capsys.readouterr().err


def test_decompose_and_unmix(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "before.yaml").write_text("- Select: {energy: [0, 5]}\n")
    files = ("-o", tmp_path / "n.h5", "--report", tmp_path / "n.html", "--before", tmp_path / "before.yaml")
    assert call(monkeypatch, "decompose", scan, *files, "--components", "3") == 0
    found = results(tmp_path / "n.h5")
    assert found["maps"].shape == (3, 10, 12)
    assert "NMF: objective" in (tmp_path / "n.html").read_text(encoding="utf-8")
    assert call(monkeypatch, "decompose", scan, "-o", tmp_path / "p.h5", "--method", "pca", "--report", tmp_path / "p.html") == 0
    assert "stand out of the noise" in (tmp_path / "p.html").read_text(encoding="utf-8")

    assert call(monkeypatch, "unmix", scan, "-o", tmp_path / "u.h5", "--endmembers", "3", "--report", tmp_path / "u.html") == 0
    found = results(tmp_path / "u.h5")
    np.testing.assert_allclose(found["abundance"].sum(0), 1, atol=1e-5)
    assert (tmp_path / "u.html").read_text(encoding="utf-8").count("<img src=") == 1
    for name in ("n", "p", "u"):
        assert {one.verdict for one in pc.replay(tmp_path / f"{name}.h5")} <= SAME


def test_embed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("-o", tmp_path / "e.h5", "--report", tmp_path / "e.html", "--save-recipe", tmp_path / "e.yaml")
    assert call(monkeypatch, "embed", images, *files, "--by", "hog", "--clusters", "2") == 0
    found = read_map(tmp_path / "e.h5")
    assert found.sizes == {0: 12, 1: 12}
    assert set(found.labels[::2]) != set(found.labels[1::2])
    assert "<canvas" in (tmp_path / "e.html").read_text(encoding="utf-8")
    again = found.sorter(pc.read(images)["image"])
    np.testing.assert_array_equal(again.compute(), found.labels)
    assert call(monkeypatch, "run", tmp_path / "e.yaml", images, "-o", tmp_path / "again.h5") == 0
    np.testing.assert_array_equal(read_map(tmp_path / "again.h5").labels, found.labels)
    assert {one.verdict for one in pc.replay(tmp_path / "e.h5")} <= SAME


def test_nothing_is_overwritten(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.html").write_text("mine")
    assert call(monkeypatch, "unmix", scan, "-o", tmp_path / "u.h5", "--endmembers", "3", "--report", tmp_path / "r.html") == 2
    assert "r.html exists" in capsys.readouterr().err
    assert not (tmp_path / "u.h5").exists()


def test_recipes_say_what_is_wrong() -> None:
    with pytest.raises(RecipeError, match="one of run, cluster"):
        Recipe.from_dict({"task": "sort", "pipeline": ["Log1p"]})
    with pytest.raises(RecipeError, match="takes a pipeline, not a bundle"):
        Recipe.from_dict({"task": "unmix", "bundle": "a.safetensors"})
    with pytest.raises(RecipeError, match="layout belong"):
        Recipe.from_dict({"pipeline": ["Log1p"], "layout": ["TSNE"]})
    recipe = Recipe.from_dict({"task": "decompose", "pipeline": [{"NMF": {"n_components": 2}}], "nonfinite": "mask"})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
