"""Writing from a dask cluster: only this process has the file, each task runs once, few blocks are in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
from dask._task_spec import DataNode
from distributed import Client, LocalCluster

from pycroclass.cluster import describe
from pycroclass.operators import Clip, PeakFinder8, ToPhotons
from pycroclass.readers import read
from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
from pycroclass.writers import write, write_cxi, write_emc
from pycroclass.writers.cluster_pass import ClusterPass
from pycroclass.writers.work import Block, Group, Work

Make = Callable[..., sidpy.Dataset]


@pytest.fixture(scope="module", params=[False, True], ids=["threads", "processes"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=request.param, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def content(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[f"Measurement_000/Channel_000/{name}/{name}"][()]


def counted(folder: Path, base: da.Array) -> da.Array:
    """The array, leaving a file behind for each block computed: this counts across processes."""

    def load(block: np.ndarray[Any, Any], block_id: tuple[int, ...]) -> np.ndarray[Any, Any]:
        number = "_".join(map(str, block_id))
        attempt = len(list(folder.glob(f"{number}-*")))
        (folder / f"{number}-{attempt}").touch()
        return block + 1.0

    return da.map_blocks(load, base, dtype=float, meta=np.empty((0,) * base.ndim))


def test_same_as_threads_and_each_block_once(client: Client, tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "computed"
    folder.mkdir()
    base = da.from_array(np.random.default_rng(0).random((7, 5)), chunks=(2, 3))
    raw = counted(folder, base)
    centred = raw - raw.mean()  # every block needs all blocks
    smooth = raw.map_overlap(lambda b: b * 2, depth=1, boundary="none", meta=np.empty((0, 0)))
    results = {"twice": raw * 2, "raw": raw, "sums": raw.sum(axis=1), "centred": centred, "smooth": smooth}
    path = write({name: make(array) for name, array in results.items()}, tmp_path / "out.h5")
    assert len(list(folder.iterdir())) == raw.npartitions
    for name, array in results.items():
        np.testing.assert_array_equal(content(path, name), array.compute(scheduler="synchronous"))


def test_persisted_data_and_same_data_twice(client: Client, tmp_path: Path, make: Make) -> None:
    data = client.persist(da.random.default_rng(0).random((7, 5), chunks=2))
    path = write({"a": make(data), "b": make(data), "c": make(data + 1)}, tmp_path / "out.h5")
    expected = data.compute()
    for name, values in {"a": expected, "b": expected, "c": expected + 1}.items():
        np.testing.assert_array_equal(content(path, name), values)


def test_error_in_a_task_leaves_nothing(client: Client, tmp_path: Path, make: Make) -> None:
    def fail(block: np.ndarray[Any, Any], block_id: tuple[int, ...]) -> np.ndarray[Any, Any]:
        if block_id == (1,):
            raise ZeroDivisionError("in a task")
        return block

    with pytest.raises(ZeroDivisionError, match="in a task"):
        write({"a": make(da.map_blocks(fail, da.zeros(7, chunks=2), dtype=float, meta=np.empty(0)))}, tmp_path / "out.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.raw"]


STARTED: list[int] = []


def start(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    STARTED.append(1)
    return block


@pytest.mark.parametrize(("n_bytes", "most"), [(1, 4), (64 << 20, 32)], ids=["large", "small"])
def test_blocks_in_flight_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int, most: int) -> None:
    monkeypatch.setattr("pycroclass.writers.cluster_pass._BYTES", n_bytes)
    STARTED.clear()
    ahead: list[int] = []
    dataset = sidpy.Dataset.from_array(da.zeros(140, chunks=1).map_blocks(start, dtype=float, meta=np.empty(0)), title="long")
    dataset.set_dimension(0, sidpy.Dimension(np.arange(140), name="frame"))
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        write({"a": dataset}, tmp_path / "out.h5", progress=lambda written: ahead.append(len(STARTED) - written.done))
    assert len(STARTED) == len(ahead) == 140
    assert max(ahead) <= most


def test_workers_that_join_late_have_their_share() -> None:
    """Of the groups in flight, and of the shards."""
    blocks = [Block(SimpleNamespace(remote=lambda region: None), i, (slice(i, i + 1),), 64 << 20) for i in range(9)]  # type: ignore[arg-type]
    work = Work({("a", i): DataNode(("a", i), i) for i in range(9)}, {}, [Group((("a", i),), ((b,),)) for i, b in enumerate(blocks)])
    threads: dict[str, int] = {}
    one_pass = ClusterPass(SimpleNamespace(nthreads=lambda: threads), work)
    assert (one_pass._window(), one_pass._preference(2)) == (2, {})
    threads |= {"tcp://b": 2, "tcp://a": 1}
    assert one_pass._window() == 6
    assert one_pass._preference(2)["workers"] == ["tcp://a"]


def test_all_workers_are_counted() -> None:
    with LocalCluster(n_workers=7, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster, Client(cluster) as client:
        client.wait_for_workers(7)
        assert "7 workers, 7 threads" in describe(client)


def test_frames_and_photons_as_from_threads(client: Client, tmp_path: Path) -> None:
    """Peaks, packed frames and photons: the same bytes and values as without a cluster."""
    datasets = simulate_run(draw_run(seed=3, hit_rate=0.9, experiment=Experiment(Detector(shape=(90, 80)))), 9)
    datasets |= PeakFinder8(threshold=40, mask=datasets["mask"], max_peaks=30)(datasets["image"])
    photons = ToPhotons(30)(Clip(0, 1e5)(datasets["image"]))
    packed = write_cxi(datasets, tmp_path / "a.cxi", compression="bitshuffle-lz4")
    written = write_emc(photons, tmp_path / "a.emc").read_bytes()
    with dask.config.set(scheduler="threads"):
        for name, found in read(packed).items():
            np.testing.assert_array_equal(found.compute(), datasets[name].compute())
        assert write_emc(photons, tmp_path / "b.emc").read_bytes() == written
