"""The frames of a run from CXI to NSID, sorted by the hit network or searched for peaks; and the parts of that work alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import h5py
import numpy as np

import pycroclass as pc
from benchmarks.nets import bundle
from pycroclass.operator import Operator, Pipeline
from pycroclass.provenance import Provenance
from pycroclass.readers.hdf5_chunks import open_regions
from pycroclass.sid import unwrap, wrap

_FOLDER = tempfile.TemporaryDirectory(prefix="pycroclass-bench-")
_OUTPUT = Path(_FOLDER.name) / "result.h5"
_CROP = 350
_N_RESIDENT = 64
_DATA = "entry_1/instrument_1/detector_1/data"


def ours(path: str, what: str) -> Callable[[], list[float]]:
    """`pycroclass.run` and `pycroclass.write`; the mean label."""

    def work() -> list[float]:
        found = pc.run(_pipeline(what), pc.read(path)["image"])
        pc.write(found, _OUTPUT, overwrite=True)
        return [float(np.asarray(next(iter(pc.read(_OUTPUT).values()))).mean())]

    return work


def computed(path: str, what: str) -> Callable[[], None]:
    """The same work on the pixels that it needs, which are in memory; nothing is written."""
    image = pc.read(path)["image"]
    n = min(len(image), _N_RESIDENT)
    needed = pc.Crop(_CROP)(image[:n]) if what == "network" else image[:n]
    array, spec = unwrap(needed)
    frames = wrap(
        da.from_array(array.compute(), chunks=(-(-n // len(os.sched_getaffinity(0))), -1, -1)), spec, provenance=Provenance("given", {})
    )

    def work() -> None:
        for _ in range(len(image) // n):
            next(iter(pc.run(_pipeline(what), frames).values())).compute()

    return work


def decoded(path: str, what: str) -> Callable[[], None]:
    """Reading and decoding alone, of the pixels that the work needs, on all cores."""
    with h5py.File(path, "r") as file:
        n, *shape = file[_DATA].shape
    edges = [(size - _CROP) // 2 for size in shape] if what == "network" else [0, 0]
    inside = tuple(slice(edge, size - edge) for edge, size in zip(edges, shape))
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(number: int) -> None:
        with open_regions(path, _DATA) as load:
            for i in range(number, n, n_cores):
                load((slice(i, i + 1), *inside))

    return lambda: list(pool.map(part, range(n_cores))) and None


def read(path: str, what: str) -> Callable[[], None]:
    """The bytes of the file alone, on all cores."""
    with h5py.File(path, "r") as file:
        chunks = [file[_DATA].id.get_chunk_info(i) for i in range(len(file[_DATA]))]
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(number: int) -> None:
        with open(path, "rb", buffering=0) as file:
            for chunk in chunks[number::n_cores]:
                os.pread(file.fileno(), chunk.size, chunk.byte_offset)

    return lambda: list(pool.map(part, range(n_cores))) and None


def _pipeline(what: str) -> Operator | Pipeline:
    if what == "network":
        return pc.Crop(_CROP) | pc.ZScore() | pc.Bundle.load(bundle("hit network")).pipeline.steps()[-1]
    return pc.PeakFinder8(150.0, min_snr=6.0, max_pixels=20) | pc.PeakCountRule()
