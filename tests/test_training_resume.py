"""A training that is cut off ends as if it had not been; and what else a session is for."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sidpy
import torch
from test_training import SMALL, frames

from pycroclass.bundle import Bundle
from pycroclass.errors import DataError, ParameterError, ReadError
from pycroclass.estimators import NetworkClassifier, Progress, Session, _history
from pycroclass.estimators._history import HistoryLog
from pycroclass.operators import Log1p
from pycroclass.readers import read
from pycroclass.stage import Execution
from pycroclass.training import train

FULL = replace(
    SMALL,
    parameters={"width": 4, "dropout": 0.3},
    epochs=5,
    balance={"method": "sampler"},  # type: ignore[arg-type]
    augmentation={"preset": "micrograph", "mixup": 0.3},
    optimisation={"averaging": 0.9, "accumulate": 2, "label_smoothing": 0.1, "precision": "bfloat16"},  # type: ignore[arg-type]
)
PLAIN = replace(SMALL, parameters={"width": 4}, epochs=5)


class CutOffError(Exception):
    """Stands for a power cut."""


class Cutter:
    """Cuts a training off at the end of an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, progress: Progress) -> None:
        if progress.result and progress.epoch == self.after:
            raise CutOffError


@pytest.fixture(scope="module")
def data() -> sidpy.Dataset:
    return frames(60)[0]


def cut_off(dataset: sidpy.Dataset, classifier: NetworkClassifier, path: Path, after: int) -> None:
    with pytest.raises(CutOffError):
        train(dataset, classifier, session=Session(checkpoint=path, checkpoint_seconds=0, progress=Cutter(after)))


@pytest.mark.parametrize("classifier", [PLAIN, FULL], ids=["plain", "all options"])
def test_cut_off_twice_gives_the_same_bits(data: sidpy.Dataset, classifier: NetworkClassifier, tmp_path: Path) -> None:
    whole = train(data, classifier)
    path = tmp_path / "checkpoint"
    for after in (2, 4):  # told before it is kept, so epoch 2 is lost once and done again
        cut_off(data, classifier, path, after)
        assert path.exists()
    seen: list[int] = []
    state = torch.random.get_rng_state()
    again = train(data, classifier, session=Session(checkpoint=path, progress=lambda p: seen.append(p.epoch)))
    assert torch.equal(state, torch.random.get_rng_state())
    assert min(seen) == 4
    assert again.digest == whole.digest
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    once_more = train(data, classifier, session=Session(checkpoint=path, progress=lambda _: pytest.fail("it was done already")))
    assert once_more.digest == whole.digest


def test_bits_differ_where_the_seed_or_an_option_does(data: sidpy.Dataset) -> None:
    bundles = [train(data, replace(FULL, epochs=1, **change)) for change in ({}, {}, {"seed": 1}, {"augmentation": "none"})]
    assert bundles[0].digest == bundles[1].digest
    assert len({bundle.pipeline for bundle in bundles}) == 3


