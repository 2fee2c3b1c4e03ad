"""The commands ``pycroclass cluster``, ``decompose``, ``unmix`` and ``embed``: recipes without labels, from options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import yaml
from rich.console import Console

from pycroclass.command_options import Device, Files, Fit, Key, Overwrite, Restart, Size
from pycroclass.errors import DataError, ParameterError, WriteError

if TYPE_CHECKING:
    import sidpy

    from pycroclass.batch import Job
    from pycroclass.operator import Composable
    from pycroclass.reporting.parts import Section

app = typer.Typer()
out = Console()
err = Console(stderr=True)

_CLUSTERING: Final = {
    "kmeans": "KMeans",
    "spherical": "SphericalKMeans",
    "minibatch": "MiniBatchKMeans",
    "gaussian": "GaussianMixture",
    "agglomerative": "Agglomerative",
    "hdbscan": "HDBSCAN",
}
_DECOMPOSITION: Final = {"pca": "PCA", "svd": "SVD", "poisson-pca": "PoissonPCA", "ica": "ICA", "nmf": "NMF", "poisson-nmf": "PoissonNMF"}
_UNMIXING: Final = {"nfindr": "NFINDR", "vca": "VCA"}
_LAYOUT: Final = {"tsne": "TSNE", "umap": "UMAP"}
_SMALLEST_CLUSTER: Final = 50
_MOST_COMPONENTS: Final = 20

Output = Annotated[Path, typer.Option("--output", "-o", help="NSID file; a folder for several inputs.")]
Report = Annotated[Path | None, typer.Option(help="Report to write, an .html file that opens in any browser.")]
Before = Annotated[Path | None, typer.Option(help="YAML list of steps to take before, such as Select, Crop or Anscombe.")]
Nonfinite = Annotated[str, typer.Option(help="refuse or mask: what learning does with items that hold NaN or infinity.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn at random.")]
SaveRecipe = Annotated[Path | None, typer.Option(help="Write the recipe that does the same by 'pycroclass run', on a cluster say.")]


@app.command()
def cluster(
    files: Files,
    output: Output,
    method: Annotated[str, typer.Option(help=", ".join(_CLUSTERING))] = "kmeans",
    clusters: Annotated[
        int | None, typer.Option(help="How many. Without it, for one file, the number that most of six criteria want.", show_default=False)
    ] = None,
    components: Annotated[int, typer.Option(help="Principal components in which to look for clusters; 0: in the data as they are.")] = 5,
    before: Before = None,
    smooth: Annotated[int, typer.Option(help="Let the majority in a square of so many pixels decide; 1: no.")] = 1,
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    nonfinite: Nonfinite = "refuse",
    seed: Seed = 0,
    device: Device = "auto",
    report: Report = None,
    save_recipe: SaveRecipe = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Sort items into groups that are alike: labels, how sure they are, and the mean of each group."""
    import pycroclass as pc
    from pycroclass.reporting.exploration import count_section

    estimator = _known("--method", method, _CLUSTERING)
    if smooth > 1 and method == "gaussian":
        raise ParameterError(
            "--smooth takes labels alone, but a Gaussian mixture gives probabilities beside them; smooth its labels afterwards"
        )
    reading = _Reading(key, size, fit, nonfinite)
    ready = _before(before, *([pc.PCA(components, seed=seed)] if components else []))
    chosen: list[Section] = []
    if method == "hdbscan":
        last: Any = pc.HDBSCAN(clusters or _SMALLEST_CLUSTER, seed=seed)
        if clusters is not None:
            raise ParameterError("hdbscan finds the number of clusters itself; leave --clusters away")
    else:
        if clusters is None:
            found = pc.cluster_count(reading.seen(ready, files, "--clusters"), seed=seed, nonfinite=reading.nonfinite)
            clusters = max(2, found.recommended)
            _say(f"{clusters} clusters, doubt: {found.doubt}. {' '.join(found.reasons)}")
            text = f"{clusters} clusters, doubt: {found.doubt}. {' '.join(found.reasons)}"
            chosen.append(count_section("How many clusters", text, found.figure(), {"All measures": found}))
        last = estimator(clusters, seed=seed)
    steps = [*ready, last, *([pc.Majority(smooth)] if smooth > 1 else [])]
    _run("cluster", steps, files, output, report, save_recipe, chosen, reading, device, overwrite=overwrite, restart=restart)


