"""The engine's passes and their plain twin fit the same operators."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from plain_data import PlainData, image_spec, run_plain, spectra_spec

from pycroclass.engine import run
from pycroclass.estimators import (
    PCA,
    Agglomerative,
    DefectMask,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    PercentileScale,
    SphericalKMeans,
    StandardizeFeatures,
)
from pycroclass.operator import Operator
from pycroclass.passes import Passes
from pycroclass.reduction import Estimator
from pycroclass.spec import Axis, Domain, Spec
from pycroclass.stage import Execution


def data_cube() -> tuple[np.ndarray, Spec]:
    random = np.random.default_rng(0)
    array = (random.gamma(2.0, size=(17, 13, 3)) @ random.standard_normal((3, 29)) + 50).astype(np.float32)
    plane = tuple(Axis(name, size, kind="spatial") for name, size in zip("yx", array.shape))
    return array, Spec((*plane, *spectra_spec(array[0]).axes), array.dtype)


@pytest.mark.parametrize("chunks", [(17, 13, 29), (5, 4, 29), (3, 13, 10)])
@pytest.mark.parametrize(
    "estimator",
    [
        PCA(3),
        KMeans(4),
        KMeans(4, init="k-means||"),
        SphericalKMeans(4),
        MiniBatchKMeans(4, sample_size=100),
        Agglomerative(4, sample_size=100),
        StandardizeFeatures(),
        PercentileScale(2, 90),
    ],
)
def test_spectra(estimator: Estimator, chunks: tuple[int, int, int]) -> None:
    array, spec = data_cube()
    rows = array.reshape(-1, 29)
    plain = estimator.fit(PlainData(rows), spectra_spec(rows))
    passes = Passes.over(da.from_array(array, chunks), spec, Domain.ITEM, execution=Execution(batch_bytes=2000))
    fitted = estimator.fit(passes, passes.item)
    np.testing.assert_allclose(run_plain(fitted, rows), run_plain(plain, rows), atol=1e-4)
    ((lazy, meaning),) = run(fitted, da.from_array(array, chunks), spec).values()
    result = lazy.compute(scheduler="synchronous")
    assert (result.shape, result.dtype) == (meaning.shape, meaning.dtype)
    np.testing.assert_allclose(result.reshape(len(rows), -1).squeeze(), run_plain(plain, rows).squeeze(), atol=1e-4)


@pytest.mark.parametrize("chunks", [(30, 20, 21), (7, 20, 21)])
def test_frames(chunks: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).poisson(9, (30, 20, 21)).astype(np.uint16)
    array[:, 4, 6] = 90
    item = image_spec(array)
    spec = Spec((Axis("frame", 30, kind="temporal"), *item.axes), array.dtype)
    passes = Passes.over(da.from_array(array, chunks), spec, Domain.IMAGE)
    fitted: Operator = DefectMask().fit(passes, passes.item)
    assert fitted == DefectMask().fit(PlainData(array[:, None]), image_spec(array[:, None]))


@pytest.mark.parametrize("chunks", [(17, 13, 29), (5, 4, 10)])
def test_mixtures(chunks: tuple[int, int, int]) -> None:
    array, spec = data_cube()
    rows = array.reshape(-1, 29)
    plain = GaussianMixture(3, "diagonal").fit(PlainData(rows), spectra_spec(rows)).transform(torch.from_numpy(rows))
    passes = Passes.over(da.from_array(array, chunks), spec, Domain.ITEM, execution=Execution(batch_bytes=2000))
    fitted = GaussianMixture(3, "diagonal").fit(passes, passes.item)
    for name, (lazy, meaning) in run(fitted, da.from_array(array, chunks), spec).items():
        result = lazy.compute(scheduler="synchronous")
        assert (result.shape, result.dtype) == (meaning.shape, meaning.dtype)
        np.testing.assert_allclose(result.reshape(plain[name].shape), plain[name], rtol=1e-4, atol=1e-4)


def test_pca_then_kmeans_in_one_stage_run() -> None:
    array, spec = data_cube()
    rows = array.reshape(-1, 29)
    project = PCA(3).fit(PlainData(rows), spectra_spec(rows))
    scores = run_plain(project, rows)
    nearest = KMeans(3).fit(PlainData(scores), project.output(spectra_spec(rows)))
    ((labels, meaning),) = run(project | nearest, da.from_array(array, (6, 13, 29)), spec).values()
    assert meaning.names == ("y", "x")
    assert meaning.classes == ("cluster 0", "cluster 1", "cluster 2")
    np.testing.assert_array_equal(labels.compute(scheduler="synchronous").ravel(), run_plain(nearest, scores))
