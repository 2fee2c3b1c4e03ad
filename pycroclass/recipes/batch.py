"""A recipe over many files: each result whole or to be gone on with, no file lost for the fault of another."""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import sidpy
import torch

from pycroclass import cluster
from pycroclass.api import loaded_for
from pycroclass.device import is_out_of_memory
from pycroclass.errors import AxisError, ClusterError, PycroclassError, ReadError, WriteError
from pycroclass.networks.inference import Precision
from pycroclass.precision import choose as choose_precision
from pycroclass.provenance import DigestKind
from pycroclass.readers import read
from pycroclass.readers.options import Fit
from pycroclass.readers.results import read_results
from pycroclass.recipes.class_counts import Counts, Tallies, count_labels
from pycroclass.recipes.earlier import discard, fitted, kept_pipeline
from pycroclass.recipes.interrupt import Interrupt, Stopped
from pycroclass.recipes.recipe import Recipe
from pycroclass.sid import unwrap
from pycroclass.spec import AxisKind, Domain, Spec
from pycroclass.stage import Execution
from pycroclass.writers import Written, write
from pycroclass.writers.atomic import BegunError, TakenError, journal_of, partial_of

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """One input, and where its results go."""

    file: str
    output: Path


@dataclass(frozen=True)
class Settings:
    """How a batch reads, runs and writes.

    Parameters
    ----------
    key : str, optional
        Dataset of each file; by default that of the recipe, or the only one.
    size, fit : optional
        For images, as `read` takes them.
    geometry : str, optional
        A geometry file of CrystFEL, for all files.
    execution : Execution
    chooses_precision : bool
        Let a network compute in bfloat16 where no label of a check batch of the file changes.
    digest : {"sampled", "full"}
    shard_bytes : int, optional
        Outputs larger than this are written by the workers; None: by this process.
    overwrite : bool
        Replace outputs that hold something else.
    restart : bool
        Throw unfinished runs away.
    on_error : {"skip", "stop"}
        Whether the files behind one that fails are still run.
    """

    key: str | None = None
    size: int | None = None
    fit: Fit | None = None
    geometry: str | None = None
    execution: Execution = field(default_factory=Execution)
    chooses_precision: bool = False
    digest: DigestKind = "sampled"
    shard_bytes: int | None = None
    overwrite: bool = False
    restart: bool = False
    on_error: Literal["skip", "stop"] = "skip"


@dataclass(frozen=True)
class Started:
    """A file was opened and its dataset chosen."""

    job: Job
    dataset: str
    shape: tuple[int, ...]
    n_items: int
    noun: str
    """What its items are called: frames, spectra, items."""


@dataclass(frozen=True)
class Advanced:
    """One more block is written."""

    started: Started
    done: int
    total: int
    """Blocks of all outputs."""
    computed: int
    """Blocks that this run has computed itself."""
    seconds: float
    counts: Counts

    @property
    def n_items(self) -> int:
        """About how many items are done."""
        return self.started.n_items * self.done // max(1, self.total)

    @property
    def rate(self) -> float:
        """Items per second, of what this run computed."""
        return self.started.n_items * self.computed / max(1, self.total) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """At this rate."""
        return self.seconds / max(1, self.computed) * (self.total - self.done)


@dataclass(frozen=True)
class Finished:
    """The output of a file is there."""

    started: Started
    is_new: bool
    """False where the very same run was finished before."""
    shapes: Mapping[str, tuple[int, ...]]
    seconds: float
    counts: Counts
    precision: Precision
    """In which networks computed."""
    resumed: int = 0
    """Blocks that an earlier run had computed."""
    total: int = 0
    """Blocks of all outputs; 0 where nothing was to be done."""


@dataclass(frozen=True)
class Failed:
    """A file could not be run."""

    job: Job
    error: Exception


def kept(job: Job) -> Path | None:
    """What an unfinished run has left to go on from."""
    partial = partial_of(Path(os.path.realpath(job.output)))
    return partial if journal_of(partial).exists() else None


Event = Started | Advanced | Finished | Failed
Report = Callable[[Event], None]


