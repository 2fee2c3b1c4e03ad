"""Large results in shards that the workers write: every reader sees one file, wherever it lies."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client, LocalCluster
from pyNSID import hdf_utils
from resumable import N_BLOCKS, bits, job
from SciFiReaders import NSIDReader

import pycroclass as pc
from pycroclass.errors import ClusterError, ParameterError, ReadError, WriteError
from pycroclass.replay import Verdict
from pycroclass.writers import Written, pack, write
from pycroclass.writers.journal import read_journal
from pycroclass.writers.places import Place, Region

SMALL = 1000
"""Bytes: frames, columns and total are larger, label is smaller."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bits of a run in this process."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "source.raw").write_bytes(b"source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pycroclass.writers.blocks.is_distributed", lambda: False)
        return bits(write(job(folder / "source.raw"), folder / "out.h5"))


def shards(path: Path) -> list[Path]:
    return sorted(path.with_name(f"{path.name}.shards").iterdir())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def sharded(client: Client, tmp_path: Path, source: Path) -> Path:
    return write(job(source), tmp_path / "out.h5", shard_bytes=SMALL)


def test_bits_and_layout(sharded: Path, whole: dict[str, bytes]) -> None:
    assert bits(sharded) == whole
    assert len(shards(sharded)) == 2
    with h5py.File(sharded) as file:
        channel = file["Measurement_000/Channel_000"]
        assert {name: channel[f"{name}/{name}"].is_virtual for name in channel} == {
            "frames": True,
            "columns": True,
            "label": False,
            "total": False,
        }
        assert all(not source.file_name.startswith("/") for source in channel["frames/frames"].virtual_sources())
        assert len(hdf_utils.get_all_main(file)) == len(N_BLOCKS)
    assert names(sharded.parent) == ["out.h5", "out.h5.shards", "source.raw"]


