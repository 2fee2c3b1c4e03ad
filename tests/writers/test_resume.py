"""A run with ``resume=True`` can be broken off anywhere, and ends as if it had not been."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import sidpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resumable import N_BLOCKS, N_LOADS, bits, job

import pycroclass as pc
from pycroclass.errors import ParameterError, ReadError, WriteError
from pycroclass.sid import unwrap
from pycroclass.writers import Written, write
from pycroclass.writers import journal as journal_module
from pycroclass.writers.journal import read_journal
from pycroclass.writers.run import differences
from pycroclass.writers.work import Job, Work

TOTAL = sum(N_BLOCKS.values())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bits of an unbroken run, written without any of the machinery of resuming."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "source.raw").write_bytes(b"source")
    return bits(write(job(folder / "source.raw"), folder / "out.h5"))


class Trouble(Exception):
    pass


class Fail:
    """Raises once, at the n-th call."""

    def __init__(self, at: int, error: type[BaseException] = Trouble) -> None:
        self.at, self.error, self.calls = at, error, 0

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error("on purpose")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


UNFINISHED = ["out.h5.partial", "out.h5.partial.journal", "source.raw"]
FINISHED = ["out.h5", "source.raw"]


@pytest.fixture
def broken(tmp_path: Path, source: Path) -> Path:
    """A run that failed at its ninth block."""
    with dask.config.set(num_workers=1), pytest.raises(Trouble):
        write(job(source, Fail(9)), tmp_path / "out.h5", resume=True)
    assert names(tmp_path) == UNFINISHED
    return tmp_path / "out.h5"


def test_only_what_is_missing_is_computed(broken: Path, source: Path, whole: dict[str, bytes]) -> None:
    _, blocks = read_journal(broken.with_name("out.h5.partial.journal")) or ({}, {})
    kept = {number for name, number in blocks if name == "frames"}
    assert 0 < len(kept) < N_BLOCKS["frames"]
    counter, seen = Fail(0), []
    datasets = job(source, counter)
    write(datasets, broken, resume=True, progress=seen.append)
    assert names(broken.parent) == FINISHED
    assert bits(broken) == whole
    assert counter.calls == N_LOADS  # `total` needs all of them
    assert [(w.done, w.total) for w in seen] == [(i + 1, TOTAL) for i in range(TOTAL)]
    for name in N_BLOCKS:
        assert sum(w.values.size for w in seen if w.name == name) == datasets[name].size


def test_tasks_of_finished_blocks_are_not_run(tmp_path: Path, source: Path) -> None:
    counter = Fail(6)
    with dask.config.set(num_workers=1), pytest.raises(Trouble):
        write({"frames": job(source, counter)["frames"]}, tmp_path / "out.h5", resume=True)
    counter = Fail(0)
    write({"frames": job(source, counter)["frames"]}, tmp_path / "out.h5", resume=True)
    assert counter.calls == N_LOADS - 5


def test_values_of_finished_blocks_are_reported(broken: Path, source: Path) -> None:
    seen: list[Written] = []
    write(job(source), broken, resume=True, progress=seen.append)
    got = sum(written.values.sum() for written in seen if written.name == "frames")
    with h5py.File(broken) as file:
        np.testing.assert_allclose(got, file["Measurement_000/Channel_000/frames/frames"][()].sum())


def test_unfinished_is_no_hdf5_file(broken: Path) -> None:
    with pytest.raises(ReadError):
        pc.read(broken.with_name("out.h5.partial"))


def test_finished_run_is_recognised(broken: Path, source: Path) -> None:
    write(job(source), broken, resume=True)
    before = broken.read_bytes()
    counter = Fail(0)
    assert write(job(source, counter), broken, resume=True) == broken
    assert (counter.calls, broken.read_bytes() == before) == (0, True)
    with pytest.raises(WriteError, match="exists already"):
        write(job(source, key="other"), broken, resume=True)
    with pytest.raises(WriteError, match="exists already"):
        write(job(source), broken)


def test_result_of_a_plain_run_is_recognised(tmp_path: Path, source: Path) -> None:
    path = write(job(source), tmp_path / "out.h5")
    counter = Fail(0)
    write(job(source, counter), path, resume=True)
    assert counter.calls == 0


@pytest.mark.parametrize("has_links", [True, False])
def test_killed_between_the_last_two_steps(broken: Path, source: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", Fail(1, PermissionError))
    journal = broken.with_name("out.h5.partial.journal")
    unlink = Path.unlink

    def stop(path: Path, missing_ok: bool = False) -> None:
        if path == (journal if not has_links else broken.with_name("out.h5.partial")):
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", stop)
    with pytest.raises(KeyboardInterrupt):
        write(job(source), broken, resume=True)
    monkeypatch.undo()
    assert broken.exists()
    counter = Fail(0)
    write(job(source, counter), broken, resume=True)
    assert counter.calls == 0
    assert names(broken.parent) == FINISHED


def test_overwrite_takes_over_at_the_end(broken: Path, source: Path, whole: dict[str, bytes]) -> None:
    broken.write_bytes(b"old")
    with pytest.raises(WriteError, match="exists already"):
        write(job(source), broken, resume=True)
    with pytest.raises(Trouble):
        write(job(source, Fail(1)), broken, resume=True, overwrite=True)
    assert broken.read_bytes() == b"old"
    write(job(source), broken, resume=True, overwrite=True)
    assert bits(broken) == whole


def test_plain_write_does_not_destroy_it(broken: Path, source: Path, whole: dict[str, bytes]) -> None:
    for overwrite in (False, True):
        with pytest.raises(WriteError, match=r"resume=True, or remove .*partial and .*journal"):
            write(job(source), broken, overwrite=overwrite)
    assert names(broken.parent) == UNFINISHED
    write(job(source), broken, resume=True)
    assert bits(broken) == whole


def test_what_changed_is_named_and_refused(broken: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(match: str, datasets: dict[str, sidpy.Dataset] | None = None, **options: Any) -> None:
        with pytest.raises(WriteError, match=match):
            write(datasets or job(source), broken, resume=True, **options)
        assert names(broken.parent) == UNFINISHED

    refused("the recipe", job(source, pipeline=["Crop"]))
    refused("the bundle", job(source, bundle={"digest": "sha256:1"}))
    refused("the execution", job(source, execution={"block_bytes": 1}))
    refused("the device", job(source, device="cuda"))
    refused("the datasets", {"frames": job(source)["frames"]})
    refused("the group", group="a/b")
    refused(f"the source {source}", digest="full")
    other = job(source)
    other["frames"] = {**job(source)}["columns"]
    refused("the dtype of 'frames'", other)
    monkeypatch.setattr("pycroclass.writers.run.versions", lambda: {"pycroclass": "0", "torch": "1", "numpy": "2"})
    refused("the version of torch")
    monkeypatch.undo()
    source.write_bytes(b"other content")
    refused(f"the source {source}")


def test_new_time_of_a_source_is_no_change(broken: Path, source: Path, whole: dict[str, bytes]) -> None:
    os.utime(source, (1, 1))
    write(job(source), broken, resume=True)
    assert bits(broken) == whole


def test_differences_of_real_runs(tmp_path: Path) -> None:
    """What `run` records is what the words are made for."""
    np.save(tmp_path / "a.npy", np.arange(600.0, dtype="f4").reshape(10, 6, 10))
    data = next(iter(pc.read(tmp_path / "a.npy").values()))

    def begin(pipeline: Any, execution: pc.Execution | None = None) -> dict[str, Any]:
        results = pc.run(pipeline, data, execution=execution)
        path = tmp_path / "begun.h5"
        with pytest.raises(Trouble):
            write({"a": results}, path, resume=True, progress=Fail(1))
        header, _ = read_journal(tmp_path / "begun.h5.partial.journal") or ({}, {})
        for leftover in tmp_path.glob("begun*"):
            leftover.unlink()
        return header["run"]

    first = begin(pc.Log1p())
    assert differences(first, begin(pc.Log1p())) == []
    assert differences(first, begin(pc.Sqrt())) == ["the recipe"]
    assert "the execution" in differences(first, begin(pc.Log1p(), pc.Execution(block_bytes=1 << 10)))


def test_source_that_changes_meanwhile_leaves_nothing(tmp_path: Path, source: Path) -> None:
    with pytest.raises(WriteError, match="changed while"):
        write(job(source, lambda _: source.write_bytes(b"else") and None), tmp_path / "out.h5", resume=True)
    assert names(tmp_path) == ["source.raw"]


def test_what_cannot_be_resumed(tmp_path: Path, source: Path) -> None:
    with pytest.raises(ParameterError, match="without compression"):
        write(job(source), tmp_path / "out.h5", resume=True, compression="gzip")
    with pytest.raises(ParameterError, match="nobody can tell"):
        write({"given": sidpy.Dataset.from_array(np.eye(3), title="t")}, tmp_path / "out.h5", resume=True)
    with pytest.raises(ParameterError, match="shard_bytes"):
        write(job(source), tmp_path / "out.h5", shard_bytes=-1)
    assert names(tmp_path) == ["source.raw"]


def test_damage_is_computed_again_or_refused(broken: Path, source: Path, whole: dict[str, bytes]) -> None:
    partial, journal = broken.with_name("out.h5.partial"), broken.with_name("out.h5.partial.journal")
    header, blocks = read_journal(journal) or ({}, {})
    (piece,) = header["ground"]["pieces"]["frames"]
    lost = min(number for name, number in blocks if name == "frames")
    offset = piece["place"]["offset"] + (lost // 2 * 3 * 30 + lost % 2 * 4 * 5) * 8
    with open(partial, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 8)
    kept = shutil.copytree(broken.parent, broken.parent / "kept")
    write(job(source), broken, resume=True)
    assert bits(broken) == whole

    os.truncate(kept / "out.h5.partial", 5000)
    with pytest.raises(WriteError, match="cut off"):
        write(job(source), kept / "out.h5", resume=True)
    (kept / "out.h5.partial.journal").write_text("no journal\n" * 2)
    with pytest.raises(WriteError, match="damaged"):
        write(job(source), kept / "out.h5", resume=True)


def test_journal_cut_off_anywhere(tmp_path_factory: pytest.TempPathFactory, whole: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("cut")
    source = folder / "source.raw"
    source.write_bytes(b"source")
    with pytest.raises(Trouble):
        write(job(source, Fail(12)), folder / "out.h5", resume=True)
    partial, journal = folder / "out.h5.partial", folder / "out.h5.partial.journal"
    before, lines = partial.read_bytes(), journal.read_bytes()

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(size=st.integers(0, len(lines)), torn=st.binary(max_size=3))
    def check(size: int, torn: bytes) -> None:
        partial.write_bytes(before)
        journal.write_bytes(lines[:size] + (torn if size > lines.index(b"\n") else b""))
        write(job(source), folder / "out.h5", resume=True)
        assert bits(folder / "out.h5") == whole
        (folder / "out.h5").unlink()

    check()
    for size in range(lines.index(b"\n"), len(lines) + 1):  # every byte: what is read is true
        journal.write_bytes(lines[:size])
        _, blocks = read_journal(journal) or ({}, {})
        assert set(blocks.items()) <= set(read_blocks(lines).items())
        assert len(blocks) >= lines[:size].count(b"\n") - 1


def read_blocks(lines: bytes) -> dict[tuple[str, int], int]:
    return {(entry[0], entry[1]): entry[2] for entry in map(journal_module._text, lines.split(b"\n")[1:]) if entry is not None}


# --- 480 faults in one process -------------------------------------------------------------------------------------------------------


class Faults:
    """Real functions, each of which fails once at a random call."""

    def __init__(self, patch: pytest.MonkeyPatch, chance: random.Random) -> None:
        self.patch, self.chance = patch, chance
        self.hook = Fail(0)
        self.progress = Fail(0)

    def block_function(self) -> None:
        self.hook = Fail(self.chance.randrange(1, N_LOADS + 1))

    def interrupt(self) -> None:
        self.hook = Fail(self.chance.randrange(1, N_LOADS + 1), KeyboardInterrupt)

    def reporting(self) -> None:
        self.progress = Fail(self.chance.randrange(1, TOTAL + 1), self.chance.choice([Trouble, KeyboardInterrupt]))

    def disk(self) -> None:
        code, fail, pwrite = self.chance.choice([errno.ENOSPC, errno.EIO]), Fail(self.chance.randrange(1, 150)), os.pwrite

        def broken(handle: int, data: Any, offset: int) -> int:
            try:
                fail()
            except Trouble:
                if len(data) > 8 and self.chance.random() < 0.5:
                    pwrite(handle, data[: len(data) // 2], offset)
                raise OSError(code, os.strerror(code)) from None
            return pwrite(handle, data, offset)

        self.patch.setattr(os, "pwrite", broken)

    def sync(self) -> None:
        fail, fdatasync = Fail(self.chance.randrange(1, 4)), os.fdatasync

        def broken(handle: int) -> None:
            try:
                fail()
            except Trouble:
                raise OSError(errno.EIO, "lost") from None
            fdatasync(handle)

        self.patch.setattr(os, "fdatasync", broken)
        self.patch.setattr(journal_module, "_SECONDS", 0.002)

    def torn_line(self) -> None:
        fail, append = Fail(self.chance.randrange(1, 4)), journal_module._append

        def broken(handle: int, lines: list[str]) -> None:
            try:
                fail()
            except Trouble:
                text = "".join(lines).encode()
                os.write(handle, text[: self.chance.randrange(len(text))])
                raise OSError(errno.ENOSPC, "full") from None
            append(handle, lines)

        self.patch.setattr(journal_module, "_append", broken)
        self.patch.setattr(journal_module, "_SECONDS", 0.002)


KINDS = ("block_function", "interrupt", "reporting", "disk", "sync", "torn_line")


def break_and_resume(folder: Path, whole: dict[str, bytes], n_faults: int, seed: int) -> dict[str, int]:
    """Break a run, and again, until it is through; what the journal says is checked after each time."""
    chance = random.Random(seed)
    source, out = folder / "source.raw", folder / "out.h5"
    source.write_bytes(b"source")
    struck = dict.fromkeys(KINDS, 0)
    while sum(struck.values()) < n_faults:
        kind = chance.choice(KINDS)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, chance)
            getattr(faults, kind)()
            try:
                write(job(source, faults.hook), out, resume=True, progress=faults.progress)
            except (Trouble, KeyboardInterrupt, WriteError):
                struck[kind] += 1
        if out.exists():
            assert names(folder) == FINISHED
            assert bits(out) == whole
            out.unlink()
        else:
            check_unfinished(folder, whole)
    write(job(source), out, resume=True)
    assert bits(out) == whole
    return struck


def check_unfinished(folder: Path, whole: dict[str, bytes]) -> None:
    """Whatever the journal calls finished is in the file, bit for bit, once."""
    if names(folder) == ["source.raw"]:  # it failed before there was anything to keep
        return
    assert names(folder) == UNFINISHED
    header, blocks = read_journal(folder / "out.h5.partial.journal") or ({}, {})
    data = (folder / "out.h5.partial").read_bytes()
    sizes = {name: len(whole[name]) for name in whole}
    reference = (
        {name: np.frombuffer(whole[name], header["run"]["outputs"][name]["dtype"]) for name in header["run"]["outputs"]} if header else {}
    )
    for name, number in blocks:
        (piece,) = header["ground"]["pieces"][name]
        offset, shape = piece["place"]["offset"], piece["place"]["shape"]
        there = np.frombuffer(data[offset : offset + sizes[name]], reference[name].dtype).reshape(shape)
        grid = header["run"]["outputs"][name]["blocks"]
        index = np.unravel_index(number, [len(part) for part in grid])
        ends = [np.cumsum([0, *part]) for part in grid]
        region = tuple(slice(e[i], e[i + 1]) for e, i in zip(ends, index, strict=True))
        np.testing.assert_array_equal(there[region], reference[name].reshape(shape)[region])


def test_faults(tmp_path: Path, whole: dict[str, bytes]) -> None:
    break_and_resume(tmp_path, whole, 30, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_480_faults(tmp_path: Path, whole: dict[str, bytes]) -> None:
    struck = break_and_resume(tmp_path, whole, 480, seed=0)
    assert sum(struck.values()) == 480
    assert all(n > 20 for n in struck.values()), struck


# --- processes that are killed -------------------------------------------------------------------------------------------------------

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pycroclass.writers"])


def pause(_: tuple[int, ...]) -> None:
    time.sleep(0.02)


def write_slowly(source: Path, out: Path, ready: Any) -> None:
    """Runs in a process of its own."""
    journal_module._SECONDS = 0.01
    datasets = job(source, pause)
    ready.set()
    write(datasets, out, resume=True)


def kill_and_resume(folder: Path, whole: dict[str, bytes], n_kills: int, seed: int) -> list[int]:
    """Kill a writer again and again; returns how many blocks the journal held after each kill."""
    chance = random.Random(seed)
    source, out = folder / "source.raw", folder / "out.h5"
    source.write_bytes(b"source")
    kept = []
    while len(kept) < n_kills:
        ready = CONTEXT.Event()
        process = CONTEXT.Process(target=write_slowly, args=(source, out, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.join()
        if out.exists():
            assert bits(out) == whole
            for path in folder.glob("out.h5*"):
                path.unlink()
        else:
            if (folder / "out.h5.partial.journal").exists():
                check_unfinished(folder, whole)
            _, blocks = read_journal(folder / "out.h5.partial.journal") or ({}, {})
            kept.append(len(blocks))
    write(job(source), out, resume=True)
    assert bits(out) == whole
    assert names(folder) == FINISHED
    return kept


def test_killed_and_resumed(tmp_path: Path, whole: dict[str, bytes]) -> None:
    kill_and_resume(tmp_path, whole, 3, seed=1)


@pytest.mark.slow
def test_killed_twenty_times_and_resumed(tmp_path: Path, whole: dict[str, bytes]) -> None:
    kept = kill_and_resume(tmp_path, whole, 20, seed=0)
    assert any(0 < n < TOTAL for n in kept)


# --- a full disk ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_found_before_anything_is_computed(small_disk: Path, source: Path) -> None:
    (small_disk / "other").write_bytes(bytes(90_000))
    for resume in (False, True):
        counter = Fail(0)
        with pytest.raises(WriteError, match="No space left"):
            write(job(source, counter), small_disk / "out.h5", resume=resume)
        assert counter.calls == 0
        assert names(small_disk) == ["other"]


def test_disk_that_fills_up_meanwhile(small_disk: Path, source: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where space cannot be reserved."""
    monkeypatch.setattr("pycroclass.writers.places.Place.reserve", lambda *_: None)
    other, lock, fills = small_disk / "other", threading.Lock(), [True]

    def fill(_: tuple[int, ...]) -> None:
        with lock:  # a thread may be at it still when the run has ended
            if fills:
                with open(other, "ab") as file:
                    file.write(bytes(8192))

    with pytest.raises((WriteError, OSError)):
        write(job(source, fill), small_disk / "out.h5", resume=True)
    with lock:
        fills.clear()
    other.unlink()
    write(job(source), small_disk / "out.h5", resume=True)
    assert bits(small_disk / "out.h5") == whole
    assert names(small_disk) == ["out.h5"]


