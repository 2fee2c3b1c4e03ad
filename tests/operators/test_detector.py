"""Dark, flat and bad pixels, against one line of numpy or a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import Flatfield, MaskPixels, SubtractDark
from pycroclass.operators._tensor import as_tensor

RNG = np.random.default_rng(0)
RAW = RNG.integers(100, 4000, (3, 2, 9, 7)).astype(np.uint16)
DARK = RNG.normal(100, 3, (9, 7))
FLAT = RNG.uniform(500, 1500, (9, 7))


@pytest.mark.parametrize("dark", [DARK, np.stack([DARK, 2 * DARK]), DARK.astype(">i4"), DARK[:1]])
def test_dark(dark, image_spec):
    result = SubtractDark(dark).transform(torch.from_numpy(RAW))
    np.testing.assert_allclose(result.numpy(), RAW - np.asarray(dark, float), rtol=1e-6, atol=1e-4)
    assert SubtractDark(dark).output(image_spec(2, 9, 7)).dtype == result.numpy().dtype == np.float32


@pytest.mark.parametrize("dark", [None, DARK])
def test_flat(dark):
    signal = FLAT - (0 if dark is None else dark)
    expected = (RAW - (0 if dark is None else dark)) * signal.mean() / signal
    np.testing.assert_allclose(Flatfield(FLAT, dark).transform(torch.from_numpy(RAW)).numpy(), expected, rtol=1e-5, atol=1e-3)


def test_flat_evens_out_its_own_image():
    even = Flatfield(FLAT, DARK).transform(torch.from_numpy(FLAT)[None, None])
    assert even.std() < 1e-10
    assert even.mean().item() == pytest.approx((FLAT - DARK).mean())


def test_dead_pixels_of_a_flat():
    flat = np.array([[2.0, 0.0, -1.0, np.nan, 4.0]])
    operator = Flatfield(flat)
    assert np.isnan(operator.gain.values).tolist() == [[False, True, True, True, False]]
    assert operator.transform(torch.ones(1, 1, 1, 5))[0, 0, 0, [0, 4]].tolist() == [1.5, 0.75]
    with pytest.raises(ParameterError, match="no pixel has flat - dark above zero"):
        Flatfield(flat, dark=flat + 1)


@pytest.mark.parametrize("operator", [SubtractDark(DARK), Flatfield(FLAT), MaskPixels(DARK > 100)])
def test_arrays_of_another_shape(operator, image_spec):
    for shape in ((7, 9), (9, 8), (2, 1, 7)):
        with pytest.raises(AxisError, match=r"has shape \(9, 7\), which does not fit"):
            operator.output(image_spec(*shape))
    with pytest.raises(AxisError, match="does not fit"):
        SubtractDark(np.zeros((3, 9, 7))).output(image_spec(1, 9, 7))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SubtractDark(DARK + 1j),
        lambda: SubtractDark([["a"]]),
        lambda: Flatfield(FLAT, DARK[:3]),
        lambda: MaskPixels(np.ones((3, 3))),
        lambda: MaskPixels(np.stack([np.ones((3, 3)), np.zeros((3, 3))])),
        lambda: MaskPixels(np.zeros(3)),
        lambda: MaskPixels(np.zeros((3, 3)), fill="zero"),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(ParameterError):
        make()


def plain_interpolation(image, bad):
    """The documented rule, pixel by pixel."""
    image, known = np.where(bad, np.nan, image.astype(float)), ~bad
    while not known.all():
        before, known_before = image.copy(), known.copy()
        for y, x in np.argwhere(~known_before):
            around = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if known_before[around].any():
                image[y, x] = before[around][known_before[around]].mean()
                known[y, x] = True
    return image


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
def test_interpolation_is_the_documented_rule(fraction):
    bad = np.random.default_rng(1).random((2, 9, 7)) < fraction
    bad[:, 2:7, 1:6] |= fraction > 0.1  # a hole three rings deep
    bad[:, 0, 0] = False
    values = np.where(bad, np.nan, RAW.astype(np.float32))
    before = values.copy()
    result = MaskPixels(bad).transform(torch.from_numpy(values)).numpy()
    expected = [[plain_interpolation(plane, b) for plane, b in zip(item, bad)] for item in RAW]
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_array_equal(values, before)


def test_one_mask_for_all_channels_and_raw_counts():
    bad = DARK > 103
    np.testing.assert_array_equal(
        MaskPixels(bad).transform(torch.from_numpy(RAW)), MaskPixels(np.stack([bad, bad])).transform(torch.from_numpy(RAW))
    )


@pytest.mark.parametrize("fill", [0, -1.5, np.nan])
def test_fill_with_a_number(fill):
    bad = DARK > 100
    result = MaskPixels(bad.astype(int) * 5, fill=fill).transform(torch.from_numpy(RAW))
    np.testing.assert_array_equal(result.numpy(), np.where(bad, np.float32(fill), RAW))


def test_interpolation_keeps_complex_and_float64():
    for dtype in (torch.complex64, torch.float64):
        block = torch.tensor([[[[1, 9, 3]]]], dtype=dtype)
        assert MaskPixels([[0, 1, 0]]).transform(block).tolist() == [[[[1, 2, 3]]]]


def test_array_parameters_are_moved_once():
    like = torch.zeros(2, 3)
    assert as_tensor(ArrayValue(DARK), like) is as_tensor(ArrayValue(DARK.copy()), like)
    assert as_tensor(ArrayValue(DARK), like.double()).dtype == torch.float64
    assert as_tensor(ArrayValue(DARK), like.to(torch.uint8)).dtype == torch.float32
    assert as_tensor(ArrayValue([1j]), like).dtype == torch.complex64
