"""What the search for peaks asks of a detector, worked out once: which pixels lie on which ring, and on which panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pycroclass.reduction import hash_uniform

COLUMNS: Final = ("fs", "ss", "panel", "intensity", "max", "sigma", "snr", "n_pixels")
"""What is known of each peak."""
N_ITERATIONS: Final = 5
LARGEST: Final = 1e9
"""Values beyond do not count in the statistics of a ring."""
LEAST_SIGMA: Final = 0.01
"""Standard deviation of a background that has none."""
MOST: Final = 64
"""Where more than one in so many pixels may belong to a peak, rings are not looked at one by one."""
SURE_REACH: Final = 0.7
"""Of the distance from mean to threshold that a sample tells: no ring has less."""
_SEED: Final = 0

Fields = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    int,
]
"""Those of `PeakTables`."""


class PeakSearch(NamedTuple):
    """Which pixels make a peak.

    Parameters
    ----------
    threshold, min_snr : float
    min_pixels, max_pixels, background_radius : int
        The last is the radius of the disc in which the local background is measured.
    """

    threshold: float
    min_snr: float
    min_pixels: int
    max_pixels: int
    background_radius: int


@dataclass(frozen=True, eq=False)
class PeakTables:
    """The pixels of a frame, ring by ring.

    Parameters
    ----------
    members : int32 array, shape (n_members,)
        Numbers in the flattened frame of the pixels that are used: those of ring 0, then of ring 1, and so on.
    start : int64 array, shape (n_rings + 1,)
        Where in ``members`` each ring begins.
    sample, sample_start : arrays
        The same for some pixels of each ring; empty where none were asked for.
    ring : int32 array, shape (y * x,)
        Of each pixel; ``n_rings`` for a pixel that is not to be used.
    panel : int32 array, shape (y * x,)
        Of each pixel; -1 between panels.
    bounds : int32 array, shape (n_panels, 4)
        Rows ``(ss_start, ss_stop, fs_start, fs_stop)``.
    width : int
        Pixels along x.
    """

    members: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    sample: npt.NDArray[np.int32]
    sample_start: npt.NDArray[np.int64]
    ring: npt.NDArray[np.int32]
    panel: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int32]
    width: int

    def fields(self) -> Fields:
        """All of it, in order: what a compiled function takes."""
        return self.members, self.start, self.sample, self.sample_start, self.ring, self.panel, self.bounds, self.width


def peak_tables(
    radius: npt.NDArray[np.float64], good: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int32], per_ring: int | None
) -> PeakTables:
    """The tables of a frame.

    Parameters
    ----------
    radius : float64 array, shape (y, x)
        Of each pixel, in pixels; its ring is this, rounded.
    good : bool array, shape (y, x)
    bounds : int32 array, shape (n_panels, 4)
        Pixels outside all panels are not used.
    per_ring : int, optional
        Of each ring so many pixels, those with the smallest hash of their number, make a sample.
    """
    panel = np.full(radius.shape, -1, np.int32)
    for number, (top, bottom, left, right) in enumerate(bounds.tolist()):
        panel[top:bottom, left:right] = number
    pixels = np.flatnonzero(good & (panel >= 0)).astype(np.int32)
    ring_of_pixel = np.rint(radius.ravel()[pixels]).astype(np.int32)
    n_rings = int(ring_of_pixel.max(initial=-1)) + 1
    ring = np.full(radius.size, n_rings, np.int32)
    ring[pixels] = ring_of_pixel
    members, start = _by_ring(pixels, ring_of_pixel, n_rings)
    sample, sample_start = members[:0], np.zeros(1, np.int64)
    if per_ring is not None:
        by_chance = members[np.argsort(hash_uniform(members.astype(np.int64), _SEED), kind="stable")]
        by_chance, first = _by_ring(by_chance, ring[by_chance], n_rings)
        place = np.arange(by_chance.size) - np.repeat(first[:-1], np.diff(first))
        chosen = np.sort(by_chance[place < per_ring])
        sample, sample_start = _by_ring(chosen, ring[chosen], n_rings)
    return PeakTables(members, start, sample, sample_start, ring, panel.ravel(), np.ascontiguousarray(bounds, np.int32), radius.shape[1])


def _by_ring(
    pixels: npt.NDArray[np.int32], ring_of_pixel: npt.NDArray[np.int32], n_rings: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Pixels ring by ring, in each as they come, and where each ring begins."""
    ends = np.cumsum(np.bincount(ring_of_pixel, minlength=n_rings))
    return pixels[np.argsort(ring_of_pixel, kind="stable")], np.concatenate([[0], ends]).astype(np.int64)
