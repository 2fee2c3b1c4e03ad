"""The spine on real instrument files: PCA, k-means, mean spectra, NSID, replay; detector frames with their geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics import adjusted_rand_score

import pycroclass as pc
from pycroclass.replay import Verdict

pytestmark = pytest.mark.shared

FILES = {
    "native/scifidatasets/DMReader_SpectrumImage_SI-EELS.dm3": (None, "energy_loss", "eV"),
    "native/scifidatasets/NanonisReader_STS_grid_lockin.3ds": ("Current (A)", "Bias", "V"),
    "native/pycroscopy_sample/bfo_iv_final.hf5": (None, r"$\sqrt E$", "$(V/m)^{0.5}$"),
}


@pytest.mark.parametrize("name", FILES)
def test_clusters_of_spectra(shared: Path, tmp_path: Path, name: str) -> None:
    key, axis, units = FILES[name]
    datasets = pc.read(shared / name)
    dataset = datasets[key] if key else next(iter(datasets.values()))
    values = np.asarray(dataset)
    rows = values.reshape(-1, values.shape[-1])

    model = pc.fit(pc.PCA(5) | pc.KMeans(4, seed=0), dataset)
    scores = np.asarray(model[:1](dataset), dtype=np.float64).reshape(len(rows), 5)
    theirs = SklearnPCA(5, svd_solver="full").fit_transform(rows.astype(np.float64))
    assert np.abs(np.abs(scores) - np.abs(theirs)).max() <= 1e-4 * np.abs(theirs).max()

    best = SklearnKMeans(4, n_init=10, random_state=1).fit(scores)
    assert model[1].inertia <= 1.001 * best.inertia_
    start = scores[[0, len(scores) // 3, len(scores) // 2, len(scores) - 1]]
    labels = pc.fit(pc.PCA(5) | pc.KMeans(4, init=start), dataset)(dataset)
    same_start = SklearnKMeans(4, init=start, n_init=1).fit_predict(scores)
    assert adjusted_rand_score(same_start, np.asarray(labels).ravel()) >= 0.99

    means = pc.mean_by_label(dataset, labels)
    out = pc.write({"label": labels, **means}, tmp_path / "out.h5")
    assert {report.verdict for report in pc.replay(out)} == {Verdict.IDENTICAL}
    stored = next(value for found, value in pc.read(out).items() if found.endswith("/mean"))
    assert (stored._axes[0].name, stored._axes[0].units, stored.units) == (axis, units, dataset.units)
    np.testing.assert_array_equal(stored._axes[0].values, dataset._axes[2].values)
    label = np.asarray(labels)
    np.testing.assert_allclose(np.asarray(stored)[:, 0], values[label == 0].mean(0, dtype=np.float64), rtol=1e-6)


def test_detector_frames(shared: Path) -> None:
    datasets = pc.read(f"{shared}/diffraction/thaumatin_grid/*.cbf.bz2")
    image, mask = datasets["image"], np.asarray(datasets["mask"])
    assert image.shape == (10, 2527, 2463)
    geometry = pc.Geometry(**image.metadata["geometry"])
    assert geometry.beam_centre == (1306.96, 1261.61)
    assert geometry.distance == pytest.approx(0.351)
    assert geometry.wavelength == pytest.approx(0.96859e-10)

    y, x = 632, 1587
    crop = pc.Crop(350, centre=(y + 174.5, x + 174.5))
    bad = mask[y : y + 350, x : x + 350]
    snr = (crop | pc.RadialSNR(mask=bad) | pc.Log1p())(image)
    profile = (crop | pc.RadialProfile("median", mask=bad))(image)
    assert snr.shape == (10, 350, 350)
    assert profile._axes[1].units == "1/nm"
    spots = (np.asarray(snr) > np.log1p(10)).sum((1, 2))
    assert spots[:7].min() > 5 * max(1, spots[8:].max())  # on the crystal, and beside it
    assert np.nanmin(np.asarray(profile)) >= 0
