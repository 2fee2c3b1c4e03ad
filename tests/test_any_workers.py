"""Any number of threads or processes fits the same bits."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import sidpy
from distributed import Client, LocalCluster

import pycroclass as pc
from pycroclass.reduction import Estimator

SMALL = pc.Execution(block_bytes=16_000)
ESTIMATORS = [
    pc.PCA(3),
    pc.SVD(3),
    pc.PoissonPCA(3),
    pc.ICA(3),
    pc.NMF(3),
    pc.PoissonNMF(3, max_iterations=20),
    pc.NFINDR(3),
    pc.VCA(3),
    pc.KMeans(4),
    pc.KMeans(4, init="k-means||"),
    pc.SphericalKMeans(4),
    pc.MiniBatchKMeans(4, sample_size=200),
    pc.GaussianMixture(3, "full"),
    pc.GaussianMixture(3, "tied"),
    pc.GaussianMixture(3, "diagonal"),
    pc.HDBSCAN(10, sample_size=300),
    pc.Agglomerative(3, sample_size=300),
    pc.TSNE(n_sampled=200, max_iterations=250),
    pc.StandardizeFeatures(),
    pc.PercentileScale(2, 98),
]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of three spectra in patches, in a file of many chunks."""
    rng = np.random.default_rng(0)
    energy = np.arange(60)
    shapes = np.stack([np.exp(-(((energy - place) / 6) ** 2)) for place in (12, 30, 47)]) + 0.05
    amounts = rng.dirichlet((0.3, 0.3, 0.3), (24, 20))
    counts = rng.poisson(80 * amounts @ shapes).astype("f4")
    dataset = sidpy.Dataset.from_array(counts, title="scan", units="counts", quantity="intensity", chunks=(5, 6, 60))
    dataset.data_type = "spectral_image"
    for i, (name, kind) in enumerate({"y": "spatial", "x": "spatial", "energy": "spectral"}.items()):
        units = "eV" if name == "energy" else "nm"
        dataset.set_dimension(i, sidpy.Dimension(np.arange(float(counts.shape[i])), name, units=units, dimension_type=kind))
    return pc.write({"scan": dataset}, tmp_path_factory.mktemp("scan") / "scan.h5")


def fitted(estimator: Estimator, path: Path) -> tuple[np.ndarray, ...]:
    """What it tells of all spectra, which it could not tell alike if it had not learned the same."""
    (dataset,) = pc.read(path).values()
    model = pc.fit(estimator, dataset, execution=SMALL)
    found = pc.run(model, dataset, execution=SMALL)
    results = list(found.values()) if isinstance(found, dict) else [found]
    assert results[0].npartitions > 4
    return tuple(np.asarray(result.compute()) for result in results)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_threads(estimator: Estimator, scan: Path) -> None:
    with dask.config.set(scheduler="synchronous"):
        alone = fitted(estimator, scan)
    with dask.config.set(scheduler="threads", num_workers=5):
        together = fitted(estimator, scan)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own making, when it starts and stops
def test_processes(scan: Path) -> None:
    in_threads = [fitted(estimator, scan) for estimator in ESTIMATORS]
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster):
        on_cluster = [fitted(estimator, scan) for estimator in ESTIMATORS]
    for estimator, alone, together in zip(ESTIMATORS, in_threads, on_cluster, strict=True):
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=repr(estimator))
