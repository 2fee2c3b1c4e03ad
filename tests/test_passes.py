"""Passes: reductions, samples and blocks do not depend on chunks; NaN and masks are never silently averaged in."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.operator import Items
from pycroclass.passes import Passes
from pycroclass.reduction import Reduction, State
from pycroclass.spec import Axis, Domain, Spec
from pycroclass.stage import Execution

SPEC = Spec((Axis("y", 7, "spatial"), Axis("x", 5, "spatial"), Axis("energy", 6, "spectral")), np.dtype("float32"), title="cube")
VALUES = np.random.default_rng(1).random((7, 5, 6), dtype=np.float32)
SMALL = Execution(block_bytes=200, batch_bytes=60)


class _Sums(Reduction):
    def partial(self, block: torch.Tensor, items: Items) -> State:
        return block.double().sum(0), torch.tensor(items.index.sum()), torch.tensor(len(block))


def over(values: np.ndarray = VALUES, chunks: tuple[int, ...] = (3, 2, 4), **options: object) -> Passes:
    return Passes.over(da.from_array(values, chunks=chunks), SPEC, Domain.ITEM, execution=SMALL, **options)  # type: ignore[arg-type]


def spoiled() -> np.ndarray:
    values = VALUES.copy()
    values[1, 2, 3] = np.nan
    values[4, 0, 0] = np.inf
    return values


@settings(max_examples=15, deadline=None)
@given(st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 6)))
def test_a_pass_sees_every_item_once(chunks: tuple[int, ...]) -> None:
    passes = over(chunks=chunks)
    total, index, count = passes.reduce(_Sums())
    np.testing.assert_allclose(total, VALUES.sum((0, 1), dtype=np.float64), rtol=1e-6)
    assert (index, count) == (sum(range(35)), 35)
    np.testing.assert_array_equal(passes.sample(10, 3), over().sample(10, 3))
    assert sum(len(block) for block, _ in passes.blocks(seed=2)) == 35


def test_a_sample_of_all_is_all_in_order() -> None:
    np.testing.assert_array_equal(over().sample(100, 0), VALUES.reshape(35, 6))


def test_other_seeds_give_other_samples() -> None:
    assert not np.array_equal(over().sample(10, 0), over().sample(10, 1))


def test_blocks_shuffle_by_seed() -> None:
    def order(seed: int | None) -> list[int]:
        return [int(items.index[0]) for _, items in over().blocks(seed)]

    assert order(None) == sorted(order(None))
    assert order(1) == order(1) != order(None)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 of 35 items of 'cube' hold NaN or inf.*nonfinite='mask'"):
        over(spoiled()).reduce(_Sums())
    with pytest.raises(DataError, match="NaN or inf"):
        list(over(spoiled()).blocks())


def test_values_that_are_not_finite_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    passes = over(spoiled(), nonfinite="mask")
    total, _, count = passes.reduce(_Sums())
    good = np.isfinite(spoiled()).all(2)
    np.testing.assert_allclose(total, VALUES[good].sum(0, dtype=np.float64), rtol=1e-6)
    assert count == passes.n_items == 33
    assert "2 of 35 items" in caplog.text
    assert len(passes.sample(100, 0)) == 33


def test_a_mask_chooses_items_before_nan_counts() -> None:
    mask = np.isfinite(spoiled()).all(2)
    mask[0, 0] = False
    total, _, count = over(spoiled(), mask=mask).reduce(_Sums())
    np.testing.assert_allclose(total, VALUES[mask].sum(0, dtype=np.float64), rtol=1e-6)
    assert count == 32


def test_bad_arguments() -> None:
    with pytest.raises(AxisError, match=r"shape \(7, 5\)"):
        over(mask=np.ones((5, 7)))
    with pytest.raises(ParameterError, match="nonfinite"):
        over(nonfinite="average")
    with pytest.raises(DataError, match="none of the 35 items"):
        over(mask=np.zeros((7, 5))).reduce(_Sums())


def test_images_without_a_channel_are_given_one() -> None:
    spec = Spec((Axis("frame", 7, "temporal"), Axis("y", 5, "spatial"), Axis("x", 6, "spatial")), np.dtype("float32"))
    passes = Passes.over(da.from_array(VALUES, chunks=(2, 5, 6)), spec, Domain.IMAGE, execution=SMALL)
    assert passes.item.shape == (1, 5, 6)
    assert passes.reduce(_Sums())[0].shape == (1, 5, 6)
    assert passes.sample(3, 0).shape == (3, 1, 5, 6)
