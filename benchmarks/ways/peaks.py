"""Peak search by the package, on frames that are in memory, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pycroclass as pc


def ours(path: str, search: dict[str, Any], centre: tuple[float, float], fast: bool, dtype: str) -> Callable[[], list[float]]:
    """`PeakFinder8` as a task runs it; frames in ``dtype``, or as they were recorded."""
    torch.set_num_threads(1)
    with np.load(path) as file:
        frames, mask = file["frames"], file["mask"]
    block = torch.from_numpy(frames.astype(dtype or frames.dtype))[:, None]
    operator = finder(mask, search, centre, fast)

    def work() -> list[float]:
        return [1.0, 1.0, float(operator.transform(block)["n_peaks"].sum())]

    return work


def finder(mask: np.ndarray, search: dict[str, Any], centre: tuple[float, float], fast: bool) -> pc.PeakFinder8:
    """The operator, bound to frames with this mask (nonzero is bad)."""
    return pc.PeakFinder8(**search, fast=fast, max_peaks=2048, mask=mask, geometry=pc.Geometry(centre))


def found_in(path: object, operator: pc.PeakFinder8) -> np.ndarray:
    """Frame, fs and ss of all peaks in a file, ``(n_peaks, 3)``."""
    with np.load(str(path)) as file:
        frames = file["frames"]
    rows = []
    for number, frame in enumerate(frames):
        found = operator.transform(torch.from_numpy(frame)[None, None])
        peaks = found["peaks"][0, 0, : int(found["n_peaks"]), :2].numpy()
        rows.append(np.column_stack([np.full(len(peaks), number), peaks]))
    return np.concatenate(rows).astype(np.float32)