@app.command()
def decompose(
    files: Files,
    output: Output,
    method: Annotated[str, typer.Option(help=", ".join(_DECOMPOSITION))] = "nmf",
    components: Annotated[
        int | None,
        typer.Option(help="How many. Without it, for one file, as many as stand out of white noise, at most 20.", show_default=False),
    ] = None,
    before: Before = None,
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    nonfinite: Nonfinite = "refuse",
    seed: Seed = 0,
    device: Device = "auto",
    report: Report = None,
    save_recipe: SaveRecipe = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Find the components that items are sums of, how much of each is where, and what is left over."""
    import pycroclass as pc
    from pycroclass.reporting.exploration import count_section

    estimator = _known("--method", method, _DECOMPOSITION)
    reading = _Reading(key, size, fit, nonfinite)
    ready = _before(before)
    chosen: list[Section] = []
    if components is None:
        try:
            found = pc.scree(reading.seen(ready, files, "--components"), nonfinite=reading.nonfinite)
        except DataError as error:
            raise ParameterError(f"the number of components cannot be found here, say --components: {error}") from error
        components = min(max(1, found.rank), _MOST_COMPONENTS)
        text = (
            f"{found.rank} components stand out of the noise, if it is white and alike in all channels; {components} are taken. "
            "Of counts, or where a detector spreads a signal over several channels, the number is too large: choose with --components."
        )
        _say(text)
        chosen.append(count_section("How many components", text, found.plot()))
    steps = [*ready, estimator(components, seed=seed)]
    _run("decompose", steps, files, output, report, save_recipe, chosen, reading, device, overwrite=overwrite, restart=restart)


@app.command()
def unmix(
    files: Files,
    output: Output,
    method: Annotated[str, typer.Option(help=", ".join(_UNMIXING))] = "nfindr",
    endmembers: Annotated[
        int | None, typer.Option(help="How many. Without it, for one file, what HySime finds, at most 20.", show_default=False)
    ] = None,
    abundances: Annotated[str, typer.Option(help="fcls: shares of a whole; nnls: at least zero; ucls: any.")] = "fcls",
    before: Before = None,
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    nonfinite: Nonfinite = "refuse",
    seed: Seed = 0,
    device: Device = "auto",
    report: Report = None,
    save_recipe: SaveRecipe = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Find the purest items, and tell how much of each of them is in every item."""
    import pycroclass as pc
    from pycroclass.reporting.exploration import count_section

    estimator = _known("--method", method, _UNMIXING)
    reading = _Reading(key, size, fit, nonfinite)
    ready = _before(before)
    chosen: list[Section] = []
    if endmembers is None:
        try:
            found = pc.virtual_dimension(reading.seen(ready, files, "--endmembers"), nonfinite=reading.nonfinite)
        except DataError as error:
            raise ParameterError(f"the number of end members cannot be found here, say --endmembers: {error}") from error
        endmembers = min(max(2, found.hysime), _MOST_COMPONENTS)
        text = f"HySime finds {found.hysime} end members, noise-whitened eigenvalues {found.nwhfc}; {endmembers} are taken."
        _say(text)
        chosen.append(count_section("How many end members", text))
    steps = [*ready, estimator(endmembers, abundances=abundances, seed=seed)]
    _run("unmix", steps, files, output, report, save_recipe, chosen, reading, device, overwrite=overwrite, restart=restart)


@app.command()
def embed(
    files: Files,
    output: Output,
    by: Annotated[
        str, typer.Option(help="What describes an image: classical, hog, lbp, radial, quantiles, patches, or a bundle.")
    ] = "classical",
    method: Annotated[str, typer.Option(help=f"Of clustering: {', '.join(_CLUSTERING)}")] = "kmeans",
    clusters: Annotated[int, typer.Option(help="How many.")] = 8,
    layout: Annotated[str, typer.Option(help="Of the map: tsne or umap.")] = "tsne",
    before: Before = None,
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    nonfinite: Nonfinite = "refuse",
    seed: Seed = 0,
    device: Device = "auto",
    report: Report = None,
    save_recipe: SaveRecipe = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
) -> None:
    """Describe each image by numbers, sort images that look alike, and lay them out on a map. The report is the map, to point at."""
    from pycroclass.embedding.embed import BY_NAME
    from pycroclass.operator import Pipeline

    clustering = _known("--method", method, _CLUSTERING)
    is_bundle = by not in BY_NAME
    if is_bundle and (before is not None or not Path(by).is_file()):
        raise ParameterError(f"--by must be {', '.join(BY_NAME)} or a bundle, which brings its own steps (no --before); got {by!r}")
    steps = [] if is_bundle else _before(before, *BY_NAME[by].steps())
    more: dict[str, Any] = {
        "bundle": by if is_bundle else None,
        "clustering": Pipeline((clustering(_SMALLEST_CLUSTER if method == "hdbscan" else clusters, seed=seed),)),
        "layout": Pipeline((_known("--layout", layout, _LAYOUT)(seed=seed),)),
    }
    reading = _Reading(key, size, fit, nonfinite)
    _run("embed", steps, files, output, report, save_recipe, [], reading, device, overwrite=overwrite, restart=restart, more=more)


def _run(
    task: str,
    steps: Sequence[Composable],
    files: Sequence[str],
    output: Path,
    report: Path | None,
    save_recipe: Path | None,
    before: Sequence[Section],
    reading: _Reading,
    device: str,
    *,
    overwrite: bool,
    restart: bool,
    more: dict[str, Any] | None = None,
) -> None:
    """Run the recipe, write it where that was asked for, and then the report."""
    from pycroclass.batch import Settings, jobs, run_batch
    from pycroclass.interrupt import Interrupt
    from pycroclass.operator import Pipeline
    from pycroclass.progress import Spoken
    from pycroclass.recipe import Recipe
    from pycroclass.stage import Execution

    execution = Execution(device=device)
    execution.resolve()
    fit: Any = reading.fit  # read checks it
    settings = Settings(key=reading.key, size=reading.size, fit=fit, execution=execution, overwrite=overwrite, restart=restart)
    for path in (report, save_recipe):
        if path is not None and path.exists() and not overwrite:
            raise WriteError(f"{path} exists already; choose another name or say --overwrite")
    todo = jobs(files, output)
    recipe = Recipe(Pipeline(tuple(steps)), task=task, nonfinite=reading.nonfinite, **(more or {}))  # type: ignore[arg-type]  # checked there
    if save_recipe is not None:
        save_recipe.write_text(yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
        _say(f"wrote {save_recipe}")
    reporter = Spoken(out, err, is_quiet=False)
    interrupt = Interrupt(lambda _: err.print("stopping behind the block in hand; once more ends at once", soft_wrap=True))
    with interrupt.listening():
        summary = run_batch(recipe, todo, settings, report=reporter, interrupt=interrupt)
    reporter.close(summary)
    if report is not None and summary.finished:
        _say(f"wrote {_reported(task, [finished.started.job for finished in summary.finished], report, before, reading, overwrite)}")
    raise typer.Exit(summary.exit_code)


def _reported(task: str, done: Sequence[Job], report: Path, before: Sequence[Section], reading: _Reading, overwrite: bool) -> Path:
    from pycroclass.embedding.page import write_map
    from pycroclass.embedding.read_map import read_map
    from pycroclass.reporting.exploration import exploration_report

    if task != "embed":
        return exploration_report([job.output for job in done], report, before=before, overwrite=overwrite)
    if len(done) > 1:
        raise ParameterError(f"a map is of one collection, got {len(done)} files; run them one by one, or give one folder")
    (job,) = done
    return write_map(read_map(job.output), reading.dataset(job.file), report, overwrite=overwrite)


@dataclass(frozen=True)
class _Reading:
    """How files are read and items looked at."""

    key: str | None
    size: int | None
    fit: str | None
    nonfinite: Any

    def __post_init__(self) -> None:
        if self.nonfinite not in ("refuse", "mask"):
            raise ParameterError(f"--nonfinite must be refuse or mask, got {self.nonfinite!r}")

    def dataset(self, file: str) -> sidpy.Dataset:
        """What is chosen of a file."""
        from pycroclass.batch import choose
        from pycroclass.readers import read

        return choose(file, self.key, read(file, size=self.size, fit=self.fit))[1]  # type: ignore[arg-type]  # read checks it

    def seen(self, steps: Sequence[Composable], files: Sequence[str], option: str) -> sidpy.Dataset:
        """What the step behind these is going to see of the only file; of several no number can be chosen, the option has to say it."""
        import pycroclass as pc
        from pycroclass.operator import Pipeline
        from pycroclass.reduction import Estimator

        if len(files) > 1:
            raise ParameterError(f"say {option}: with several files the number cannot be chosen for all of them")
        dataset = self.dataset(files[0])
        if not steps:
            return dataset
        pipeline = Pipeline(tuple(steps))
        learns = any(isinstance(step, Estimator) for step in steps)
        return pc.run(pc.fit(pipeline, dataset, nonfinite=self.nonfinite) if learns else pipeline, dataset)


def _known(option: str, value: str, known: dict[str, str]) -> Callable[..., Any]:
    import pycroclass as pc

    if value not in known:
        raise ParameterError(f"{option} must be one of {', '.join(known)}, got {value!r}")
    estimator: Callable[..., Any] = getattr(pc, known[value])
    return estimator


def _before(path: Path | None, *more: Composable) -> list[Composable]:
    """The steps of a file, and more."""
    from pycroclass.recipe import read_yaml
    from pycroclass.serialize import from_dict

    return [*([] if path is None else from_dict(read_yaml(path)).steps()), *more]


def _say(line: str) -> None:
    out.print(line, highlight=False, markup=False, soft_wrap=True)
