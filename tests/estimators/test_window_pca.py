"""Cleaning by windows against plain numpy, and on a lattice whose clean image is known."""

from __future__ import annotations

import json
import pickle

import dask.array as da
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from plain_data import PlainData, image_spec, run_plain

import pycroclass as pc
from pycroclass.errors import AxisError, ParameterError
from pycroclass.estimators.projection import Project
from pycroclass.estimators.window_pca import WindowFilter, WindowPCA
from pycroclass.provenance import Provenance
from pycroclass.serialize import from_dict, to_dict
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec


def plainly(images: np.ndarray, size: tuple[int, int], k: int) -> np.ndarray:
    """Every window through a singular value decomposition of all windows, and the average of those that overlap."""
    windows = sliding_window_view(images, size, axis=(-2, -1))
    rows = windows.reshape(-1, size[0] * size[1]).astype(np.float64)
    mean = rows.mean(0)
    components = np.linalg.svd(rows - mean, full_matrices=False)[2][:k]
    cleaned = (mean + (rows - mean) @ components.T @ components).reshape(windows.shape)
    sums, counts = np.zeros(images.shape), np.zeros(images.shape)
    for y, x in np.ndindex(windows.shape[-4:-2]):
        sums[..., y : y + size[0], x : x + size[1]] += cleaned[..., y, x, :, :]
        counts[..., y : y + size[0], x : x + size[1]] += 1
    return sums / counts


def lattice(n: int = 96) -> np.ndarray:
    y, x = np.indices((n, n))
    atoms = np.exp(np.cos(2 * np.pi * y / 9.3) * 2) * np.exp(np.cos(2 * np.pi * (x + y / 3) / 7.7) * 2)
    return atoms / atoms.max()


@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_is_the_singular_value_decomposition_of_all_windows(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).normal(300, 2, (3, 1, 18, 21)) + 5 * lattice(21)[:18]
    fitted = WindowPCA(size, 4).fit(PlainData(images, [1]), image_spec(images))
    np.testing.assert_allclose(run_plain(fitted, images), plainly(images, size, 4), atol=1e-6)
    single = images.astype(np.float32)
    np.testing.assert_allclose(run_plain(fitted, single), plainly(images, size, 4), atol=1e-3)


def test_all_components_change_nothing_at_any_step() -> None:
    images = np.random.default_rng(0).normal(7, 2, (2, 3, 20, 23))
    for step in (1, 2, (3, 4), 5):
        fitted = WindowPCA(5, 25, step=step).fit(PlainData(images), image_spec(images))
        np.testing.assert_allclose(run_plain(fitted, images), images, atol=1e-9)


def test_windows_wider_than_a_covariance_matrix() -> None:
    y, x = np.indices((56, 57))
    images = (3 * np.cos(y / 3) + 2 * np.cos(x / 4) + np.random.default_rng(0).normal(0, 0.05, y.shape))[None, None]
    fitted = WindowPCA(46, 4).fit(PlainData(images), image_spec(images))
    np.testing.assert_allclose(run_plain(fitted, images), plainly(images, (46, 46), 4), atol=1e-4)


def test_a_noisy_lattice_becomes_clean() -> None:
    clean = lattice()
    noisy = clean + np.random.default_rng(1).normal(0, 0.3, clean.shape)
    axes = (Axis("y", 96, "spatial", units="nm"), Axis("x", 96, "spatial", units="nm"))
    errors = {}
    for chunks in (96, 37):
        image = wrap(da.from_array(noisy, chunks=chunks), Spec(axes, noisy.dtype), provenance=Provenance("given", {}))
        result = pc.fit(pc.WindowPCA(16, n_components=12), image)(image)
        errors[chunks] = np.sqrt(np.mean((np.asarray(result) - clean) ** 2))
    assert errors[96] < 0.3 / 3.5
    assert errors[37] == pytest.approx(errors[96])


def test_json_and_pickle_give_it_back() -> None:
    images = np.random.default_rng(0).normal(3, 1, (2, 1, 15, 16))
    fitted = WindowPCA((4, 5), 3, step=2).fit(PlainData(images), image_spec(images))
    steps, arrays = to_dict(fitted)
    (back,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert back == fitted == pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(run_plain(back, images), run_plain(fitted, images))


def test_chunks_make_no_difference() -> None:
    images = np.random.default_rng(0).normal(3, 1, (6, 1, 15, 16))
    whole = WindowPCA(4, 3, step=2).fit(PlainData(images), image_spec(images))
    parts = WindowPCA(4, 3, step=2).fit(PlainData(images, [1, 4]), image_spec(images))
    np.testing.assert_allclose(run_plain(parts, images), run_plain(whole, images), atol=1e-9)
    assert whole.project.item[0].name == "window_y"


def test_bad_input() -> None:
    images = np.ones((1, 1, 8, 9))
    with pytest.raises(AxisError, match="no window"):
        WindowPCA(9, 2).fit(PlainData(images), image_spec(images))
    with pytest.raises(ParameterError, match="gaps"):
        WindowPCA(4, 2, step=5)
    spectra = Project(np.zeros(3), np.ones((1, 3)), (1.0,), 2.0, (Axis("energy", 3),))
    with pytest.raises(ParameterError, match="fitted on windows"):
        WindowFilter(spectra, (1, 1))
