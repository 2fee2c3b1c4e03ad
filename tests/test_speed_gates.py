"""Generous gates on speed that catch a loss by a factor of two.

Where a gate is a ratio, both sides are measured in turn in the same run, so that a busy machine slows both; it may try again.
"""

from __future__ import annotations

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
import sklearn.cluster
import sklearn.decomposition
import torch

import pycroclass as pc
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import architecture
from pycroclass.networks.inference import prepared

pytestmark = pytest.mark.slow
TRIES = 3
N_TURNS = 5


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> float:
    """How many times longer ours takes: the median over turns, after one that does not count."""
    ratios = []
    for _ in range(N_TURNS + 1):
        times = []
        for work in (ours, theirs):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


def best_ratio(ours: Callable[[], object], theirs: Callable[[], object], gate: float) -> float:
    """Of a few tries, until one is below the gate: a neighbour may disturb one, a slow program loses all."""
    found = []
    for _ in range(TRIES):
        found.append(ratio(ours, theirs))
        if found[-1] < gate:
            break
    return min(found)


def test_classifying_a_file_costs_little_more_than_the_network(tmp_path: Path) -> None:
    n, edge = 128, (512 - 350) // 2
    frames = np.random.default_rng(0).poisson(5, (16, 512, 512)).astype(np.uint16)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        data = file.create_dataset("data", (n, 512, 512), np.uint16, chunks=(1, 512, 512))
        for i in range(n):
            data[i] = frames[i % 16]
    torch.manual_seed(0)
    module = architecture("hit_network").build({}).eval()
    classify = pc.Classify("hit_network", {}, module.state_dict(), classes=("miss", "hit"))
    axes = (ItemAxis("channel", 1, pc.AxisKind.CHANNEL), *(ItemAxis(name, kind=pc.AxisKind.SPATIAL) for name in "yx"))
    bundle = pc.Bundle(pc.Crop(350) | classify, ItemSpec("image", axes), ("miss", "hit"))
    execution = pc.Execution(device="cpu", block_bytes=8 << 20)
    resident = torch.from_numpy(frames[:, None, edge : edge + 350, edge : edge + 350].astype(np.float32))
    network = prepared(module, torch.device("cpu"))
    n_cores = len(os.sched_getaffinity(0))

    def part(_: int) -> None:
        with torch.inference_mode():
            for a in range(0, n // n_cores, 4):
                network(resident[a % 16 : a % 16 + 4])

    def ours() -> None:
        (dataset,) = pc.read(tmp_path / "frames.h5").values()
        pc.write(pc.classify(dataset, bundle, execution=execution), tmp_path / "labels.h5", overwrite=True)

    def forward() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        with ThreadPoolExecutor(n_cores) as pool:
            list(pool.map(part, range(n_cores)))
        torch.set_num_threads(before)

    assert best_ratio(ours, forward, 2.5) < 2.5


def test_virtual_detectors_are_faster_than_map_blocks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).poisson(20, (32, 64, 96, 96)).astype(np.float32)
    np.save(tmp_path / "stack.npy", values)
    masks = np.random.default_rng(1).random((4, 96, 96)).astype(np.float32)
    detectors = pc.VirtualDetector(masks, axes=("axis_2", "axis_3"))
    weights = masks.reshape(4, -1).T.copy()

    def ours() -> np.ndarray:
        (dataset,) = pc.read(tmp_path / "stack.npy").values()
        return np.asarray(pc.run(detectors, dataset))

    def theirs() -> np.ndarray:
        array = da.from_array(np.load(tmp_path / "stack.npy", mmap_mode="r"), chunks=("auto", 64, 96, 96))
        result = array.map_blocks(
            lambda block: (block.reshape(-1, 96 * 96) @ weights).reshape(*block.shape[:2], 4), drop_axis=(2, 3), new_axis=2, dtype="f4"
        )
        with dask.config.set(scheduler="threads"):
            return result.compute()

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-4)
    assert best_ratio(ours, theirs, 1.0) < 1.0


def test_a_block_without_work_costs_less_than_three_milliseconds(tmp_path: Path) -> None:
    n_blocks = 1000
    dataset = sidpy.Dataset.from_array(da.zeros((n_blocks, 4, 4), chunks=(1, 4, 4), dtype="f4"))
    for i, kind in enumerate(("temporal", "spatial", "spatial")):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(dataset.shape[i]), name="tyx"[i], units="a", dimension_type=kind))
    result = pc.run(pc.SumMask(np.ones((4, 4))), dataset, execution=pc.Execution(device="cpu", block_bytes=64))
    assert result.npartitions == n_blocks
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        pc.write({"sum": result}, tmp_path / "out.h5", overwrite=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) / n_blocks < 3e-3


def test_a_million_frames_are_planned_at_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "frames.h5", "w", libver="latest") as file:
        file.create_dataset("data", (1_000_000, 350, 350), np.uint16, chunks=(1, 350, 350))

    def plan() -> sidpy.Dataset:
        (dataset,) = pc.read(tmp_path / "frames.h5").values()
        return pc.run(pc.Crop(128) | pc.Bin(4), dataset)

    start = time.perf_counter()
    plan()
    assert time.perf_counter() - start < 10
    tracemalloc.start()
    result = plan()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
    assert sum(len(layer) for layer in result.dask.layers.values()) < 4 * result.npartitions


@pytest.mark.parametrize("what", ["k-means", "components"])
def test_very_many_short_items_take_no_longer_than_in_scikit_learn(what: str) -> None:
    rng = np.random.default_rng(0)
    rows = (3 * rng.standard_normal((16, 64)))[rng.integers(16, size=500_000)].astype(np.float32)
    rows += rng.standard_normal(rows.shape, np.float32)
    dataset = sidpy.Dataset.from_array(rows, title="items")
    dataset.set_dimension(0, sidpy.Dimension(np.arange(len(rows)), "item"))
    dataset.set_dimension(1, sidpy.Dimension(np.arange(64), "feature", dimension_type="spectral"))
    if what == "k-means":
        ours = pc.KMeans(16, init=rows[:16], max_iterations=5, tolerance=0)
        theirs = sklearn.cluster.KMeans(16, init=rows[:16], n_init=1, max_iter=5, tol=0)
    else:
        ours, theirs = pc.PCA(8), sklearn.decomposition.PCA(8, svd_solver="covariance_eigh")  # which adds up in float32
    assert best_ratio(lambda: pc.fit(ours, dataset), lambda: theirs.fit(rows), 2) < 2
