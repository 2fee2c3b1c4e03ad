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
_SEED: Final = 0

Fields = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], int, bool]
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
        Numbers in the flattened frame of the pixels whose values make the statistics: those of ring 0, then of ring 1, and so on.
    start : int64 array, shape (n_rings + 1,)
        Where in ``members`` each ring begins.
    ring : int32 array, shape (y * x,)
        Of each pixel; ``n_rings`` for a pixel that is not to be used.
    panel : int32 array, shape (y * x,)
        Of each pixel; -1 between panels.
    bounds : int32 array, shape (n_panels, 4)
        Rows ``(ss_start, ss_stop, fs_start, fs_stop)``.
    width : int
        Pixels along x.
    holds_all : bool
        Whether ``members`` are all pixels that are to be used.
    """

    members: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    ring: npt.NDArray[np.int32]
    panel: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int32]
    width: int
    holds_all: bool

    def fields(self) -> Fields:
        """All of it, in order: what a compiled function takes."""
        return self.members, self.start, self.ring, self.panel, self.bounds, self.width, self.holds_all


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
        Of a ring that has more pixels so many make the statistics: those with the smallest hash of their number.
    """
    panel = np.full(radius.shape, -1, np.int32)
    for number, (top, bottom, left, right) in enumerate(bounds.tolist()):
        panel[top:bottom, left:right] = number
    pixels = np.flatnonzero(good & (panel >= 0)).astype(np.int32)
    ring_of_pixel = np.rint(radius.ravel()[pixels]).astype(np.int32)
    counts = np.bincount(ring_of_pixel)
    ring = np.full(radius.size, counts.size, np.int32)
    ring[pixels] = ring_of_pixel
    if per_ring is not None and counts.max(initial=0) > per_ring:
        by_chance = np.argsort(hash_uniform(pixels.astype(np.int64), _SEED), kind="stable")
        order = by_chance[np.argsort(ring_of_pixel[by_chance], kind="stable")]
        place = np.arange(pixels.size) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = np.sort(order[place < per_ring])
        pixels, ring_of_pixel = pixels[kept], ring_of_pixel[kept]
    members = pixels[np.argsort(ring_of_pixel, kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(ring_of_pixel, minlength=counts.size))]).astype(np.int64)
    holds_all = members.size == np.count_nonzero(ring < counts.size)
    return PeakTables(members, start, ring, panel.ravel(), np.ascontiguousarray(bounds, np.int32), radius.shape[1], holds_all)
