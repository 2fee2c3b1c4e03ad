"""Peak search on a CPU; `peakfinder8_torch` is its twin.

No ring's threshold is below the one that is given, so a pixel below it is in no peak, and a ring without pixels above needs no statistics.
Where few pixels lie above, those that touch others are put together, and only the rings that they lie on are measured, each when it is
first asked for. Where many do, a sample of each ring tells from where on its threshold can lie. Where many lie above that too, or there is
no sample, all rings are measured; values of a ring are then compared with its threshold while they are in the cache.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pycroclass.kernels.compiling import compiled, compiled_sums
from pycroclass.kernels.peak_tables import LARGEST, LEAST_SIGMA, MOST, N_ITERATIONS, SURE_REACH, PeakSearch, PeakTables

NDArray = npt.NDArray[Any]
_STRETCH: Final = 128
"""Values that are compared with a threshold at once before anyone asks which of them lies above."""
_NONE, _ONE = np.float32(0), np.float32(1)


class _Rings(NamedTuple):
    """The rings of one frame, and what is known of them so far; the last stands for pixels that are not used.

    ``floor`` is from where on the threshold ``upper`` of a ring can lie; it and ``mean`` are known where ``is_measured``.
    """

    members: NDArray
    start: NDArray
    threshold: float
    min_snr: float
    values: NDArray
    floor: NDArray
    upper: NDArray
    mean: NDArray
    is_measured: NDArray


class _Layout(NamedTuple):
    """Ring and panel of each pixel, corners of the panels, and pixels in a row."""

    ring: NDArray
    panel: NDArray
    bounds: NDArray
    width: int


def find_peaks(images: NDArray, tables: PeakTables, search: PeakSearch, max_peaks: int) -> tuple[NDArray, NDArray]:
    """The peaks of some frames.

    Parameters
    ----------
    images : array of integers, float32 or float64, shape (n, y, x)
        Contiguous. Values that are not finite do not count.
    tables : PeakTables
    search : PeakSearch
    max_peaks : int

    Returns
    -------
    count : int32 array, shape (n,)
        How many peaks each frame has.
    peaks : float32 array, shape (n, max_peaks, 8)
        The strongest of them, the strongest first, with `COLUMNS`; NaN behind the last.
    """
    count = np.empty(len(images), np.int32)
    peaks = np.full((len(images), max_peaks, 8), np.nan, np.float32)
    range_ = (-np.inf, np.inf) if images.dtype.kind == "f" else (np.iinfo(images.dtype).min, np.iinfo(images.dtype).max)
    least, largest = (float(value) for value in range_)
    _find_in_all(images.reshape(len(images), -1), *tables.fields(), *search, least, largest, count, peaks)
    return count, peaks


@compiled
def _find_in_all(
    images: NDArray,
    members: NDArray,
    start: NDArray,
    sample: NDArray,
    sample_start: NDArray,
    ring: NDArray,
    panel: NDArray,
    bounds: NDArray,
    width: int,
    threshold: float,
    min_snr: float,
    min_pixels: int,
    max_pixels: int,
    background_radius: int,
    least: float,
    largest: float,
    count: NDArray,
    peaks: NDArray,
) -> None:
    n_rings = start.size - 1
    values = np.empty(np.diff(start).max(), np.float64)
    floor, upper, mean = np.empty(n_rings + 1), np.empty(n_rings + 1), np.zeros(n_rings + 1)
    is_measured = np.empty(n_rings + 1, np.bool_)
    rings = _Rings(members, start, threshold, min_snr, values, floor, upper, mean, is_measured)
    layout = _Layout(ring, panel, bounds, width)
    candidates = np.empty(ring.size, np.int32)
    most = ring.size // MOST
    for i in range(images.shape[0]):
        image = images[i]
        floor[:n_rings], is_measured[:n_rings] = threshold, False
        floor[n_rings], upper[n_rings], is_measured[n_rings] = np.inf, np.inf, True
        n = _search_frame(image, ring, floor, least, largest, most, candidates)
        if n > most and sample.size:
            _raise_floors(image, sample, sample_start, rings)
            n = _search_frame(image, ring, floor, least, largest, most, candidates)
        n = _measure_all(image, rings, candidates) if n > most else _keep_above(image, rings, layout, min_pixels, candidates, n)
        found = candidates[:n]
        found.sort()
        first, order = _components(found, panel, width)
        count[i] = _describe(image, found, first, order, rings, layout, min_pixels, max_pixels, background_radius, peaks[i])


@compiled
def _search_frame(image: NDArray, ring: NDArray, floor: NDArray, least: float, largest: float, most: int, candidates: NDArray) -> int:
    """Pixels above the floor of their ring; it ends when there are more than ``most``."""
    lowest = max(np.floor(floor.min()), least)
    if not lowest <= largest or lowest == np.inf:
        return 0
    cut = np.empty(1, image.dtype)  # in the number type of the image, many values are compared at once
    cut[0] = lowest
    n_found = 0
    for a in range(0, image.size, _STRETCH):
        b = min(a + _STRETCH, image.size)
        if _is_any_at_least(image, a, b, cut[0]):
            for pixel in range(a, b):
                value = float(image[pixel])
                if value > floor[ring[pixel]] and value < np.inf:
                    candidates[n_found] = pixel
                    n_found += 1
            if n_found > most:
                break
    return n_found


@compiled_sums
def _is_any_at_least(image: NDArray, a: int, b: int, cut: float) -> bool:
    """Whether one of the values from ``a`` to ``b`` is; counted as floats, for these many are compared and added at once."""
    n = _NONE
    for pixel in range(a, b):
        n += _ONE if image[pixel] >= cut else _NONE
    return bool(n > 0)


@compiled
def _raise_floors(image: NDArray, sample: NDArray, sample_start: NDArray, rings: _Rings) -> None:
    """From where on the threshold of each ring can lie, by a sample of its pixels."""
    for r in range(sample_start.size - 1):
        first, n = sample_start[r], sample_start[r + 1] - sample_start[r]
        for k in range(n):
            rings.values[k] = image[sample[first + k]]
        mean, upper = _threshold(rings.values[:n], rings.threshold, rings.min_snr)
        if upper < np.inf:
            rings.floor[r] = max(rings.threshold, mean + SURE_REACH * (upper - mean))


@compiled
def _upper(image: NDArray, rings: _Rings, r: int) -> float:
    """The threshold of a ring, which is measured when this is first asked for."""
    if not rings.is_measured[r]:
        first, n = rings.start[r], rings.start[r + 1] - rings.start[r]
        for k in range(n):
            rings.values[k] = image[rings.members[first + k]]
        rings.mean[r], upper = _threshold(rings.values[:n], rings.threshold, rings.min_snr)
        rings.upper[r], rings.is_measured[r] = max(upper, rings.floor[r]), True
    return float(rings.upper[r])


@compiled
def _keep_above(image: NDArray, rings: _Rings, layout: _Layout, min_pixels: int, candidates: NDArray, n: int) -> int:
    """Of pixels above their floors those that lie above their thresholds too and can be in a peak."""
    touching = candidates[:n].copy()
    first, order = _components(touching, layout.panel, layout.width)
    n_found = 0
    for c in range(first.size - 1):
        if first[c + 1] - first[c] >= min_pixels:
            for k in range(first[c], first[c + 1]):
                pixel = touching[order[k]]
                if image[pixel] > _upper(image, rings, layout.ring[pixel]):
                    candidates[n_found] = pixel
                    n_found += 1
    return n_found


@compiled
def _measure_all(image: NDArray, rings: _Rings, candidates: NDArray) -> int:
    """Measure all rings; the pixels above their thresholds."""
    n_found = 0
    for r in range(rings.start.size - 1):
        upper = _upper(image, rings, r)
        first, n = rings.start[r], rings.start[r + 1] - rings.start[r]
        if not _is_any_above(rings.values, 0, n, upper):
            continue
        for a in range(0, n, _STRETCH):
            b = min(a + _STRETCH, n)
            if _is_any_above(rings.values, a, b, upper):
                for k in range(a, b):
                    if rings.values[k] > upper and rings.values[k] < np.inf:
                        candidates[n_found] = rings.members[first + k]
                        n_found += 1
    return n_found


@compiled
def _threshold(values: NDArray, threshold: float, min_snr: float) -> tuple[float, float]:
    """Mean of a ring without what sticks out of it, and from where on a value does."""
    lower, upper, mean = -LARGEST, LARGEST, 0.0
    for _ in range(N_ITERATIONS):
        n, total, squares = _sums(values, lower, upper)
        if n == 0:
            return 0.0, np.inf
        mean = total / n
        reach = min_snr * np.sqrt(max(squares / n - mean * mean, 0.0))
        if mean - reach == lower and max(mean + reach, threshold) == upper:
            break  # the same values would be added again
        lower, upper = mean - reach, max(mean + reach, threshold)
    return mean, upper


@compiled_sums
def _sums(values: NDArray, lower: float, upper: float) -> tuple[float, float, float]:
    """Number, sum and sum of squares of the values in ``[lower, upper)``."""
    n, total, squares = 0.0, 0.0, 0.0
    for k in range(values.size):
        value = values[k]
        is_inside = (value >= lower) & (value < upper)
        kept = value if is_inside else 0.0
        n += 1.0 if is_inside else 0.0
        total += kept
        squares += kept * kept
    return n, total, squares


@compiled_sums
def _is_any_above(values: NDArray, a: int, b: int, cut: float) -> bool:
    n = 0.0
    for k in range(a, b):
        n += 1.0 if values[k] > cut else 0.0
    return n > 0


@compiled
def _components(found: NDArray, panel: NDArray, width: int) -> tuple[NDArray, NDArray]:
    """Pixels that touch, side by side or corner to corner, on one panel.

    Of pixels in ascending order: where in ``order`` each component begins, and the places of the pixels, component by component.
    """
    n = found.size
    parent = np.arange(n)
    above = 0
    for i in range(n):
        column = found[i] % width
        if i > 0 and found[i - 1] == found[i] - 1:
            _join(found, panel, parent, i - 1, i, width, column)
        while found[above] < found[i] - width - 1:
            above += 1
        j = above
        while j < i and found[j] <= found[i] - width + 1:
            _join(found, panel, parent, j, i, width, column)
            j += 1
    first = np.zeros(n + 1, np.int64)
    number = np.empty(n, np.int64)
    n_components = 0
    for i in range(n):
        root = _root(parent, i)
        if root == i:
            number[i] = n_components
            n_components += 1
        number[i] = number[root]
        first[number[i] + 1] += 1
    first = np.cumsum(first[: n_components + 1])
    order = np.empty(n, np.int64)
    filled = first.copy()
    for i in range(n):
        order[filled[number[i]]] = i
        filled[number[i]] += 1
    return first, order


@compiled
def _join(found: NDArray, panel: NDArray, parent: NDArray, a: int, b: int, width: int, column: int) -> None:
    """Two neighbours become one component, unless they meet around the edge of the frame or lie on two panels."""
    if abs(found[a] % width - column) <= 1 and panel[found[a]] == panel[found[b]]:
        a, b = _root(parent, a), _root(parent, b)
        parent[max(a, b)] = min(a, b)


@compiled
def _root(parent: NDArray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _describe(
    image: NDArray,
    found: NDArray,
    first: NDArray,
    order: NDArray,
    rings: _Rings,
    layout: _Layout,
    min_pixels: int,
    max_pixels: int,
    background_radius: int,
    peaks: NDArray,
) -> int:
    """Write the strongest components that are peaks into ``peaks``; how many there are."""
    rows = np.empty((first.size - 1, 8), np.float64)
    n = 0
    for c in range(first.size - 1):
        size = first[c + 1] - first[c]
        if size < min_pixels or size > max_pixels:
            continue
        pixels = found[order[first[c] : first[c + 1]]]
        number = layout.panel[pixels[0]]
        if _is_inside(pixels, layout.bounds[number], layout.width) and _measure_peak(
            image, pixels, rings, layout, layout.bounds[number], background_radius, rows[n]
        ):
            rows[n, 2], rows[n, 7] = number, size
            n += rows[n, 6] >= rings.min_snr
    by_strength = np.argsort(-rows[:n, 3], kind="mergesort")
    for place in range(min(n, peaks.shape[0])):
        for column in range(8):
            peaks[place, column] = rows[by_strength[place], column]
    return n


@compiled
def _is_inside(pixels: NDArray, panel: NDArray, width: int) -> bool:
    """Whether one of the pixels does not lie on the edge of the panel."""
    for pixel in pixels:
        y, x = pixel // width, pixel % width
        if panel[0] < y < panel[1] - 1 and panel[2] < x < panel[3] - 1:
            return True
    return False


@compiled
def _measure_peak(
    image: NDArray, pixels: NDArray, rings: _Rings, layout: _Layout, panel: NDArray, background_radius: int, row: NDArray
) -> bool:
    """Position, intensity, maximum, sigma and signal to noise of a peak; whether it may be one."""
    weights, ys, xs = 0.0, 0.0, 0.0
    for pixel in pixels:
        weight = abs(float(image[pixel]) - rings.mean[layout.ring[pixel]])
        weights += weight
        ys += weight * (pixel // layout.width)
        xs += weight * (pixel % layout.width)
    y, x = int(np.rint(ys / weights)), int(np.rint(xs / weights))
    offset, sigma, brightest = _background(image, rings, layout, panel, background_radius, y, x)

    intensity, highest, weights, ys, xs = 0.0, -np.inf, 0.0, 0.0, 0.0
    for pixel in pixels:
        value = float(image[pixel])
        intensity += value - offset
        highest = max(highest, value)
        weights += value
        ys += value * (pixel // layout.width)
        xs += value * (pixel % layout.width)
    row[0], row[1], row[3], row[4], row[5], row[6] = xs / weights, ys / weights, intensity, highest, sigma, intensity / sigma
    is_on_panel = panel[0] <= row[1] <= panel[1] - 1 and panel[2] <= row[0] <= panel[3] - 1
    return is_on_panel and highest >= brightest


@compiled
def _background(image: NDArray, rings: _Rings, layout: _Layout, panel: NDArray, radius: int, y: int, x: int) -> tuple[float, float, float]:
    """Mean, standard deviation and maximum of the pixels around a peak that do not stick out of their rings."""
    n, total, squares, brightest = 0, 0.0, 0.0, -np.inf
    for yy in range(max(y - radius, panel[0]), min(y + radius, panel[1])):
        for xx in range(max(x - radius, panel[2]), min(x + radius, panel[3])):
            pixel = yy * layout.width + xx
            value, ring = float(image[pixel]), layout.ring[pixel]
            is_near = (yy - y) ** 2 + (xx - x) ** 2 <= radius * radius
            if not is_near or ring == rings.mean.size - 1 or not -np.inf < value:
                continue
            if value < rings.floor[ring] or value < _upper(image, rings, ring):
                n += 1
                total += value
                squares += value * value
                brightest = max(brightest, value)
    if n == 0:
        ring = layout.ring[y * layout.width + x]
        _upper(image, rings, ring)
        return rings.mean[ring], LEAST_SIGMA, brightest
    offset = total / n
    variance = squares / n - offset * offset
    return offset, np.sqrt(variance) if variance >= 0 else LEAST_SIGMA, brightest
