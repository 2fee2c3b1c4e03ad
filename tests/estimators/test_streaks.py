from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import PlainData, image_spec

from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.estimators import StreakMask
from pycroclass.geometry import Geometry, PanelGeometry
from pycroclass.operators import MaskPixels
from pycroclass.spec import Spec

SHAPE, CENTRE = (111, 97), (58.3, 44.6)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array(CENTRE)[:, None, None]
AZIMUTH = np.degrees(np.arctan2(Y, X)) % 180
RADIUS = np.hypot(Y, X)


def frames(rate: np.ndarray, n: int = 40, seed: int = 0) -> np.ndarray:
    """Photon counts ``(n, 1, y, x)``."""
    return np.random.default_rng(seed).poisson(rate, (n, 1, *SHAPE)).astype(np.float32)


def spec_of(array: np.ndarray) -> Spec:
    return replace(image_spec(array), geometry=Geometry(CENTRE))


def fitted(array: np.ndarray, cuts: tuple[int, ...] = (), **parameters: float) -> np.ndarray:
    model = StreakMask(**parameters).fit(PlainData(array, cuts), spec_of(array))
    assert isinstance(model, MaskPixels)
    assert np.isnan(model.fill)
    return np.asarray(model.mask.values)


def off(angle: float) -> np.ndarray:
    """Degrees between each pixel's direction and another, 0 to 90."""
    return np.abs((AZIMUTH - angle + 90) % 180 - 90)


def powder(angle: float = 0.0, width: float = 2.0, height: float = 0.0) -> np.ndarray:
    """A background with a ring, and a streak that fades outwards."""
    return 4 + 10 * np.exp(-RADIUS / 20) + 5 * (abs(RADIUS - 30) < 2) + height * np.exp(-((off(angle) / width) ** 2) / 2 - RADIUS / 40)


def with_spots(array: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Bragg peaks in a third of the frames."""
    random = np.random.default_rng(seed)
    for frame in array[::3, 0]:
        frame[random.integers(SHAPE[0], size=n), random.integers(SHAPE[1], size=n)] += random.exponential(60, n)
    return array


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 180), st.floats(1.5, 3.5), st.floats(3, 60), st.integers(0, 1000))
def test_a_streak_is_found_where_it_is(angle: float, width: float, height: float, seed: int) -> None:
    mask = fitted(frames(powder(angle, width, height), seed=seed))
    assert mask[off(angle) < 0.5 * width].all()
    assert not mask[off(angle) > 4 * width + 1].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 40), st.integers(2, 60), st.floats(0.02, 30))
def test_where_there_is_none_none_is_found(seed: int, n_spots: int, n: int, brightness: float) -> None:
    array = with_spots(frames(brightness * powder(), n, seed), n_spots, seed)
    assert not fitted(array.clip(max=brightness * 20 + 10)).any()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_polarisation_is_no_streak(share: float) -> None:
    polarised = powder() * (1 - share * np.cos(np.radians(AZIMUTH)) ** 2)
    assert not fitted(frames(3 * polarised, 200)).any()


def test_chunks_make_no_difference() -> None:
    array = frames(powder(70, height=6))
    whole = fitted(array)
    assert whole.any()
    for cuts in ((7,), (1, 2, 30), tuple(range(1, 40))):
        np.testing.assert_array_equal(fitted(array, cuts), whole)


def test_masked_pixels_stay_out() -> None:
    """A masked band, such as the shadow of an arm, or pixels that hold a constant, make no streak and hide none."""
    array = frames(powder(70, height=6))
    whole = fitted(array)
    held = array.copy()
    held[..., off(120) < 3] = 1e6
    np.testing.assert_array_equal(fitted(held), whole)
    half = array.copy()
    half[..., Y < 0] = 0  # a detector on one side of the beam
    assert (fitted(half) == whole).mean() > 0.97
    assert fitted(half)[off(70) < 1].all()


def test_the_strongest_directions_are_kept() -> None:
    array = frames(powder(70, 12, 60))
    direction = AZIMUTH.astype(int)
    for most in (0.1, 0.04):
        mask = fitted(array, most=most)
        assert len(np.unique(direction[mask])) == int(most * 180)
        assert not mask[off(70) > 30].any()


def test_the_height_of_the_threshold() -> None:
    array = frames(powder(70, height=6))
    n_masked = [fitted(array, threshold=threshold).sum() for threshold in (5, 8, 15, 1000)]
    assert all(n >= less for n, less in pairwise(n_masked))
    assert n_masked[0] > n_masked[-1] == 0


def test_each_channel_has_its_own_streak() -> None:
    array = np.concatenate([frames(powder(20, height=9)), frames(powder(110, height=9))], axis=1)
    mask = fitted(array)
    assert mask.shape == (2, *SHAPE)
    for plane, angle in zip(mask, (20, 110), strict=True):
        assert plane[off(angle) < 1].all()
        assert not plane[off(angle) > 12].any()


def test_panels_around_the_beam() -> None:
    """The same detector as one panel: y and x of the laboratory are those of the image."""
    array = frames(powder(70, height=6))
    flat = Geometry(CENTRE, pixel_size=(1e-4, 1e-4), distance=0.1, wavelength=1e-10)
    spec = replace(image_spec(array), geometry=PanelGeometry.of_flat(flat, SHAPE))
    model = StreakMask().fit(PlainData(array), spec)
    np.testing.assert_array_equal(model.mask.values, fitted(array))


def test_bad_input() -> None:
    array = frames(powder())
    with pytest.raises(AxisError, match="with_geometry"):
        StreakMask().fit(PlainData(array), image_spec(array))
    for same in (array[:1], np.ones_like(array)):
        with pytest.raises(DataError, match="equal"):
            StreakMask().fit(PlainData(same), spec_of(same))
    with pytest.raises(DataError, match="complex"):
        StreakMask().fit(PlainData(array.astype(np.complex64)), spec_of(array.astype(np.complex64)))
    array[3, 0, 5, 5] = np.nan
    with pytest.raises(DataError, match="NaN"):
        StreakMask().fit(PlainData(array), spec_of(array))


@pytest.mark.parametrize(
    "changes",
    [
        *({"threshold": value} for value in (0, -1, np.nan)),
        *({"n_directions": value} for value in (7, 18.0)),
        *({"most": value} for value in (0, 0.005, 0.5, np.nan)),
        {"fill": "mean"},
    ],
)
def test_bad_parameters(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        StreakMask(**changes)  # type: ignore[arg-type]
