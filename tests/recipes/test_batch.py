"""Many files: each for itself, none lost, and an unfinished one gone on with as if nothing had happened."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from distributed import Client
from rich.console import Console

import pycroclass as pc
from pycroclass import cli, cluster, provenance
from pycroclass.commands import running
from pycroclass.errors import BundleError, ClusterError, MissingDependencyError, WriteError
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import ImageResNet
from pycroclass.recipes.batch import Advanced, Event, Failed, Job, Settings, Started, Summary, jobs, run_batch
from pycroclass.recipes.earlier import discard
from pycroclass.recipes.interrupt import Interrupt
from pycroclass.recipes.progress import JsonLines, _outcome
from pycroclass.writers.record import versions

SMALL = pc.Execution(device="cpu", block_bytes=8_000)
SIMPLE = pc.Recipe.from_dict({"dataset": "data", "pipeline": [{"GaussianBlur": {"sigma": 1.0}}]})
FITTED = pc.Recipe.from_dict(
    {
        "dataset": "data",
        "pipeline": [{"PCA": {"n_components": 3, "axes": ["y", "x"]}}, {"KMeans": {"n_clusters": 2, "seed": 0}}],
        "mean_by_label": True,
        "nonfinite": "mask",
    }
)
Runner = Callable[..., tuple[Summary, list[Event]]]


def frames(seed: int = 0, n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 15, 17)) + (np.arange(n) % 3 == 0)[:, None, None] * 5).astype("f4")


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Three files of frames, in chunks that do not divide them."""
    for i, name in enumerate("abc"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("data", data=frames(i), chunks=(7, 15, 17))
    return [str(tmp_path / f"{name}.h5") for name in "abc"]


@pytest.fixture
def batch(tmp_path: Path) -> Runner:
    """Run a recipe over files into the folder ``out``; what was said comes too."""

    def run(recipe: pc.Recipe, files: list[str], react: Callable[[Event], None] = lambda event: None, **settings: Any) -> Any:
        events: list[Event] = []

        def report(event: Event) -> None:
            events.append(event)
            react(event)

        todo = [Job(file, tmp_path / "out" / Path(file).name) for file in files]
        (tmp_path / "out").mkdir(exist_ok=True)
        interrupt = Interrupt()
        with interrupt.listening():
            summary = run_batch(recipe, todo, Settings(execution=SMALL, **settings), report=report, interrupt=interrupt)
        return summary, events

    return run


def after(n_blocks: int, action: Callable[[Advanced], None]) -> Callable[[Event], None]:
    """Do something once, when so many blocks are written."""
    seen: list[Event] = []

    def react(event: Event) -> None:
        if isinstance(event, Advanced):
            seen.append(event)
            if len(seen) == n_blocks:
                action(event)

    return react


def signalling(number: signal.Signals) -> Callable[[Advanced], None]:
    """Send this process a signal, and give its main thread the time to take it before other blocks are done."""

    def send(event: Advanced) -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.2)

    return send


def values(path: Path) -> dict[str, np.ndarray]:
    return {key: np.asarray(dataset) for key, dataset in pc.read(path).items()}


def assert_same(path: Path, expected: dict[str, np.ndarray]) -> None:
    found = values(path)
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        np.testing.assert_array_equal(found[key], wanted)


