"""Peaks of real frames: how many another peakfinder8 found in tiles of a PILATUS, and what stays the same however they are searched."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sidpy
import torch

import pycroclass as pc
from pycroclass.kernels import peakfinder8_torch
from pycroclass.kernels.peak_tables import PeakSearch

pytestmark = pytest.mark.shared
N_CSPAD = 1780


def cspad(shared: Path, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame and bad pixels."""
    file = np.load(sorted((shared / "diffraction" / "cspad").glob("*.npz"))[which])
    return file["image"], file["mask"] == 0


def finder(bad: np.ndarray, **changes: object) -> pc.PeakFinder8:
    centre = ((N_CSPAD - 1) / 2,) * 2
    return pc.PeakFinder8(150, min_snr=5, max_pixels=20, geometry=pc.Geometry(centre), mask=bad, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [0, 1])
def test_cspad_hits_have_peaks_in_every_form(shared: Path, which: int) -> None:
    frame, bad = cspad(shared, which)
    block = torch.from_numpy(frame)[None, None]
    full, fast = (finder(bad, fast=fast) for fast in (False, True))
    found = full.transform(block)
    n = int(found["n_peaks"])
    assert 50 < n < 250
    search = PeakSearch(150.0, 5.0, 2, 20, 6)
    count, peaks = peakfinder8_torch.find_peaks(block[0], full.tables(frame.shape), search, 500)
    assert count.tolist() == [n]
    np.testing.assert_allclose(found["peaks"][0, 0, :n], peaks[0, :n], rtol=1e-5)
    places, others = (f["peaks"][0, 0, : int(f["n_peaks"]), :2].numpy() for f in (found, fast.transform(block)))
    assert np.mean([np.hypot(*(others - place).T).min() < 0.2 for place in places]) >= 0.98


def test_fast_form_keeps_the_peaks_of_a_pilatus(shared: Path) -> None:
    n_full = n_kept = 0
    for number in (5, 13, 17):
        frame = pc.read(shared / "diffraction" / "thaumatin_grid" / f"thau_3_2_{number:04}.cbf.bz2")
        search = pc.PeakFinder8(10, min_snr=6, max_pixels=50, local_background_radius=4, mask=frame["mask"], max_peaks=2000)
        full, fast = peaks_of(frame, search), peaks_of(frame, replace(search, fast=True))
        n_full += len(full)
        n_kept += sum(np.hypot(*(fast - place).T).min() < 0.2 for place in full)
    assert n_full > 1000
    assert n_kept >= 0.99 * n_full


def peaks_of(frame: dict[str, sidpy.Dataset], search: pc.PeakFinder8) -> np.ndarray:
    """Positions ``(fs, ss)`` of the peaks of a frame."""
    peaks = np.asarray(search(frame["image"])["peaks"]).reshape(-1, 8)
    return peaks[~np.isnan(peaks[:, 0]), :2]


@pytest.mark.parametrize("number", [5, 13, 17])
def test_tiles_of_a_pilatus_have_the_peaks_that_others_found(shared: Path, number: int) -> None:
    folder = shared / "diffraction" / "thaumatin_grid"
    with (folder / "tiles_350.csv").open() as file:
        tiles = [row for row in csv.DictReader(file) if int(row["frame"]) == number]
    frame = pc.read(folder / f"thau_3_2_{number:04}.cbf.bz2")
    search = pc.PeakFinder8(10, min_snr=6, max_pixels=50, local_background_radius=4, mask=frame["mask"], max_peaks=2000)
    x, y = np.rint(peaks_of(frame, search)).T
    top, left, theirs = (np.array([int(row[name]) for row in tiles]) for name in ("y0", "x0", "n_peaks_pf8"))
    ours = [int(((y >= a) & (y < a + 350) & (x >= b) & (x < b + 350)).sum()) for a, b in zip(top, left)]
    assert np.abs(np.subtract(ours, theirs)).max() <= 2
    assert sum(ours) == pytest.approx(theirs.sum(), abs=3)
