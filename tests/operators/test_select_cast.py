"""Select by axis values, Cast, and both as recipes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from pycroclass.errors import AxisError, ParameterError, RecipeError
from pycroclass.operators import Cast, Clip, Crop, MaskPixels, Pad, Select, SubtractDark, Threshold
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis, Spec

SPEC = Spec((Axis("x", 5), Axis("energy", 1001, units="eV", offset=100.0, step=1.0), Axis("bias", 3, explicit=[-1, 0, 5])), "float32")


def test_select_keeps_both_ends():
    assert Select(energy=(300, 800)).slices(SPEC) == {"energy": slice(200, 701)}
    assert Select(energy=(None, 100.5), bias=(0, None)).slices(SPEC) == {"energy": slice(0, 1), "bias": slice(1, 3)}
    assert Select(energy=(800, 300)).slices(SPEC) == Select(energy=(300, 800)).slices(SPEC)


def test_select_that_finds_nothing():
    with pytest.raises(AxisError, match="runs from 100 to 1100 eV"):
        Select(energy=(0, 99)).slices(SPEC)
    with pytest.raises(AxisError, match="no axis 'mass'"):
        Select(mass=(0, 99)).slices(SPEC)


@pytest.mark.parametrize("ranges", [{}, {"x": 3}, {"x": (1, 2, 3)}, {"x": ("a", 2)}, {"x": (np.nan, 2)}, {"x": "ab"}])
def test_select_bad_ranges(ranges):
    with pytest.raises(ParameterError):
        Select(**ranges)


def test_recipe_of_select_is_as_one_writes_it():
    select = Select(energy=(300, 800), x=(None, 3))
    steps, arrays = to_dict(select)
    assert steps == [{"Select": {"energy": [300.0, 800.0], "x": [None, 3.0]}}]
    assert not arrays
    assert from_dict([{"Select": {"energy": [300, 800], "x": [None, 3]}}])[0] == select
    with pytest.raises(RecipeError, match="range of energy"):
        from_dict([{"Select": {"energy": 300}}])


@pytest.mark.parametrize(
    "operator",
    [
        Select(energy=(300, 800), axes=("ky", "kx")),
        Cast("uint16"),
        Crop(3, centre="beam"),
        Pad(width=(1, 2), fill=np.inf),
        Clip(high=3),
        Threshold(0.5, classes=("miss", "hit")),
        SubtractDark(np.ones((2, 3))),
        MaskPixels(np.eye(3), fill=0),
    ],
)
def test_values_survive(operator):
    steps, arrays = to_dict(operator)
    assert from_dict(steps, arrays)[0] == operator
    assert pickle.loads(pickle.dumps(operator)) == operator
    assert hash(operator) == hash(pickle.loads(pickle.dumps(operator)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", "bool", "complex64"])
def test_cast_is_numpys_astype(dtype):
    values = np.array([0.0, 1.9, 3.5, 100.2])
    result = Cast(dtype).transform(torch.from_numpy(values))
    np.testing.assert_array_equal(result.numpy(), values.astype(dtype))
    assert Cast(dtype).output(Spec((), "float64")).dtype == dtype


def test_cast_refuses():
    for dtype in ("U3", "object", "nonsense", "datetime64[s]"):
        with pytest.raises(ParameterError, match="number type"):
            Cast(dtype)
    with pytest.raises(AxisError, match="imaginary"):
        Cast("float32").output(Spec((), "complex64"))


def test_cast_takes_any_byte_order():
    assert Cast(">u2") == Cast("uint16")
