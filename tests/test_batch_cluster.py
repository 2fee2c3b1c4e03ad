"""The command on a cluster: the same bits, whoever is lost on the way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
from jobs import FITTED, SIMPLE, Work
from test_killed import wait_for_blocks


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler in a process of its own with two workers, and its address."""
    file = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(file)]
    with ExitStack() as stack:
        scheduler = _spawn(stack, "dask_scheduler", *where, "--port", "0", "--dashboard-address", ":0")
        while not file.exists():
            time.sleep(0.1)
        for _ in range(2):
            _spawn(stack, "dask_worker", *where, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "20")
        yield scheduler, json.loads(file.read_text())["address"]


def _spawn(stack: ExitStack, program: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.{program}", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "options"), [(SIMPLE, ["--shard-bytes", "1000000"]), (FITTED, [])], ids=["shards", "fitted"])
def test_processes_give_the_same_bits_as_threads(tmp_path: Path, recipe: str, options: list[str]) -> None:
    work = Work.of(tmp_path, recipe)
    whole = work.finish()
    work.out.unlink()
    work.finish("--workers", "2", "--log-dir", str(tmp_path / "logs"), *options)
    work.assert_finished_as(whole)
    logs = list((tmp_path / "logs").iterdir())
    assert len(logs) == 2
    assert all("INFO pycroclass: worker" in log.read_text() for log in logs)
    assert (tmp_path / "out.h5.shards").exists() == bool(options)
    process = work.start("--workers", "2", *options)
    assert "already done" in process.communicate()[0]
    if options:
        packed = tmp_path / "packed.h5"
        subprocess.run([sys.executable, "-c", "from pycroclass.cli import main; main()", "pack", work.out, packed], check=True)
        shutil.rmtree(tmp_path / "out.h5.shards")
        packed.rename(work.out)
        work.assert_finished_as(whole)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shard-bytes", "1000000"]], ids=["plain", "shards"])
def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, options: list[str]) -> None:
    work = Work.of(tmp_path, SIMPLE)
    whole = work.finish()
    work.out.unlink()
    process = work.start("--workers", "2", *options)
    wait_for_blocks(work, process)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    work.assert_finished_as(whole)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_the_workers_too(tmp_path: Path) -> None:
    work = Work.of(tmp_path, SIMPLE)
    process = work.start("--workers", "2")
    wait_for_blocks(work, process)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    on_cluster = work.finish("--workers", "2")
    work.out.unlink()
    np.testing.assert_equal(work.finish(), on_cluster)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [SIMPLE, FITTED], ids=["simple", "fitted"])
def test_a_scheduler_that_is_lost(tmp_path: Path, cluster: tuple[subprocess.Popen[bytes], str], recipe: str) -> None:
    scheduler, address = cluster
    work = Work.of(tmp_path, recipe)
    whole = work.finish()
    work.out.unlink()
    process = work.start("--scheduler", address)
    wait_for_blocks(work, process)
    assert process.poll() is None, process.communicate()
    scheduler.kill()
    start = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "ClusterError: the scheduler was lost" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - start < 60
    assert not work.out.exists()
    assert work.partial.exists()
    work.finish()  # in threads: the blocks are the same
    work.assert_finished_as(whole)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there(tmp_path: Path) -> None:
    work = Work.of(tmp_path, SIMPLE)
    process = work.start("--scheduler", "tcp://127.0.0.1:9")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no scheduler answers at 'tcp://127.0.0.1:9'" in errors
    assert len(errors.strip().splitlines()) == 1
