"""The bound on the number of peaks that a run tells by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sidpy
from hypothesis import given
from hypothesis import strategies as st
from plain_data import PlainData

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError
from pycroclass.estimators import PeakCount
from pycroclass.operators import PeakCountRule
from pycroclass.spec import Spec

EXPERIMENTS = ("LN83", "LN84", "LO19")


def fitted(counts: np.ndarray, k: float = 4.0, cuts: tuple[int, ...] = ()) -> PeakCountRule:
    return PeakCount(k).fit(PlainData(counts, cuts), Spec((), counts.dtype))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=200), st.integers(1, 199))
def test_bound_is_that_of_the_mirrored_counts(values: list[int], cut: int) -> None:
    frames = Counter(values)
    mode = min(n for n in frames if frames[n] == max(frames.values()))
    mirrored = [n for n in values if n <= mode] + [2 * mode - n for n in values if n < mode]
    spread = max(np.sqrt(np.mean(np.square(np.array(mirrored) - mode))), np.sqrt(max(mode, 1)))
    rule = fitted(np.array(values, np.float32), cuts=(cut,))
    assert rule.hit_above in (int(mode + 4 * spread - 1e-9), int(mode + 4 * spread + 1e-9))
    assert rule.miss_below == rule.hit_above + 1


def test_hits_do_not_move_it() -> None:
    rng = np.random.default_rng(0)
    misses = rng.poisson(6, 2000)
    hits = rng.integers(40, 400, 700)
    assert abs(fitted(misses).hit_above - fitted(np.concatenate([misses, hits])).hit_above) <= 0
    assert 14 <= fitted(misses).hit_above <= 18


def test_refuses_what_is_no_count() -> None:
    for values in ([1.5, 2.0], [-1.0, 3.0]):
        with pytest.raises(DataError, match="no counts"):
            fitted(np.array(values, np.float32))
    with pytest.raises(ParameterError, match="k"):
        PeakCount(0)


def test_fits_behind_a_peak_finder() -> None:
    rng = np.random.default_rng(1)
    values = rng.poisson(5, (40, 64, 64)).astype(np.uint16)
    for frame in values[::4]:
        y, x = rng.integers(6, 58, (2, 30))
        frame[y, x] += 200
        frame[y, x + 1] += 100
    frames = sidpy.Dataset.from_array(values, chunks=(7, 64, 64), title="frames")
    for i, (name, kind) in enumerate((("frame", "temporal"), ("y", "spatial"), ("x", "spatial"))):
        frames.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name=name, dimension_type=kind))
    model = pc.fit(pc.PeakFinder8(50, centre="middle") | pc.PeakCount(), frames)
    result = model(frames)
    np.testing.assert_array_equal(np.asarray(result["label"]), np.arange(40) % 4 == 0)
    assert pc.count_classes(result["label"])["items"].to_dict() == {"miss": 30, "hit": 10, "uncertain": 0}
    assert (np.asarray(result["confidence"]) > 0).all()


def counts_and_experts(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Number of spots and the expert's word for each frame; frames without spots are not in the file of counts."""
    expert = [line.split()[2] for line in (folder / "expert_annotation.txt").read_text().splitlines()]
    counts = np.zeros(len(expert), np.float32)
    for line in (folder / "dials_annotation.txt").read_text().splitlines():
        number, n, _ = line.split()
        counts[int(number) - 1] = int(n)
    return counts, np.array(expert)


def balanced_accuracy(is_hit: np.ndarray, expert: np.ndarray) -> float:
    return float((is_hit[expert == "HIT"].mean() + (~is_hit)[expert == "MISS"].mean()) / 2)


@pytest.mark.shared
def test_real_runs_are_sorted_without_labels(shared: Path) -> None:
    found = []
    for name in EXPERIMENTS:
        counts, expert = counts_and_experts(shared / "diffraction" / "labels" / name)
        found.append(balanced_accuracy(counts > fitted(counts).hit_above, expert))
    assert np.mean(found) >= 0.97
    assert min(found) >= 0.96


@pytest.mark.shared
def test_frames_that_are_not_in_the_file_of_counts_have_no_spots(shared: Path) -> None:
    for name in EXPERIMENTS:
        folder = shared / "diffraction" / "labels" / name
        listed = [int(line.split()[1]) for line in (folder / "dials_annotation.txt").read_text().splitlines()]
        counts, expert = counts_and_experts(folder)
        assert min(listed) == 1  # were frames without spots in the file, some would have 0
        assert np.mean(expert[counts == 0] == "HIT") < 0.1 < 0.17 < np.mean(expert == "HIT")


@pytest.mark.shared
def test_a_bound_that_was_tuned_elsewhere_is_worse(shared: Path) -> None:
    data = {name: counts_and_experts(shared / "diffraction" / "labels" / name) for name in EXPERIMENTS}
    accuracy = {
        (tuned, used): balanced_accuracy(data[used][0] > best_bound(*data[tuned]), data[used][1]) for tuned in data for used in data
    }
    for tuned in data:
        print(f"tuned on {tuned}:", {used: round(accuracy[tuned, used], 4) for used in data})
    elsewhere = [value for (tuned, used), value in accuracy.items() if tuned != used]
    own = [balanced_accuracy(counts > fitted(counts).hit_above, expert) for counts, expert in data.values()]
    print("without labels:", dict(zip(data, np.round(own, 4).tolist())), "mean elsewhere:", round(np.mean(elsewhere), 4))
    assert np.mean(own) > np.mean(elsewhere)


def best_bound(counts: np.ndarray, expert: np.ndarray) -> int:
    return max(range(300), key=lambda bound: balanced_accuracy(counts > bound, expert))
