"""Smoothing maps of labels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass import engine
from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import Majority
from pycroclass.spec import Axis, Spec


def plain(labels: np.ndarray, size: int) -> np.ndarray:
    """Pixel by pixel, with counts of each label in the window."""
    margin = size // 2
    wide = np.pad(labels, margin, mode="symmetric")
    result = labels.copy()
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] < 0:
            continue
        window = wide[y : y + size, x : x + size]
        values, counts = np.unique(window[window >= 0], return_counts=True)
        winners = values[counts == counts.max()]
        result[y, x] = labels[y, x] if labels[y, x] in winners else winners[0]
    return result


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "uint16"])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_against_counts(size: int, dtype: str) -> None:
    labels = np.random.default_rng(size).integers(0 if dtype[0] == "u" else -1, 4, (2, 3, 17, 13)).astype(dtype)
    found = Majority(size).transform(torch.from_numpy(labels)).numpy()
    assert found.dtype == labels.dtype
    for item, channel in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[item, channel], plain(labels[item, channel], size))


@settings(max_examples=10)
@given(chunks=st.tuples(st.integers(5, 31), st.integers(5, 29)), size=st.sampled_from([3, 5, 9]))
def test_tiles_make_no_difference(chunks: tuple[int, int], size: int) -> None:
    labels = np.random.default_rng(0).integers(-1, 6, (31, 29)).astype(np.int32)
    spec = Spec((Axis("y", 31, "spatial"), Axis("x", 29, "spatial")), labels.dtype, quantity="label", classes=tuple("abcdef"))
    ((lazy, meaning),) = engine.run(Majority(size), da.from_array(labels, chunks), spec).values()
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), plain(labels, size))
    assert meaning == spec


def test_a_noisy_map_gets_cleaner() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros((40, 40), np.int32)
    truth[:, 20:] = 1
    noisy = np.where(random.random(truth.shape) < 0.2, 1 - truth, truth)
    smooth = Majority(5).transform(torch.from_numpy(noisy[None, None])).numpy()[0, 0]
    assert (noisy != truth).mean() > 0.15
    assert (smooth != truth).mean() < 0.03


@pytest.mark.parametrize("size", [0, 2, 2.5, (3, 5)])
def test_bad_sizes(size: object) -> None:
    with pytest.raises(ParameterError, match="size"):
        Majority(size)  # type: ignore[arg-type]


def test_values_are_no_labels() -> None:
    with pytest.raises(AxisError, match="integers"):
        Majority().output(Spec((Axis("channel", 1), Axis("y", 4), Axis("x", 4)), "float32"))
