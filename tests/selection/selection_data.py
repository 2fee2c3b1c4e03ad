"""Small recordings whose frames tell where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pycroclass.selection import FrameSelection

FRAMES = "/entry_1/instrument_1/detector_1/data"
SHAPE = (6, 5)


def record(path: Path, n: int, first: int, *, distance: float = 0.13, energy: float = 1.5e-15, mask: int = 1, dtype: str = "u2") -> Path:
    """A CXI file; every pixel of frame i is ``first + i``."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        entry = file.create_group("entry_1")
        detector = entry.create_group("instrument_1/detector_1")
        values = np.broadcast_to((first + np.arange(n))[:, None, None], (n, *SHAPE)).astype(dtype)
        data = detector.create_dataset("data", data=values, chunks=(1, *SHAPE), compression="gzip")
        data.attrs["axes"] = "experiment_identifier:y:x"
        bad = np.zeros(SHAPE, "u4")
        bad[0, 0] = mask
        detector["mask"] = bad
        for name, value in {"distance": distance, "x_pixel_size": 1e-4, "y_pixel_size": 1e-4}.items():
            detector[name] = value
        detector["corner_position"] = [-2.5e-4, -3e-4, distance]
        detector["basis_vectors"] = [[0, 1e-4, 0], [1e-4, 0, 0]]
        entry["instrument_1/source_1/energy"] = energy
        entry["instrument_1/source_1/pulse_energy"] = 1e-3 * (first + np.arange(n))
        entry.create_dataset("experiment_identifier", data=[f"shot {first + i}" for i in range(n)], dtype=h5py.string_dtype())
        entry.create_group("result_1")["nPeaks"] = first + np.arange(n)
        label = entry["result_1"].create_dataset("label", data=(np.arange(n) % 2).astype("i4"))
        label.attrs["classes"] = ["miss", "hit"]
        plot = entry.create_group("data_1")
        plot["data"] = h5py.SoftLink(f"{entry.name}/instrument_1/detector_1/data")
        plot["mask"] = h5py.SoftLink(f"{entry.name}/instrument_1/detector_1/mask")
        plot["experiment_identifier"] = h5py.SoftLink(f"{entry.name}/experiment_identifier")
    return path


def chosen(file: Any, index: Any, decision: Any, *, dataset: Any = FRAMES, reason: Any = None, **rest: Any) -> FrameSelection:
    """A selection; what is no miss is kept."""
    n = len(index)
    files = [file] * n if isinstance(file, str | Path) else file
    columns = {
        "file": [str(one) for one in files],
        "dataset": [dataset] * n if isinstance(dataset, str) else dataset,
        "index": index,
        "event": [f"shot {i}" for i in index],
        "score": np.linspace(0, 1, n),
        "decision": decision,
        "reason": [one if one != "miss" else "" for one in decision] if reason is None else reason,
    }
    return FrameSelection(**columns, **rest)
