"""Peaks, against a plain search with scipy and against spots that were put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry, Panel, PanelGeometry
from pycroclass.kernels import compiling, peakfinder8, peakfinder8_torch
from pycroclass.kernels.peak_tables import COLUMNS, PeakSearch, PeakTables, peak_tables
from pycroclass.operators import CommonMode, PeakFinder8
from pycroclass.operators.peak_finder import _as_compiled_for
from pycroclass.spec import Spec

MakeSpec = Callable[..., Spec]
SEARCH = PeakSearch(threshold=15.0, min_snr=4.0, min_pixels=2, max_pixels=30, background_radius=6)


def search_plainly(image: np.ndarray, radius: np.ndarray, good: np.ndarray, bounds: np.ndarray, search: PeakSearch) -> np.ndarray:
    """All peaks of one image, `COLUMNS`, the strongest first: the definition, step by step."""
    image, ring = image.astype(np.float64), np.rint(radius).astype(int)
    panel = np.full(image.shape, -1)
    for number, (top, bottom, left, right) in enumerate(bounds):
        panel[top:bottom, left:right] = number
    good = good & (panel >= 0) & np.isfinite(image)
    mean, upper = np.zeros(image.shape), np.full(image.shape, np.inf)
    for r in np.unique(ring[good]):
        here = good & (ring == r)
        mean[here], upper[here] = clipped(image[here], search)
    above = good & (image > upper)
    rows = []
    for number, (top, bottom, left, right) in enumerate(bounds):
        groups, n = ndimage.label(above & (panel == number), np.ones((3, 3)))
        for group in range(1, n + 1):
            y, x = np.nonzero(groups == group)
            is_inside = (y > top) & (y < bottom - 1) & (x > left) & (x < right - 1)
            if not search.min_pixels <= len(y) <= search.max_pixels or not is_inside.any():
                continue
            weight = np.abs(image[y, x] - mean[y, x])
            near = disc(image.shape, np.rint(weight @ y / weight.sum()), np.rint(weight @ x / weight.sum()), search.background_radius)
            around = image[near & good & (panel == number) & (image < upper)]
            offset, sigma = (around.mean(), around.std()) if around.size else (mean[y[0], x[0]], 0.01)
            value = image[y, x]
            intensity = (value - offset).sum()
            with np.errstate(divide="ignore"):
                snr = intensity / np.float64(sigma)
            if snr >= search.min_snr and value.max() >= around.max(initial=-np.inf):
                total = value.sum()
                rows.append((value @ x / total, value @ y / total, number, intensity, value.max(), sigma, snr, len(y)))
    return np.array(sorted(rows, key=lambda row: -row[3])).reshape(-1, len(COLUMNS))


def clipped(values: np.ndarray, search: PeakSearch) -> tuple[float, float]:
    lower, upper = -1e9, 1e9
    for _ in range(5):
        kept = values[(values >= lower) & (values < upper)]
        if not kept.size:
            return 0.0, np.inf
        reach = search.min_snr * kept.std()
        lower, upper = kept.mean() - reach, max(kept.mean() + reach, search.threshold)
    return kept.mean(), upper


def disc(shape: tuple[int, ...], y: float, x: float, radius: int) -> np.ndarray:
    down, along = (grid - centre for grid, centre in zip(np.indices(shape), (y, x)))
    inside = (down >= -radius) & (down < radius) & (along >= -radius) & (along < radius)
    return inside & (down**2 + along**2 <= radius**2)


@dataclass
class Pattern:
    """Round background with Poisson noise and Gaussian spots, at known places."""

    image: np.ndarray
    places: np.ndarray
    centre: tuple[float, float]

    @property
    def radius(self) -> np.ndarray:
        return Geometry(self.centre).radius(self.image.shape)


def pattern(seed: int, shape: tuple[int, int] = (150, 170), n_spots: int = 25, brightness: float = 400.0) -> Pattern:
    rng = np.random.default_rng(seed)
    centre = (shape[0] / 2 + 3.3, shape[1] / 2 - 5.1)
    y, x = np.indices(shape)
    expected = 3 + 25 * np.exp(-(((np.hypot(y - centre[0], x - centre[1]) - 40) / 12) ** 2))
    places: list[np.ndarray] = []
    while len(places) < n_spots:
        place = rng.uniform(8, np.array(shape) - 9)
        if all(np.hypot(*(place - other)) > 16 for other in places):
            places.append(place)
            expected += brightness * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * 0.8**2))
    return Pattern(rng.poisson(expected).astype(np.uint16), np.array(places), centre)


def tables_of(given: Pattern, good: np.ndarray | None = None, bounds: Any = None, per_ring: int | None = None) -> PeakTables:
    good = np.ones(given.image.shape, bool) if good is None else good
    bounds = [[0, given.image.shape[0], 0, given.image.shape[1]]] if bounds is None else bounds
    return peak_tables(given.radius, good, np.array(bounds, np.int32), per_ring)


def by_kernel(images: np.ndarray, tables: PeakTables, search: PeakSearch = SEARCH, max_peaks: int = 100) -> tuple[np.ndarray, np.ndarray]:
    return peakfinder8.find_peaks(np.ascontiguousarray(images), tables, search, max_peaks)


def by_twin(images: np.ndarray, tables: PeakTables, search: PeakSearch = SEARCH, max_peaks: int = 100) -> tuple[np.ndarray, np.ndarray]:
    count, peaks = peakfinder8_torch.find_peaks(torch.from_numpy(images.copy()), tables, search, max_peaks)
    return count.numpy(), peaks.numpy()


WAYS = pytest.mark.parametrize("find", [by_kernel, by_twin])


@WAYS
@pytest.mark.parametrize("bounds", [None, [[0, 75, 0, 170], [75, 150, 0, 85], [80, 150, 90, 170]]])
def test_finds_what_a_plain_search_finds(find: Callable[..., Any], bounds: Any) -> None:
    given = pattern(0)
    good = np.random.default_rng(1).random(given.image.shape) > 0.02
    wanted = search_plainly(given.image, given.radius, good, np.array(bounds or [[0, 150, 0, 170]]), SEARCH)
    count, peaks = find(given.image[None], tables_of(given, good, bounds))
    assert count[0] == len(wanted) > 15
    np.testing.assert_allclose(peaks[0, : len(wanted)], wanted, rtol=1e-5)
    assert np.isnan(peaks[0, len(wanted) :]).all()


@WAYS
def test_finds_the_spots_that_are_there(find: Callable[..., Any]) -> None:
    given = pattern(2)
    count, peaks = find(given.image[None], tables_of(given))
    found = peaks[0, : count[0], [1, 0]].T
    assert count[0] == len(given.places)
    assert max(np.hypot(*(found - place).T).min() for place in given.places) < 0.2


OM: Final = np.array([
    (13.3002, 79.0913, 2387.546, 7.1989, 331.6558, 12),
    (66.6104, 72.6848, 2218.480, 6.8893, 322.0183, 13),
    (36.8590, 66.3568, 2028.536, 9.7664, 207.7062, 14),
    (90.1789, 59.9643, 1738.633, 7.3690, 235.9381, 10),
    (60.4846, 53.5718, 1603.667, 6.1027, 262.7777, 12),
    (30.7051, 47.2319, 1472.051, 8.5533, 172.1030, 13),
    (84.0122, 40.8302, 1146.663, 9.3826, 122.2110, 10),
    (24.6637, 28.1077, 753.912, 8.9907, 83.8543, 9),
    (78.0198, 21.7942, 538.019, 8.6751, 62.0191, 8),
    (54.4644, 34.1911, 401.290, 24.6546, 16.2765, 4),
    (48.0939, 15.3443, 399.125, 8.1237, 49.1311, 7),
    (18.4746, 9.0000, 102.587, 5.7888, 17.7217, 2),
])  # fmt: skip
"""fs, ss, intensity, sigma, snr and number of pixels of the peaks that OM 23.8.3 finds in `formula_image`."""


def formula_image() -> Pattern:
    """Noise, ring and spots by a formula, so that it is the same everywhere."""
    y, x = np.indices((90, 100))
    centre = (41.3, 52.6)
    radius = np.hypot(y - centre[0], x - centre[1])
    noise = ((y * 7919 + x * 104729) ^ (y * x * 31)) % 13
    image = (noise + 25 * np.exp(-(((radius - 25) / 6) ** 2))).astype(np.int16)
    places = np.array([(9 + 6.37 * k, (11 + 29.71 * k) % 83 + 7.5) for k in range(12)])
    for k, (row, column) in enumerate(places):
        image += ((60 + 45 * k) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 1.5)).astype(np.int16)
    return Pattern(image, places, centre)


@WAYS
def test_finds_what_om_finds(find: Callable[..., Any]) -> None:
    given = formula_image()
    (count,), (peaks,) = find(given.image[None], tables_of(given), PeakSearch(40.0, 5.0, 2, 40, 6))
    assert count == len(OM)
    np.testing.assert_allclose(peaks[:count, [0, 1, 3, 5, 6, 7]], OM, rtol=2e-4)


NUMBERS = st.sampled_from(["uint16", "int32", "float32"])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    dtype=NUMBERS,
    rate=st.sampled_from([0.05, 1.0, 20.0]),
    bright=st.sampled_from([0.005, 0.06]),
    threshold=st.sampled_from([-5.0, 0.0, 1.0, 25.0, 300.0]),
    per_ring=st.sampled_from([None, 7]),
    n_panels=st.integers(1, 3),
)
def test_kernel_and_twin_agree(
    seed: int, shape: tuple[int, int], dtype: str, rate: float, bright: float, threshold: float, per_ring: int | None, n_panels: int
) -> None:
    rng = np.random.default_rng(seed)
    images = (rng.poisson(rate, (3, *shape)) + 40 * (rng.random((3, *shape)) < bright)).astype(dtype)
    if images.dtype.kind == "f":
        images[rng.random(images.shape) < 0.05] = np.nan
        images[rng.random(images.shape) < 0.02] = np.inf
        images[rng.random(images.shape) < 0.02] = -np.inf
    edges = np.linspace(0, shape[0], n_panels + 1).astype(int)
    bounds = np.array([[a, b, 0, shape[1]] for a, b in pairwise(edges) if b > a], np.int32)
    radius = Geometry((shape[0] / 3, shape[1] / 2.2)).radius(shape)
    good = rng.random(shape) > 0.1
    tables = peak_tables(radius, good, bounds, per_ring)
    search = PeakSearch(threshold, 1.5, 1, 12, 4)
    (count, peaks), (other_count, other_peaks) = by_kernel(images, tables, search), by_twin(images, tables, search)
    np.testing.assert_array_equal(count, other_count)
    for a, b in zip(peaks, other_peaks):
        np.testing.assert_allclose(in_order(a), in_order(b), rtol=1e-5, atol=1e-6)
    if per_ring is None:
        plain = [search_plainly(image, radius, good, bounds, search) for image in images]
        assert count.tolist() == [len(rows) for rows in plain]


def in_order(peaks: np.ndarray) -> np.ndarray:
    """By position: peaks of one strength, to the last bit or so, may change places."""
    return peaks[np.lexsort((peaks[:, 0].round(3), peaks[:, 1].round(3)))]


def test_the_count_tells_of_all_peaks_and_the_table_holds_the_strongest() -> None:
    given = pattern(3)
    tables = tables_of(given)
    (n,), (all_,) = by_kernel(given.image[None], tables)
    (also_n,), (some,) = by_kernel(given.image[None], tables, max_peaks=7)
    assert n == also_n > 7
    np.testing.assert_array_equal(some, all_[:7])
    assert (np.diff(all_[:n, COLUMNS.index("intensity")]) <= 0).all()
    assert np.array_equal(by_twin(given.image[None], tables, max_peaks=7)[1][0, :, 7], some[:, 7])


@pytest.mark.parametrize("threshold", [0.0, 60.0])
def test_fast_form_keeps_the_peaks(threshold: float) -> None:
    """All pixels lie above the first threshold, few above the second."""
    search = SEARCH._replace(threshold=threshold)
    n_full = n_kept = 0
    for seed in range(10):
        given = pattern(seed, (300, 310), n_spots=40, brightness=150)
        full, fast = (by_kernel(given.image[None], tables_of(given, per_ring=n), search) for n in (None, 100))
        places, others = (peaks[0, : count[0], :2] for count, peaks in (full, fast))
        n_full += len(places)
        n_kept += sum(np.hypot(*(others - place).T).min() < 0.2 for place in places)
    assert n_full > 300
    assert n_kept >= 0.998 * n_full


def test_fast_form_is_exact_where_few_pixels_lie_above_the_threshold() -> None:
    for seed in range(3):
        given = pattern(seed, (300, 310), n_spots=20)
        full, fast = (by_kernel(given.image[None], tables_of(given, per_ring=n), SEARCH._replace(threshold=80.0)) for n in (None, 3))
        assert full[0] > 15
        np.testing.assert_array_equal(full[1], fast[1])


def test_fast_form_looks_at_a_hundred_pixels_of_each_ring_and_always_the_same() -> None:
    given = pattern(4)
    fast, full = tables_of(given, per_ring=100), tables_of(given)
    np.testing.assert_array_equal(fast.members, full.members)
    np.testing.assert_array_equal(np.diff(fast.sample_start), np.minimum(np.diff(full.start), 100))
    assert set(fast.sample) < set(full.members)
    np.testing.assert_array_equal(fast.sample, tables_of(given, per_ring=100).sample)
    np.testing.assert_array_equal(full.ring[fast.sample], np.repeat(np.arange(len(full.start) - 1), np.diff(fast.sample_start)))
    np.testing.assert_array_equal(tables_of(given, per_ring=10**6).sample, full.members)
    assert full.sample.size == 0


@WAYS
def test_a_ring_without_noise_does_not_hide_its_peaks(find: Callable[..., Any]) -> None:
    given = pattern(5)
    given.image[:] = 0
    given.image[50, 60:63] = (20, 90, 20)
    (count,), (peaks,) = find(given.image[None], tables_of(given))
    assert count == 1
    assert dict(zip(COLUMNS, peaks[0])) == {
        "fs": 61, "ss": 50, "panel": 0, "intensity": 130, "max": 90, "sigma": 0, "snr": np.inf, "n_pixels": 3
    }  # fmt: skip


@WAYS
def test_peaks_on_the_edge_of_a_panel_need_a_pixel_inside(find: Callable[..., Any]) -> None:
    given = pattern(6)
    given.image[:] = np.arange(170) % 3
    given.image[0, 30:33] = given.image[75, 30:33] = given.image[74:76, 100] = 90
    given.image[1, 60] = given.image[0, 60:62] = 90
    one, two = ([[0, 150, 0, 170]], [[0, 75, 0, 170], [75, 150, 0, 170]])
    assert find(given.image[None], tables_of(given, bounds=one))[0] == 3
    count, peaks = find(given.image[None], tables_of(given, bounds=two))
    assert count == 1
    assert peaks[0, 0, COLUMNS.index("n_pixels")] == 3


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_frames_are_taken_as_they_are(dtype: str) -> None:
    block = torch.from_numpy(pattern(7).image[None, None].clip(0, 200).astype(dtype))
    assert np.shares_memory(_as_compiled_for(block.flatten(0, 1)), block.numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.int8, torch.bool])
def test_rare_number_types_are_taken_too(dtype: torch.dtype) -> None:
    block = torch.zeros(1, 1, 20, 20)
    block[0, 0, 5, 6:9] = 1
    found = PeakFinder8(0.5, min_snr=2, geometry=Geometry((12, 12))).transform(block.to(dtype))
    assert found["n_peaks"].tolist() == [[1]]


def test_tables_are_made_once() -> None:
    shape = (40, 50)
    first, second = (PeakFinder8(5, mask=np.eye(40, 50), geometry=Geometry((3, 4))).tables(shape) for _ in range(2))
    assert first is second
    assert first is not PeakFinder8(5, mask=np.eye(40, 50), geometry=Geometry((3, 4)), fast=True).tables(shape)


def test_radii_and_panels_limit_the_search() -> None:
    given = pattern(8)
    block = torch.from_numpy(given.image[None, None])
    whole = PeakFinder8(15, geometry=Geometry(given.centre), max_peaks=50)
    columns = whole.transform(block)["peaks"][0, 0]
    radius = np.hypot(columns[:, 1] - given.centre[0], columns[:, 0] - given.centre[1])
    ring = PeakFinder8(15, geometry=Geometry(given.centre), min_radius=20, max_radius=60).transform(block)
    assert 0 < ring["n_peaks"].item() == pytest.approx(int(((radius > 21) & (radius < 59)).sum()), abs=1)
    half = PeakFinder8(15, geometry=Geometry(given.centre), panels=[[0, 150, 0, 85]]).transform(block)["peaks"]
    assert np.nanmax(half[..., 0]) < 85


def test_panels_of_the_geometry_are_those_of_the_search(image_spec: MakeSpec) -> None:
    """A spot across the edge between two panels is two peaks."""
    image = np.random.default_rng(0).poisson(4, (80, 120)).astype(np.float32)
    image[5:7, 58:62] = 200
    edges = ((0, 59), (60, 119))
    panels = [Panel(f"p{a}", min_fs=a, max_fs=b, min_ss=0, max_ss=79, corner_x=a - 60, corner_y=-40, res=1e4, clen=0.1) for a, b in edges]
    spec = replace(image_spec(80, 120), geometry=PanelGeometry(panels))
    found = PeakFinder8(50).bind(spec).transform(torch.from_numpy(image[None, None]))
    assert found["n_peaks"].item() == 2
    assert found["peaks"][0, 0, :2, COLUMNS.index("panel")].sort().values.tolist() == [0, 1]
    assert PeakFinder8(50, centre="middle").bind(image_spec(80, 120)).transform(torch.from_numpy(image[None, None]))["n_peaks"].item() == 1
    np.testing.assert_array_equal(CommonMode().bind(spec).panels.values, [[0, 80, 0, 60], [0, 80, 60, 120]])


def test_binding_takes_the_beam_centre(image_spec: MakeSpec) -> None:
    spec = image_spec(9, 12)
    assert PeakFinder8(5).bind(spec).geometry == spec.geometry
    assert PeakFinder8(5, centre=(2, 3)).bind(spec).geometry.beam_centre == (2, 3)
    outputs = PeakFinder8(5, max_peaks=30).output(spec)
    assert [(name, out.shape, out.dtype.name) for name, out in outputs.items()] == [
        ("n_peaks", (1,), "int32"),
        ("peaks", (1, 30, 8), "float32"),
    ]
    assert outputs["peaks"].classes == COLUMNS
    with pytest.raises(AxisError, match="beam centre"):
        PeakFinder8(5).bind(image_spec(9, 12, beam=None))
    with pytest.raises(AxisError, match="not tiled"):
        PeakFinder8(5, panels=(4, 4)).bind(spec)
    with pytest.raises(AxisError, match="reach to"):
        PeakFinder8(5, panels=[[0, 10, 0, 12]]).bind(spec)
    with pytest.raises(AxisError, match="several panels"):
        PeakFinder8(5, panels=[[0, 5, 0, 12], [4, 9, 0, 12]]).bind(spec)
    with pytest.raises(AxisError, match="bound"):
        PeakFinder8(5).transform(torch.zeros(1, 1, 9, 12))
    with pytest.raises(ParameterError, match="no pixel"):
        PeakFinder8(5, min_radius=1000).bind(spec)
    with pytest.raises(AxisError, match="complex"):
        PeakFinder8(5).output(image_spec(9, 12, dtype="complex64"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": np.nan}, "threshold"),
        ({"min_snr": 0}, "min_snr"),
        ({"min_pixels": 0}, "min_pixels"),
        ({"min_pixels": 9, "max_pixels": 8}, "max_pixels"),
        ({"max_pixels": 2.5}, "max_pixels"),
        ({"local_background_radius": 0}, "local_background_radius"),
        ({"max_peaks": 0}, "max_peaks"),
        ({"min_radius": -1}, "min_radius"),
        ({"min_radius": 5, "max_radius": 5}, "max_radius"),
        ({"panels": (0, 4)}, "panels"),
        ({"panels": (2.5, 4)}, "panels"),
        ({"panels": [[4, 4, 0, 9]]}, "panels"),
        ({"panels": 3}, "panels"),
        ({"mask": np.ones((3, 3))}, "mask"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        PeakFinder8(**{"threshold": 5, **changes})


def test_kernels_compile_also_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_folder(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiling.numba, "njit", without_folder)
    assert compiling.compiled(lambda x: x / 0.0)(1.0) == np.inf
