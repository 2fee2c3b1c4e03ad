"""Shift against scipy, and which image is moved by which shift."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pycroclass import engine
from pycroclass.errors import DataError, ParameterError
from pycroclass.operator import Items
from pycroclass.operators import Shift
from pycroclass.spec import Axis, Spec
from pycroclass.stage import Execution

STACK = np.random.default_rng(0).normal(100, 20, (5, 1, 19, 24))
ITEMS = Items(np.arange(5))


@settings(max_examples=30, deadline=None)
@given(shift=st.tuples(*(st.integers(-1000 * n, 1000 * n).map(lambda k: k / 1000) for n in (18, 23))))
def test_moves_as_scipy_does(shift: tuple[float, float]) -> None:
    moved = Shift([shift]).apply(torch.from_numpy(STACK[:1]), Items(np.array([0])))[0, 0].numpy()
    wanted = ndimage.shift(STACK[0, 0], shift, order=3, mode="reflect")
    covered = ndimage.shift(np.ones(wanted.shape), shift, order=1, mode="constant", cval=np.nan)
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(covered))
    np.testing.assert_allclose(moved[np.isfinite(moved)], wanted[np.isfinite(moved)], rtol=1e-6)


def test_whole_pixels_and_none_are_exact() -> None:
    image = torch.from_numpy(STACK.astype(np.float32))
    np.testing.assert_allclose(Shift(np.zeros((5, 2))).apply(image, ITEMS), image, rtol=1e-6)
    moved = Shift(np.full((5, 2), (2, -3))).apply(image, ITEMS)
    np.testing.assert_allclose(moved[..., 2:, :-3], image[..., :-2, 3:], rtol=1e-6)
    assert moved.dtype == torch.float32


def test_each_image_has_its_own_shift_wherever_it_lies() -> None:
    axes = (Axis("frame", 5, "temporal"), Axis("y", 19, "spatial"), Axis("x", 24, "spatial"))
    shifts = np.random.default_rng(1).normal(0, 2, (5, 2))
    array = da.from_array(STACK[:, 0], chunks=(2, 7, 24))
    ((moved, _),) = engine.run(Shift(shifts, fill=0), array, Spec(axes, array.dtype), Execution(block_bytes=4000)).values()
    for image, shift, got in zip(STACK[:, 0], shifts, moved.compute(), strict=True):
        wanted = Shift([shift], fill=0).apply(torch.from_numpy(image[None, None]), Items(np.array([0])))[0, 0]
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_the_part_that_all_images_cover() -> None:
    shifts = Shift([(0, 0), (1.2, -3.5), (-0.5, 1)])
    moved = shifts.apply(torch.from_numpy(STACK[:3]), Items(np.arange(3)))
    whole = shifts.crop(19, 24).transform(moved)
    assert whole.shape == (3, 1, 16, 19)
    assert torch.isfinite(whole).all()
    with pytest.raises(DataError, match="no part in common"):
        Shift([(9, 0), (-11, 0)]).crop(19, 24)


def test_bad_shifts() -> None:
    with pytest.raises(DataError, match="shifts for 2 images"):
        Shift(np.zeros((2, 2))).apply(torch.from_numpy(STACK), ITEMS)
    for wrong in ([1.0, 2.0], [[np.nan, 0.0]], np.zeros((0, 2))):
        with pytest.raises(ParameterError, match="shifts must be finite"):
            Shift(wrong)
