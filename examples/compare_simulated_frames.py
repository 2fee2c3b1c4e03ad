"""Are simulated frames of serial crystallography like real ones? Background, noise, spots and their number, side by side.

The real frames are those of a CSPAD detector, assembled, in files ``cspad_assembled_*.npz`` that hold ``image`` and ``mask`` (False: not
to be used), the beam in the middle. Everything is measured by the plain functions of this file, the same for both.

Run it with ``python compare_simulated_frames.py path/to/cspad [folder for the pictures]``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pycroclass.simulate import CSPAD, Run, simulate_frame
from pycroclass.simulate.detection import run_maps

Array = npt.NDArray[np.float64]
WHOLE = replace(CSPAD, detector=replace(CSPAD.detector, shape=(1750, 1750)))
ADC, SNR, PIXELS = 150.0, 8.0, (2, 20)
"""What is a peak: brighter than so many ADU, so many standard deviations, of so many pixels."""


@dataclass(frozen=True, eq=False)
class View:
    """One frame with dark level taken off, which pixels are good, and the beam ``(y, x)`` in it."""

    name: str
    image: Array
    good: npt.NDArray[np.bool_]
    centre: tuple[float, float]

    @property
    def radius(self) -> Array:
        y, x = np.indices(self.image.shape)
        return np.hypot(y - self.centre[0], x - self.centre[1])

    def cropped(self, size: int) -> View:
        y, x = (round(c) - size // 2 for c in self.centre)
        window = (slice(y, y + size), slice(x, x + size))
        return View(self.name, self.image[window], self.good[window], (self.centre[0] - y, self.centre[1] - x))


@dataclass(frozen=True, eq=False)
class Peaks:
    """Columns y, x, sum, number of pixels."""

    table: Array

    def __len__(self) -> int:
        return len(self.table)


def real(path: Path) -> View:
    with np.load(path) as file:
        image, good = file["image"].astype(float), file["mask"].astype(bool)
    return View(path.stem[-17:], image, good, ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)).cropped(1750)


def simulated(run: Run, index: int) -> View:
    frame, maps = simulate_frame(run, index), run_maps(run)
    pedestal = run.experiment.detector.pedestal
    return View(f"simulated {run.seed}.{index}", frame.image - pedestal, maps.mask == 0, run.geometry.beam_centre)


def rings(view: View, width: int = 1) -> tuple[Array, Array, Array]:
    """Median and robust standard deviation (1.4826 MAD) of rings around the beam, and how many good pixels each has."""
    ring = (view.radius / width).astype(int)[view.good]
    order = np.argsort(ring, kind="stable")
    values, counts = view.image[view.good][order], np.bincount(ring)
    parts = np.split(values, np.cumsum(counts)[:-1])
    median = np.array([np.median(part) if part.size else np.nan for part in parts])
    spread = np.array([1.4826 * np.median(np.abs(part - m)) if part.size else np.nan for part, m in zip(parts, median, strict=True)])
    return median, spread, counts.astype(float)


def noise(view: View) -> tuple[Array, Array]:
    """Standard deviation of single pixels at each level of brightness, from differences of neighbours; what varies slowly drops out."""
    smooth = ndimage.median_filter(np.where(view.good, view.image, 0), 7)
    both = view.good[:, 1:] & view.good[:, :-1] & (ndimage.minimum_filter(view.good, 9)[:, 1:])
    difference, level = (view.image[:, 1:] - view.image[:, :-1])[both], smooth[:, 1:][both]
    edges = np.unique(np.quantile(level, np.linspace(0, 1, 25)))
    place = np.digitize(level, edges[1:-1])
    n = len(edges) - 1
    parts = [difference[place == i] for i in range(n)]
    kept = [part[np.abs(part) < 6 * 1.4826 * max(np.median(np.abs(part)), 0.5)] for part in parts]
    return np.array([level[place == i].mean() for i in range(n)]), np.array([part.std() / np.sqrt(2) for part in kept])


def peaks(view: View) -> Peaks:
    """Groups of neighbours that stand out of their ring by `SNR` and above `ADC`, whose sum does so over the noise beside them.

    The statistics of the rings leave out in five turns what stands out, as A. Barty et al., J. Appl. Cryst. 47, 1118 (2014) do.
    """
    ring = np.rint(view.radius).astype(int)
    used, n = view.good.copy(), ring.max() + 1
    mean = spread = np.zeros(n)
    for _ in range(5):
        count = np.maximum(np.bincount(ring[used], minlength=n), 1)
        mean = np.bincount(ring[used], view.image[used], n) / count
        spread = np.sqrt(np.maximum(np.bincount(ring[used], view.image[used] ** 2, n) / count - mean**2, 0))
        limit = np.maximum(mean + SNR * spread, ADC)
        used = view.good & (view.image < limit[ring]) & (view.image > (mean - SNR * spread)[ring])
    above = view.good & (view.image > limit[ring])
    labels, _ = ndimage.label(above, np.ones((3, 3)))
    found = []
    for label, window in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[window] == label
        if not PIXELS[0] <= inside.sum() <= PIXELS[1]:
            continue
        y, x = (w.start + (w.stop - w.start) // 2 for w in window)
        if not (6 <= y < view.image.shape[0] - 6 and 6 <= x < view.image.shape[1] - 6):
            continue
        around = (slice(y - 6, y + 7), slice(x - 6, x + 7))
        beside = view.image[around][view.good[around] & ~above[around]]
        if beside.size < 10:
            continue
        total = float((view.image[window] - beside.mean())[inside].sum())
        if total > SNR * beside.std():
            weight = np.where(inside, view.image[window], 0)
            cy, cx = (float((weight * g).sum() / weight.sum()) for g in np.indices(weight.shape))
            found.append((window[0].start + cy, window[1].start + cx, total, float(inside.sum())))
    return Peaks(np.array(found).reshape(-1, 4))


def in_centre(found: Peaks, view: View, size: int = 350) -> int:
    y, x = (found.table[:, i] - view.centre[i] for i in (0, 1))
    return int(((np.abs(y) < size / 2) & (np.abs(x) < size / 2)).sum())


def shape_of_peaks(view: View, found: Peaks, reach: int = 7) -> Array:
    """Mean part of a peak's light in each of its pixels at 0 to 1, 1 to 2, … pixels from its centre, of peaks that stand alone."""
    profiles = []
    for y, x, total, _ in found.table:
        near = np.hypot(found.table[:, 0] - y, found.table[:, 1] - x)
        window = tuple(slice(round(c) - reach, round(c) + reach + 1) for c in (y, x))
        good = view.good[window]
        if total < 800 or (near < 2 * reach).sum() > 1 or good.shape != (2 * reach + 1,) * 2 or not good.all():
            continue
        distance = np.hypot(*(g + w.start - c for g, w, c in zip(np.indices(good.shape), window, (y, x), strict=True)))
        signal = view.image[window] - np.median(view.image[window][distance > 5])
        place = distance.astype(int)
        profile = np.bincount(place.ravel(), signal.ravel())[:reach] / np.bincount(place.ravel())[:reach]
        profiles.append(profile / signal[distance < 5].sum())
    return np.mean(profiles, axis=0) if profiles else np.full(reach, np.nan)


