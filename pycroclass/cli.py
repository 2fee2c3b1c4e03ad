"""The command line: ``pycroclass info | plan | run | cluster | decompose | unmix | embed | pack | train | evaluate | report | …``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pycroclass._version import __version__
from pycroclass.command_options import Device, Files, Fit, Key, Overwrite, Restart, Size
from pycroclass.errors import ParameterError, PycroclassError, WriteError
from pycroclass.evaluation_commands import app as evaluation_app
from pycroclass.exploring_commands import app as exploring_app
from pycroclass.training_command import app as training_app

if TYPE_CHECKING:
    import distributed
    import sidpy

    from pycroclass.stage import Execution

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sort every frame, pixel and spectrum that a microscope or an X-ray laser records.",
)
out = Console()
err = Console(stderr=True)
_SHARD_BYTES: Final = 1 << 30

app.add_typer(exploring_app)
app.add_typer(training_app)
app.add_typer(evaluation_app)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"pycroclass {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Read by `main` itself: what it does with errors is decided before a command runs."""


@app.command()
def info(
    files: Files,
    picture: Annotated[Path | None, typer.Option(help="Draw a thumbnail of each dataset into this PNG.")] = None,
) -> None:
    """What a file holds: datasets, shapes, axes, units."""
    from pycroclass.pictures import thumbnails
    from pycroclass.readers import read

    everything: dict[str, sidpy.Dataset] = {}
    n_bad = 0
    for file in files:
        try:
            datasets = read(file)
        except PycroclassError as error:
            if len(files) == 1:
                raise
            _complain(error)
            n_bad += 1
            continue
        out.print(_describe(file, datasets))
        for key, dataset in datasets.items():
            title = f"{Path(file).name}: {key.rsplit('/', 1)[-1]}"
            everything[f"{file}: {key}" if title in everything else title] = dataset
    if picture and everything:
        thumbnails(everything).savefig(picture, format="png")
        out.print(f"wrote {picture}")
    if n_bad:
        raise typer.Exit(2)


@app.command()
def plan(recipe: Path, file: str, key: Key = None, device: Device = "auto") -> None:
    """What a recipe would do with a file: stages, tasks, memory, device. Nothing is computed."""
    from pycroclass.planning import describe
    from pycroclass.recipe import Recipe

    loaded = Recipe.load(recipe)
    _, dataset = _choose(file, key or loaded.dataset)
    for line in describe(loaded, dataset, _execution(device)):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
def run(
    recipe: Path,
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="NSID file; a folder for several inputs.")],
    key: Key = None,
    device: Device = "auto",
    size: Size = None,
    fit: Fit = None,
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
    from pycroclass.batch import Settings, jobs, run_batch
    from pycroclass.interrupt import Interrupt
    from pycroclass.progress import JsonLines, Reporter, Spoken
    from pycroclass.recipe import Recipe

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
            execution=replace(execution, precision="bfloat16" if precision == "bfloat16" else "float32"),
            chooses_precision=precision == "auto",
            digest=digest,  # type: ignore[arg-type]  # write checks it
            shard_bytes=(_SHARD_BYTES if client and shard_bytes is None else shard_bytes) or None,
            overwrite=overwrite,
            restart=restart,
            on_error=on_error,  # type: ignore[arg-type]  # checked above
        )
        reporter: Reporter = JsonLines(out) if as_json else Spoken(out, err, is_quiet=quiet)
        interrupt = Interrupt(lambda _: err.print("stopping behind the block in hand; once more ends at once", soft_wrap=True))
        with interrupt.listening(), _profiled(profile, client):
            summary = run_batch(loaded, todo, settings, report=reporter, interrupt=interrupt, client=client)
        reporter.close(summary)
    raise typer.Exit(summary.exit_code)


@app.command()
def pack(file: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Make one plain file of a result whose large datasets lie in shards."""
    from pycroclass.batch import remedies_named
    from pycroclass.writers import pack as pack_file

    with remedies_named():
        packed = pack_file(file, output, overwrite=overwrite)
    out.print(f"wrote {packed}", highlight=False, markup=False, soft_wrap=True)


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


@app.command()
def formats() -> None:
    """The formats that can be read, and what to install for them."""
    from pycroclass.readers.formats import formats as known_formats

    table = Table("format", "extensions", "install", "what")
    for known in known_formats():
        extra = f"pip install 'pycroclass[{known.extra}]'" if known.extra else ""
        table.add_row(*map(escape, (known.name, " ".join(known.extensions), extra, known.description)))
    out.print(table)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for files and picture.")] = Path("demo_output"),
    overwrite: Overwrite = False,
) -> None:
    """Simulate a small crystallography run, train on two runs, classify a third, replay, and draw the result."""
    from pycroclass.demo import demonstrate

    if output.exists() and any(output.iterdir()) and not overwrite:
        raise WriteError(f"the folder {output} is not empty; choose another with --output or say --overwrite")
    for line in demonstrate(output):
        out.print(line)


def main() -> None:
    """Entry point: errors in one line, with their trace under ``--debug``."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        app(standalone_mode=True)
    except (PycroclassError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        _complain(error)
        raise SystemExit(2) from None


def _complain(error: Exception) -> None:
    err.print(f"[bold red]error[/] {type(error).__name__}: ", end="")
    err.print(" ".join(str(error).split()), markup=False, highlight=False, soft_wrap=True)


def _choose(file: str, key: str | None, datasets: dict[str, sidpy.Dataset] | None = None) -> tuple[str, sidpy.Dataset]:
    from pycroclass.batch import choose
    from pycroclass.readers import read

    return choose(file, key, read(file) if datasets is None else datasets)


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
        _complain(error)
    else:
        err.print(f"wrote {picture}", markup=False, highlight=False, soft_wrap=True)


def _execution(device: str) -> Execution:
    from pycroclass.stage import Execution

    return Execution(device=device)


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
            err.print(cluster.describe(client), markup=False, highlight=False, soft_wrap=True)
        yield client


def _describe(file: str, datasets: dict[str, sidpy.Dataset]) -> Table:
    from pycroclass.sid import unwrap

    table = Table(Column("dataset", overflow="fold"), "shape", "dtype", "axes", "values", title=escape(file), title_justify="left")
    for key, dataset in datasets.items():
        _, spec = unwrap(dataset)
        axes = "\n".join(f"{a.name}: {a.values[0]:.4g} … {a.values[-1]:.4g} {a.units} ({a.kind})" for a in spec.axes)
        shape = " × ".join(map(str, spec.shape))
        table.add_row(*map(escape, (key, shape, str(spec.dtype), axes, f"{spec.quantity} ({spec.units})")))
    return table