# --- what goes through the graph -------------------------------------------------------------------------------------------------------


def test_outputs_of_one_stage_are_one_group_and_a_source_is_an_output_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((50, 8, 8), "f4"))
    data = next(iter(pc.read(tmp_path / "a.npy").values()))
    data = data.rechunk((7, 8, 8))
    logs = {name: pc.run(pc.Log1p(), data, execution=pc.Execution(block_bytes=7 * 8 * 8 * 4)) for name in ("log", "again")}
    results = {"raw": data, **logs, "sum": logs["log"] + 0, "same": logs["log"] - 0}
    arrays = {name: unwrap(dataset)[0] for name, dataset in results.items()}
    assert {array.npartitions for array in arrays.values()} == {8}
    work = Work.of([Job(array, cast(Any, None)) for array in arrays.values()])
    # `sum` and `same` both come from `log` and nothing else: one group
    assert len(work.groups) == 8 * 4
    assert sorted(key[0] for group in work.groups for key in group.keys) == sorted(a.name for a in arrays.values() for _ in range(8))
    path = write(results, tmp_path / "out.h5")
    with h5py.File(path) as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[f"Measurement_000/Channel_000/{name}/{name}"][()], array.compute())


def test_tasks_that_only_finished_blocks_need_are_left_out() -> None:
    """Also where as many blocks are wanted in all as one array has."""
    x, y = (da.full((8, 4), value, chunks=2).sum(1) for value in (1.0, 2.0))
    work = Work.of([Job(x, cast(Any, None), done={0, 1}), Job(y, cast(Any, None), done={0, 1})])
    wanted = {(array.name, i) for array in (x, y) for i in (2, 3)}
    assert {key for key in work.tasks if key[0] in (x.name, y.name)} == wanted
    assert {key for group in work.groups for key in work.chain(group).keys} == wanted
