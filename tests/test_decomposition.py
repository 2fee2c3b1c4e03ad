"""Decompositions as datasets, on the engine and in files."""

from __future__ import annotations

import lzma
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import sidpy
from scipy.signal import find_peaks

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.exploring.rank import hard_threshold, median_of_noise
from pycroclass.replay import Verdict

SHAPES = np.array([[9.0, 5, 2, 1, 0, 0, 0], [0, 0, 1, 6, 1, 0, 0], [0, 1, 0, 0, 2, 8, 3]])


def scan(chunks: tuple[int, int, int] = (4, 5, 7), *, shape: tuple[int, int] = (11, 13)) -> sidpy.Dataset:
    random = np.random.default_rng(0)
    counts = random.poisson(30 * random.gamma(0.7, size=(*shape, 3)) @ SHAPES).astype(np.float32)
    dataset = sidpy.Dataset.from_array(da.from_array(counts, chunks), title="scan", units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    for i, (name, kind) in enumerate({"y": "spatial", "x": "spatial", "energy": "spectral"}.items()):
        units = "eV" if name == "energy" else "nm"
        dataset.set_dimension(i, sidpy.Dimension(np.arange(float(counts.shape[i])), name, units=units, dimension_type=kind))
    return dataset


@pytest.mark.parametrize("estimator", [pc.PCA(3), pc.SVD(3), pc.PoissonPCA(3), pc.ICA(3), pc.NMF(3), pc.PoissonNMF(3)])
def test_any_decomposition_gives_components_maps_and_residual(estimator: pc.Estimator) -> None:
    results = pc.decompose(estimator, scan())
    components, maps, residual = (results[name] for name in ("components", "maps", "residual"))
    assert (components.shape, components.data_type.name) == ((7, 3), "SPECTRUM")
    assert (maps.shape, maps.data_type.name, maps.units) == ((3, 11, 13), "IMAGE_STACK", "counts")
    assert (residual.shape, residual.data_type.name, residual.units) == ((11, 13), "IMAGE", "counts")
    assert components._axes[0].units == "eV"
    items, mean = np.asarray(scan().compute()), 0
    if isinstance(estimator, pc.PCA | pc.ICA):
        mean = items.mean((0, 1))
    left = items - mean - np.moveaxis(np.asarray(maps.compute()), 0, -1) @ np.asarray(components.compute()).T
    np.testing.assert_allclose(residual.compute(), np.sqrt(np.square(left).mean(-1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("estimator", [pc.PoissonPCA(3), pc.ICA(2), pc.NMF(3), pc.PoissonNMF(3)])
def test_chunks_of_the_dataset_make_no_difference(estimator: pc.Estimator) -> None:
    whole, cut = pc.decompose(estimator, scan()), pc.decompose(estimator, scan((3, 4, 2)), execution=pc.Execution(block_bytes=400))
    for name, dataset in whole.items():
        np.testing.assert_allclose(cut[name].compute(), dataset.compute(), rtol=1e-3, atol=1e-3)


def test_what_is_written_can_be_replayed(tmp_path: Path) -> None:
    pc.write({"scan": scan()}, tmp_path / "scan.h5")
    (dataset,) = pc.read(tmp_path / "scan.h5").values()
    pc.write(pc.decompose(pc.Select(energy=(1, 5)) | pc.NMF(2), dataset), tmp_path / "nmf.h5")
    assert {found.verdict for found in pc.replay(tmp_path / "nmf.h5")} <= {Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE}
    (components,) = (dataset for key, dataset in pc.read(tmp_path / "nmf.h5").items() if key.endswith("components"))
    assert components.shape == (5, 2)
    np.testing.assert_allclose(components._axes[0].values, np.arange(1, 6))


def test_components_of_images_are_a_stack() -> None:
    images = sidpy.Dataset.from_array(np.random.default_rng(0).random((20, 6, 5)))
    for i, (name, kind) in enumerate({"frame": "temporal", "y": "spatial", "x": "spatial"}.items()):
        images.set_dimension(i, sidpy.Dimension(np.arange(float(images.shape[i])), name, dimension_type=kind))
    model = pc.fit(pc.PCA(2), images)
    assert (pc.components(model).shape, pc.components(model).data_type.name) == ((2, 6, 5), "IMAGE_STACK")


def test_components_of_clusters_are_their_centres() -> None:
    model = pc.fit(pc.KMeans(2), scan())
    np.testing.assert_allclose(pc.components(model).compute(), model[0].centres.values.T, rtol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="no step of Log1p"):
        pc.components(pc.Log1p())
    with pytest.raises(ParameterError, match="no inverse"):
        pc.decompose(pc.KMeans(2), scan())
    with pytest.raises(AxisError, match="one spectral axis"):
        pc.maps(scan()[:, :, 0])


def noise_and(rank: int, n: int = 600, n_features: int = 80, seed: int = 0) -> sidpy.Dataset:
    random = np.random.default_rng(seed)
    values = 7 + 3 * random.normal(size=(n, n_features)) + 4 * random.normal(size=(n, rank)) @ random.normal(size=(rank, n_features))
    dataset = sidpy.Dataset.from_array(values)
    dataset.set_dimension(0, sidpy.Dimension(np.arange(float(n)), "frame", dimension_type="temporal"))
    dataset.set_dimension(1, sidpy.Dimension(np.arange(float(n_features)), "energy", dimension_type="spectral"))
    return dataset


@pytest.mark.parametrize(("n", "n_features"), [(600, 80), (70, 300), (200, 200)])
@pytest.mark.parametrize("rank", [0, 1, 6])
def test_scree_tells_rank_and_noise(rank: int, n: int, n_features: int) -> None:
    dataset = noise_and(rank, n, n_features)
    scree = pc.scree(dataset)
    assert scree.rank == rank
    assert scree.noise_variance == pytest.approx(9, rel=0.1)
    values = np.linalg.svd(np.asarray(dataset.compute()) - np.asarray(dataset.compute()).mean(0), compute_uv=False) ** 2 / (n - 1)
    np.testing.assert_allclose(scree.variances, values[: min(n - 1, n_features)], rtol=1e-6)
    assert sum(scree.explained_variance_ratio) == pytest.approx(1)


def test_thresholds_are_those_of_the_paper() -> None:
    """Gavish and Donoho (2014): 4/sqrt(3) for square matrices, table IV, and the approximation (5)."""
    assert hard_threshold(1.0) == pytest.approx(4 / np.sqrt(3))
    for aspect, wanted in {0.05: 1.5194, 0.5: 2.1711, 1.0: 2.8582}.items():
        assert hard_threshold(aspect) / np.sqrt(median_of_noise(aspect)) == pytest.approx(wanted, abs=1e-3)


def test_poisson_weights_let_counts_be_ranked() -> None:
    dataset = scan(shape=(40, 30))
    counts = np.asarray(dataset.compute())
    wide = np.random.default_rng(0).poisson(counts @ np.repeat(np.eye(7), 12, 1)).astype(np.float32)
    image = sidpy.Dataset.from_array(wide, title="counts")
    for i, (name, kind) in enumerate({"y": "spatial", "x": "spatial", "energy": "spectral"}.items()):
        image.set_dimension(i, sidpy.Dimension(np.arange(float(wide.shape[i])), name, dimension_type=kind))
    weighted = pc.scree(pc.fit(pc.PoissonScale(), image)(image))
    assert weighted.noise_variance == pytest.approx(1, rel=0.3)


def test_scree_draws() -> None:
    axes = pc.scree(noise_and(2)).plot(10).axes[0]
    assert len(axes.lines[0].get_xdata()) == 10
    assert "2 components" in axes.get_legend().get_texts()[0].get_text()


def test_scree_refuses() -> None:
    with pytest.raises(DataError, match="Bin, Crop"):
        pc.scree(noise_and(1, 10, 5000))
    with pytest.raises(DataError, match="nothing to decompose"):
        pc.scree(noise_and(1, 2, 5))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("estimator", [pc.NMF(4), pc.ICA(3)])
def test_fat_and_protein_of_a_real_tissue_are_told_apart(shared: Path, estimator: pc.Estimator) -> None:
    """Raman bands of fat (1076, 1303, 1444 and 1656 per cm) in few places, those of protein (1003, 1450) in many."""
    with lzma.open(shared / "raman_maps/bladder.csv.xz", "rt") as file:
        names, *rows = (line.split(",") for line in file)
    shift = np.array(names[:-3], float)
    spectra = sidpy.Dataset.from_array(np.array([row[:-3] for row in rows], np.float32))
    spectra.set_dimension(0, sidpy.Dimension(np.arange(float(len(rows))), "place", dimension_type="temporal"))
    spectra.set_dimension(1, sidpy.Dimension(shift, "shift", units="1/cm", dimension_type="spectral"))
    results = pc.decompose(pc.Clip(low=0) | estimator, spectra)
    components, maps = (np.asarray(results[name].compute()) for name in ("components", "maps"))
    peaks = [shift[find_peaks(row, prominence=0.15 * np.ptp(row))[0]] for row in components.T]
    found = {}
    for name, bands in {"fat": (1076, 1303, 1444, 1656), "protein": (1003, 1450)}.items():
        found[name] = [i for i, mine in enumerate(peaks) if all(np.abs(mine - band).min() < 4 for band in bands)]
    (fat,) = (i for i in found["fat"] if (maps[i] > 0.3 * maps[i].max()).mean() < 0.05)
    assert set(found["protein"]) - {fat}
