"""A run that is killed leaves nothing that looks whole, and harms nothing that was there."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pyNSID
import pytest

import pycroclass as pc
from pycroclass.errors import PycroclassError

RECIPE = "dataset: data\npipeline:\n  - GaussianBlur: {sigma: 2.0}\n  - Log1p\n"


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """A command that takes some seconds, most of them for writing."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        data = file.create_dataset("data", (500, 256, 256), "u2", chunks=(1, 256, 256))
        for i in range(500):
            data[i] = rng.poisson(20, (256, 256))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = "from pycroclass.cli import main; main()"
    files = [str(tmp_path / name) for name in ("recipe.yaml", "source.h5")]
    return [sys.executable, "-W", "ignore", "-c", command, "run", *files, "-o", str(tmp_path / "out.h5"), "--overwrite"]


def mains(path: Path) -> list[h5py.Dataset]:
    with h5py.File(path, "r") as file:
        return [dataset.name for dataset in pyNSID.hdf_utils.get_all_main(file)]


def check_partial(partial: Path, whole: np.ndarray) -> None:
    """No reader takes it for complete, unless it is and only its last name was missing."""
    found = []
    with contextlib.suppress(OSError, KeyError, RuntimeError):  # it may be no readable file
        found = mains(partial)
    if not found:
        with pytest.raises(PycroclassError):
            pc.read(partial)
    for name in found:
        with h5py.File(partial, "r") as file:
            np.testing.assert_array_equal(file[name][()], whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_times(job: list[str], tmp_path: Path) -> None:
    out, partial = tmp_path / "out.h5", tmp_path / "out.h5.partial"
    subprocess.run(job, check=True, capture_output=True)
    whole = np.asarray(next(iter(pc.read(out).values())))
    before = out.read_bytes()
    chance = random.Random(0)
    n_partial = 0
    for attempt in range(20):
        if attempt % 2:
            out.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        process = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not partial.exists():  # before that there is nothing to harm
            time.sleep(0.005)
        time.sleep(chance.expovariate(2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if out.exists():
            np.testing.assert_array_equal(np.asarray(next(iter(pc.read(out).values()))), whole)
        else:
            assert attempt % 2, "a file that was there is gone"
        if partial.exists():
            n_partial += 1
            check_partial(partial, whole)
        if not out.exists():
            out.write_bytes(before)
    assert n_partial > 3, "the kills came too early or too late to tell anything"
    subprocess.run(job, check=True, capture_output=True)
    assert not partial.exists()
