"""Peak search beside OM's peakfinder8, on one core: frames in memory, and real ones where they are.

A result is the share of our peaks that lie within 0.2 pixels of one of OM's, and of OM's that lie so near to one of ours, and the number of
peaks. A peer is only timed where these agree: within 0.01 where both search in full, within 0.02 where ours is fast, and within 0.25 where
both are, since OM's fast form itself loses peaks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import data
from benchmarks.harness import Case, Group
from benchmarks.ways.peaks import finder, found_in
from pycroclass.geometry import Geometry

TITLE = "Finding Bragg peaks, one thread"
_SIMULATED = {"threshold": 150.0, "min_snr": 6.0, "min_pixels": 2, "max_pixels": 20, "local_background_radius": 3}
_PILATUS = {"threshold": 10.0, "min_snr": 6.0, "min_pixels": 2, "max_pixels": 50, "local_background_radius": 4}
_SIZES = ((350, 200), (1750, 8))
_FORMS = ((False, False, 0.01), (True, False, 0.02), (True, True, 0.25))
"""Whether ours is fast, whether OM is, and how far they may differ."""


def groups(*, quick: bool) -> Iterator[Group]:
    """Each size of simulated frames and each kind of real ones, in full and fast."""
    for size, n in _SIZES[:1] if quick else _SIZES:
        centre = (size / 2 + 0.3, size / 2 - 1.6)
        for forms in _FORMS:
            yield _group(f"{n} simulated frames of {size} x {size}", data.peak_frames(size, n), centre, _SIMULATED, *forms)
    if not quick:
        for name, frames in data.real_peak_frames():
            search = _PILATUS if "PILATUS" in name else {**_SIMULATED, "min_snr": 8.0}
            for forms in _FORMS:
                yield _group(name, frames.path, frames.centre, search, *forms)


def _group(
    name: str, path: object, centre: tuple[float, float], search: dict[str, float], fast: bool, om_fast: bool, tolerance: float
) -> Group:
    with np.load(str(path)) as file:
        n, *shape = file["frames"].shape
        mask = file["mask"]
    common = {"path": str(path), "search": search, "centre": centre, "fast": fast}
    operator = finder(mask, **{k: v for k, v in common.items() if k != "path"})
    tables = operator.tables(tuple(shape))
    stem = f"{data.stem(path)}-{_form(fast)}-{_form(om_fast)}"
    members, start = (tables.sample, tables.sample_start) if om_fast else (tables.members, tables.start)
    ring = np.repeat(np.arange(len(start) - 1), np.diff(start))
    theirs = {
        "path": str(path),
        "search": search,
        "radius": str(data.saved(f"{stem}-radius", Geometry(centre).radius(tuple(shape)).astype(np.float32), again=True)),
        "rings": str(data.saved(f"{stem}-rings", np.stack([members, ring]).astype(np.int32), again=True)),
        "ours": str(data.saved(f"{stem}-peaks", found_in(path, operator), again=True)),
        "fast": om_fast,
    }
    cases = (
        Case("pycroclass", "peaks:ours", {**common, "dtype": "float32"}, role="ours"),
        Case("pycroclass, numbers as recorded", "peaks:ours", {**common, "dtype": ""}),
        Case("OM peakfinder8", "om:peakfinder8", theirs, peer="om"),
    )
    return Group(f"{name}, ours {_form(fast)}, OM {_form(om_fast)}", n, "frame", cases, tolerance=tolerance)


def _form(fast: bool) -> str:
    return "fast" if fast else "full"
