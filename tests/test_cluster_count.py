"""How many clusters there are, and how doubtful that is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sidpy
from sklearn.datasets import make_blobs
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.exploring.cluster_count import ClusterCount, CountMeasures, cluster_count
from pycroclass.exploring.cluster_pictures import cluster_page
from pycroclass.replay import Verdict


def features(rows: np.ndarray, chunks: int = -1) -> sidpy.Dataset:
    """Items along the first axis, their features along the second."""
    dataset = sidpy.Dataset.from_array(da.from_array(rows, (chunks, -1)), title="scores")
    dataset.set_dimension(1, sidpy.Dimension(np.arange(rows.shape[1]), "component", dimension_type="spectral"))
    return dataset


def blobs(n: int, k: int, *, spread: float = 1.0, n_features: int = 3, seed: int = 0) -> np.ndarray:
    return make_blobs(n, n_features, centers=k, cluster_std=spread, random_state=seed)[0]


def count(rows: np.ndarray, **changes: int) -> ClusterCount:
    return cluster_count(features(rows), **{"largest": 5, "n_resamples": 4, **changes})


@pytest.fixture(scope="module")
def clear() -> ClusterCount:
    return count(blobs(240, 4, seed=2))


def test_clear_clusters_are_counted_without_doubt(clear: ClusterCount) -> None:
    assert (clear.recommended, clear.doubt) == (4, "low")
    assert set(clear.votes) == {"silhouette", "calinski_harabasz", "davies_bouldin", "gap", "bic", "stability"}
    assert list(clear.votes.values()).count(4) >= 4
    assert clear.measures[3].stability > 0.98


def test_measures_are_those_of_the_clusters_that_are_fitted(clear: ClusterCount) -> None:
    rows = blobs(240, 4, seed=2)
    for k in (2, 4, 5):
        (nearest,) = pc.fit(pc.KMeans(k, n_init=20), features(rows)).steps()
        labels = nearest(features(rows)).compute()
        found = clear.measures[k - 1]
        assert found.smallest == np.bincount(labels).min() / len(rows)
        assert found.inertia == pytest.approx(nearest.inertia, rel=1e-4)
        assert found.silhouette == pytest.approx(silhouette_score(rows, labels), abs=1e-3)
        assert found.calinski_harabasz == pytest.approx(calinski_harabasz_score(rows, labels), rel=1e-3)
        assert found.davies_bouldin == pytest.approx(davies_bouldin_score(rows, labels), rel=1e-3)
    (mixture,) = pc.fit(pc.GaussianMixture(4), features(rows)).steps()
    assert clear.measures[3].bic == pytest.approx(mixture.bic, rel=1e-3)
    assert clear.measures[0].inertia == pytest.approx(np.square(rows - rows.mean(0)).sum())


def test_one_cloud_is_one_cluster() -> None:
    found = count(np.random.default_rng(0).standard_normal((240, 3)), largest=4)
    assert found.recommended == 1
    assert found.votes["gap"] == found.votes["bic"] == 1
    assert "more than one" in str(found)


def test_clusters_that_run_into_each_other_are_doubtful() -> None:
    found = count(blobs(240, 4, spread=4.5, seed=2))
    assert found.doubt != "low"


def test_data_without_clusters_do_not_pass_for_clusters() -> None:
    found = count(np.random.default_rng(0).uniform(size=(240, 6)), largest=5)
    assert found.recommended == 1 or found.doubt == "high"


def test_chunks_make_no_difference() -> None:
    rows = blobs(500, 3)
    settings = {"largest": 3, "n_items": 200, "n_resamples": 2, "seed": 7}
    small = pc.Execution(block_bytes=rows.nbytes // 20)  # or small chunks are joined to one block
    one, other = cluster_count(features(rows), **settings), cluster_count(features(rows, 37), execution=small, **settings)
    assert str(one) == str(other)
    assert (one.n_sampled, one.n_items) == (200, 500)
    assert "a sample of 200 of the 500 items" in str(one)


def test_a_scale_makes_no_difference(clear: ClusterCount) -> None:
    tiny = count(1e-9 * blobs(240, 4, seed=2))
    assert tiny.votes == clear.votes
    assert tiny.table["gap"].to_numpy() == pytest.approx(clear.table["gap"].to_numpy(), abs=1e-6)


def test_too_many_features_for_a_mixture() -> None:
    found = count(blobs(60, 3, n_features=20), largest=3)
    assert "bic" not in found.votes
    assert found.recommended == 3
    assert "No BIC" in str(found)
    found.figure()


def row(k: int, **changes: float) -> CountMeasures:
    """Measures that want k = 3, clearly."""
    away = abs(k - 3)
    plain = CountMeasures(
        n_clusters=k,
        inertia=100 / k,
        silhouette=math.nan if k == 1 else 0.8 - 0.2 * away,
        calinski_harabasz=math.nan if k == 1 else 100 - away,
        davies_bouldin=math.nan if k == 1 else 0.5 + away,
        gap=1.0 - away / 2,
        gap_error=0.01,
        bic=1000 + away,
        stability=math.nan if k == 1 else 0.99 - 0.1 * away,
        stability_error=0.005,
        smallest=0.2,
    )
    return replace(plain, **changes)


def verdict(n: int = 5, **changes: float) -> ClusterCount:
    return ClusterCount(tuple(row(k, **(changes if k == 3 else {})) for k in range(1, n + 1)), 100, 100, 0)


def test_the_verdict() -> None:
    assert (verdict().recommended, verdict().doubt) == (3, "low")
    assert verdict(3).doubt == "moderate"
    assert "try more" in str(verdict(3))
    assert verdict(silhouette=0.45, stability=0.95).doubt == "moderate"
    assert verdict(silhouette=0.2).doubt == "high"
    assert verdict(stability=0.7).doubt == "high"
    assert verdict(stability=0.85, stability_error=0.2).doubt == "moderate"
    only = verdict()
    flat = replace(only, measures=tuple(replace(m, gap=-float(m.n_clusters)) for m in only.measures))
    assert (flat.votes["gap"], flat.recommended, flat.doubt) == (1, 3, "high")
    none = replace(flat, measures=tuple(replace(m, bic=float(m.n_clusters)) for m in flat.measures))
    assert (none.recommended, none.doubt) == (1, "moderate")


def test_the_gap_of_the_first_peak_counts() -> None:
    gaps = [0.0, 0.5, 0.45, 0.9, 0.1]
    found = ClusterCount(tuple(row(k, gap=gap) for k, gap in enumerate(gaps, 1)), 100, 100, 0)
    assert found.votes["gap"] == 2
    rising = ClusterCount(tuple(row(k, gap=float(k)) for k in range(1, 6)), 100, 100, 0)
    assert rising.votes["gap"] == 5


def test_of_numbers_that_are_equally_stable_the_largest_counts() -> None:
    values = [math.nan, 1.0, 0.7, 0.995, 0.9]
    found = ClusterCount(tuple(row(k, stability=value) for k, value in enumerate(values, 1)), 100, 100, 0)
    assert found.votes["stability"] == 4


@pytest.mark.parametrize("changes", [{"largest": 1}, {"n_items": 1}, {"n_resamples": 0}, {"largest": 2.5}])
def test_bad_parameters(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        cluster_count(features(blobs(50, 2)), **changes)  # type: ignore[arg-type]


def test_bad_data() -> None:
    with pytest.raises(DataError, match="different items"):
        count(np.repeat(blobs(5, 2), 20, axis=0))
    with pytest.raises(DataError, match="complex"):
        count(blobs(50, 2) + 1j)
    holes = blobs(50, 2)
    holes[3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        count(holes)
    assert cluster_count(features(holes), largest=2, n_resamples=2, nonfinite="mask").n_sampled == 49


def scan() -> sidpy.Dataset:
    """Spectra of two materials side by side, and one that is broken."""
    random = np.random.default_rng(0)
    counts = random.poisson(np.where(np.arange(9) < 4, 50, 200)[None, :, None] * np.linspace(1, 0.2, 30), (8, 9, 30)).astype("float32")
    counts[2, 3, 4] = np.nan
    dataset = sidpy.Dataset.from_array(counts, title="EELS", units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    for i, (name, kind, units) in enumerate((("y", "spatial", "nm"), ("x", "spatial", "nm"), ("energy", "spectral", "eV"))):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(counts.shape[i]), name, units=units, quantity=name, dimension_type=kind))
    return dataset


def test_from_spectra_to_a_picture() -> None:
    dataset = scan()
    model = pc.fit(pc.PCA(2) | pc.KMeans(2), dataset, nonfinite="mask")
    labels = (model | pc.Majority(3))(dataset)
    assert labels.compute()[2].tolist() == [1, 1, 1, -1, 0, 0, 0, 0, 0]
    means = pc.mean_by_label(dataset, labels, nonfinite="mask")
    figure = cluster_page(labels, means)
    left, right = figure.axes
    assert left.get_images()[0].get_extent() == [-0.5, 8.5, 7.5, -0.5]
    assert right.get_xlabel() == "energy (eV)"
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["cluster 0: 40", "cluster 1: 31"]
    np.testing.assert_allclose(right.lines[0].get_ydata(), dataset.compute()[:, 4:].mean((0, 1)), rtol=1e-6)
    with pytest.raises(AxisError, match="two axes"):
        cluster_page(labels[0], means)


def test_a_mixture_gives_maps() -> None:
    dataset = scan()
    model = pc.fit(pc.PCA(2) | pc.GaussianMixture(2), dataset, nonfinite="mask")
    maps = model(dataset)
    assert {name: maps[name].shape for name in maps} == {
        "probability": (8, 9, 2),
        "label": (8, 9),
        "confidence": (8, 9),
        "log_density": (8, 9),
    }
    sure = pc.run(model | pc.SureClass((0.9, 0.9)), dataset)
    assert sure["label"].metadata["classes"] == ["cluster 0", "cluster 1", "uncertain"]
    project, nearest = pc.fit(pc.PCA(2) | pc.KMeans(2), dataset, nonfinite="mask")
    confidence = pc.run(project | nearest.confidence, dataset)["confidence"].compute()
    assert np.isnan(confidence[2, 3])
    assert np.nanmin(confidence) > 0.3


def test_a_recipe_of_a_mixture_can_be_replayed(tmp_path: Path) -> None:
    pc.write({"scan": scan()}, tmp_path / "scan.h5")
    (dataset,) = pc.read(tmp_path / "scan.h5").values()
    steps = [{"PCA": {"n_components": 2}}, {"GaussianMixture": {"n_clusters": 2}}]
    recipe = pc.Recipe.from_dict({"pipeline": steps, "mean_by_label": True, "nonfinite": "mask"})
    out = pc.write(recipe.apply(dataset), tmp_path / "out.h5")
    assert {name.split("/")[-1] for name in pc.read(out)} >= {"probability", "label", "confidence", "log_density", "mean_by_label"}
    assert {report.verdict for report in pc.replay(out)} == {Verdict.IDENTICAL}
