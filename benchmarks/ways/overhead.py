"""What it costs beside the work itself: import, planning, and blocks in which next to nothing is computed.

Those that plan return the number of tasks; those that compute, the number of items.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import distributed
import h5py
import numpy as np

import pycroclass as pc

_FOLDER = tempfile.TemporaryDirectory(prefix="pycroclass-bench-")
_OUTPUT = Path(_FOLDER.name) / "result.h5"


def fresh(code: str) -> Callable[[], None]:
    """A new Python that runs this."""
    return lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True) and None


def plan(path: str) -> Callable[[], int]:
    """Read the header of a file and plan a pipeline on it."""

    def work() -> int:
        (dataset,) = pc.read(path).values()
        result = pc.run(pc.Crop(128) | pc.Bin(4), dataset)
        return sum(len(layer) for layer in result.dask.layers.values())

    return work


def plan_with_dask(path: str) -> Callable[[], int]:
    """`from_array` and `map_blocks` in blocks of the same size."""

    def work() -> int:
        with h5py.File(path, "r") as file:
            array = da.from_array(file["data"], chunks=(136, *file["data"].shape[1:]))
            result = array.map_blocks(np.asarray)
            return sum(len(layer) for layer in result.dask.layers.values())

    return work


def run_and_write(path: str, block_bytes: int, n_processes: int) -> Callable[[], int]:
    """A sum of each small frame, from file to file: in threads, or on a cluster of processes of one thread."""
    if n_processes:
        _start_cluster(n_processes)
    size = pc.read(path)["data"].shape[-1]
    operator = pc.SumMask(np.ones((size, size)))

    def work() -> int:
        (dataset,) = pc.read(path).values()
        result = pc.run(operator, dataset, execution=pc.Execution(device="cpu", block_bytes=block_bytes))
        pc.write({"sum": result}, _OUTPUT, overwrite=True)
        return int(result.shape[0])

    return work


def run_with_dask(path: str, per_block: int, n_processes: int) -> Callable[[], int]:
    """The same by `from_array`, `map_blocks` and `compute`, without a file at the end."""
    dask.config.set(scheduler="threads")
    if n_processes:
        _start_cluster(n_processes)

    def read_and_sum(starts: np.ndarray) -> np.ndarray:
        with h5py.File(path, "r") as file:
            return file["data"][int(starts[0]) : int(starts[0]) + per_block].sum((1, 2), dtype="f4")

    def work() -> int:
        with h5py.File(path, "r") as file:
            n = len(file["data"])
        starts = da.from_array(np.arange(0, n, per_block), chunks=1)
        return len(starts.map_blocks(read_and_sum, chunks=(per_block,), dtype="f4").compute())

    return work


def _start_cluster(n_processes: int) -> None:
    cluster = distributed.LocalCluster(n_workers=n_processes, threads_per_worker=1, dashboard_address=None)
    client = distributed.Client(cluster)
    atexit.register(cluster.close)
    atexit.register(client.close)
