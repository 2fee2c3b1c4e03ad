"""Virtual detectors, against one line of numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import SumMask, VirtualDetector
from pycroclass.spec import Axis, AxisKind, Spec

RNG = np.random.default_rng(0)
SPECTRUM = Spec((Axis("energy", 57, kind=AxisKind.SPECTRAL),), "uint16", units="counts")


def items(*shape: int) -> np.ndarray:
    return RNG.poisson(1000, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(57,), (9, 13), (3, 9, 13)])
def test_sum_mask_is_numpys(shape: tuple[int, ...]) -> None:
    array, mask = items(4, *shape), RNG.random(shape)
    wanted = (array * mask).reshape(4, -1).sum(1, dtype=float)
    np.testing.assert_allclose(SumMask(mask).transform(torch.from_numpy(array)), wanted, rtol=1e-6)


def test_a_mask_of_one_plane_serves_all_channels(image_spec: Callable[..., Spec]) -> None:
    array, mask = items(4, 3, 9, 13), RNG.random((9, 13)) > 0.5
    assert SumMask(mask).output(image_spec(3, 9, 13)).shape == ()
    np.testing.assert_allclose(SumMask(mask).transform(torch.from_numpy(array)), (array * mask).sum((1, 2, 3)), rtol=1e-6)


def test_virtual_detector_is_einsum() -> None:
    array, masks = items(4, 9, 13), RNG.normal(size=(5, 9, 13)) * (RNG.random((5, 9, 13)) < 0.3)
    sums = VirtualDetector(masks).transform(torch.from_numpy(array))
    np.testing.assert_allclose(sums, np.einsum("byx,dyx->bd", array, masks), rtol=1e-5, atol=1e-2)
    np.testing.assert_array_equal(VirtualDetector(list(masks)).transform(torch.from_numpy(array)), sums)


def test_values_without_weight_do_not_count() -> None:
    array = items(2, 57)
    array[:, 5] = np.nan
    assert torch.isfinite(SumMask(np.arange(57) > 5).transform(torch.from_numpy(array))).all()
    assert torch.isnan(SumMask(np.arange(57) > 4).transform(torch.from_numpy(array))).all()


def test_a_bad_value_spoils_only_the_detectors_that_see_it() -> None:
    array, masks = items(700, 40, 40), RNG.random((3, 40, 40)) * (np.arange(1600).reshape(40, 40) % 7 > np.arange(3)[:, None, None])
    array[[3, 699], 20, 1] = np.nan, np.inf  # 801 % 7 == 3: seen by all
    array[5, 20, 0] = np.nan  # 800 % 7 == 2: by the first two
    sums = VirtualDetector(masks).transform(torch.from_numpy(array)).numpy()
    with np.errstate(invalid="ignore"):
        wanted = np.stack([(array[:, mask != 0].astype(float) * mask[mask != 0]).sum(1) for mask in masks], 1)
    np.testing.assert_allclose(sums, wanted, rtol=1e-6)
    assert np.isfinite(sums).sum(0).tolist() == [697, 697, 698]


def test_long_sums_are_float64() -> None:
    array = np.full((1, 1 << 20), 16777216.0, np.float32)
    array[0, 1::2] = 1
    total = SumMask(np.where(np.arange(1 << 20) % 2, 1, np.where(np.arange(1 << 20) % 4, 1, -1))).transform(torch.from_numpy(array))
    assert total.tolist() == [float(1 << 19)]


def test_complex_and_float64_items() -> None:
    array = items(3, 57).astype(complex) * 1j
    np.testing.assert_allclose(SumMask(np.ones(57)).transform(torch.from_numpy(array)), array.sum(1))
    assert SumMask(np.ones(57)).transform(torch.from_numpy(array.imag)).dtype == torch.float64


def test_outputs() -> None:
    one, many = SumMask(np.ones(57)).output(SPECTRUM), VirtualDetector(np.ones((4, 57))).output(SPECTRUM)
    assert (one.axes, one.dtype, one.units) == ((), np.float32, "counts")
    assert (many.names, many.shape, many.axes[0].kind) == (("detector",), (4,), AxisKind.CHANNEL)


@pytest.mark.parametrize("mask", [np.zeros(4), [1, np.nan], [1, np.inf], [1j], "all"])
def test_a_mask_must_have_weights(mask: object) -> None:
    with pytest.raises(ParameterError, match=r"a mask must hold|array parameter"):
        SumMask(mask)
    with pytest.raises(ParameterError, match=r"a mask must hold|array parameter"):
        VirtualDetector([mask])


def test_masks_must_fit() -> None:
    with pytest.raises(AxisError, match=r"shape \(56,\)"):
        SumMask(np.ones(56)).output(SPECTRUM)
    with pytest.raises(AxisError, match=r"shape \(56,\)"):
        VirtualDetector(np.ones((2, 56))).output(SPECTRUM)
    with pytest.raises(ParameterError, match="got none"):
        VirtualDetector(())