@dataclass(frozen=True)
class Summary:
    """What became of all files."""

    finished: tuple[Finished, ...]
    failed: tuple[Failed, ...]
    not_tried: tuple[Job, ...]
    signal: int | None = None
    """What stopped the batch."""

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some failed; 2: none is done; 128 + number of the signal that stopped it."""
        if self.signal is not None:
            return 128 + self.signal
        if not self.failed:
            return 0
        return 1 if self.finished else 2


def jobs(files: Sequence[str], output: Path) -> list[Job]:
    """Where the results of each file go: to ``output`` for one, into that folder for several.

    Raises
    ------
    WriteError
        If two results would have the same name, or a result that of a source.
    """
    sources = [Path(file.split("::")[0]) for file in files]
    outputs = [output] if len(files) == 1 else [output / f"{source.stem}.h5" for source in sources]
    if twice := sorted({str(path) for path in outputs if outputs.count(path) > 1}):
        raise WriteError(
            f"several inputs have the same name, their results would overwrite each other: {', '.join(twice)}; run them one by one"
        )
    taken = {os.path.realpath(source) for source in sources}
    if own := [str(path) for path in outputs if os.path.realpath(path) in taken]:
        raise WriteError(f"{', '.join(own)} is one of the files to be read; choose another output")
    return [Job(file, path) for file, path in zip(files, outputs, strict=True)]


def choose(file: str, key: str | None, datasets: Mapping[str, sidpy.Dataset]) -> tuple[str, sidpy.Dataset]:
    """The dataset of that key, which the end of its path may stand for; without a key the only one, or that of the images.

    Raises
    ------
    ReadError
        If there is none, or several.
    """
    if key is None and len(datasets) == 1:
        return next(iter(datasets.items()))
    if key is None and "image" in datasets:
        key = "image"
    endings = [name for name in datasets if key and name.endswith(f"/{key}")]
    key = endings[0] if key not in datasets and len(endings) == 1 else key
    if key is None or key not in datasets:
        asked = f"no dataset {key!r}" if key else "several datasets"
        raise ReadError(f"{file} has {asked}; name one with --key: {', '.join(datasets)}")
    return key, datasets[key]


def run_batch(
    recipe: Recipe, todo: Sequence[Job], settings: Settings, *, report: Report, interrupt: Interrupt | None = None, client: Any = None
) -> Summary:
    """Run a recipe over files, one after the other.

    An output that an unfinished run began is gone on with, and comes out as if it had never been cut off. A finished one of the very
    same run is not repeated.

    Parameters
    ----------
    recipe : Recipe
    todo : sequence of Job
        From `jobs`.
    settings : Settings
    report : callable
        Called with each event; from several threads, but never from two at a time.
    interrupt : Interrupt, optional
        What may stop the batch.
    client : distributed.Client, optional
        The batch ends when its cluster is lost.

    Returns
    -------
    Summary
    """
    interrupt = interrupt or Interrupt()
    finished: list[Finished] = []
    failed: list[Failed] = []
    for i, job in enumerate(todo):
        try:
            interrupt.check()
            job.output.parent.mkdir(parents=True, exist_ok=True) if len(todo) > 1 else None
            with cluster.loss_named(client):
                outcome = _File(recipe, job, settings, report, interrupt).run()
        except Stopped as stop:
            return Summary(tuple(finished), tuple(failed), tuple(todo[i:]), stop.signal)
        except Exception as error:  # whatever a plug-in or a library raises is the fault of this file alone
            if not isinstance(error, PycroclassError | OSError):
                log.warning("%s: an error that nobody expected", job.file, exc_info=error)
            failed.append(Failed(job, error))
            report(failed[-1])
            if settings.on_error == "stop" or _is_hopeless(error, client):
                return Summary(tuple(finished), tuple(failed), tuple(todo[i + 1 :]))
        else:
            finished.append(outcome)
            report(outcome)
    return Summary(tuple(finished), tuple(failed), ())


def _is_hopeless(error: BaseException, client: Any) -> bool:
    """Whether the next file would fail for the same reason: no cluster, no room on the disk, a GPU that is lost to this process."""
    if isinstance(error, ClusterError) and client is not None and not cluster.is_alive(client):
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(cause, torch.AcceleratorError) and not is_out_of_memory(cause):
            return True
        cause = cause.__cause__
    return False


@dataclass(frozen=True)
class _File:
    """One file of a batch."""

    recipe: Recipe
    job: Job
    settings: Settings
    report: Report
    interrupt: Interrupt

    def run(self) -> Finished:
        settings, output = self.settings, Path(os.path.realpath(self.job.output))
        start = time.monotonic()
        datasets = read(self.job.file, size=settings.size, fit=settings.fit, geometry=settings.geometry)
        key, dataset = choose(self.job.file, settings.key or self.recipe.dataset, datasets)
        started = Started(self.job, key, dataset.shape, *_items(unwrap(dataset)[1]))
        self.report(started)
        if settings.restart:
            discard(output)
        model = None
        if self.recipe.needs_fit:
            with remedies_named(is_restart=settings.restart):
                model = fitted(
                    self.recipe,
                    dataset,
                    output,
                    settings.execution,
                    digest=settings.digest,
                    overwrite=settings.overwrite,
                    restart=settings.restart,
                )
        execution = self._execution(dataset)
        results = self.recipe.apply(dataset, model=model, execution=execution)
        tallies = Tallies(results)
        resumed, total = self._write(results, tallies, started)
        kept_pipeline(output).unlink(missing_ok=True)
        return Finished(
            started,
            is_new=total > 0,
            shapes={name: tuple(result.shape) for name, result in results.items()},
            seconds=time.monotonic() - start,
            counts=tallies.counts if tallies.are_whole else count_labels(read_results(output)),
            precision=execution.precision,
            resumed=resumed,
            total=total,
        )

    def _execution(self, dataset: sidpy.Dataset) -> Execution:
        if not self.settings.chooses_precision or self.recipe.needs_fit:
            return self.settings.execution
        pipeline = loaded_for(dataset, self.recipe.bundle).pipeline if self.recipe.bundle else self.recipe.pipeline
        return choose_precision(pipeline, dataset, self.settings.execution)

    def _write(self, results: Mapping[str, sidpy.Dataset], tallies: Tallies, started: Started) -> tuple[int, int]:
        """How many blocks an earlier run had done, and how many there are; 0 where the output is the result of the very same run."""
        settings = self.settings
        start = time.monotonic()
        computed = resumed = total = 0

        def progress(written: Written) -> None:
            nonlocal computed, resumed, total
            total = written.total
            tallies.add(written)
            if written.is_new:
                computed += 1
                self.report(Advanced(started, written.done, written.total, computed, time.monotonic() - start, tallies.counts))
            else:
                resumed += 1
            if written.done < written.total:  # what is whole may as well be finished
                self.interrupt.check()

        with self.interrupt.deferred(), remedies_named(is_restart=settings.restart):
            write(
                results,
                self.job.output,
                overwrite=settings.overwrite,
                digest=settings.digest,
                resume=True,
                shard_bytes=settings.shard_bytes,
                progress=progress,
            )
        return resumed, total


@contextmanager
def remedies_named(*, is_restart: bool = False) -> Iterator[None]:
    """Where something is in the way, say what to do about it in options of the command."""
    try:
        yield
    except TakenError as error:
        hint = "; --restart is for unfinished runs alone" if is_restart else ""
        raise WriteError(f"{error.problem}. Choose another name, or replace it: --overwrite{hint}") from error
    except BegunError as error:
        ways = ", or ".join(filter(None, (error.way_on, "throw it away: --restart")))
        raise WriteError(f"{error.problem}. {ways[0].upper()}{ways[1:]}") from error


def _items(spec: Spec) -> tuple[int, str]:
    """How many items a dataset has, and what they are called."""
    try:
        core = spec.core(Domain.ITEM)
    except AxisError:
        return math.prod(spec.shape), "values"
    noun = "spectra" if spec.of_kind(AxisKind.SPECTRAL) else "frames"
    return math.prod(axis.size for axis in spec.axes if axis.name not in core), noun
