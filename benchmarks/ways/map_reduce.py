"""Sums of frames of a 4-D stack that lies uncompressed in a file: ours, dask, numpy, and reading alone.

Each returns the mean over all frames of what it gives for one frame; so results can be compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np

import pycroclass as pc
from benchmarks.data import STACK, masks, rings

Check = Callable[[], list[float]]


def ours(path: str, what: str) -> Check:
    """`pycroclass.run` on the file."""
    (dataset,) = pc.read(path).values()
    axes = tuple(dimension.name for dimension in dataset._axes.values())[-2:]
    operator: pc.Operator = {
        "detectors": pc.VirtualDetector(masks(), axes=axes),
        "sum": pc.SumMask(np.ones(STACK[2:]), axes=axes),
        "rings": pc.RadialProfile(centre=(STACK[2] / 2, STACK[3] / 2), axes=axes),
    }[what]

    def work() -> list[float]:
        (dataset,) = pc.read(path).values()
        return check(np.asarray(pc.run(operator, dataset)))

    return work


def with_dask(path: str, what: str) -> Check:
    """`dask.array.map_blocks` with one matrix product for each chunk."""
    weights = weights_of(what)
    dask.config.set(scheduler="threads")

    def work() -> list[float]:
        with opened(path) as values:
            array = da.from_array(values, chunks=("auto", *STACK[1:]))
            result = array.map_blocks(product, weights, drop_axis=(2, 3), new_axis=2, chunks=(*array.chunks[:2], len(weights)), dtype="f4")
            return check(result.compute())

    return work


def with_numpy(path: str, what: str) -> Check:
    """The whole file in one matrix product, on all cores of BLAS."""
    weights = weights_of(what)

    def work() -> list[float]:
        with opened(path) as values:
            return check(product(values[...], weights))

    return work


def read(path: str) -> Callable[[], None]:
    """The limit: the bytes of the file, through buffers that stay in the cache, on all cores."""
    n = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n)
    size = os.path.getsize(path)

    def part(i: int) -> None:
        buffer = memoryview(bytearray(1 << 20))
        with open(path, "rb", buffering=0) as file:
            file.seek(i * size // n)
            for _ in range(size // n // len(buffer) + 1):
                file.readinto(buffer)

    return lambda: list(pool.map(part, range(n))) and None


def weights_of(what: str) -> np.ndarray:
    """(weight, pixel), float32."""
    chosen = {"detectors": masks, "sum": lambda: np.ones((1, *STACK[2:])), "rings": rings}[what]()
    return np.ascontiguousarray(chosen.reshape(len(chosen), -1), np.float32)


def product(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(y, x, ky, kx) to (y, x, weight)."""
    return (block.reshape(-1, weights.shape[1]).astype(np.float32, copy=False) @ weights.T).reshape(*block.shape[:2], -1)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The values, mapped or by HDF5."""
    if path.endswith(".npy"):
        yield np.load(path, mmap_mode="r")
    else:
        with h5py.File(path, "r") as file:
            yield file["data"]


def check(result: np.ndarray) -> list[float]:
    """The mean over all frames."""
    return np.asarray(result, np.float64).reshape(STACK[0] * STACK[1], -1).mean(0).tolist()