def test_a_checkpoint_of_another_training_is_refused(data: sidpy.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    cut_off(data, PLAIN, path, 2)
    with pytest.raises(DataError, match=r"another training: NetworkClassifier.learning_rate differ"):
        train(data, replace(PLAIN, learning_rate=1e-3), session=Session(checkpoint=path))
    with pytest.raises(DataError, match="preprocessing"):
        train(data, PLAIN, preprocessing=Log1p(), session=Session(checkpoint=path))
    with pytest.raises(DataError, match="n_usable"):
        train(frames(59)[0], PLAIN, session=Session(checkpoint=path))
    content = path.read_bytes()
    for damaged in (b"", content[:100], b"x" * 50):
        path.write_bytes(damaged)
        with pytest.raises(ReadError, match="Remove it to begin anew"):
            train(data, PLAIN, session=Session(checkpoint=path))


def test_a_file_that_changed_is_another_training(tmp_path: Path) -> None:
    values, labels = (np.asarray(each) for each in frames(60))
    np.save(tmp_path / "frames.npy", values)

    def train_file(progress: Cutter | None) -> None:
        (dataset,) = read(tmp_path / "frames.npy").values()
        session = Session(checkpoint=tmp_path / "checkpoint", checkpoint_seconds=0, progress=progress)
        train(dataset, replace(PLAIN, axes=("axis_1", "axis_2")), labels=labels, session=session)

    with pytest.raises(CutOffError):
        train_file(Cutter(2))
    np.save(tmp_path / "frames.npy", values + 1)
    with pytest.raises(DataError, match="another training: sources differ"):
        train_file(None)


def test_other_values_in_memory_are_another_training(data: sidpy.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    cut_off(data, PLAIN, path, 2)
    with pytest.raises(DataError, match="another training: sources differ"):
        train(frames(60, seed=1)[0], PLAIN, session=Session(checkpoint=path))
    assert train(frames(60, chunk=60)[0], PLAIN, session=Session(checkpoint=path)).digest == train(data, PLAIN).digest


def test_other_blocks_are_another_training_where_data_are_streamed(tmp_path: Path) -> None:
    image = 23 * 21 * 4
    streamed = replace(PLAIN, epochs=3, pool_bytes=30 * image)

    def train_in_blocks(n_images: int, name: str, progress: Cutter | None = None) -> Bundle:
        session = Session(checkpoint=tmp_path / name, checkpoint_seconds=0, progress=progress)
        return train(frames(60, chunk=60)[0], streamed, execution=Execution(block_bytes=n_images * image), session=session)

    with pytest.raises(CutOffError):
        train_in_blocks(5, "checkpoint", Cutter(2))
    with pytest.raises(DataError, match="another training: blocks differ"):
        train_in_blocks(13, "checkpoint")
    assert train_in_blocks(5, "checkpoint").digest == train_in_blocks(5, "whole").digest


def test_time_runs_out_and_the_rest_comes_later(data: sidpy.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    first = train(data, PLAIN, session=Session(checkpoint=path, max_seconds=0))
    assert first.training["stopped"] == "max_seconds"
    assert len(first.training["history"]) == 1
    rest = train(data, PLAIN, session=Session(checkpoint=path))
    assert rest.digest == train(data, PLAIN).digest
    assert "stopped" not in rest.training


def test_stops_when_nothing_is_gained(data: sidpy.Dataset) -> None:
    patient = replace(PLAIN, learning_rate=2e-2, epochs=12, optimisation={"patience": 2})  # type: ignore[arg-type]
    training = train(data, patient, labels=np.random.default_rng(0).permutation(60) % 2).training  # nothing can be learned
    losses = [epoch["validation_loss"] for epoch in training["history"]]
    best = int(np.argmin(losses))
    assert training["stopped"] == "patience"
    assert len(losses) == best + 3 < 12


def test_log_and_progress(data: sidpy.Dataset, tmp_path: Path) -> None:
    told: list[Progress] = []
    session = Session(log=tmp_path / "log", checkpoint=tmp_path / "c", checkpoint_seconds=0, progress=told.append)
    bundle = train(data, replace(PLAIN, epochs=2), session=session)
    with open(tmp_path / "log" / "history.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == bundle.training["history"]
    assert [p.epoch for p in told if p.result] == [1, 2]
    assert all(p.n_items == 45 and p.n_epochs == 2 for p in told)
    assert [p.n_done for p in told if p.result] == [45, 45]


def test_events_go_to_tensorboard_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[object, ...]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            written.append((folder, purge_step))

        def add_scalar(self, *values: object) -> None:
            written.append(values)

        def flush(self) -> None:
            written.append(())

    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setattr(_history.importlib.util, "find_spec", lambda name: name)
    HistoryLog(tmp_path, n_before=3).write([{"epoch": 4, "accuracy": 0.5}])
    assert written == [(str(tmp_path), 4), ("accuracy", 0.5, 4), ()]


@pytest.fixture
def obeys_ctrl_c() -> Iterator[None]:
    """Shells let what they start in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("obeys_ctrl_c")
def test_ctrl_c_stays_ctrl_c(data: sidpy.Dataset) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(_: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(data, PLAIN, session=Session(progress=interrupt))
    assert signal.getsignal(signal.SIGINT) is before


def test_trains_in_a_thread(data: sidpy.Dataset) -> None:
    found: list[Bundle] = []
    n_threads = torch.get_num_threads()  # equal bits need equal counts, and a new thread has one of its own

    def work() -> None:
        torch.set_num_threads(n_threads)
        found.append(train(data, replace(PLAIN, epochs=1)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0].digest == train(data, replace(PLAIN, epochs=1)).digest


def test_sessions_are_checked() -> None:
    with pytest.raises(ParameterError):
        Session(max_seconds=-1)
    with pytest.raises(ParameterError):
        Session(checkpoint_seconds=-1)


SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_training_resume import FULL, Session, frames, replace, train
folder = Path(sys.argv[2])
pause = float(sys.argv[3])
def slowly(progress):
    time.sleep(pause)
session = Session(checkpoint=folder / "checkpoint", checkpoint_seconds=0, progress=slowly, log=folder / "log")
train(frames(60)[0], replace(FULL, epochs=8), session=session).save(folder / "b.safetensors")
"""


def start(folder: Path, pause: float) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), str(Path(__file__).parent), str(folder), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_gone_on_with_gives_the_same_bits(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", 0)
    _, errors = whole.communicate(timeout=400)
    assert whole.returncode == 0, errors
    folder = tmp_path / "killed"
    sizes = []
    for number in range(3):
        process = start(folder, 0.3)
        before = _stamp(folder / "checkpoint")
        while process.poll() is None and _stamp(folder / "checkpoint") == before:  # until it got further than the one before
            time.sleep(0.02)
        time.sleep(0.13 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (folder / "b.safetensors").exists()
        sizes.append(_n_rows(folder / "log" / "history.csv"))
    assert sizes == sorted(sizes)
    assert sizes[0] >= 1
    assert sizes[-1] < 8, "it was not killed before its end"
    last = start(folder, 0)
    _, errors = last.communicate(timeout=400)
    assert last.returncode == 0, errors
    mine, theirs = (Bundle.load(tmp_path / name / "b.safetensors") for name in ("killed", "whole"))
    assert mine.digest == theirs.digest
    assert (tmp_path / "killed/b.safetensors").read_bytes() == (tmp_path / "whole/b.safetensors").read_bytes()


@pytest.mark.slow
def test_terminated_is_no_success(tmp_path: Path) -> None:
    process = start(tmp_path, 0.3)
    while process.poll() is None and not (tmp_path / "checkpoint").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _n_rows(path: Path) -> int:
    return len(path.read_text().splitlines()) - 1
