from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plain_data import PlainData, image_spec, run_plain

from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import DefectMask
from pycroclass.geometry import Geometry
from pycroclass.operators import MaskPixels
from pycroclass.simulate.parameters import draw_run
from pycroclass.simulate.sfx import run_maps, simulate_frame

HOT, NOISY, DEAD = (12, 31), (40, 7), (25, 25)


def frames(n: int = 60, *, rate: float = 20.0) -> np.ndarray:
    """Photon counts under a smooth slope, ``(n, 1, 53, 47)``, with one pixel of each defect."""
    random = np.random.default_rng(0)
    slope = rate * (1 + np.arange(53)[:, None] / 40) * np.ones(47)
    array = random.poisson(slope, (n, 1, 53, 47)).astype(np.float32)
    array[:, 0, *HOT] += 60
    array[:, 0, *NOISY] += random.normal(0, 60, n)
    array[:, 0, *DEAD] = 0
    return array


def bad_pixels(operator: MaskPixels) -> set[tuple[int, ...]]:
    return {tuple(int(i) for i in pixel) for pixel in np.argwhere(operator.mask.values)}


def test_finds_each_kind_of_defect_and_nothing_else() -> None:
    array = frames()
    fitted = DefectMask().fit(PlainData(array, [11, 30]), image_spec(array))
    assert fitted.mask.shape == (53, 47)
    assert bad_pixels(fitted) == {HOT, NOISY, DEAD}
    mended = run_plain(fitted, array)
    assert abs(mended[:, 0, *HOT].mean() - array[:, 0, HOT[0], HOT[1] + 1].mean()) < 5


def test_chunks_make_no_difference() -> None:
    array = frames()
    whole = DefectMask().fit(PlainData(array), image_spec(array))
    assert DefectMask().fit(PlainData(array, range(1, 60, 7)), image_spec(array)) == whole


def test_few_photons_are_no_defects() -> None:
    random = np.random.default_rng(1)
    array = random.poisson(0.02, (80, 1, 50, 50)).astype(np.float32)
    assert bad_pixels(DefectMask().fit(PlainData(array), image_spec(array))) == set()
    array[:, 0, 20, 30] = 1
    assert bad_pixels(DefectMask().fit(PlainData(array), image_spec(array))) == {(20, 30)}


def test_powder_rings_are_no_defects() -> None:
    random = np.random.default_rng(2)
    y, x = np.mgrid[:61, :59]
    radius = np.hypot(y - 30, x - 28)
    array = random.poisson(20 + 200 * (abs(radius - 18) < 0.5), (60, 1, 61, 59)).astype(np.float32)
    array[:, 0, [5, 30], [5, 46]] += 200  # off the ring, and on it
    spec = image_spec(array)
    assert bad_pixels(DefectMask().fit(PlainData(array), spec)) == {(5, 5)}
    known = replace(spec, geometry=Geometry((30, 28)))
    assert bad_pixels(DefectMask().fit(PlainData(array), known)) == {(5, 5), (30, 46)}


def test_dead_columns_and_gaps_are_found() -> None:
    array = frames()
    array[:, 0, :, 8:10] = 7
    array[:, 0, 40:46, 20:40] = -1
    mask = DefectMask().fit(PlainData(array), image_spec(array)).mask.values
    assert mask[:, 8:10].all()
    assert mask[40:46, 20:40].all()
    assert mask.sum() == 2 * 53 + 6 * 20 + 3


def test_each_channel_has_its_own_mask() -> None:
    array = np.concatenate([frames(), frames()[:, :, ::-1]], axis=1)
    fitted = DefectMask(fill=0).fit(PlainData(array), image_spec(array))
    assert fitted.mask.shape == (2, 53, 47)
    assert fitted.fill == 0
    np.testing.assert_array_equal(fitted.mask.values[0], fitted.mask.values[1, ::-1])


def test_bad_input() -> None:
    array = frames(2)
    with pytest.raises(DataError, match="three frames"):
        DefectMask().fit(PlainData(array), image_spec(array))
    with pytest.raises(DataError, match="equal"):
        DefectMask().fit(PlainData(np.ones_like(frames(4))), image_spec(array))
    array = frames(5)
    array[0] = np.inf
    with pytest.raises(DataError, match="inf"):
        DefectMask().fit(PlainData(array), image_spec(array))


@pytest.mark.parametrize(
    "changes", [{"threshold": 0}, {"threshold": np.nan}, {"window": 4}, {"window": 1}, {"window": 3.0}, {"fill": "mean"}]
)
def test_bad_parameters(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(changes))):
        DefectMask(**changes)  # type: ignore[arg-type]


def test_hot_pixels_of_a_run_are_found_among_its_misses() -> None:
    run = replace(draw_run(seed=3, hit_rate=0.4), hot_fraction=4e-4, hot_known=0.0)
    gaps = run_maps(run).mask != 0
    frames = [simulate_frame(run, index) for index in range(60)]
    array = np.stack([frame.image for frame in frames if not frame.is_hit])[:, None].astype(np.float32)
    array[..., gaps] = np.median(array[:, 0][:, ~gaps], 1)[:, None, None]
    spec = replace(image_spec(array), geometry=run.geometry)
    found = DefectMask().fit(PlainData(array, [25]), spec).mask.values & ~gaps
    is_hot = (run_maps(run).offset > run.experiment.detector.pedestal + 50) & ~gaps
    assert is_hot.sum() > 20
    assert (found & is_hot).sum() == is_hot.sum()
    assert (found & ~is_hot).sum() < 5e-4 * found.size
