"""Real images without labels: digits, and nuclei of three modalities; how far the clusters are what people call them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import sidpy
from sklearn.datasets import load_digits

import pycroclass as pc
from pycroclass.embedding import cluster_agreement, map_images, neighbour_accuracy, trustworthiness

pytestmark = pytest.mark.slow
SEEDS = range(5)


@pytest.fixture(scope="module")
def digits() -> sidpy.Dataset:
    """Rows of 64 grey values from 0 to 16, as spectra."""
    dataset = sidpy.Dataset.from_array(load_digits().data.astype(np.float32))
    dataset.data_type = "spectrum"
    dataset.set_dimension(0, sidpy.Dimension(np.arange(dataset.shape[0]), name="item", dimension_type="TEMPORAL"))
    dataset.set_dimension(1, sidpy.Dimension(np.arange(64), name="pixel", dimension_type="SPECTRAL"))
    return dataset


def median_nmi(pipeline: pc.Pipeline, seeds: range, dataset: sidpy.Dataset) -> float:
    found = [cluster_agreement(pc.fit(pipeline | pc.KMeans(10, seed=seed), dataset)(dataset), load_digits().target).nmi for seed in seeds]
    return float(np.median(found))


def test_clusters_of_digits(digits: sidpy.Dataset) -> None:
    assert median_nmi(pc.Pipeline(()), SEEDS, digits) >= 0.73


def test_map_of_digits(digits: sidpy.Dataset) -> None:
    places = pc.fit(pc.TSNE(seed=0), digits)(digits)
    assert trustworthiness(digits, places) >= 0.95
    assert neighbour_accuracy(places, load_digits().target) > 0.95


@pytest.mark.timeout(600)
def test_clusters_of_digits_after_umap(digits: sidpy.Dataset) -> None:
    pytest.importorskip("umap")
    found = []
    for seed in SEEDS:
        model = pc.fit(pc.UMAP(2, min_dist=0.0, n_neighbours=10, seed=seed) | pc.KMeans(10, seed=seed), digits)
        found.append(cluster_agreement(model(digits), load_digits().target).nmi)
    assert np.median(found) >= 0.88


@pytest.fixture(scope="module")
def nuclei(shared: Path) -> tuple[sidpy.Dataset, list[str]]:
    """Images, and the modality of each."""
    folder = shared / "dsb2018_nuclei"
    with open(folder / "index.csv") as file:
        modality = {row["id"]: row["modality_auto"] for row in csv.DictReader(file)}
    names = sorted(modality)
    images = pc.read([folder / "img" / f"{name}.png" for name in names], size=128, fit="resize")["image"]
    return images, [modality[name] for name in names]


@pytest.mark.shared
def test_modalities_of_nuclei(nuclei: tuple[sidpy.Dataset, list[str]]) -> None:
    images, truth = nuclei
    found = map_images(images, clustering=pc.KMeans(4, seed=0))
    agreement = cluster_agreement(found.label, truth)
    print(agreement)
    assert agreement.n_items == 532
    assert agreement.ami > 0.6
    assert agreement.purity > 0.95
    assert neighbour_accuracy(found.scores, truth) > 0.98


@pytest.mark.shared
@pytest.mark.timeout(600)
def test_dense_groups_of_nuclei(nuclei: tuple[sidpy.Dataset, list[str]]) -> None:
    pytest.importorskip("umap")
    images, truth = nuclei
    groups = pc.UMAP(2, min_dist=0.0, seed=0) | pc.HDBSCAN(20)
    agreement = cluster_agreement(map_images(images, clustering=groups, layout=pc.PCA(2)).label, truth)
    print(agreement)
    assert agreement.n_left_out < 60
    assert agreement.ami > 0.7
