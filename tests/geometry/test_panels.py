"""Panels: places computed by hand and pixel by pixel, maps, cuts, bins, modules, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry, Panel, PanelGeometry, geometry_from_dict

TURNED = Panel(
    "turned", min_fs=4, max_fs=7, min_ss=1, max_ss=3, corner_x=10, corner_y=-3, fs=(0, 1, 0), ss=(-1, 0, 0), res=1e4, clen=0.1, coffset=0.01
)
PLAIN = Panel("plain", min_fs=0, max_fs=3, min_ss=0, max_ss=3, corner_x=-5, corner_y=-1, res=1e4, clen=0.11)
TWO = PanelGeometry((PLAIN, TURNED), wavelength=1e-10)


def place(panel: Panel, ss: int, fs: int) -> np.ndarray:
    """The centre of a pixel in metres, from the definition."""
    corner = np.array([panel.corner_x, panel.corner_y, 0.0])
    steps = (fs - panel.min_fs + 0.5) * np.array(panel.fs) + (ss - panel.min_ss + 0.5) * np.array(panel.ss)
    return (corner + steps) / panel.res + [0, 0, (panel.clen or 0) + panel.coffset]


@st.composite
def panels(draw: st.DrawFn, n: int = 3) -> PanelGeometry:
    """Panels side by side in the slab, tilted and turned at random before the sample."""
    found, number = [], st.floats(-1, 1).map(lambda value: round(value, 6))
    for i in range(n):
        angle, left = draw(st.floats(0, 6.28)), 9 * i + draw(st.integers(0, 2))
        cos, sin = np.cos(angle), np.sin(angle)
        found.append(
            Panel(
                f"p{i}",
                min_fs=left,
                max_fs=left + draw(st.integers(0, 6)),
                min_ss=draw(st.integers(0, 3)),
                max_ss=draw(st.integers(3, 8)),
                corner_x=30 * draw(number),
                corner_y=30 * draw(number),
                fs=(cos, sin, 0.2 * draw(number)),
                ss=(-sin, cos, 0.2 * draw(number)),
                res=1e4,
                clen=0.1,
                coffset=0.01 * draw(number),
            )
        )
    return PanelGeometry(tuple(found), wavelength=1.3e-10)


def test_places_by_hand() -> None:
    """The pixel (ss, fs) = (3, 5) of the turned panel is 2.5 steps along ss, which leads to -x, and 1.5 along fs, which leads to y."""
    x, y, z = TWO.coordinates((4, 8))
    assert (x[3, 5], y[3, 5], z[3, 5]) == pytest.approx((7.5e-4, -1.5e-4, 0.11), rel=1e-12)
    assert (x[0, 0], y[0, 0], z[0, 0]) == pytest.approx((-4.5e-4, -0.5e-4, 0.11), rel=1e-12)
    assert np.isnan(x[0, 4:]).all()
    assert TWO.radius((4, 8))[3, 5] == pytest.approx(np.hypot(7.5, 1.5), rel=1e-12)
    assert TWO.panel_numbers((5, 8)).tolist() == [[0] * 4 + [-1] * 4, *[[0] * 4 + [1] * 4] * 3, [-1] * 8]


@settings(max_examples=30)
@given(panels())
def test_maps_are_those_of_each_pixel(geometry: PanelGeometry) -> None:
    """Radius and q against the vectors of optics: q = 2 pi / wavelength |direction of the ray - direction of the beam|."""
    shape = (9, 30)
    x, y, z = geometry.coordinates(shape)
    radius, q, numbers = geometry.radius(shape), geometry.q_map(shape), geometry.panel_numbers(shape)
    azimuth = geometry.azimuth(shape)
    seen = np.zeros(shape, bool)
    for number, panel in enumerate(geometry.panels):
        for ss in range(panel.min_ss, panel.max_ss + 1):
            for fs in range(panel.min_fs, panel.max_fs + 1):
                at = place(panel, ss, fs)
                np.testing.assert_allclose((x[ss, fs], y[ss, fs], z[ss, fs]), at, rtol=1e-12, atol=1e-15)
                ray = at / np.linalg.norm(at) - [0, 0, 1]
                np.testing.assert_allclose(q[ss, fs], 2 * np.pi / 1.3e-10 * np.linalg.norm(ray), rtol=1e-9, atol=1)
                first = geometry.panels[0]
                np.testing.assert_allclose(radius[ss, fs], np.hypot(*at[:2]) / at[2] * (0.1 + first.coffset) * 1e4, rtol=1e-12, atol=1e-9)
                around = np.hypot(*at[:2]) * np.array([np.cos(azimuth[ss, fs]), np.sin(azimuth[ss, fs])])
                np.testing.assert_allclose(around, at[:2], rtol=1e-9, atol=1e-12)
                assert numbers[ss, fs] == number
                seen[ss, fs] = True
    for values in (x, y, z, radius, q, azimuth):
        assert np.array_equal(np.isnan(values), ~seen)
    assert np.array_equal(numbers < 0, ~seen)


def test_equal_radii_are_equal_angles() -> None:
    """A panel twice as far shows the same ring twice as wide."""
    far = replace(PLAIN, name="far", res=5e3, clen=0.22, min_ss=4, max_ss=7)
    radius = PanelGeometry((PLAIN, far)).radius((8, 4))
    np.testing.assert_allclose(radius[4:], radius[:4], rtol=1e-12)
    other_way = PanelGeometry((far, PLAIN)).radius((8, 4))
    np.testing.assert_allclose(other_way, radius, rtol=1e-12)


def test_without_distances_radii_are_those_in_the_plane() -> None:
    near, far = replace(PLAIN, clen=None), replace(PLAIN, name="far", res=5e3, min_ss=4, max_ss=7)
    geometry = PanelGeometry((near, far))
    y, x = np.mgrid[:4, :4] + 0.5
    np.testing.assert_allclose(geometry.radius((8, 4)), np.concatenate([np.hypot(x - 5, y - 1), 2 * np.hypot(x - 5, y - 1)]), rtol=1e-12)
    assert not geometry.is_calibrated
    assert np.isnan(geometry.coordinates((8, 4))[2][:4]).all()
    with pytest.raises(ParameterError, match="clen of each panel"):
        geometry.q_map((8, 4))


@pytest.mark.parametrize("pixel_size", [(1e-4, 1e-4), (1e-4, 2e-4)])
def test_a_flat_detector_is_one_panel(pixel_size: tuple[float, float]) -> None:
    flat = Geometry((11.25, 7.5), pixel_size=pixel_size, distance=0.1, wavelength=1e-10)
    one = PanelGeometry.of_flat(flat, (20, 30))
    np.testing.assert_allclose(one.radius((20, 30)), flat.radius((20, 30)), rtol=1e-12)
    np.testing.assert_allclose(one.q_map((20, 30)), flat.q(flat.radius((20, 30))), rtol=1e-12)
    np.testing.assert_allclose(one.azimuth((20, 30)), flat.azimuth((20, 30)), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(flat.q_map((20, 30)), flat.q(flat.radius((20, 30))))
    assert one.is_calibrated
    with pytest.raises(ParameterError, match="size of its pixels"):
        PanelGeometry.of_flat(Geometry((1, 2)), (20, 30))


def test_flat_values_are_what_they_were() -> None:
    """By the formula, written out once more, and to the bit."""
    flat = Geometry((4.6, 7.3), pixel_size=(1e-4, 3e-4), distance=0.1, wavelength=1e-10)
    y, x = np.arange(9)[:, None] - 4.6, np.arange(8)[None, :] - 7.3
    radius = np.hypot(y * (1e-4 / 3e-4), x)
    np.testing.assert_array_equal(flat.radius((9, 8)), radius)
    np.testing.assert_array_equal(flat.q(radius), 4 * np.pi / 1e-10 * np.sin(np.arctan(radius * 3e-4 / 0.1) / 2))
    assert flat.azimuth((9, 8))[7, 2] == pytest.approx(np.arctan2(2.4 / 3, -5.3), rel=1e-12)
    assert flat.to_dict() == {"beam_centre": [4.6, 7.3], "pixel_size": [1e-4, 3e-4], "distance": 0.1, "wavelength": 1e-10}
    assert flat.cropped(2, 3, (4, 4)) == flat.cropped(2, 3)


@settings(max_examples=50)
@given(panels(), st.integers(0, 8), st.integers(0, 28), st.integers(1, 9), st.integers(1, 20))
def test_a_crop_sees_the_same_places(geometry: PanelGeometry, top: int, left: int, height: int, width: int) -> None:
    height, width = min(height, 9 - top), min(width, 30 - left)
    window = slice(top, top + height), slice(left, left + width)
    whole = geometry.coordinates((9, 30))
    if np.isnan(whole[0][window]).all():
        with pytest.raises(AxisError, match="no panel lies in a window"):
            geometry.cropped(top, left, (height, width))
        return
    cropped = geometry.cropped(top, left, (height, width))
    for new, old in zip(cropped.coordinates((height, width)), whole, strict=True):
        np.testing.assert_allclose(new, old[window], rtol=1e-12, atol=1e-15)
    padded = geometry.cropped(-2, -3, (14, 40))
    for new, old in zip(padded.coordinates((14, 40)), whole, strict=True):
        np.testing.assert_array_equal(new[2:11, 3:33], old)


def test_a_crop_of_all_changes_nothing() -> None:
    assert TWO.cropped(0, 0, (4, 8)) == TWO


def test_bins_that_fit_stand_in_the_middle_of_their_pixels() -> None:
    left, right = (
        replace(TURNED, name=name, min_ss=2, max_ss=7, min_fs=fs, max_fs=fs + 5, corner_x=3 * fs, ss=(-1, 0.2, 0.1))
        for name, fs in (("a", 0), ("b", 9))
    )
    geometry = PanelGeometry((left, right))
    binned = geometry.scaled(2, 3)
    for new, old in zip(binned.coordinates((4, 5)), geometry.coordinates((8, 15)), strict=True):
        np.testing.assert_allclose(new, old.reshape(4, 2, 5, 3).mean((1, 3)), rtol=1e-12)
    for y, x in ((2, 2), (4, 3), (1.5, 3)):
        with pytest.raises(AxisError, match="would join pixels that stand apart"):
            geometry.scaled(y, x)


def of_three_modules() -> PanelGeometry:
    first = Panel("0", min_fs=0, max_fs=4, min_ss=0, max_ss=2, corner_x=0, corner_y=0, res=1e4, clen=0.1, module=0)
    second = replace(first, name="2a", module=2, max_fs=1, corner_x=10)
    return PanelGeometry((first, second, replace(second, name="2b", min_fs=2, max_fs=4, corner_x=20)))


def test_modules() -> None:
    geometry, shape = of_three_modules(), (3, 4, 5)
    assert (geometry.n_modules, geometry.slab_shape) == (3, (3, 3, 5))
    x, _, _ = geometry.coordinates(shape)
    assert np.isnan(x[1]).all()
    assert (x[0, 0, 0], x[2, 0, 1], x[2, 0, 2]) == pytest.approx((0.5e-4, 11.5e-4, 20.5e-4))
    np.testing.assert_array_equal(geometry.stacked(4).coordinates((12, 5))[0], x.reshape(12, 5))
    np.testing.assert_array_equal(geometry.of_modules([2, 1]).coordinates((2, 4, 5))[0], x[[2, 1]])
    with pytest.raises(AxisError, match="no panel stands on the modules"):
        geometry.of_modules([1])
    with pytest.raises(AxisError, match="Put StackModules before"):
        geometry.radius((4, 5))
    with pytest.raises(AxisError, match=r"need .* pixels"):
        geometry.stacked(2)
    with pytest.raises(AxisError, match="no modules to be stacked"):
        TWO.stacked(4)
    with pytest.raises(AxisError, match="not on an array of shape"):
        TWO.radius((3, 4, 8))


@settings(max_examples=30)
@given(panels())
def test_json_gives_it_back(geometry: PanelGeometry) -> None:
    back = geometry_from_dict(json.loads(json.dumps(geometry.to_dict())))
    assert back == geometry
    assert hash(back) == hash(geometry)


def test_json_of_modules_and_unknown_distances() -> None:
    geometry = PanelGeometry(tuple(replace(panel, clen=None if i else 0.1) for i, panel in enumerate(of_three_modules().panels)))
    assert geometry_from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry
    for broken in ({"panels": {"name": ["a"]}}, {"panels": {}}, {"panels": {"name": ["a"], "speed": [1]}}):
        with pytest.raises(ParameterError, match="panels"):
            geometry_from_dict(broken)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_fs": -1}, "must not be below zero"),
        ({"min_fs": 9, "max_fs": 8}, "has no pixels"),
        ({"min_ss": 0.5}, "whole number"),
        ({"res": 0}, "above zero"),
        ({"corner_x": np.nan}, "finite"),
        ({"fs": (1, 0)}, r"vector \(x, y, z\)"),
        ({"fs": (0, 2, 0), "ss": (0, 1, 0)}, "parallel"),
        ({"clen": "far"}, "must be a number"),
    ],
)
def test_panels_refuse(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        replace(PLAIN, **wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PanelGeometry(()), "one or more"),
        (lambda: PanelGeometry((PLAIN, PLAIN)), "name of its own"),
        (lambda: PanelGeometry((PLAIN, replace(TURNED, module=0))), "either all panels"),
        (lambda: PanelGeometry((PLAIN, replace(TURNED, min_fs=3))), r"both have the pixel \(ss, fs\) = \(1, 3\)"),
        (lambda: PanelGeometry((PLAIN,), wavelength=-1), "positive length"),
        (lambda: PanelGeometry((PLAIN, replace(TURNED, coffset=-0.2))).radius((4, 8)), "before the sample"),
    ],
)
def test_geometries_refuse(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_frames_that_are_too_small_are_refused() -> None:
    with pytest.raises(AxisError, match="geometry of other frames"):
        TWO.radius((4, 7))
