from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from scipy.stats import norm

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec


def pure(p: int) -> np.ndarray:
    x = np.linspace(0, 1, 60)
    random = np.random.default_rng(3)
    return 1 + (np.exp(-(((x - random.random((p, 4, 1))) / 0.08) ** 2)) * random.random((p, 4, 1))).sum(1)


def mixtures(p: int, noise: np.ndarray | float) -> np.ndarray:
    random = np.random.default_rng(p)
    return random.dirichlet(np.ones(p), (50, 60)) @ pure(p) + noise * random.standard_normal((50, 60, 60))


def dataset_of(array: np.ndarray, chunk: int = 17):
    axes = (Axis("y", array.shape[0], "spatial"), Axis("x", array.shape[1], "spatial"), Axis("energy", array.shape[2], "spectral"))
    return wrap(da.from_array(array, (chunk, 60, -1)), Spec(axes, array.dtype), provenance=Provenance("given", {}))


@pytest.mark.parametrize("p", [2, 4, 6])
def test_the_number_of_end_members_is_found(p: int) -> None:
    noise = np.linspace(0.005, 0.02, 60)
    found = pc.virtual_dimension(dataset_of(mixtures(p, noise)))
    assert found.hysime == p == found.errors.argmin()
    np.testing.assert_allclose(found.noise_sd, noise, rtol=0.2)  # 60 features tell 60 others only so well


def test_both_methods_equal_their_plain_twins() -> None:
    array = mixtures(5, 0.01)[:20, :, ::3].copy()
    rows = array.reshape(-1, 20)
    found = pc.virtual_dimension(dataset_of(array))
    number, noise_sd = plain_hysime(rows)
    assert found.hysime == number
    np.testing.assert_allclose(found.noise_sd, noise_sd, rtol=1e-4)
    assert found.nwhfc == plain_nwhfc(rows, 1e-3)
    assert found.nwhfc >= 1
    assert pc.virtual_dimension(dataset_of(array), false_alarm=0.4).nwhfc == plain_nwhfc(rows, 0.4) > found.nwhfc


def plain_noise(rows: np.ndarray) -> np.ndarray:
    """What is left of each feature by regression on all others."""
    noise = np.empty_like(rows)
    for i in range(rows.shape[1]):
        others = np.delete(rows, i, axis=1)
        noise[:, i] = rows[:, i] - others @ np.linalg.lstsq(others, rows[:, i])[0]
    return noise


def plain_hysime(rows: np.ndarray) -> tuple[int, np.ndarray]:
    n, n_features = rows.shape
    noise = plain_noise(rows)
    signal = (rows - noise).T @ (rows - noise) / n
    vectors = np.linalg.svd(signal)[0]
    noise_matrix = np.diag((noise**2).mean(0)) + np.trace(signal) / n_features / 1e5 * np.eye(n_features)
    cost = -np.diag(vectors.T @ (rows.T @ rows / n) @ vectors) + 2 * np.diag(vectors.T @ noise_matrix @ vectors)
    return int((cost < 0).sum()), np.sqrt((noise**2).mean(0))


def plain_nwhfc(rows: np.ndarray, false_alarm: float) -> int:
    centred = rows - rows.mean(0)
    white = rows / np.sqrt((plain_noise(centred) ** 2).mean(0))
    with_mean = np.sort(np.linalg.eigvalsh(white.T @ white / len(rows)))
    without = np.sort(np.linalg.eigvalsh(np.cov(white.T, bias=True)))
    threshold = -norm.ppf(false_alarm, 0, np.sqrt(2 / len(rows) * (with_mean**2 + without**2)))
    return int((with_mean - without > threshold).sum())


def test_without_noise_the_number_is_that_of_the_mixture() -> None:
    assert pc.virtual_dimension(dataset_of(mixtures(4, 0.0))).hysime == 4


def test_chunks_make_no_difference() -> None:
    array = mixtures(4, 0.01)
    small = pc.Execution(block_bytes=array.nbytes // 20)  # or small chunks are joined to one block
    first, second = pc.virtual_dimension(dataset_of(array)), pc.virtual_dimension(dataset_of(array, 7), execution=small)
    assert (first.hysime, first.nwhfc) == (second.hysime, second.nwhfc)
    np.testing.assert_allclose(first.noise_sd, second.noise_sd, rtol=1e-8)


def test_items_with_nan_are_left_out_if_asked() -> None:
    array = mixtures(3, 0.01)
    array[4, 5, 6] = np.nan
    with pytest.raises(DataError, match="NaN"):
        pc.virtual_dimension(dataset_of(array))
    assert pc.virtual_dimension(dataset_of(array), nonfinite="mask").hysime == 3


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((50, 60, 60)), "equal"),
        (mixtures(2, 0.1)[:1], "60 items of 60 features"),
        (mixtures(2, 0.1).astype("complex64"), "complex"),
    ],
)
def test_bad_data(array: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        pc.virtual_dimension(dataset_of(array))


@pytest.mark.parametrize("false_alarm", [0, 1, -0.1, np.nan])
def test_bad_false_alarm(false_alarm: float) -> None:
    with pytest.raises(ParameterError, match="false_alarm"):
        pc.virtual_dimension(dataset_of(mixtures(2, 0.1)), false_alarm=false_alarm)
