"""Scales of single items, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import PercentileNormalize, ZScore
from pycroclass.spec import Axis, Spec


@pytest.mark.parametrize("shape", [(6, 17), (4, 2, 5, 7), (1, 1), (3, 1, 1, 1)])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_z_score_against_numpy(shape, dtype):
    values = np.random.default_rng(0).integers(0, 60000, shape).astype(dtype)
    x = values.astype(np.float64).reshape(len(values), -1)
    sd = x.std(1, keepdims=True)
    expected = ((x - x.mean(1, keepdims=True)) / np.where(sd == 0, 1, sd)).reshape(shape)
    np.testing.assert_allclose(ZScore().transform(torch.from_numpy(values)).numpy(), expected, atol=2e-6)


def test_z_score_of_a_constant_is_zero():
    for value in (0.1, 1e6 / 3, -7e30 / 3):
        assert ZScore().transform(torch.full((2, 1, 31, 33), value)).count_nonzero() == 0


def test_z_score_far_from_zero():
    x = 1e6 + np.random.default_rng(0).integers(0, 3, (2, 1000)).astype(np.float32)
    expected = (x - x.mean(1, keepdims=True, dtype=float)) / x.std(1, keepdims=True, dtype=float)
    np.testing.assert_allclose(ZScore().transform(torch.from_numpy(x.astype(np.float32))).numpy(), expected, atol=1e-5)


def test_only_the_item_with_nan_is_lost():
    block = torch.tensor([[1.0, torch.nan, 2.0], [1.0, 2.0, 3.0]])
    for operator in (ZScore(), PercentileNormalize()):
        assert operator.transform(block).isnan().tolist() == [[True] * 3, [False] * 3]


@pytest.mark.parametrize(("low", "high"), [(1, 99), (0, 100), (33.3, 50), (99.9, 100)])
@pytest.mark.parametrize("shape", [(5, 101), (3, 2, 7, 9), (2, 1)])
def test_percentiles_against_numpy(low, high, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    a, b = np.percentile(values.astype(np.float64).reshape(len(values), -1), (low, high), axis=1)
    wide = (-1,) + (1,) * (len(shape) - 1)
    spread = np.where(a == b, 1, b - a).reshape(wide)
    expected = (values - a.reshape(wide)) / spread
    result = PercentileNormalize(low, high).transform(torch.from_numpy(values))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_percentiles_of_a_constant():
    assert PercentileNormalize().transform(torch.full((2, 1, 3, 3), 7)).count_nonzero() == 0


def test_percentiles_of_more_values_than_torch_quantile_takes():
    n = (1 << 24) + 3
    block = torch.arange(n, dtype=torch.float64).unsqueeze(0)
    result = PercentileNormalize(25, 75).transform(block)
    assert result[0, [0, n // 2, -1]].tolist() == pytest.approx([-0.5, 0.5, 1.5])


@pytest.mark.parametrize("limits", [(-1, 50), (50, 50), (60, 40), (0, 101), (np.nan, 1), ("a", 3)])
def test_bad_percentiles(limits):
    with pytest.raises(ParameterError):
        PercentileNormalize(*limits)


@pytest.mark.parametrize("operator", [ZScore(), PercentileNormalize()])
def test_meaning(operator):
    axes = (Axis("energy", 5, kind="spectral", units="eV"),)
    out = operator.output(Spec(axes, "int16", quantity="intensity", units="counts"))
    assert (out.axes, out.dtype, out.units, out.quantity) == (axes, np.float32, "generic", "intensity")
    with pytest.raises(AxisError, match="real values"):
        operator.output(Spec(axes, "complex64"))
