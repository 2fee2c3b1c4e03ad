"""A run that is killed leaves nothing that looks whole, harms nothing that was there, and is gone on with as if nothing had been."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pyNSID
import pytest
from jobs import FITTED, SIMPLE, Work

import pycroclass as pc
from pycroclass.errors import PycroclassError


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work.of(tmp_path, SIMPLE)


def wait_for_blocks(work: Work, process: subprocess.Popen[str], n: int = 3) -> None:
    """Until some blocks are on the disk and known to be."""
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if len(work.journal.read_bytes().splitlines()) > n:
                return
        time.sleep(0.01)


def mains(path: Path) -> list[str]:
    with h5py.File(path, "r") as file:
        return [dataset.name for dataset in pyNSID.hdf_utils.get_all_main(file)]


def check_partial(partial: Path, whole: dict[str, np.ndarray]) -> None:
    """No reader takes it for complete, unless it is and only its last name was missing."""
    found = []
    with contextlib.suppress(OSError, KeyError, RuntimeError):  # it may be no readable file
        found = mains(partial)
    if not found:
        with pytest.raises(PycroclassError):
            pc.read(partial)
    for name in found:
        with h5py.File(partial, "r") as file:
            np.testing.assert_array_equal(file[name][()], whole[name.strip("/")])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(work: Work, number: int) -> None:
    whole = work.finish()
    work.out.unlink()
    process = work.start()
    wait_for_blocks(work, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "run the same command again to go on" in errors
    assert not work.out.exists()
    n_before = len(work.journal.read_bytes().splitlines())
    assert n_before > 3
    work.finish()
    work.assert_finished_as(whole)


@pytest.mark.slow
def test_the_second_ctrl_c_ends_at_once(work: Work) -> None:
    process = work.start()
    wait_for_blocks(work, process)
    process.send_signal(signal.SIGSTOP)  # so that both signals are there before it can act on the first
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert not work.out.exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("recipe", [SIMPLE, FITTED], ids=["simple", "fitted"])
def test_killed_at_random_times(recipe: str, tmp_path: Path) -> None:
    work = Work.of(tmp_path, recipe)
    whole = work.finish()
    work.out.unlink()
    chance = random.Random(0)
    n_cut_off = 0
    for _ in range(10):
        process = work.start()
        while process.poll() is None and not work.left_over:  # before that there is nothing to harm
            time.sleep(0.005)
        time.sleep(chance.expovariate(4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if work.partial.exists() and not work.out.exists():
            n_cut_off += 1
            check_partial(work.partial, whole)
        elif work.out.exists():
            np.testing.assert_equal(work.values(), whole)
            work.out.unlink()
    assert n_cut_off > 2, "the kills came too early or too late to tell anything"
    work.finish()
    work.assert_finished_as(whole)


@pytest.mark.slow
def test_a_file_that_was_there_stays(work: Work) -> None:
    work.out.write_bytes(b"precious")
    process = work.start("--overwrite")
    wait_for_blocks(work, process)
    process.kill()
    process.communicate()
    assert work.out.read_bytes() == b"precious"
    whole = work.finish("--overwrite")
    work.out.unlink()
    assert work.left_over == set()
    np.testing.assert_equal(work.finish(), whole)
