"""Whatever goes wrong: no file appears that is not whole, and none that was there is harmed."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
from pyNSID import hdf_utils

from pycroclass.errors import WriteError
from pycroclass.writers import append, write

Make = Callable[..., sidpy.Dataset]

CONTEXT = multiprocessing.get_context("forkserver")  # imports once, then starts a process in milliseconds
CONTEXT.set_forkserver_preload(["pycroclass.writers"])


def slow(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    time.sleep(0.004)
    return block + 7


def write_sevens(path: Path, verb: str, ready: Any, limit: int | None = None) -> None:
    """Runs in a process of its own."""
    array = da.zeros((60, 1000), chunks=(1, 1000)).map_blocks(slow, dtype=float, meta=np.empty((0, 0)))
    dataset = sidpy.Dataset.from_array(array, title="sevens")
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ready.set()
    try:
        if verb == "append":
            append({"more": dataset}, path)
        else:
            write({"more": dataset}, path, overwrite=verb == "overwrite")
    except WriteError as error:
        sys.exit(str(error) and 3)


def is_whole(path: Path) -> bool:
    with h5py.File(path) as file:
        mains = [item for item in hdf_utils.get_all_main(file) if item.name.endswith("more/more")]
        return len(mains) == 1 and bool(mains[0].attrs["complete"]) and bool((mains[0][()] == 7).all())


def seconds_of_a_write(path: Path) -> float:
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=write_sevens, args=(path, "write", ready))
    process.start()
    assert ready.wait(60)
    start = time.perf_counter()
    process.join()
    return time.perf_counter() - start


def kill_at_random(folder: Path, make: Make, n_times: int, seed: int) -> list[bool]:
    """Kill a writer at random times, up to half as long again as it takes; returns for each whether it had finished by then."""
    rng = random.Random(seed)
    latest = 1.5 * seconds_of_a_write(folder / "timed.h5")
    finished = []
    for n in range(n_times):
        verb = ("write", "overwrite", "append")[n % 3]
        path = folder / f"{verb}.h5"
        if verb != "write" and n < 3:
            write({"old": make(np.arange(7.0))}, path)
        elif verb == "write":
            path.unlink(missing_ok=True)
        before = path.read_bytes() if path.exists() else None
        ready = CONTEXT.Event()
        process = CONTEXT.Process(target=write_sevens, args=(path, verb, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(rng.uniform(0, latest))
        process.kill()
        process.join()
        if path.exists() and path.read_bytes() != before:
            assert is_whole(path)
            finished.append(True)
            path.unlink()
            write({"old": make(np.arange(7.0))}, path)
        else:
            finished.append(False)
    return finished


def test_killed_writers_leave_no_half_file(tmp_path: Path, make: Make) -> None:
    kill_at_random(tmp_path, make, 6, seed=1)


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path, make: Make) -> None:
    finished = kill_at_random(tmp_path, make, 21, seed=0)
    assert 0 < sum(finished) < 21  # some were killed at work, some were done


def test_partial_of_a_dead_run_is_replaced(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out.h5"
    first = write({"a": make(np.zeros(7))}, path)
    os.link(first, tmp_path / "out.h5.partial")  # killed between the two steps of a rename
    second = tmp_path / "other.h5"
    (tmp_path / "other.h5.partial").write_bytes(b"debris" * 100)
    write({"b": make(np.ones(7))}, second)
    before = path.read_bytes()
    write({"b": make(np.ones(7))}, path, overwrite=True)
    assert before != path.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_leftover_that_is_a_second_name_is_not_emptied(tmp_path: Path, make: Make) -> None:
    path = write({"a": make(np.zeros(7))}, tmp_path / "out.h5")
    os.link(path, tmp_path / "new.h5.partial")
    before = path.read_bytes()
    write({"b": make(np.ones(7))}, tmp_path / "new.h5")
    assert path.read_bytes() == before


def test_second_writer_is_refused(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out.h5"
    begun, go_on = threading.Event(), threading.Event()

    def wait(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        begun.set()
        go_on.wait(10)
        return block

    slow = make(da.zeros(7, chunks=7).map_blocks(wait, dtype=float, meta=np.empty(0)))
    writer = threading.Thread(target=lambda: write({"a": slow}, path))
    writer.start()
    begun.wait(10)
    try:
        with pytest.raises(WriteError, match="another run"):
            write({"b": make(np.zeros(7))}, path)
    finally:
        go_on.set()
        writer.join()
    with h5py.File(path) as file:
        assert "a" in file["Measurement_000/Channel_000"]


def test_file_that_appears_meanwhile_is_left_alone(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out.h5"

    def intrude(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        path.write_text("somebody else's")
        return block

    with pytest.raises(WriteError, match="meanwhile"):
        write({"a": make(da.zeros(7, chunks=7).map_blocks(intrude, dtype=float, meta=np.empty(0)))}, path)
    assert path.read_text() == "somebody else's"
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(WriteError, match="exists already"):
        write({"a": make(np.zeros(7))}, path)


@pytest.mark.parametrize("has_links", [True, False])
def test_file_system_without_hard_links(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "no hard links")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    path = write({"a": make(np.arange(7.0))}, tmp_path / "out.h5")
    with h5py.File(path) as file:
        assert file["Measurement_000/Channel_000/a/a"][6] == 6
    assert not list(tmp_path.glob("*.partial"))


def test_file_system_without_locks(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = write({"a": make(np.arange(7.0))}, tmp_path / "out.h5")
    append({"b": make(np.arange(7.0))}, path)
    with h5py.File(path) as file:
        assert len(hdf_utils.get_all_main(file)) == 2
    assert "has no locks" in caplog.text


@pytest.mark.parametrize("error", [ZeroDivisionError, OSError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("verb", ["write", "overwrite", "append"])
def test_error_in_a_task(tmp_path: Path, make: Make, verb: str, error: type[BaseException]) -> None:
    path = tmp_path / "out.h5"
    if verb != "write":
        write({"old": make(np.arange(7.0))}, path)
    before = path.read_bytes() if path.exists() else None

    def fail(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        raise error("in a task")

    failing = {"a": make(da.zeros(7, chunks=2).map_blocks(fail, dtype=float, meta=np.empty(0)))}
    with pytest.raises(error, match="in a task"):
        append(failing, path) if verb == "append" else write(failing, path, overwrite=verb == "overwrite")
    assert (path.read_bytes() if path.exists() else None) == before
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("verb", ["write", "overwrite", "append"])
@pytest.mark.parametrize("limit", [100, 20_000, 200_000])
def test_full_disk(tmp_path: Path, make: Make, verb: str, limit: int) -> None:
    path = tmp_path / "out.h5"
    if verb != "write":
        write({"old": make(np.arange(7.0))}, path)
    before = path.read_bytes() if path.exists() else None
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=write_sevens, args=(path, verb, ready, limit))
    process.start()
    process.join(60)
    assert process.exitcode == 3
    assert (path.read_bytes() if path.exists() else None) == before
    assert not list(tmp_path.glob("*.partial"))


def test_folder_that_cannot_be_written(tmp_path: Path, make: Make) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(WriteError, match="cannot be written"):
        write({"a": make(np.zeros(7))}, folder / "out.h5")


@pytest.mark.slow
def test_two_gigabytes_in_less_than_one(tmp_path: Path) -> None:
    code = """
    import resource, sys
    import dask.array as da, numpy as np, sidpy
    from pycroclass.writers import write
    array = da.random.default_rng(0).random((64, 1024, 4096), chunks=(1, 1024, 4096)).astype("f8")
    dataset = sidpy.Dataset.from_array(array, title="big")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write({"big": dataset, "sum": sidpy.Dataset.from_array(array.sum(axis=0), title="sum")}, sys.argv[1])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    path = tmp_path / "out.h5"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 2 << 30
    assert float(result.stdout) < 1024
