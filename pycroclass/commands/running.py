"""The commands ``pycroclass plan``, ``run``, ``pack`` and ``replay``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Column, Table

from pycroclass.commands.console import complain, err, out, say, wrote
from pycroclass.commands.options import Device, Files, Fit, Geometry, Key, Output, Overwrite, Restart, Size
from pycroclass.errors import ParameterError

if TYPE_CHECKING:
    import distributed

    from pycroclass.recipes.batch import Job, Settings, Summary
    from pycroclass.recipes.progress import Reporter
    from pycroclass.recipes.recipe import Recipe
    from pycroclass.stage import Execution

app = typer.Typer()
_SHARD_BYTES: Final = 1 << 30


@app.command()
def plan(recipe: Path, file: str, key: Key = None, geometry: Geometry = None, device: Device = "auto") -> None:
    """What a recipe would do with a file: stages, tasks, memory, device. Nothing is computed."""
    from pycroclass.readers import read
    from pycroclass.recipes.batch import choose
    from pycroclass.recipes.planning import describe
    from pycroclass.recipes.recipe import Recipe

    loaded = Recipe.load(recipe)
    _, dataset = choose(file, key or loaded.dataset, read(file, geometry=geometry))
    for line in describe(loaded, dataset, _execution(device)):
        say(line)


@app.command()
def run(
    recipe: Path,
    files: Files,
    output: Output,
    key: Key = None,
    device: Device = "auto",
    size: Size = None,
    fit: Fit = None,
    geometry: Geometry = None,
    scheduler: Annotated[str | None, typer.Option(help="Compute on the dask cluster at this address, tcp://…", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Compute in so many processes of one thread each.", show_default=False)] = None,
    gpus: Annotated[str | None, typer.Option(help="Compute in one process for each GPU: all, or numbers such as 0,1.")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for a log file of each worker.")] = None,
    shard_bytes: Annotated[
        int | None, typer.Option(help="Results larger than this (1 GiB) are written by the workers of a cluster; 0: never.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of networks: float32, bfloat16, or auto: the faster one where the labels of a check batch agree.")
    ] = "auto",
    digest: Annotated[str, typer.Option(help="sampled or full: how sources are recognised later.")] = "sampled",
    on_error: Annotated[str, typer.Option(help="skip or stop: what a bad file means for those behind it.")] = "skip",
    restart: Restart = False,
    overwrite: Overwrite = False,
    profile: Annotated[Path | None, typer.Option(help="Draw where the time went into this PNG.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and what is left to do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output, for machines.")] = False,
) -> None:
    """Run a recipe over files and write the results, with their provenance, to NSID files.

    The same command goes on with a run that was cut off.
    """
    from pycroclass.recipes.batch import Settings, jobs
    from pycroclass.recipes.progress import JsonLines, Spoken
    from pycroclass.recipes.recipe import Recipe

    _one_of("--on-error", on_error, ("skip", "stop"))
    _one_of("--precision", precision, ("auto", "float32", "bfloat16"))
    todo = jobs(files, output)
    loaded = Recipe.load(recipe)
    with _client(scheduler, workers, gpus, log_dir, is_quiet=quiet or as_json) as client:
        execution = _execution(device)
        if client is None:  # else the workers have it
            execution.resolve()
            if shard_bytes:
                raise ParameterError("--shard-bytes is for results that workers write; say --workers, --gpus or --scheduler too")
        settings = Settings(
            key=key,
            size=size,
            fit=fit,  # type: ignore[arg-type]  # read checks it
            geometry=geometry,
            execution=replace(execution, precision="bfloat16" if precision == "bfloat16" else "float32"),
            chooses_precision=precision == "auto",
            digest=digest,  # type: ignore[arg-type]  # write checks it
            shard_bytes=(_SHARD_BYTES if client and shard_bytes is None else shard_bytes) or None,
            overwrite=overwrite,
            restart=restart,
            on_error=on_error,  # type: ignore[arg-type]  # checked above
        )
        reporter: Reporter = JsonLines(out) if as_json else Spoken(out, err, is_quiet=quiet)
        with _profiled(profile, client):
            summary = run_and_tell(loaded, todo, settings, reporter, client)
    raise typer.Exit(summary.exit_code)


def run_and_tell(
    recipe: Recipe, todo: Sequence[Job], settings: Settings, reporter: Reporter, client: distributed.Client | None = None
) -> Summary:
    """Run a batch that Ctrl-C can stop, and say what became of it."""
    from pycroclass.recipes.batch import run_batch
    from pycroclass.recipes.interrupt import Interrupt

    interrupt = Interrupt(lambda _: say("stopping behind the block in hand; once more ends at once", err))
    with interrupt.listening():
        summary = run_batch(recipe, todo, settings, report=reporter, interrupt=interrupt, client=client)
    reporter.close(summary)
    return summary


@app.command()
def pack(file: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Make one plain file of a result whose large datasets lie in shards."""
    from pycroclass.recipes.batch import remedies_named
    from pycroclass.writers import pack as pack_file

    with remedies_named():
        packed = pack_file(file, output, overwrite=overwrite)
    wrote(packed)


