"""The twin of `peakfinder8` in PyTorch, for any device: all frames at once, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.kernels.peak_tables import COLUMNS, LARGEST, LEAST_SIGMA, MOST, N_ITERATIONS, SURE_REACH, PeakSearch, PeakTables

_BEFORE = ((0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Steps ``(y, x)`` to the neighbours with a lower number."""


def find_peaks(images: torch.Tensor, tables: PeakTables, search: PeakSearch, max_peaks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The peaks of some frames ``(n, y, x)`` of any number type; see `pycroclass.kernels.peakfinder8.find_peaks`."""
    there = _on_device(tables, images.device)
    frames = images.flatten(1).double()
    upper, mean = _measure_rings(frames, there, search)
    found = _Found(frames, *torch.nonzero(_is_above(frames, upper, there), as_tuple=True))
    components = _components(found, there, tables.width, search)
    rows, is_peak = _describe(frames, components, there, tables.width, upper, mean, search)
    return _strongest(components.image[is_peak], rows[is_peak], len(frames), max_peaks)


@dataclass(frozen=True, eq=False)
class _Tables:
    """`PeakTables` on a device; ``rows`` are the members of each ring, filled up with the number of pixels, which stands for none."""

    rows: torch.Tensor
    sample_rows: torch.Tensor
    ring: torch.Tensor
    panel: torch.Tensor
    bounds: torch.Tensor


@lru_cache(maxsize=8)
def _on_device(tables: PeakTables, device: torch.device) -> _Tables:
    n_pixels = tables.ring.size
    rows, sample_rows = _rows(tables.members, tables.start, n_pixels), _rows(tables.sample, tables.sample_start, n_pixels)
    arrays = (rows, sample_rows, tables.ring.astype(np.int64), tables.panel.astype(np.int64), tables.bounds.astype(np.int64))
    return _Tables(*(torch.from_numpy(array).to(device) for array in arrays))


def _rows(members: npt.NDArray[np.int32], start: npt.NDArray[np.int64], n_pixels: int) -> npt.NDArray[np.int64]:
    counts = np.diff(start)
    rows = np.full((counts.size, int(counts.max(initial=0))), n_pixels, np.int64)
    of_ring = np.repeat(np.arange(counts.size), counts)
    rows[of_ring, np.arange(members.size) - start[of_ring]] = members
    return rows


def _measure_rings(frames: torch.Tensor, there: _Tables, search: PeakSearch) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold and mean of each ring, ``(n, n_rings + 1)``; that of pixels not to be used is inf and 0."""
    parts = [_thresholds(frame, there, search) for frame in frames]  # one by one: rings filled up to the longest are large
    upper, mean = (torch.stack(values) for values in zip(*parts, strict=True))
    pad = torch.nn.functional.pad
    return pad(upper, (0, 1), value=torch.inf), pad(mean, (0, 1))


def _thresholds(frame: torch.Tensor, there: _Tables, search: PeakSearch) -> tuple[torch.Tensor, torch.Tensor]:
    upper, mean = _statistics(frame, there.rows, search)
    if there.sample_rows.numel():
        is_used = there.ring < len(mean)
        are_many = ((frame > search.threshold) & (frame < torch.inf) & is_used).sum() > frame.numel() // MOST
        sampled_upper, sampled_mean = _statistics(frame, there.sample_rows, search)
        floor = sampled_mean + SURE_REACH * (sampled_upper - sampled_mean)
        upper = torch.where(are_many & (sampled_upper < torch.inf), torch.maximum(upper, floor), upper)
    return upper, mean


def _statistics(frame: torch.Tensor, rows: torch.Tensor, search: PeakSearch) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold and mean of some pixels of each ring."""
    values = torch.nn.functional.pad(frame, (0, 1), value=torch.nan)[rows]
    upper = torch.full_like(values[:, 0], LARGEST)
    lower, mean, is_empty = -upper, torch.zeros_like(upper), torch.zeros_like(upper, dtype=torch.bool)
    for _ in range(N_ITERATIONS):
        is_inside = (values >= lower[:, None]) & (values < upper[:, None])
        kept = values.where(is_inside, 0)
        n = is_inside.sum(1)
        is_empty |= n == 0
        mean = (kept.sum(1) / n).where(~is_empty, 0)
        reach = search.min_snr * (kept.square().sum(1) / n - mean.square()).clamp_min(0).sqrt()
        upper = (mean + reach).clamp_min(search.threshold).where(~is_empty, torch.inf)
        lower = (mean - reach).where(~is_empty, torch.inf)
    return upper, mean


def _is_above(frames: torch.Tensor, upper: torch.Tensor, there: _Tables) -> torch.Tensor:
    return (frames > upper[:, there.ring]) & (frames < torch.inf)


@dataclass(frozen=True, eq=False)
class _Found:
    """Pixels above their thresholds, in the order of frames and pixels."""

    frames: torch.Tensor
    image: torch.Tensor
    pixel: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Components:
    """Pixels that touch, a row for each component: image and panel ``(m,)``, pixels and whether there are so many ``(m, most)``."""

    image: torch.Tensor
    panel: torch.Tensor
    pixel: torch.Tensor
    is_used: torch.Tensor


def _components(found: _Found, there: _Tables, width: int, search: PeakSearch) -> _Components:
    """Components of a size that is asked for, which do not lie on the edge of their panel alone."""
    label, number, size = torch.unique(_labels(found, there, width), return_inverse=True, return_counts=True)
    panel = there.panel[found.pixel]
    top, bottom, left, right = there.bounds[panel].unbind(1)
    y, x = found.pixel // width, found.pixel % width
    is_inside = (top < y) & (y < bottom - 1) & (left < x) & (x < right - 1)
    has_inside = torch.zeros_like(label).index_add_(0, number, is_inside.long()) > 0
    kept = torch.nonzero((size >= search.min_pixels) & (size <= search.max_pixels) & has_inside)[:, 0]
    order = torch.argsort(number, stable=True)
    start = torch.cumsum(size, 0) - size
    place = torch.arange(int(size[kept].max()) if len(kept) else 1, device=size.device)
    is_used = place < size[kept, None]
    which = order[(start[kept, None] + place).where(is_used, start[kept, None])]
    return _Components(found.image[which[:, 0]], panel[which[:, 0]], found.pixel[which], is_used)


def _labels(found: _Found, there: _Tables, width: int) -> torch.Tensor:
    """For each pixel the number of the first one in its component."""
    n_pixels = found.frames.shape[1]
    key = found.image * n_pixels + found.pixel
    pairs = [_neighbours(found, key, there, width, *step) for step in _BEFORE]
    a, b = (torch.cat(ends) for ends in zip(*pairs, strict=True))
    label = torch.arange(len(key), device=key.device)
    while True:
        least = torch.minimum(label[a], label[b])
        lower = label.clone()
        for place in (a, b, label[a], label[b]):
            lower.scatter_reduce_(0, place, least, "amin")
        lower = lower[lower]
        if torch.equal(lower, label):
            return label
        label = lower


def _neighbours(found: _Found, key: torch.Tensor, there: _Tables, width: int, down: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of found pixels of one panel that lie one step apart."""
    column = found.pixel % width + right
    target = found.pixel + down * width + right
    place = torch.searchsorted(key, key + down * width + right).clamp_max(max(len(key) - 1, 0))
    is_pair = (target >= 0) & (column >= 0) & (column < width) & (key[place] == key + down * width + right)
    is_pair &= there.panel[found.pixel[place]] == there.panel[found.pixel]
    return place[is_pair], torch.nonzero(is_pair)[:, 0]


def _describe(
    frames: torch.Tensor, given: _Components, there: _Tables, width: int, upper: torch.Tensor, mean: torch.Tensor, search: PeakSearch
) -> tuple[torch.Tensor, torch.Tensor]:
    """`COLUMNS` of each component, ``(m, 8)``, and which of them are peaks."""
    image, panel, pixel, is_used = given.image[:, None], there.bounds[given.panel], given.pixel, given.is_used
    top, bottom, left, right = panel.unbind(1)
    value = frames[image, pixel]
    y, x = _centroid((value - mean[image, there.ring[pixel]]).abs().where(is_used, 0), pixel, width)
    offset, sigma, brightest = _background(frames, given, there, width, upper, mean, search.background_radius, y.round(), x.round())

    highest = value.where(is_used, -torch.inf).amax(1)
    intensity = (value - offset[:, None]).where(is_used, 0).sum(1)
    y, x = _centroid(value.where(is_used, 0), pixel, width)
    snr = intensity / sigma
    rows = torch.stack([x, y, given.panel.double(), intensity, highest, sigma, snr, is_used.sum(1).double()], 1)
    is_on_panel = (top <= y) & (y <= bottom - 1) & (left <= x) & (x <= right - 1)
    return rows, is_on_panel & (highest >= brightest) & (snr >= search.min_snr)


def _centroid(weight: torch.Tensor, pixel: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = ((weight * place).sum(1) / weight.sum(1) for place in (pixel // width, pixel % width))
    return y, x


def _background(
    frames: torch.Tensor,
    given: _Components,
    there: _Tables,
    width: int,
    upper: torch.Tensor,
    mean: torch.Tensor,
    radius: int,
    y: torch.Tensor,
    x: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, standard deviation and maximum of the pixels around each component that do not stick out of their rings."""
    steps = torch.arange(-radius, radius, device=frames.device)
    down, along = (step.flatten() for step in torch.meshgrid(steps, steps, indexing="ij"))
    is_near = down.square() + along.square() <= radius * radius
    row, column = y.long()[:, None] + down[is_near], x.long()[:, None] + along[is_near]
    top, bottom, left, right = there.bounds[given.panel].T[..., None]
    is_on_panel = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    image = given.image[:, None]
    pixel = (row * width + column).where(is_on_panel, 0)
    ring, value = there.ring[pixel], frames[image, pixel]
    is_used = is_on_panel & (ring < upper.shape[1] - 1) & (value < upper[image, ring]) & (value > -torch.inf)

    n, kept = is_used.sum(1), value.where(is_used, 0)
    offset = kept.sum(1) / n
    variance = kept.square().sum(1) / n - offset.square()
    ring_there = there.ring[(y * width + x).long()]
    offset = offset.where(n > 0, mean[given.image, ring_there])
    sigma = variance.sqrt().where((n > 0) & (variance >= 0), LEAST_SIGMA)
    brightest = value.where(is_used, -torch.inf).amax(1) if is_used.shape[1] else torch.full_like(offset, -torch.inf)
    return offset, sigma, brightest


def _strongest(image: torch.Tensor, rows: torch.Tensor, n_images: int, max_peaks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How many peaks each image has, and the strongest of them, the strongest first."""
    count = torch.bincount(image, minlength=n_images)
    order = torch.argsort(rows[:, COLUMNS.index("intensity")], descending=True, stable=True)
    order = order[torch.argsort(image[order], stable=True)]
    image, rows = image[order], rows[order]
    place = torch.arange(len(image), device=image.device) - (torch.cumsum(count, 0) - count)[image]
    fits = place < max_peaks
    peaks = torch.full((n_images, max_peaks, len(COLUMNS)), torch.nan, dtype=torch.float32, device=rows.device)
    peaks[image[fits], place[fits]] = rows[fits].float()
    return count.int(), peaks
