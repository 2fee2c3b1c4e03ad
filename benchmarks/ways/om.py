"""OM's compiled peakfinder8, as its Python class calls it: float32 frames, and radii and pixels of the rings worked out before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_WITHIN = 0.2
_MAX_PEAKS = 2048


def peakfinder8(path: str, search: dict[str, Any], radius: str, rings: str, ours: str, fast: bool) -> Callable[[], list[float]]:
    """The search in all frames; how far its peaks are those in ``ours``."""
    from om.algorithms._crystallography import peakfinder_8

    with np.load(path) as file:
        frames, good = file["frames"].astype(np.float32), (file["mask"] == 0).astype(np.int8)
    radii = np.load(radius)
    pixels, ring = np.load(rings)
    wanted = np.load(ours)
    n_y, n_x = radii.shape
    alike: list[float] = []

    def work() -> list[float]:
        found = []
        for frame in frames:
            found.append(
                peakfinder_8(
                    _MAX_PEAKS,
                    frame,
                    good,
                    radii,
                    len(pixels),
                    pixels,
                    ring,
                    int(fast),
                    n_x,
                    n_y,
                    1,
                    1,
                    search["threshold"],
                    search["min_snr"],
                    search["min_pixels"],
                    search["max_pixels"],
                    search["local_background_radius"],
                )
            )
        alike[:] = alike or _alike(found, wanted)  # in the first turn, which is not timed
        return [*alike, float(sum(len(peaks[0]) for peaks in found))]

    return work


def _alike(found: list[Any], wanted: np.ndarray) -> list[float]:
    """Share of the wanted peaks that are among the found, and share of the found that are wanted."""
    theirs = [np.column_stack([peaks[0], peaks[1]]).reshape(-1, 2) for peaks in found]
    ours = [wanted[wanted[:, 0] == number, 1:] for number in range(len(theirs))]
    both = [_distances(a, b) for a, b in zip(ours, theirs)]
    n_ours, n_theirs = max(1, len(wanted)), max(1, sum(map(len, theirs)))
    among = sum(int((d.min(1, initial=np.inf) < _WITHIN).sum()) for d in both)
    back = sum(int((d.min(0, initial=np.inf) < _WITHIN).sum()) for d in both)
    return [among / n_ours, back / n_theirs]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
