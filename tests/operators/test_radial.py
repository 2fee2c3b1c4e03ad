"""Operators on rings, against numpy ring by ring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry
from pycroclass.operator import Operator
from pycroclass.operators import RadialMedian, RadialProfile, RadialSNR
from pycroclass.operators._rings import _median_by_selection, ring_median
from pycroclass.spec import Axis, AxisKind, Spec

MakeSpec = Callable[..., Spec]
STATISTICS = {"mean": np.nanmean, "median": np.nanmedian, "sd": np.nanstd}
SHAPE = (23, 30)
CENTRE = (9.4, 17.8)


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(20, shape).astype(np.float32)


def some_mask() -> np.ndarray:
    return np.random.default_rng(1).random(SHAPE) < 0.2


def applied(operator: Operator, array: np.ndarray) -> np.ndarray:
    block = torch.from_numpy(array.copy())
    result = operator.transform(block)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(block.numpy(), array)
    return result.numpy()


def ring_numbers(shape: tuple[int, ...] = SHAPE, centre: tuple[float, float] = CENTRE) -> np.ndarray:
    y, x = np.indices(shape)
    return np.rint(np.hypot(y - centre[0], x - centre[1])).astype(int)


def by_ring(image: np.ndarray, ring: np.ndarray, mask: np.ndarray | None, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    good = ~np.isnan(image) if mask is None else (mask == 0) & ~np.isnan(image)
    last = ring.max() if mask is None else ring[mask == 0].max()
    groups = [image[good & (ring == r)].astype(float) for r in range(last + 1)]
    return np.array([statistic(group) if group.size else np.nan for group in groups])


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("mask", [None, some_mask()])
def test_radial_profile_is_numpys(statistic: str, mask: np.ndarray | None) -> None:
    array = images(3, 2, *SHAPE)
    profile = applied(RadialProfile(statistic, geometry=Geometry(CENTRE), mask=mask), array)
    wanted = [[by_ring(image, ring_numbers(), mask, STATISTICS[statistic]) for image in item] for item in array]
    np.testing.assert_allclose(profile, wanted, rtol=1e-6, atol=1e-6)


def test_radial_profile_is_scipys() -> None:
    image, ring = images(1, 1, *SHAPE), ring_numbers()
    for statistic, function in {"mean": ndimage.mean, "median": ndimage.median, "sd": ndimage.standard_deviation}.items():
        profile = applied(RadialProfile(statistic, geometry=Geometry(CENTRE)), image)[0, 0]
        np.testing.assert_allclose(profile, function(image[0, 0].astype(float), ring, np.arange(ring.max() + 1)), rtol=1e-6)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-3, 3) | st.just(np.nan)),
    st.tuples(st.floats(-4, 12), st.floats(-4, 12)),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_ring_median_with_ties_and_nan(image: np.ndarray, centre: tuple[float, float], data: st.DataObject) -> None:
    mask = data.draw(hnp.arrays(bool, image.shape))
    if mask.all():
        mask = None
    profile = applied(RadialProfile("median", geometry=Geometry(centre), mask=mask), image[None, None])[0, 0]
    np.testing.assert_array_equal(profile, by_ring(image, ring_numbers(image.shape, centre), mask, np.median).astype(np.float32))


@given(
    hnp.arrays(
        st.sampled_from((np.float32, np.float64)),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=9),
        elements=st.integers(-3, 3) | st.sampled_from((np.nan, np.inf, -np.inf)),
    )
)
def test_median_of_sorted_rings_is_that_of_selection(values: np.ndarray) -> None:
    collected = torch.from_numpy(values)
    np.testing.assert_array_equal(ring_median(collected).numpy(), _median_by_selection(collected).numpy())


def test_rings_without_good_pixels() -> None:
    mask = np.isin(ring_numbers(), (0, 4)) | (ring_numbers() > 15)
    profile = applied(RadialProfile(geometry=Geometry(CENTRE), mask=mask), images(1, 1, *SHAPE))[0, 0]
    assert profile.size == 16
    assert np.flatnonzero(np.isnan(profile)).tolist() == [0, 4]


def test_radial_median_is_constant_on_rings() -> None:
    array, ring, mask = images(2, 1, *SHAPE), ring_numbers(), some_mask()
    background = applied(RadialMedian(geometry=Geometry(CENTRE), mask=mask), array)
    wanted = np.array([[by_ring(image, ring, mask, np.median)[np.minimum(ring, ring[~mask].max())] for image in item] for item in array])
    wanted[..., ring > ring[~mask].max()] = np.nan
    np.testing.assert_array_equal(background, wanted.astype(np.float32))


def expected_snr(image: np.ndarray, mask: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    snr, ring = np.zeros(image.shape), ring_numbers(image.shape)
    for r in np.unique(ring):
        here = (ring == r) & (mask == 0) & ~np.isnan(image)
        if here.any():
            deviation = np.abs(image[here] - np.median(image[here]))
            noise = 1.4826 * np.median(deviation) or 1.2533141 * deviation.mean()
            snr[here] = (image[here] - np.median(image[here])) / (noise or np.inf)
    return snr.clip(*clip)


@pytest.mark.parametrize("rate", [0.02, 0.7, 30])
def test_radial_snr_is_numpys(rate: float) -> None:
    array = np.random.default_rng(2).poisson(rate, (3, 1, *SHAPE)).astype(np.float32)
    array[:, :, 3, 4] = 1000
    array[:, :, 5, 7] = np.nan
    mask = some_mask()
    wanted = [[expected_snr(image.astype(float), mask, (0, 100)) for image in item] for item in array]
    snr = applied(RadialSNR(geometry=Geometry(CENTRE), mask=mask), array)
    np.testing.assert_allclose(snr, wanted, rtol=1e-5, atol=1e-6)
    assert not snr[:, :, mask].any()


def test_radial_snr_of_a_spot_on_a_falling_background() -> None:
    ring = ring_numbers((60, 60), (30, 30))
    image = 1000 * np.exp(-ring / 10) + np.random.default_rng(3).normal(0, 2, ring.shape)
    image[40, 12] += 40
    snr = applied(RadialSNR((-100, 100), geometry=Geometry((30, 30))), image[None, None])[0, 0]
    assert snr[40, 12] == snr[ring > 5].max()
    assert 15 < snr[40, 12] < 25
    assert abs(np.std(snr[(ring > 8) & (ring < 28) & (np.arange(60) != 12)]) - 1) < 0.15


def test_radial_snr_of_boxes_is_the_larger_of_each_size() -> None:
    """The mean of a box, pixel by pixel; where one of its pixels is bad there is none."""
    array, mask = images(2, 1, *SHAPE).astype(np.float64), some_mask()
    means = np.full_like(array, np.nan)
    good = np.where(mask, np.nan, array)
    for y, x in np.ndindex(*SHAPE):
        means[:, :, y, x] = good[:, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean((-2, -1))
    single, of_boxes = (
        applied(RadialSNR((-100, 100), geometry=Geometry(CENTRE), mask=bad), values) for values, bad in ((array, mask), (means, None))
    )
    both = applied(RadialSNR((-100, 100), boxes=(1, 3), geometry=Geometry(CENTRE), mask=mask), array)
    np.testing.assert_allclose(both, np.maximum(single, of_boxes), rtol=1e-6, atol=1e-9)
    alone = applied(RadialSNR((-100, 100), boxes=(3,), geometry=Geometry(CENTRE), mask=mask), array)
    np.testing.assert_allclose(alone, of_boxes, rtol=1e-6, atol=1e-9)


def test_a_blurred_spot_stands_out_of_boxes() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (60, 60))
    image[40:43, 12:15] += 4
    pixels, boxes = (applied(RadialSNR(boxes=sizes, geometry=Geometry((30, 30))), image[None, None])[0, 0] for sizes in ((1,), (1, 3)))
    assert pixels[41, 13] < 7 < 8 < boxes[41, 13]


def test_radial_snr_of_flat_images_and_infinite_pixels() -> None:
    array = np.full((1, 1, *SHAPE), 7, np.float32)
    assert not applied(RadialSNR(geometry=Geometry(CENTRE)), array).any()
    noisy = images(1, 1, *SHAPE)
    noisy[0, 0, 11, 3] = np.inf
    snr = applied(RadialSNR((-2, 8), geometry=Geometry(CENTRE)), noisy)
    assert (snr.min(), snr.max(), snr[0, 0, 11, 3]) == (-2, 8, 8)


def test_q_axis_of_a_calibrated_detector(image_spec: MakeSpec) -> None:
    spec = image_spec(11, 20)
    out = RadialProfile().output(spec)
    channel, q = out.axes
    theta = 0.5 * np.arctan(np.arange(q.size) * 2e-4 / 0.1)
    np.testing.assert_allclose(q.values, 4 * np.pi / 0.1 * np.sin(theta), rtol=1e-12)  # 1e-10 m is 0.1 nm
    assert (out.names, channel.size, q.kind, q.units, out.dtype) == (("channel", "q"), 1, AxisKind.SPECTRAL, "1/nm", np.float32)
    assert out.geometry is None
    assert applied(RadialProfile().bind(spec), images(2, 1, 11, 20)).shape == (2, *out.shape)


def test_radius_axis_without_calibration(image_spec: MakeSpec) -> None:
    spec = image_spec(11, 20, beam=None)
    out = RadialProfile(centre="middle").output(spec)
    assert (out.names, out.axes[1].units, out.axes[1].values[3]) == (("channel", "radius"), "px", 3)
    square = spec.with_axes(replace(spec["kx"], step=-0.5))
    out = RadialProfile(centre="middle").output(square)
    assert (out.axes[1].units, out.axes[1].quantity, out.axes[1].values[3]) == ("1/nm", "k", 1.5)
    with pytest.raises(AxisError, match=r"centre=\(y, x\)"):
        RadialProfile().output(spec)


def test_where_the_centre_comes_from(image_spec: MakeSpec) -> None:
    spec = image_spec(11, 20)
    known = spec.geometry
    assert known is not None
    assert RadialProfile().bind(spec).geometry == known
    assert RadialProfile(centre=(1, 2)).bind(spec).geometry == replace(known, beam_centre=(1.0, 2.0))
    assert RadialProfile(centre="middle").bind(spec).geometry == replace(known, beam_centre=(5.0, 9.5))
    assert RadialProfile(geometry=Geometry((0, 0))).bind(spec).geometry == Geometry((0, 0))
    bound = RadialProfile(centre="middle").bind(spec)
    assert bound.bind(spec) == bound
    with pytest.raises(AxisError, match="must be bound"):
        RadialProfile().transform(torch.zeros(1, 1, 4, 4))


def test_oblong_pixels_give_elliptic_rings() -> None:
    geometry = Geometry((4, 4), pixel_size=(2e-4, 1e-4))
    image = np.zeros((1, 1, 9, 9), np.float32)
    image[0, 0, 6, 4] = image[0, 0, 4, 8] = 1  # two rows down is as far as four columns across
    assert applied(RadialProfile("sd", geometry=geometry), image)[0, 0].nonzero()[0].tolist() == [4]


def test_geometry_moves_with_a_crop(image_spec: MakeSpec) -> None:
    from pycroclass.operators import Crop

    spec, array = image_spec(21, 30, beam=(9.0, 13.0)), images(1, 1, 21, 30)
    crop = Crop((11, 12), centre="beam").bind(spec)
    inner = crop.output(spec)
    profile = applied(RadialProfile(centre=None).bind(inner), applied(crop, array))
    whole = applied(RadialProfile().bind(spec), array)
    np.testing.assert_allclose(profile[..., :3], whole[..., :3], rtol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        {"statistic": "mode"},
        {"centre": "beam"},
        {"centre": (1, np.nan)},
        {"centre": 4},
        {"mask": np.ones(SHAPE)},
        {"mask": ["a"]},
    ],
)
def test_radial_profile_refuses(bad: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=r"statistic|centre|mask|array parameter"):
        RadialProfile(**bad)


@pytest.mark.parametrize("clip", [(1, 5), (-5, -1), 3, (1,), ("a", "b"), (0, np.nan)])
def test_radial_snr_refuses(clip: object) -> None:
    with pytest.raises(ParameterError, match="clip"):
        RadialSNR(clip)


@pytest.mark.parametrize("boxes", [(), (2,), (3, 1), (1, 1), (0,), "3", 1.5])
def test_bad_boxes(boxes: object) -> None:
    with pytest.raises(ParameterError, match="odd numbers of pixels"):
        RadialSNR(boxes=boxes)  # type: ignore[arg-type]


def test_rings_refuse_other_shapes_and_complex_images(image_spec: MakeSpec) -> None:
    with pytest.raises(AxisError, match=r"mask has shape \(23, 30\)"):
        RadialSNR(mask=some_mask()).bind(image_spec(11, 20))
    with pytest.raises(AxisError, match="needs real values"):
        RadialProfile().output(image_spec(11, 20, dtype="complex64"))
    assert RadialProfile().output(image_spec(11, 20, dtype="float64")).dtype == np.float64


def test_one_axis_name_for_each_unit() -> None:
    axes = (Axis("channel", 1), Axis("y", 5, kind="spatial"), Axis("x", 5, kind="spatial"))
    assert RadialProfile(centre="middle").output(Spec(axes, "uint8")).names == ("channel", "radius")
