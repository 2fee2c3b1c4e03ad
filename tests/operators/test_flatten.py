"""Flattening against numpy's and scipy's least squares, with particles and missing pixels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from scipy.signal import detrend

from pycroclass.errors import ParameterError
from pycroclass.operators import AlignLines, FlattenLines, FlattenPlane
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 1, (2, 1, 21, 30))
Y, X = np.mgrid[:21, :30]


def run(operator: FlattenPlane | FlattenLines | AlignLines, images: np.ndarray) -> np.ndarray:
    return operator.transform(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_surface_is_that_of_numpy(degree: int) -> None:
    images = NOISE + 500 + 3 * X - 2 * Y + 0.05 * X * Y
    images[0, 0, 3, 4] = np.nan
    mask = np.zeros((21, 30))
    mask[5:9, 10:20] = 1
    images[..., mask > 0] += 70
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([(X / 30) ** i * (Y / 21) ** j for i, j in powers], axis=-1)
    for image, got in zip(images[:, 0], run(FlattenPlane(degree, mask), images)[:, 0], strict=True):
        used = (mask == 0) & np.isfinite(image)
        coefficients = np.linalg.lstsq(design[used], image[used], rcond=None)[0]
        np.testing.assert_allclose(got, image - design @ coefficients, atol=1e-8)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_lines_are_those_of_numpy(degree: int) -> None:
    images = NOISE + RNG.normal(0, 50, (2, 1, 21, 1)) + RNG.normal(0, 2, (2, 1, 21, 1)) * X
    images[1, 0, 4, ::3] = np.nan
    got = run(FlattenLines(degree), images)
    for line, flat in zip(images.reshape(-1, 30), got.reshape(-1, 30), strict=True):
        use = np.isfinite(line)
        fitted = np.polynomial.Polynomial.fit(np.arange(30)[use], line[use], degree)
        np.testing.assert_allclose(flat[use], line[use] - fitted(np.arange(30)[use]), atol=1e-8)
    if degree < 2:
        kind = "constant" if degree == 0 else "linear"
        np.testing.assert_allclose(got[0], detrend(images[0], type=kind), atol=1e-8)


def test_a_line_without_a_pixel_to_use_stays() -> None:
    mask = np.zeros((21, 30))
    mask[7] = 1
    flat = run(FlattenLines(1, mask), NOISE + 40)
    np.testing.assert_allclose(flat[..., 7, :], NOISE[..., 7, :] + 40, atol=1e-9)
    assert abs(flat[..., 8, :].mean()) < 1e-9


def test_aligned_lines_have_no_median_step() -> None:
    surface = np.where(np.hypot(Y - 10, X - 15) < 6, 40.0, 0.0)
    offsets = RNG.normal(0, 20, (2, 1, 21, 1))
    images = surface + offsets + 0.01 * NOISE
    images[0, 0, 6, 20:] = np.nan
    got = run(AlignLines(), images)
    np.testing.assert_allclose(np.nanmedian(np.diff(got, axis=-2), axis=-1), 0, atol=1e-9)
    lifted = got - np.nanmean((got - surface), axis=(-2, -1), keepdims=True)
    assert np.nanmax(abs(lifted - surface)) < 0.1  # the disc is neither drawn down nor draws its lines down
    assert np.nanmean(got[1]) == pytest.approx(images[1].mean())


def test_lines_along_y() -> None:
    image = (NOISE[0, 0] + RNG.normal(0, 50, 30)).astype(np.float32)
    axes = (Axis("y", 21, "spatial", units="nm"), Axis("x", 30, "spatial", units="nm"))
    dataset = wrap(da.from_array(image, chunks=(5, 30)), Spec(axes, image.dtype, units="nm"), provenance=Provenance("given", {}))
    flat = FlattenLines(0, axes=("x", "y"))(dataset)
    assert flat.units == "nm"
    np.testing.assert_allclose(flat, image - image.mean(0), atol=1e-4)


def test_large_levels_keep_small_structure() -> None:
    image = (NOISE + 1e5 + 10 * X).astype(np.float32)
    wanted = image.astype(np.float64)
    slope = np.linalg.lstsq(np.stack([X.ravel() ** 0, X.ravel(), Y.ravel()], -1), wanted.reshape(2, -1).T, rcond=None)[0]
    wanted = wanted - (np.stack([X**0, X, Y], -1) @ slope).transpose(2, 0, 1)[:, None]
    np.testing.assert_allclose(run(FlattenPlane(), image), wanted, atol=1e-6)


@pytest.mark.parametrize("degree", [-1, 10, 1.5])
def test_bad_degrees(degree: float) -> None:
    with pytest.raises(ParameterError, match="degree must be"):
        FlattenPlane(degree)  # type: ignore[arg-type]
