"""Common mode, photons, and labels by the number of peaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pycroclass.errors import AxisError, ParameterError
from pycroclass.operators import CommonMode, PeakCountRule, ToPhotons
from pycroclass.spec import Spec

MakeSpec = Callable[..., Spec]
LEVELS = np.array([[3.0, -7.5], [0.25, 12.0]])


def frames(n: int = 4, side: int = 60) -> np.ndarray:
    """noise of 1.5 around a level for each of four panels of 60 x 60, other levels in each frame, a fifth of the pixels lit."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.5, (n, 1, 2 * side, 2 * side))
    lit = 100 * (rng.random(noise.shape) < 0.2)
    return (noise + lit + levels(n).repeat(side, -1).repeat(side, -2)).astype(np.float32)


def levels(n: int) -> np.ndarray:
    return LEVELS + np.arange(n)[:, None, None, None]


@pytest.mark.parametrize("statistic", ["median", "mode"])
def test_common_mode_takes_the_level_of_each_panel(statistic: Any) -> None:
    array = frames()
    corrected = CommonMode((60, 60), statistic=statistic, below=50).transform(torch.from_numpy(array)).numpy()
    taken = (array - corrected)[..., ::60, ::60]
    np.testing.assert_allclose(taken, levels(4), atol=0.6 if statistic == "mode" else 0.2)
    np.testing.assert_allclose(array - corrected, taken.repeat(60, -1).repeat(60, -2), atol=1e-4)


def test_common_mode_is_numpys_median_of_what_counts() -> None:
    array = frames(2)
    array[:, :, ::7, 3] = np.nan
    mask = np.random.default_rng(1).random(array.shape[-2:]) < 0.3
    corrected = CommonMode([[0, 50, 10, 120]], mask=mask, below=20).transform(torch.from_numpy(array)).numpy()
    wanted = array.copy()
    for frame in wanted:
        part = frame[0, :50, 10:]
        part -= np.median(part[(part < 20) & ~mask[:50, 10:]])
    np.testing.assert_allclose(corrected, wanted, atol=1e-5)


def test_mode_is_the_top_of_a_parabola() -> None:
    values = torch.tensor([[[[0.0] * 2 + [1.0] * 6 + [2.0] * 4 + [torch.nan]]]])
    (taken,) = set((values - CommonMode(statistic="mode").transform(values))[0, 0, 0, :-1].tolist())
    assert taken == pytest.approx(1 + (4 - 2) / (2 * (12 - 4 - 2)), abs=1e-6)


def test_a_panel_in_which_nothing_counts_keeps_its_values() -> None:
    array = torch.full((1, 1, 4, 4), 9.0)
    for statistic in ("median", "mode"):
        assert torch.equal(CommonMode(below=5, statistic=statistic).transform(array), array)  # type: ignore[arg-type]


def test_common_mode_refuses(image_spec: MakeSpec) -> None:
    for changes, words in (({"statistic": "mean"}, "statistic"), ({"step": 0}, "step"), ({"panels": "all"}, "array")):
        with pytest.raises(ParameterError, match=words):
            CommonMode(**changes)  # type: ignore[arg-type]
    with pytest.raises(AxisError, match="not tiled"):
        CommonMode((4, 5)).output(image_spec(9, 10))
    with pytest.raises(AxisError, match="mask"):
        CommonMode(mask=np.ones((3, 3))).output(image_spec(9, 10))


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1), st.floats(0.5, 300), st.floats(0.1, 1))
def test_photons_are_rounded_or_none(values: list[float], gain: float, threshold: float) -> None:
    found = ToPhotons(gain, threshold).transform(torch.tensor(values, dtype=torch.float64)).numpy()
    scaled = np.array(values) / gain
    assert (found >= 0).all()
    assert (found == np.rint(found)).all()
    assert (np.abs(found - scaled)[scaled >= threshold] <= 0.5).all()
    assert (found[scaled < threshold] == 0).all()


@pytest.mark.shared
def test_photons_of_a_pnccd_that_holds_inf(shared: Path) -> None:
    adu = np.load(shared / "diffraction" / "spi" / "test_adu.npy")
    assert np.isinf(adu).any()
    photons = ToPhotons(1000, 0.7).transform(torch.from_numpy(adu)).numpy()
    np.testing.assert_array_equal(np.isnan(photons), ~np.isfinite(adu))
    assert np.nanmax(photons) > 0


def test_photons_refuse() -> None:
    for changes in ({"gain": 0}, {"gain": 1, "threshold": 0}, {"gain": np.inf}):
        with pytest.raises(ParameterError):
            ToPhotons(**changes)


@given(st.integers(0, 30), st.integers(0, 30))
def test_labels_follow_the_rule(miss_below: int, hit_above: int) -> None:
    if miss_below > hit_above + 1:
        with pytest.raises(ParameterError, match="a miss and a hit"):
            PeakCountRule(miss_below, hit_above)
        return
    counts = torch.arange(40, dtype=torch.int32)
    answer = PeakCountRule(miss_below, hit_above).transform(counts)
    wanted = [0 if n < miss_below else 1 if n > hit_above else 2 for n in range(40)]
    assert answer["label"].tolist() == wanted
    confidence = answer["confidence"].numpy()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert (confidence[np.array(wanted) == 2] == 0).all()
    assert (np.diff(confidence[np.array(wanted) == 1]) >= 0).all()
    assert (np.diff(confidence[np.array(wanted) == 0]) <= 0).all()


def test_what_is_no_number_has_no_label() -> None:
    answer = PeakCountRule().transform(torch.tensor([torch.nan, 40.0]))
    assert answer["label"].tolist() == [-1, 1]
    assert answer["confidence"].isnan().tolist() == [True, False]


def test_count_rule_refuses() -> None:
    for changes in ({"miss_below": -1}, {"hit_above": 2.5}):
        with pytest.raises(ParameterError, match=next(iter(changes))):
            PeakCountRule(**changes)  # type: ignore[arg-type]
