"""Mixtures and the number of clusters on real spectra, against scikit-learn on the whole array."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import sidpy
import sklearn.mixture
from scipy.signal import find_peaks
from sklearn.metrics import adjusted_rand_score

import pycroclass as pc

pytestmark = pytest.mark.shared

THEIRS = {"full": "full", "tied": "tied", "diagonal": "diag"}
_FLOOR = 1e-6
"""Of variances, in ours and theirs: scores are brought to variance 1 before."""


def eels(shared: Path) -> sidpy.Dataset:
    (dataset,) = pc.read(shared / "native/scifidatasets/DMReader_SpectrumImage_SI-EELS.dm3").values()
    return dataset


def sts(shared: Path) -> sidpy.Dataset:
    return pc.read(shared / "native/scifidatasets/NanonisReader_STS_grid_lockin.3ds")["Current (A)"]


def bfo(shared: Path) -> sidpy.Dataset:
    return next(iter(pc.read(shared / "native/pycroscopy_sample/bfo_iv_final.hf5").values()))


def be_pfm(shared: Path) -> sidpy.Dataset:
    return as_map(np.abs(np.load(shared / "native/gpim/bepfm_test_data.npy")), "frequency", np.arange, "generic")


def bladder(shared: Path) -> sidpy.Dataset:
    """A Raman map of the wall of a bladder, 18 x 20 spectra."""
    return raman_map(shared / "raman_maps/bladder.csv.xz")


def layers(shared: Path) -> sidpy.Dataset:
    """A Raman line scan, 165 spectra of 3568 shifts."""
    return raman_map(shared / "raman_maps/layers.csv.xz")


def raman_map(path: Path) -> sidpy.Dataset:
    with lzma.open(path, "rt") as file:
        names, *rows = (line.rstrip("\n").split(",") for line in file)
    values = np.array([row[:-1] for row in rows], np.float64)
    x, y = values[:, -2:].astype(int).T
    cube = np.empty((y.max() + 1, x.max() + 1, len(names) - 3), np.float32)
    cube[y, x] = values[:, :-2]
    return as_map(cube, "Raman shift", lambda n: np.array(names[:n], np.float64), "1/cm")


def as_map(cube: np.ndarray, name: str, positions, units: str) -> sidpy.Dataset:
    dataset = sidpy.Dataset.from_array(cube, title=name, units="counts", quantity="intensity")
    dataset.data_type = "spectral_image"
    for i, axis in enumerate(("y", "x")):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(cube.shape[i]), axis, units="pixel", quantity=axis, dimension_type="spatial"))
    dimension = sidpy.Dimension(positions(cube.shape[2]), name, units=units, quantity=name, dimension_type="spectral")
    dataset.set_dimension(2, dimension)
    return dataset


@pytest.mark.slow
@pytest.mark.parametrize("data", [eels, sts, bfo, be_pfm, bladder])
@pytest.mark.parametrize("covariance", THEIRS)
def test_the_likelihood_of_a_mixture_is_that_of_scikit_learn(shared: Path, data, covariance: str) -> None:
    dataset = data(shared)
    scores = pc.fit(pc.PCA(5) | pc.StandardizeFeatures(), dataset)(dataset)
    rows = np.asarray(scores, np.float64).reshape(-1, 5)
    (fitted,) = pc.fit(pc.GaussianMixture(4, covariance, n_init=1), scores).steps()
    start = pc.fit(pc.KMeans(4, n_init=1), scores)(scores).compute().ravel()
    theirs = sklearn.mixture.GaussianMixture(
        4, covariance_type=THEIRS[covariance], reg_covar=_FLOOR, max_iter=200, **start_from(rows, start, covariance)
    ).fit(rows)
    assert fitted.log_likelihood == pytest.approx(theirs.score(rows), rel=1e-3)
    labels = np.asarray(fitted(scores)["label"]).ravel()
    assert adjusted_rand_score(theirs.predict(rows), labels) > 0.97


def start_from(rows: np.ndarray, labels: np.ndarray, covariance: str) -> dict[str, np.ndarray]:
    """Weights, means and precisions of the items of each label."""
    parts = [rows[labels == label] for label in range(4)]
    weights = np.array([len(part) for part in parts]) / len(rows)
    covariances = np.array([np.cov(part.T, bias=True) for part in parts])
    if covariance == "tied":
        precisions = np.linalg.inv(np.tensordot(weights, covariances, 1) + _FLOOR * np.eye(5))
    elif covariance == "full":
        precisions = np.linalg.inv(covariances + _FLOOR * np.eye(5))
    else:
        precisions = 1 / (covariances.diagonal(axis1=1, axis2=2) + _FLOOR)
    return {"weights_init": weights, "means_init": np.array([part.mean(0) for part in parts]), "precisions_init": precisions}


def test_layers_of_a_bladder(shared: Path) -> None:
    dataset = bladder(shared)
    assert dataset.shape == (18, 20, 390)
    labels = pc.fit(pc.SphericalKMeans(4, seed=0), dataset)(dataset)
    found = labels.compute()
    joined = (found[:, 1:] == found[:, :-1]).mean() / 2 + (found[1:] == found[:-1]).mean() / 2
    shuffled = np.random.default_rng(0).permutation(found.ravel()).reshape(found.shape)
    assert joined > (shuffled[:, 1:] == shuffled[:, :-1]).mean() + 0.4  # the fit does not know where a spectrum comes from
    mean = pc.mean_by_label(dataset, labels)["mean"].compute()
    shift = dataset._axes[2].values
    fat = mean[:, 3]
    bands = shift[find_peaks(fat, prominence=0.05 * fat.max())[0]]
    for band in (1080, 1265, 1302, 1441, 1655, 1745):  # of lipids: Czamara et al., J. Raman Spectrosc. 46, 4, 2015
        assert np.abs(bands - band).min() < 8
