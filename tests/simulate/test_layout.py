from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pycroclass.errors import ParameterError
from pycroclass.simulate import CSPAD, Detector
from pycroclass.simulate.layout import places_of_modules


def covered(detector: Detector) -> np.ndarray:
    count = np.zeros(detector.shape, int)
    for place in places_of_modules(detector):
        count[place] += 1
    return count


def test_a_cspad_has_64_modules_in_quadrants_that_are_turned() -> None:
    whole = replace(CSPAD.detector, shape=(1750, 1750))
    count = covered(whole)
    assert len(places_of_modules(whole)) == 64
    assert count.max() == 1
    assert count.sum() == 64 * 185 * 194
    np.testing.assert_array_equal(count, np.rot90(count))
    assert not count[840:910, 845:905].any()


@pytest.mark.parametrize("layout", ["grid", "quadrants"])
@pytest.mark.parametrize("shape", [(350, 350), (351, 349), (1001, 640)])
def test_a_smaller_detector_is_the_middle_of_a_larger_one(layout: str, shape: tuple[int, int]) -> None:
    small, large = (covered(Detector(shape=s, layout=layout)) for s in (shape, (1800, 1800)))  # type: ignore[arg-type]
    y, x = (900 - n // 2 for n in shape)
    np.testing.assert_array_equal(small, large[y : y + shape[0], x : x + shape[1]])


def test_gaps_of_a_grid() -> None:
    count = covered(Detector(shape=(101, 87), module=(40, 50), gap=5))
    rows, columns = (np.flatnonzero(np.diff(line)) + 1 for line in (count[:, 0], count[10]))
    assert rows.tolist() == [3, 8, 48, 53, 93, 98]
    assert columns.tolist() == [41, 46]


def test_unknown_layouts_are_refused() -> None:
    with pytest.raises(ParameterError, match="'grid' or 'quadrants'"):
        Detector(layout="circle")  # type: ignore[arg-type]
