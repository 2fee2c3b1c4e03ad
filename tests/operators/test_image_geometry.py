"""Crop, Pad, Bin and Resize: pixels against numpy and Pillow; positions and beam centre stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import Bin, Crop, Pad, Resize
from pycroclass.spec import Axis


@pytest.fixture
def block():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 4000, (3, 2, 11, 8)).astype(np.uint16))


@pytest.mark.parametrize("operator", [Crop((5, 4)), Crop(3, centre="beam"), Pad(size=(14, 11)), Pad(width=2), Bin((2, 3)), Resize((7, 13))])
def test_spec_and_pixels_agree(operator, block, image_spec):
    spec = image_spec(2, 11, 8)
    bound = operator.bind(spec)
    out, result = bound.output(spec), bound.transform(block)
    assert tuple(result.shape[1:]) == out.shape
    assert out.names == spec.names
    assert result.numpy().dtype == out.dtype


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(a=st.integers(1, 9), b=st.integers(1, 9), height=st.integers(9, 15), width=st.integers(9, 15))
def test_positions_do_not_move(image_spec, a, b, height, width):
    """The position of the beam, read from the axes, is the same before and after."""
    spec = image_spec(height, width)

    def beam(of):
        return [axis.offset + axis.step * centre for axis, centre in zip(of.axes[-2:], of.geometry.beam_centre)]

    for operator in (Crop((a, b)), Pad(width=(a, b)), Pad(size=(15 + a, 15 + b)), Bin((a, b)), Resize((a, b))):
        out = operator.output(spec)
        np.testing.assert_allclose(beam(out), beam(spec), rtol=0, atol=1e-12)
        # a pixel covers as much of the axis as of the detector
        for new, old, size, was in zip(out.axes[-2:], spec.axes[-2:], out.geometry.pixel_size, spec.geometry.pixel_size):
            assert new.step / old.step == pytest.approx(size / was)


@pytest.mark.parametrize(("n", "size", "start"), [(11, 5, 3), (11, 4, 3), (8, 3, 2), (8, 8, 0), (350, 350, 0), (1024, 350, 337)])
def test_crop_of_the_middle(n, size, start):
    row = torch.arange(n).reshape(1, 1, 1, n).expand(1, 1, n, n)
    assert Crop(size).transform(row)[0, 0, 0].tolist() == list(range(start, start + size))


def test_crop_binds_its_centre(image_spec):
    spec = image_spec(11, 8)
    assert Crop(3).bind(spec).centre == (5.0, 3.5)
    assert Crop(3, centre="beam").bind(spec).centre == spec.geometry.beam_centre
    assert Crop(3, centre=(2, 2)).bind(spec) == Crop(3, centre=(2.0, 2.0))
    assert Crop(3, centre="beam").output(spec).geometry.beam_centre == (1.25, 1.5)


@pytest.mark.parametrize("centre", [(0, 4), (10, 4), (5, 0), (5, 7.0)])
def test_crop_that_sticks_out(centre, block, image_spec):
    with pytest.raises(AxisError, match="sticks out of an image"):
        Crop(3, centre=centre).output(image_spec(11, 8))
    with pytest.raises(AxisError, match="sticks out"):
        Crop(3, centre=centre).transform(block)


def test_crop_without_a_beam(image_spec, block):
    with pytest.raises(AxisError, match="geometry is known"):
        Crop(3, centre="beam").bind(image_spec(11, 8, beam=None))
    with pytest.raises(AxisError, match="bound to a dataset first"):
        Crop(3, centre="beam").transform(block)


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("size", [7, 8])
def test_crop_undoes_pad(n, size):
    image = torch.arange(n * n).reshape(1, 1, n, n)
    padded = Pad(size=size, fill=-1).transform(image)
    assert padded.shape[-2:] == (size, size)
    assert torch.equal(Crop(n).transform(padded), image)


def test_pad_is_numpys(block):
    expected = np.pad(block.numpy(), ((0, 0), (0, 0), (1, 1), (2, 2)), constant_values=7)
    np.testing.assert_array_equal(Pad(width=(1, 2), fill=7).transform(block).numpy(), expected)


@pytest.mark.parametrize("fill", [-1, 0.5, 70000, np.nan, np.inf])
def test_pad_refuses_what_the_dtype_cannot_hold(fill, image_spec):
    with pytest.raises(AxisError, match="cannot hold fill"):
        Pad(width=1, fill=fill).output(image_spec(4, 4, dtype="uint16"))
    assert Pad(width=1, fill=fill).output(image_spec(4, 4, dtype="float32")).dtype == "float32"


@pytest.mark.parametrize("operator", [Pad(width=1), Resize(3)])
def test_new_positions_need_even_spacing(operator, image_spec):
    spec = image_spec(4, 4).with_axes(Axis("kx", 4, explicit=[0, 1, 3, 7]))
    with pytest.raises(AxisError, match="'kx' are not"):
        operator.output(spec)


@pytest.mark.parametrize("statistic", ["sum", "mean", "max"])
def test_bin_against_numpy(statistic, block):
    whole = block.numpy().astype(np.float64)[..., :10, :6].reshape(3, 2, 5, 2, 2, 3)
    expected = getattr(whole, statistic)(axis=(-3, -1))
    np.testing.assert_allclose(Bin((2, 3), statistic).transform(block).numpy(), expected, rtol=1e-6)


def test_bin_larger_than_the_image(image_spec):
    with pytest.raises(AxisError, match="no bin of"):
        Bin(12).output(image_spec(11, 8))


@pytest.mark.parametrize("size", [(5, 3), (11, 8), (24, 31), (1, 1)])
def test_resize_against_pillow(size):
    image = np.random.default_rng(1).random((11, 8), dtype=np.float32)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    result = Resize(size).transform(torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(result[0, 0].numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Crop(0),
        lambda: Crop(2.5),
        lambda: Crop((1, 2, 3)),
        lambda: Crop("3"),
        lambda: Crop(3, centre="middle"),
        lambda: Crop(3, centre=(1, np.nan)),
        lambda: Pad(),
        lambda: Pad(3, 3),
        lambda: Pad(width=-1),
        lambda: Pad(size=3, fill="black"),
        lambda: Bin(0),
        lambda: Bin(2, "median"),
        lambda: Resize((0, 3)),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(ParameterError):
        make()


def test_pad_to_less_than_there_is(image_spec):
    with pytest.raises(AxisError, match="cannot be padded to"):
        Pad(size=(11, 7)).output(image_spec(11, 8))


def test_resize_refuses_complex(image_spec):
    with pytest.raises(AxisError, match="real values"):
        Resize(3).output(image_spec(4, 4, dtype="complex64"))