def test_every_reader_opens_it_anywhere(sharded: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("out.h5", "out.h5.shards"):
        shutil.move(tmp_path / name, moved / name)
    monkeypatch.chdir("/")
    assert bits(moved / "out.h5") == whole
    found = pc.read(moved / "out.h5")
    np.testing.assert_array_equal(found["Measurement_000/Channel_000/frames/frames"].compute().tobytes(), whole["frames"])
    reader = NSIDReader(str(moved / "out.h5"))
    try:
        seen = {dataset.title: np.array(dataset) for dataset in reader.read().values()}
    finally:
        reader.close()
    np.testing.assert_array_equal(seen["frames"], np.frombuffer(whole["frames"]).reshape(seen["frames"].shape))


def test_missing_shard_is_an_error(sharded: Path, source: Path) -> None:
    shards(sharded)[1].unlink()
    with pytest.raises(ReadError, match="missing"):
        pc.read(sharded)
    with pytest.raises(ReadError, match="missing"):
        pack(sharded, sharded.with_name("plain.h5"))
    assert names(sharded.parent) == ["out.h5", "out.h5.shards", "source.raw"]
    with pytest.raises(WriteError, match="exists already"):  # it no longer holds the result
        write(job(source), sharded, resume=True)


def test_shard_in_another_folder_is_missing(sharded: Path) -> None:
    """HDF5 looks where the name says and gives zeros for the rest."""
    shutil.move(shards(sharded)[1], sharded.parent)
    with pytest.raises(ReadError, match="missing"):
        pc.read(sharded)
    with pytest.raises(ReadError, match="missing"):
        pack(sharded, sharded.with_name("plain.h5"))


def test_shard_without_the_dataset(sharded: Path) -> None:
    with h5py.File(shards(sharded)[1], "r+") as file:
        del file["frames"]
    with pytest.raises(ReadError, match="has no dataset of numbers at 'frames'"):
        pc.read(sharded)
    with pytest.raises(ReadError, match="has no dataset of numbers at 'frames'"):
        pack(sharded, sharded.with_name("plain.h5"))


def test_shard_that_vanishes_while_it_is_packed(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["pycroclass.writers.pack"]
    regions = module._regions

    def vanish(place: Place) -> Iterator[Region]:
        for path in shards(sharded):
            path.unlink(missing_ok=True)
        yield from regions(place)

    monkeypatch.setattr(module, "_regions", vanish)
    with pytest.raises(ReadError, match="missing"):
        pack(sharded, sharded.with_name("plain.h5"))
    assert not sharded.with_name("plain.h5").exists()


def test_per_cent_in_names(client: Client, tmp_path: Path, source: Path, whole: dict[str, bytes]) -> None:
    """HDF5 takes ``%b`` in the name of a source for a number."""
    out = tmp_path / "50%b.h5"
    results = {"100% frames": job(source)["frames"]}
    write(results, out, shard_bytes=SMALL)
    (found,) = pc.read(out).values()
    assert found.compute().tobytes() == whole["frames"]


def test_pack(sharded: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pack(sharded, sharded.with_name("plain.h5"))
    shutil.move(sharded.with_name("out.h5.shards"), sharded.with_name("gone"))
    assert bits(plain) == whole
    with h5py.File(plain) as file, h5py.File(sharded) as old:
        assert len(hdf_utils.get_all_main(file)) == len(N_BLOCKS)
        for name in N_BLOCKS:
            home = f"Measurement_000/Channel_000/{name}"
            main = file[f"{home}/{name}"]
            assert not main.is_virtual
            assert [axis.label for axis in main.dims] == [axis.label for axis in old[f"{home}/{name}"].dims]
            assert all(axis[0].attrs["name"] == axis.label for axis in main.dims)
            hidden = next(key for key in file[home] if key.startswith("_"))
            assert file[f"{home}/{hidden}/provenance_json"][()] == old[f"{home}/{hidden}/provenance_json"][()]
    assert {key: data.compute().tobytes() for key, data in pc.read(plain).items()}.keys() == pc.read(plain).keys()
    with pytest.raises(ParameterError, match="no virtual"):
        pack(plain, plain.with_name("again.h5"))
    shutil.move(sharded.with_name("gone"), sharded.with_name("out.h5.shards"))
    with pytest.raises(WriteError, match="exists"):
        pack(sharded, plain)
    with pytest.raises(ParameterError, match="into itself"):
        pack(sharded, sharded, overwrite=True)


def test_pack_verifies(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycroclass.writers.places._write_all", lambda *_: None)
    with pytest.raises(WriteError, match="does not hold the values"):
        pack(sharded, sharded.with_name("plain.h5"))
    assert not sharded.with_name("plain.h5").exists()


@pytest.mark.parametrize("shape", [(2, 3000, 5000), (1, 1, 40_000_000), (50_000_000,), (700, 3, 5)])
def test_pieces_to_pack_are_small(shape: tuple[int, ...]) -> None:
    place = Place(0, shape, "<f8")
    regions = list(sys.modules["pycroclass.writers.pack"]._regions(place))
    sizes = [math.prod(part.stop - part.start for part in region) * 8 for region in regions]
    assert max(sizes) <= 16 << 20
    assert sum(sizes) == place.n_bytes
    assert len(regions) <= 2 * place.n_bytes // (16 << 20) + 2


def test_replay(client: Client, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((40, 16, 16), "f4"))
    data = next(iter(pc.read(tmp_path / "a.npy").values()))
    path = write({"logarithm": pc.run(pc.Log1p(), data)}, tmp_path / "out.h5", shard_bytes=0)
    assert shards(path)
    for result in (path, pack(path, tmp_path / "plain.h5")):
        assert [replayed.verdict for replayed in pc.replay(result)] == [Verdict.IDENTICAL]


def test_progress_has_no_values_of_shards(client: Client, tmp_path: Path, source: Path) -> None:
    seen: list[Written] = []
    write(job(source), tmp_path / "out.h5", shard_bytes=SMALL, progress=seen.append)
    assert {w.name for w in seen if w.values is None} == {"frames", "columns"}
    assert [w.done for w in seen] == list(range(1, sum(N_BLOCKS.values()) + 1))


class StopError(Exception):
    pass


def stop_at(n: int) -> Callable[[Written], None]:
    def progress(written: Written) -> None:
        if written.done == n:
            raise StopError

    return progress


def test_resume_with_and_without_the_cluster(
    client: Client, tmp_path: Path, source: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.h5"
    for n in (9, 20):
        with pytest.raises(StopError):
            write(job(source), out, resume=True, shard_bytes=SMALL, progress=stop_at(n))
        assert len(shards(out)) == 2
    _, blocks = read_journal(tmp_path / "out.h5.partial.journal") or ({}, {})
    assert len(blocks) >= 20
    monkeypatch.setattr("pycroclass.writers.blocks.is_distributed", lambda: False)
    monkeypatch.setattr("pycroclass.writers.nsid.is_distributed", lambda: False)
    assert bits(write(job(source), out, resume=True)) == whole
    assert len(shards(out)) == 2


def test_resume_without_a_shard(client: Client, tmp_path: Path, source: Path, whole: dict[str, bytes]) -> None:
    out = tmp_path / "out.h5"
    with pytest.raises(StopError):
        write(job(source), out, resume=True, shard_bytes=SMALL, progress=stop_at(9))
    gone = shards(out)[1]
    gone.rename(tmp_path / "elsewhere")
    with pytest.raises(WriteError, match=rf"{gone.name} is missing. Put it back to go on, or remove .*partial and .*journal"):
        write(job(source), out, resume=True)
    (tmp_path / "elsewhere").rename(gone)
    assert bits(write(job(source), out, resume=True)) == whole


def test_plain_failure_leaves_nothing(client: Client, tmp_path: Path, source: Path) -> None:
    with pytest.raises(StopError):
        write(job(source), tmp_path / "out.h5", shard_bytes=SMALL, progress=stop_at(9))
    assert names(tmp_path) == ["source.raw"]


@pytest.mark.parametrize("resume", [False, True])
def test_interrupted_when_it_has_its_name(
    client: Client, tmp_path: Path, source: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    out = tmp_path / "out.h5"

    def interrupt(_: Path) -> None:
        assert out.exists()
        assert out.with_name("out.h5.partial.journal").exists() == resume  # it outlives a power cut until the name does
        raise KeyboardInterrupt

    monkeypatch.setattr("pycroclass.writers.atomic.sync_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(job(source), out, resume=resume, shard_bytes=SMALL)
    assert bits(out) == whole
    assert len(shards(out)) == 2
    monkeypatch.undo()
    write(job(source), out, resume=True, shard_bytes=SMALL)
    assert names(tmp_path) == ["out.h5", "out.h5.shards", "source.raw"]
    assert len(shards(out)) == 2


def test_name_taken_meanwhile_leaves_no_shards(client: Client, tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out.h5"
    with pytest.raises(WriteError, match="made by someone else"):
        write(job(source), out, shard_bytes=SMALL, progress=lambda _: out.write_text("other"))
    assert names(tmp_path) == ["out.h5", "source.raw"]
    assert out.read_text() == "other"


def test_old_shards_stay_until_and_after_the_new_are_there(sharded: Path, source: Path, whole: dict[str, bytes]) -> None:
    old = shards(sharded)
    with pytest.raises(StopError):
        write(job(source), sharded, overwrite=True, shard_bytes=SMALL, progress=stop_at(9))
    assert shards(sharded) == old
    assert bits(sharded) == whole
    write(job(source), sharded, overwrite=True, shard_bytes=SMALL)
    assert set(shards(sharded)) > set(old)
    assert bits(sharded) == whole


def test_shards_wait_for_the_first_worker(tmp_path: Path, source: Path, whole: dict[str, bytes]) -> None:
    """There is one for each worker; a cluster that grows with its work has none before."""
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster, Client(cluster) as client:
        submit = client.submit

        def start_workers(*arguments: Any, **options: Any) -> Any:
            cluster.scale(2)
            client.wait_for_workers(2)
            return submit(*arguments, **options)

        client.submit = start_workers
        too_late = threading.Timer(20, cluster.scale, (2,))  # so that this fails, and does not wait for ever
        too_late.start()
        assert bits(write(job(source), tmp_path / "out.h5", shard_bytes=SMALL)) == whole
        too_late.cancel()
    assert len(shards(tmp_path / "out.h5")) == 2


def test_small_results_make_no_shards(client: Client, tmp_path: Path, source: Path, whole: dict[str, bytes]) -> None:
    assert bits(write(job(source), tmp_path / "out.h5", shard_bytes=1 << 30)) == whole
    assert names(tmp_path) == ["out.h5", "source.raw"]


@pytest.mark.slow
def test_workers_that_do_not_see_the_folder(tmp_path: Path, source: Path) -> None:
    """A worker with a file system of its own, where the folder is empty."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("only root can give a worker a file system of its own")
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster, Client(cluster):
        script = (
            f"mount -t tmpfs tmpfs {tmp_path} && exec {sys.executable} -W ignore -m distributed.cli.dask_worker {cluster.scheduler_address}"
        )
        worker = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{script} --no-nanny --no-dashboard --nthreads 1 --local-directory /var/tmp"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            cluster.scheduler
            Client.current().wait_for_workers(1, timeout=60)
            with pytest.raises(WriteError, match="1 of 1 workers cannot write"):
                write(job(source), tmp_path / "out.h5", shard_bytes=SMALL)
        finally:
            worker.kill()
            worker.wait()
    assert names(tmp_path) == ["source.raw"]


# --- what a cluster does to a run ------------------------------------------------------------------------------------------------------


def pause(_: tuple[int, ...]) -> None:
    time.sleep(0.05)


def end_worker(block: tuple[int, ...]) -> None:
    if block == (3, 0, 0):
        os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize("shard_bytes", [None, SMALL])
def test_killed_workers(tmp_path: Path, source: Path, whole: dict[str, bytes], shard_bytes: int | None) -> None:
    chance = random.Random(0)
    for n in range(4):
        out = tmp_path / f"{n}.h5"
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
            Client(cluster) as client,
        ):
            client.wait_for_workers(2)
            victim = chance.choice(list(cluster.workers.values())).pid
            timer = threading.Timer(chance.uniform(0, 0.6), os.kill, (victim, signal.SIGKILL))
            timer.start()
            write(job(source, pause), out, shard_bytes=shard_bytes, resume=bool(n % 2))
            timer.join()
        assert bits(out) == whole
        assert not out.with_name(f"{n}.h5.partial").exists()


@pytest.mark.slow
def test_block_that_ends_each_worker(tmp_path: Path, source: Path, whole: dict[str, bytes]) -> None:
    out = tmp_path / "out.h5"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster),
        pytest.raises(ClusterError, match="ended each worker"),
    ):
        write(job(source, end_worker), out, resume=True)
    assert names(tmp_path) == ["out.h5.partial", "out.h5.partial.journal", "source.raw"]
    assert bits(write(job(source), out, resume=True)) == whole


def serve(address: Any) -> None:
    """A scheduler with its workers, in a process of its own."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50, processes=False, protocol="tcp"
    ) as cluster:
        address.put(cluster.scheduler_address)
        time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize("shard_bytes", [None, SMALL])
def test_lost_scheduler(tmp_path: Path, source: Path, whole: dict[str, bytes], shard_bytes: int | None) -> None:
    context = multiprocessing.get_context("spawn")
    address = context.Queue()
    scheduler = context.Process(target=serve, args=(address,))
    scheduler.start()
    out = tmp_path / "out.h5"

    def kill(written: Written) -> None:
        if written.done == 12:
            scheduler.kill()

    try:
        with Client(address.get(timeout=60), timeout=5) as client, pytest.raises(ClusterError, match="scheduler was lost"):
            write(job(source, pause), out, resume=True, shard_bytes=shard_bytes, progress=kill)
        del client
    finally:
        scheduler.kill()
        scheduler.join()
    _, blocks = read_journal(out.with_name("out.h5.partial.journal")) or ({}, {})
    assert len(blocks) >= 12
    assert bits(write(job(source), out, resume=True)) == whole