def main(source: Path, folder: Path) -> None:
    matplotlib.use("Agg")
    frames = [real(path) for path in sorted(source.glob("cspad_assembled_*.npz"))]
    if not frames:
        raise SystemExit(f"no cspad_assembled_*.npz in {source}")
    typical = Run(seed=3, hit_rate=1.0, pulse_shape=40.0, jet_spread=0.1, experiment=WHOLE)
    mine = [simulated(typical, i) for i in range(8)]
    describe(frames, mine)
    draw(frames, mine, folder)


def describe(frames: list[View], mine: list[View]) -> None:
    print(f"{'frame':>20} {'ring px':>8} {'min ADU':>8} {'max ADU':>8} {'sd dim':>7} {'var/mean':>9} {'peaks':>6} {'centre':>7}")
    for view in (*frames, *mine):
        median, _, _ = rings(view)
        smooth = ndimage.uniform_filter1d(np.nan_to_num(median[100:860]), 15)
        level, spread = noise(view)
        slope, _ = np.polyfit(level[1:-1], spread[1:-1] ** 2, 1)
        found = peaks(view)
        at_two = np.interp(2.0, level, spread)
        print(
            f"{view.name:>20} {100 + smooth.argmax():8d} {smooth.min():8.1f} {smooth.max():8.1f} {at_two:7.2f} {slope:9.2f} "
            f"{len(found):6d} {in_centre(found, view):7d}"
        )


def draw(frames: list[View], mine: list[View], folder: Path) -> None:
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    both = [(frames[0], mine[0]), (frames[-1], mine[1])]
    figure, axes = plt.subplots(2, 4, figsize=(20, 10), constrained_layout=True)
    for row, (left, right) in zip(axes, both, strict=True):
        for (whole, crop), view in zip((row[:2], row[2:]), (left, right), strict=True):
            for ax, shown in ((whole, view), (crop, view.cropped(350))):
                ax.imshow(np.where(shown.good, shown.image, np.nan), vmin=-10, vmax=120, cmap="gray_r", interpolation="antialiased")
                ax.set(xticks=[], yticks=[], title=f"{view.name}, {shown.image.shape[0]} pixels")
    figure.savefig(folder / "frames.png", dpi=90)

    figure, (profile, spread, spots) = plt.subplots(1, 3, figsize=(18, 5), constrained_layout=True)
    for view in (*frames, *mine[:4]):
        style = {"lw": 2} if view in frames else {"lw": 1, "ls": "--"}
        profile.plot(rings(view)[0], label=view.name, **style)
        spread.plot(*noise(view), "o-" if view in frames else ".--", label=view.name)
        spots.semilogy(np.maximum(shape_of_peaks(view, peaks(view)), 1e-4), "o-" if view in frames else ".--")
    profile.set(xlabel="radius (pixels)", ylabel="median of the ring (ADU)", ylim=(-5, 80))
    spread.set(xlabel="brightness (ADU)", ylabel="standard deviation (ADU)")
    spots.set(xlabel="from the middle of a peak (pixels)", ylabel="part of its light in a pixel")
    profile.legend()
    figure.savefig(folder / "curves.png", dpi=90)
    plt.close("all")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "compared"))