def of_kind(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("recipe", [SIMPLE, FITTED], ids=["simple", "fitted"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_where_it_was(
    batch: Runner, sources: list[str], tmp_path: Path, recipe: pc.Recipe, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "a.h5"
    batch(recipe, sources[:1])
    expected = values(out)
    out.unlink()
    summary, events = batch(recipe, sources[:1], after(3, signalling(number)))
    assert (summary.signal, summary.exit_code, len(summary.not_tried)) == (number, 128 + number, 1)
    assert not out.exists()
    n_before = len(of_kind(events, Advanced))
    total = of_kind(events, Advanced)[0].total
    assert n_before < total, "it was stopped too late to tell anything"
    monkeypatch.setattr(pc.Recipe, "fit", lambda *_, **__: pytest.fail("fitted again"))
    summary, events = batch(recipe, sources[:1])
    assert summary.exit_code == 0
    advanced = of_kind(events, Advanced)
    assert 0 < len(advanced) < total
    assert advanced[-1].done == advanced[-1].total == total
    (finished,) = summary.finished
    assert (finished.resumed, finished.total) == (total - len(advanced), total)
    assert f"{finished.resumed} of {total} blocks were done already" in _outcome(finished)
    assert_same(out, expected)
    assert [path.name for path in out.parent.iterdir()] == ["a.h5"]


def test_what_is_done_is_not_repeated(batch: Runner, sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = batch(FITTED, sources[:2])
    before = [(tmp_path / "out" / name).read_bytes() for name in ("a.h5", "b.h5")]
    monkeypatch.setattr(pc.Recipe, "fit", lambda *_, **__: pytest.fail("fitted again"))
    for overwrite in (False, True):
        again, events = batch(FITTED, sources[:2], overwrite=overwrite)
        assert [done.is_new for done in again.finished] == [False, False]
        assert not of_kind(events, Advanced)
    assert [done.counts for done in again.finished] == [done.counts for done in first.finished]
    assert [(tmp_path / "out" / name).read_bytes() for name in ("a.h5", "b.h5")] == before


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each fit."""
    made: list[str] = []
    fit = pc.Recipe.fit
    monkeypatch.setattr(pc.Recipe, "fit", lambda self, *args, **kwargs: made.append("fit") or fit(self, *args, **kwargs))
    return made


def test_a_finished_fit_is_used_again_by_the_same_versions_only(
    batch: Runner, sources: list[str], fits: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch(FITTED, sources[:1], digest="full")
    with caplog.at_level("INFO"):
        assert not batch(FITTED, sources[:1], digest="full", overwrite=True)[0].finished[0].is_new
    assert len(fits) == 1
    assert "the pipeline is that of the finished result" in caplog.text
    assert not batch(FITTED, sources[:1], digest="full", overwrite=True, restart=True)[0].finished[0].is_new
    assert len(fits) == 2
    new = lambda: {**versions(), "torch": "99.0"}  # noqa: E731  # in both places
    monkeypatch.setattr("pycroclass.writers.run.versions", new)
    monkeypatch.setattr("pycroclass.recipes.earlier.versions", new)
    assert batch(FITTED, sources[:1], digest="full", overwrite=True)[0].finished[0].is_new
    assert len(fits) == 3


def test_a_change_that_only_a_full_digest_sees_is_fitted_again(
    batch: Runner, sources: list[str], fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a file of more than 66 MiB, of which a sampled digest leaves something out."""
    whole = provenance.digest_file
    monkeypatch.setattr(provenance, "digest_file", lambda path, kind: whole(path, kind) if kind == "full" else "sampled:the same")
    batch(FITTED, sources[:1], digest="full")
    with h5py.File(sources[0], "r+") as file:
        file["data"][0] += 1
    assert batch(FITTED, sources[:1], digest="full", overwrite=True)[0].finished[0].is_new
    assert len(fits) == 2


def test_an_unfinished_run_that_is_in_the_way_is_found_before_the_fit(batch: Runner, sources: list[str], fits: list[str]) -> None:
    batch(SIMPLE, sources[:1], after(2, signalling(signal.SIGINT)))
    summary, _ = batch(FITTED, sources[:1])
    assert "unfinished run of another recipe" in str(summary.failed[0].error)
    assert not fits


def test_what_only_looks_like_an_unfinished_run_is_not_thrown_away(tmp_path: Path) -> None:
    ours = ["run.h5.partial", "run.h5.partial.journal", "run.h5.partial.safetensors"]
    for name in (*ours, "run.h5.partial-backup", "run.h5.partial_results.h5", "run.h5"):
        (tmp_path / name).write_text("x")
    discard(tmp_path / "run.h5")
    assert {path.name for path in tmp_path.iterdir()} == {"run.h5.partial-backup", "run.h5.partial_results.h5", "run.h5"}


def test_counts_are_those_of_the_file(batch: Runner, sources: list[str], tmp_path: Path) -> None:
    summary, events = batch(FITTED, sources[:1])
    labels = next(value for key, value in values(tmp_path / "out" / "a.h5").items() if key.endswith("/label"))
    (counts,) = summary.finished[0].counts.values()
    assert sorted(counts.values()) == sorted(np.bincount(labels.ravel()).tolist()) == [20, 40]
    assert of_kind(events, Started)[0].noun == "frames"
    seen = [sum(event.counts["label"].values()) for event in of_kind(events, Advanced)]
    assert seen == sorted(seen)
    assert seen[-1] == 60


def test_another_result_is_not_replaced_unasked(batch: Runner, sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(SIMPLE, sources[:1])
    before = (tmp_path / "out" / "a.h5").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pc.Recipe, "fit", lambda *_, **__: pytest.fail("fitted for nothing"))
        summary, _ = batch(FITTED, sources[:1])
    assert summary.exit_code == 2
    message = str(summary.failed[0].error)
    assert "exists already, made by a run that is not this one. Not the same: the recipe" in message
    assert message.endswith("replace it: --overwrite")
    with h5py.File(sources[0], "r+") as file:
        file["data"][0] += 1
    summary, _ = batch(SIMPLE, sources[:1], restart=True)
    message = str(summary.failed[0].error)
    assert f"Not the same: the source {sources[0]}. " in message
    summary = run_batch(SIMPLE, [Job(sources[1], tmp_path / "out" / "a.h5")], Settings(execution=SMALL), report=lambda event: None)
    assert f"Not the same: the source {sources[1]}. " in str(summary.failed[0].error)
    assert message.endswith("--overwrite; --restart is for unfinished runs alone")
    assert (tmp_path / "out" / "a.h5").read_bytes() == before
    assert batch(FITTED, sources[:1], overwrite=True)[0].finished[0].is_new
    summary, _ = batch(replace(FITTED, nonfinite="refuse"), sources[:1])
    assert "Not the same: what is done with items that are not finite. " in str(summary.failed[0].error)


@pytest.mark.parametrize("recipe", [SIMPLE, FITTED], ids=["simple", "fitted"])
def test_an_unfinished_run_of_something_else_is_kept(batch: Runner, sources: list[str], tmp_path: Path, recipe: pc.Recipe) -> None:
    batch(recipe, sources[:1], after(2, signalling(signal.SIGINT)))
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert "a.h5.partial" in left
    blur = {"GaussianBlur": {"sigma": 3.0}}
    changed = pc.Recipe.from_dict({"dataset": "data", "pipeline": [blur, *pc.serialize.to_dict(recipe.pipeline)[0]]})
    summary, _ = batch(changed, sources[:1])
    assert summary.exit_code == 2
    message = str(summary.failed[0].error)
    assert "run that is not this one. Not the same: the recipe" in message
    assert message.endswith("or throw it away: --restart")
    with h5py.File(sources[0], "r+") as file:
        file["data"][0] += 1
    summary, _ = batch(recipe, sources[:1])
    assert isinstance(summary.failed[0].error, WriteError)
    assert left <= {path.name for path in (tmp_path / "out").iterdir()}
    summary, _ = batch(changed, sources[:1], restart=True)
    assert summary.exit_code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.h5"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own making, when it starts and stops
def test_shards_of_an_unfinished_run_go_with_it(batch: Runner, sources: list[str], tmp_path: Path) -> None:
    shards = tmp_path / "out" / "a.h5.shards"
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None):
        batch(SIMPLE, sources[:1], after(2, signalling(signal.SIGINT)), shard_bytes=0)
        first = set(shards.iterdir())
        batch(SIMPLE, sources[:1], restart=True, shard_bytes=0)
        assert first
        assert not first & set(shards.iterdir())
        result = values(tmp_path / "out" / "a.h5")
        os.link(tmp_path / "out" / "a.h5", tmp_path / "out" / "a.h5.partial")  # as if killed before its last steps
        summary, _ = batch(SIMPLE, sources[:1], restart=True, shard_bytes=0)
    assert not summary.finished[0].is_new
    assert_same(tmp_path / "out" / "a.h5", result)


def test_a_link_leads_to_the_output(batch: Runner, sources: list[str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.h5").symlink_to(tmp_path / "elsewhere" / "real.h5")
    batch(FITTED, sources[:1], after(3, signalling(signal.SIGINT)), overwrite=True)
    assert {path.name.removeprefix("real.h5") for path in (tmp_path / "elsewhere").iterdir()} == {
        ".partial",
        ".partial.journal",
        ".partial.safetensors",
    }
    batch(FITTED, sources[:1], overwrite=True)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["real.h5"]
    assert (tmp_path / "out" / "a.h5").is_symlink()


@pytest.mark.parametrize(("on_error", "done", "not_tried"), [("skip", 2, 0), ("stop", 1, 1)])
def test_a_bad_file_in_the_middle(batch: Runner, sources: list[str], tmp_path: Path, on_error: str, done: int, not_tried: int) -> None:
    Path(sources[1]).write_bytes(b"nonsense")
    summary, events = batch(SIMPLE, sources, on_error=on_error)
    assert (len(summary.finished), len(summary.failed), len(summary.not_tried)) == (done, 1, not_tried)
    assert summary.exit_code == 1
    assert of_kind(events, Failed) == list(summary.failed)
    assert {path.name for path in (tmp_path / "out").iterdir()} == ({"a.h5", "c.h5"} if done == 2 else {"a.h5"})


def test_a_source_that_goes_away_half_way(batch: Runner, sources: list[str], tmp_path: Path) -> None:
    batch(SIMPLE, sources)
    expected = values(tmp_path / "out" / "b.h5")
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    away = tmp_path / "away.h5"

    def take_away(event: Event) -> None:
        if isinstance(event, Advanced) and event.started.job.file == sources[1] and not away.exists():
            os.rename(sources[1], away)

    summary, _ = batch(SIMPLE, sources, take_away)
    assert [failed.job.file for failed in summary.failed] == [sources[1]]
    assert len(summary.finished) == 2
    assert not (tmp_path / "out" / "b.h5").exists()
    lines = io.StringIO()
    JsonLines(Console(file=lines)).close(summary)
    assert json.loads(lines.getvalue())["kept"] == [str(tmp_path / "out" / "b.h5.partial")]
    os.rename(away, sources[1])
    summary, events = batch(SIMPLE, sources)
    assert [done.is_new for done in summary.finished] == [False, True, False]
    assert 0 < len(of_kind(events, Advanced)) < of_kind(events, Advanced)[0].total
    assert_same(tmp_path / "out" / "b.h5", expected)


def test_poisoned_frames_have_no_label(batch: Runner, sources: list[str], tmp_path: Path) -> None:
    data = frames()
    data[[4, 31], 3, 3] = np.nan, np.inf
    with h5py.File(sources[0], "w") as file:
        file["data"] = data
    summary, _ = batch(FITTED, sources[:1])
    assert summary.finished[0].counts["label"]["(none)"] == 2
    labels = next(value for key, value in values(tmp_path / "out" / "a.h5").items() if key.endswith("/label"))
    assert np.flatnonzero(labels == -1).tolist() == [4, 31]


@pytest.mark.parametrize(
    ("error", "done", "not_tried"), [(ValueError("dislikes this frame"), 2, 0), (torch.AcceleratorError("CUDA error"), 1, 1)], ids=repr
)
def test_an_error_that_nobody_expects(
    batch: Runner, sources: list[str], error: Exception, done: int, not_tried: int, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(event: Event) -> None:
        if isinstance(event, Started) and event.job.file == sources[1]:
            raise error

    summary, events = batch(SIMPLE, sources, break_down)
    assert (len(summary.finished), len(summary.failed), len(summary.not_tried)) == (done, 1, not_tried)
    assert of_kind(events, Failed)[0].error is error
    assert "Traceback" in caplog.text
    assert "break_down" in caplog.text


def test_a_bundle_for_other_data_is_named_before_anything_is_computed(
    batch: Runner, sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycroclass.precision.computes_bfloat16", lambda device: pytest.fail("computed with it"))
    item = ItemSpec("image", (ItemAxis("channel", 1), ItemAxis("y", 350), ItemAxis("x", 350)))
    network = pc.Classify("resnet_small", {"n_classes": 2}, ImageResNet(n_classes=2).state_dict(), classes=("miss", "hit"))
    path = pc.Bundle(network, item, ("miss", "hit")).save(tmp_path / "hits.safetensors")
    summary, _ = batch(pc.Recipe(bundle=str(path), dataset="data"), sources[:1], chooses_precision=True)
    (failed,) = summary.failed
    assert isinstance(failed.error, BundleError)
    assert str(failed.error).startswith(f"{path}: the bundle was made for other data: ")


def test_a_full_disk_ends_the_batch(batch: Runner, sources: list[str]) -> None:
    def fill(event: Event) -> None:
        if isinstance(event, Started):
            raise OSError(28, "No space left on device")

    summary, _ = batch(SIMPLE, sources, fill)
    assert (len(summary.failed), len(summary.not_tried)) == (1, 2)


@pytest.mark.parametrize(
    ("files", "output", "message"),
    [
        (["x/run.h5", "y/run.cxi"], "results", "same name"),
        (["x/run.h5", "x/other.h5"], "x", "to be read"),
        (["x/run.h5::entry/data"], "x/../x/run.h5", "to be read"),
    ],
)
def test_outputs_that_would_destroy_something(tmp_path: Path, files: list[str], output: str, message: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(WriteError, match=message):
        jobs([str(tmp_path / file) for file in files], tmp_path / output)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """``pycroclass run RECIPE …`` in small blocks; gives exit code, output and errors."""
    monkeypatch.setattr(running, "_execution", lambda device: SMALL)
    (tmp_path / "recipe.yaml").write_text("dataset: data\npipeline:\n  - GaussianBlur: {sigma: 1.0}\n")

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pycroclass", "run", str(tmp_path / "recipe.yaml"), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return invoke


def test_json_lines(command: Callable[..., tuple[int, str, str]], sources: list[str], tmp_path: Path) -> None:
    Path(sources[1]).write_bytes(b"nonsense")
    code, out, err = command(*sources, "-o", tmp_path / "out", "--json")
    assert (code, err) == (1, "")
    lines = [json.loads(line) for line in out.splitlines()]
    names = [line["event"] for line in lines if line["event"] != "progress"]
    assert names == ["file_started", "file_finished", "file_failed", "file_started", "file_finished", "summary"]
    assert lines[0]["shape"] == [60, 15, 17]
    finished = next(line for line in lines if line["event"] == "file_finished")
    assert (finished["resumed_blocks"], finished["precision"]) == (0, "float32")
    progress = next(line for line in lines if line["event"] == "progress")
    assert {"done", "total", "items", "items_per_second", "seconds_left", "counts"} <= progress.keys()
    assert lines[-1]["exit_code"] == 1
    assert lines[-1]["failed"] == [sources[1]]


def test_one_is_not_several(command: Callable[..., tuple[int, str, str]], sources: list[str], tmp_path: Path) -> None:
    with h5py.File(sources[0], "w") as file:
        file["data"] = frames(n=1)[0]
    _, out, _ = command(sources[0], "-o", tmp_path / "out.h5")
    assert "; 1 frame in " in out


def test_quiet_and_the_list_at_the_end(command: Callable[..., tuple[int, str, str]], sources: list[str], tmp_path: Path) -> None:
    Path(sources[1]).write_bytes(b"nonsense")
    code, out, err = command(*sources, "-o", tmp_path / "out", "--quiet", "--on-error", "stop")
    assert (code, out) == (1, "")
    assert [line.split()[0] for line in err.splitlines()] == ["error", "1", "failed", "not"]
    code, out, _ = command(sources[0], "-o", tmp_path / "out" / "a.h5")
    assert (code, "already done by this very run" in out) == (0, True)


def test_a_picture_that_cannot_be_drawn_changes_nothing(
    command: Callable[..., tuple[int, str, str]], sources: list[str], tmp_path: Path
) -> None:
    code, out, err = command(*sources[:2], "-o", tmp_path / "out", "--json", "--profile", tmp_path / "missing" / "time.png")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["event"] == "summary"
    assert "FileNotFoundError" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", 2, "--scheduler", "tcp://127.0.0.1:1"], "exclude each other"),
        (["--log-dir", "logs"], "--log-dir is for the logs of workers"),
        (["--shard-bytes", 1000], "--shard-bytes is for results that workers write"),
        (["--on-error", "ignore"], "skip or stop"),
        (["--workers", 0], "one worker or more"),
        (["--gpus", "first"], "numbers of GPUs"),
    ],
)
def test_options_that_cannot_be_meant(
    command: Callable[..., tuple[int, str, str]], sources: list[str], tmp_path: Path, options: list[object], message: str
) -> None:
    code, _, err = command(sources[0], "-o", tmp_path / "out.h5", *options)
    assert code == 2
    assert message in err


def test_gpus_need_dask_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install dask-cuda"), cluster.cluster_of_gpus():
        pass


def test_each_gpu_gets_a_worker_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(Exception):
        pass

    def local_cuda_cluster(**options: Any) -> None:
        raise Made(options)

    monkeypatch.setattr(cluster, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=local_cuda_cluster))
    for text, visible in (("all", None), ("0,2", [0, 2])):
        with pytest.raises(Made) as made, cluster.cluster_of_gpus(cluster.gpu_numbers(text)):
            pass
        (options,) = made.value.args
        assert (options["CUDA_VISIBLE_DEVICES"], options["threads_per_worker"]) == (visible, 1)


def test_what_dask_says_of_a_lost_cluster_is_one_error() -> None:
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    closed = SimpleNamespace(status="closed")
    lost = (CancelledError("x"), CommClosedError("x"), OSError("Timed out trying to connect"), TimeoutError())
    for error in (*lost, KilledWorker("task", SimpleNamespace(address="tcp://there"), 4)):
        with pytest.raises(ClusterError), cluster.loss_named(closed):
            raise error
    with pytest.raises(WriteError), cluster.loss_named(closed):
        raise WriteError("the disk is full")
    with pytest.raises(RuntimeError, match="mine"), cluster.loss_named(None):
        raise RuntimeError("mine")