@app.command()
def replay(file: Path, device: Device = "auto") -> None:
    """Compute a result again from its sources and compare. Exit code 0: the same; 1: different; 2: cannot be told."""
    from pycroclass.replay import replay as replay_file

    reports = replay_file(file, execution=_execution(device))
    table = Table(Column("dataset", overflow="fold"), "verdict", "largest difference", "why")
    for report in reports:
        largest = "" if report.difference is None else f"{report.difference:.3g}"
        table.add_row(*map(escape, (report.dataset, report.verdict.value, largest, report.reason)))
    out.print(table)
    raise typer.Exit(max(report.verdict.exit_code for report in reports))


def _execution(device: str) -> Execution:
    from pycroclass.stage import Execution

    return Execution(device=device)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ParameterError(f"{option} must be {' or '.join(known)}, got {value!r}")


@contextmanager
def _profiled(picture: Path | None, client: distributed.Client | None) -> Iterator[None]:
    if picture is None:
        yield
        return
    from dask.system import CPU_COUNT

    from pycroclass.cluster import time_spent
    from pycroclass.pictures import phases

    start = time.monotonic()
    with time_spent(client) as spent:
        yield
    n_threads = sum(client.nthreads().values()) if client else CPU_COUNT
    try:
        phases(spent, time.monotonic() - start, n_threads).savefig(picture, format="png")
    except OSError as error:  # the run is done all the same
        complain(error)
    else:
        wrote(picture, err)


@contextmanager
def _client(
    scheduler: str | None, workers: int | None, gpus: str | None, log_dir: Path | None, *, is_quiet: bool
) -> Iterator[distributed.Client | None]:
    """The client of the cluster that was asked for, if any."""
    asked = [name for name, value in (("--scheduler", scheduler), ("--workers", workers), ("--gpus", gpus)) if value is not None]
    if len(asked) > 1:
        raise ParameterError(f"{' and '.join(asked)} exclude each other; say one of them")
    if not asked:
        if log_dir is not None:
            raise ParameterError("--log-dir is for the logs of workers; say --workers, --gpus or --scheduler too")
        yield None
        return
    from pycroclass import cluster

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters comes as an error
    if scheduler is not None:
        connection = cluster.cluster_at(scheduler)
    elif workers is not None:
        connection = cluster.cluster_of_processes(workers)
    else:
        connection = cluster.cluster_of_gpus(cluster.gpu_numbers(gpus or "all"))
    with connection as client:
        if log_dir is not None:
            client.register_plugin(cluster.WorkerLogs(log_dir))
        if not is_quiet:
            say(cluster.describe(client), err)
        yield client
