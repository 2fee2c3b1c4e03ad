"""Smoothing, edges and spectra, against scipy and numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operator import Operator
from pycroclass.operators import GaussianBlur, Log1p, Median, PowerSpectrum, RadialMedian, Sobel, SubtractBackground
from pycroclass.spec import Axis, AxisKind, Spec

MakeSpec = Callable[..., Spec]


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 10, shape).astype(np.float32)


def applied(operator: Operator, array: np.ndarray) -> np.ndarray:
    block = torch.from_numpy(array.copy())
    result = operator.transform(block)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(block.numpy(), array)
    return result.numpy()


def by_image(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    return np.array([[function(image) for image in item] for item in array])


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.0, 2.3, 9.0])
@pytest.mark.parametrize("shape", [(2, 3, 17, 31), (1, 1, 5, 4), (1, 1, 1, 9)])
def test_gaussian_blur_is_scipys(sigma: float, shape: tuple[int, ...]) -> None:
    array = images(*shape)
    wanted = by_image(lambda image: ndimage.gaussian_filter(image.astype(float), sigma, mode="reflect", truncate=4), array)
    np.testing.assert_allclose(applied(GaussianBlur(sigma), array), wanted, rtol=1e-5)


def test_gaussian_blur_keeps_float64_and_complex() -> None:
    array = images(1, 1, 9, 8).astype(complex) * (1 + 2j)
    wanted = ndimage.gaussian_filter(array[0, 0], 1.5, mode="reflect")
    np.testing.assert_allclose(applied(GaussianBlur(1.5), array)[0, 0], wanted, rtol=1e-12)
    assert applied(GaussianBlur(1.5), array.real).dtype == np.float64


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("shape", [(2, 2, 13, 22), (1, 1, 3, 2)])
def test_median_is_scipys(size: int, shape: tuple[int, ...]) -> None:
    array = np.round(images(*shape) / 10)  # with ties
    wanted = by_image(lambda image: ndimage.median_filter(image, size, mode="reflect"), array)
    np.testing.assert_array_equal(applied(Median(size), array), wanted)


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_forgetful_selection_is_the_median(half: int, seed: int) -> None:
    from pycroclass.operators.median import _median

    values = np.random.default_rng(seed).integers(0, 9, (2 * half + 1, 50)).astype(np.float32)
    np.testing.assert_array_equal(_median(list(torch.from_numpy(values))).numpy(), np.median(values, 0))


def test_median_of_nan_is_nan() -> None:
    array = images(1, 1, 7, 7)
    array[0, 0, 3, 3] = np.nan
    assert np.isnan(applied(Median(3), array)).sum() == 9


@pytest.mark.parametrize("shape", [(2, 3, 17, 31), (1, 1, 2, 2), (1, 1, 1, 5)])
def test_sobel_is_scipys(shape: tuple[int, ...]) -> None:
    array = images(*shape)
    wanted = by_image(lambda i: np.hypot(ndimage.sobel(i.astype(float), 0), ndimage.sobel(i.astype(float), 1)), array)
    np.testing.assert_allclose(applied(Sobel(), array), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 16, 33), (1, 1, 7, 1)])
@pytest.mark.parametrize("factor", [1, 1 + 2j])
def test_power_spectrum_is_numpys(shape: tuple[int, ...], factor: complex) -> None:
    array = (images(*shape) * factor).astype(np.complex64 if isinstance(factor, complex) else np.float32)
    window = np.outer(np.hanning(shape[-2]), np.hanning(shape[-1]))
    wanted = by_image(lambda image: np.abs(np.fft.fftshift(np.fft.fft2(image.astype(complex) * window))) ** 2, array)
    np.testing.assert_allclose(applied(PowerSpectrum(), array), wanted, atol=1e-5 * wanted.max())


def test_power_spectrum_has_frequencies_with_units() -> None:
    axes = (Axis("channel", 1), Axis("y", 8, kind="spatial", units="nm", step=0.5), Axis("x", 9, kind="spatial", step=-2.0))
    out = PowerSpectrum().output(Spec(axes, "uint16", units="V"))
    y, x = out.axes[-2:]
    np.testing.assert_allclose(y.values, np.fft.fftshift(np.fft.fftfreq(8, 0.5)))
    np.testing.assert_allclose(x.values, -np.fft.fftshift(np.fft.fftfreq(9, 2.0)))
    assert (out.names, y.kind, y.units, x.units) == (("channel", "frequency_y", "frequency_x"), AxisKind.RECIPROCAL, "1/nm", "1/px")
    assert (out.dtype, out.quantity, out.units) == (np.float32, "power spectrum", "(V)^2")


def test_power_spectrum_of_a_diffraction_pattern_is_in_real_space(image_spec: MakeSpec) -> None:
    out = PowerSpectrum().output(image_spec(6, 8))
    assert (out.axes[-1].kind, out.axes[-1].units, out.geometry) == (AxisKind.SPATIAL, "nm", None)


def test_power_spectrum_needs_evenly_spaced_axes(image_spec: MakeSpec) -> None:
    spec = image_spec(6, 8)
    uneven = spec.with_axes(Axis("kx", 8, explicit=np.arange(8.0) ** 2))
    with pytest.raises(AxisError, match="kx"):
        PowerSpectrum().output(uneven)


@pytest.mark.parametrize("background", [GaussianBlur(2.0), Median(5), RadialMedian(centre="middle")])
def test_subtract_background_is_the_difference(background: Operator, image_spec: MakeSpec) -> None:
    array, spec = images(2, 1, 11, 14), image_spec(11, 14, dtype="float32")
    operator = SubtractBackground(background).bind(spec)
    assert operator.halo() == background.halo()
    assert operator.output(spec) == spec
    np.testing.assert_array_equal(applied(operator, array), array - applied(background.bind(spec), array))


def test_subtract_background_is_radial_unless_told(image_spec: MakeSpec) -> None:
    assert SubtractBackground().bind(image_spec(6, 8)).background == RadialMedian().bind(image_spec(6, 8))
    with pytest.raises(AxisError, match=r"centre='middle'; in a recipe \w+: \{centre: \[y, x\]\}"):
        SubtractBackground().bind(image_spec(6, 8, beam=None))


def test_declared_dtypes(image_spec: MakeSpec) -> None:
    for operator in (GaussianBlur(1.0), Median(3), Sobel(), PowerSpectrum(), SubtractBackground(Median(3))):
        assert {str(operator.output(image_spec(6, 8, dtype=d)).dtype) for d in ("uint8", "int32", "float16", "float32")} == {"float32"}
        assert operator.output(image_spec(6, 8, dtype="float64")).dtype == np.float64
    assert GaussianBlur(1.0).output(image_spec(6, 8, dtype="complex64")).dtype == np.complex64
    for operator in (Median(3), Sobel(), SubtractBackground(Median(3))):
        with pytest.raises(AxisError, match="needs real values"):
            operator.output(image_spec(6, 8, dtype="complex64"))


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf, "wide", None])
def test_gaussian_blur_refuses(sigma: object) -> None:
    with pytest.raises(ParameterError, match="sigma must be"):
        GaussianBlur(sigma)


@pytest.mark.parametrize("size", [0, 2, -3, 2.5, (3, 5), "3"])
def test_median_refuses(size: object) -> None:
    with pytest.raises(ParameterError, match="size must be"):
        Median(size)


@pytest.mark.parametrize("background", [Log1p(), Median(3) | Sobel(), 7])
def test_subtract_background_refuses(background: object) -> None:
    with pytest.raises(ParameterError, match="one operator on images"):
        SubtractBackground(background)


def test_subtract_background_refuses_another_shape(image_spec: MakeSpec) -> None:
    with pytest.raises(AxisError, match="PowerSpectrum changes the axes"):
        SubtractBackground(PowerSpectrum()).output(image_spec(6, 8))
