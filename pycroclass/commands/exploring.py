"""The commands ``pycroclass cluster``, ``decompose``, ``unmix`` and ``embed``: recipes without labels, from options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, get_type_hints

import typer
import yaml

from pycroclass.commands.console import err, out, say, wrote
from pycroclass.commands.options import Device, Files, Fit, Key, Output, Overwrite, Restart, Size
from pycroclass.commands.running import run_and_tell
from pycroclass.errors import DataError, ParameterError
from pycroclass.files import refuse_existing

if TYPE_CHECKING:
    import sidpy

    from pycroclass.operator import Composable
    from pycroclass.reporting.parts import Section

app = typer.Typer()

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


@dataclass(frozen=True)
class Exploration:
    """What all these commands are told: files, how to read them, what to learn from, and where to leave what."""

    files: Files
    output: Output
    before: Annotated[Path | None, typer.Option(help="YAML list of steps to take before, such as Select, Crop or Anscombe.")] = None
    key: Key = None
    size: Size = None
    fit: Fit = None
    nonfinite: Annotated[str, typer.Option(help="refuse or mask: what learning does with items that hold NaN or infinity.")] = "refuse"
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0
    device: Device = "auto"
    report: Annotated[Path | None, typer.Option(help="Report to write, an .html file that opens in any browser.")] = None
    save_recipe: Annotated[Path | None, typer.Option(help="Write the recipe that does the same by 'pycroclass run', on a cluster say.")] = (
        None
    )
    overwrite: Overwrite = False
    restart: Restart = False

    def __post_init__(self) -> None:
        if self.nonfinite not in ("refuse", "mask"):
            raise ParameterError(f"--nonfinite must be refuse or mask, got {self.nonfinite!r}")
        for path in filter(None, (self.report, self.save_recipe)):
            refuse_existing(path, overwrite=self.overwrite, option="--overwrite")

    def steps(self, *more: Composable) -> list[Composable]:
        """The steps to take before, and more."""
        from pycroclass.recipes.recipe import read_yaml
        from pycroclass.serialize import from_dict

        return [*([] if self.before is None else from_dict(read_yaml(self.before)).steps()), *more]

    def dataset(self, file: str) -> sidpy.Dataset:
        """What is chosen of a file."""
        from pycroclass.readers import read
        from pycroclass.recipes.batch import choose

        return choose(file, self.key, read(file, size=self.size, fit=self.fit))[1]  # type: ignore[arg-type]  # read checks it

    def seen(self, steps: Sequence[Composable], option: str) -> sidpy.Dataset:
        """What the step behind these is going to see of the only file; of several no number can be chosen, the option has to say it."""
        import pycroclass as pc
        from pycroclass.operator import Pipeline
        from pycroclass.reduction import Estimator

        if len(self.files) > 1:
            raise ParameterError(f"say {option}: with several files the number cannot be chosen for all of them")
        dataset = self.dataset(self.files[0])
        if not steps:
            return dataset
        pipeline: Any = Pipeline(tuple(steps))
        if any(isinstance(step, Estimator) for step in steps):
            pipeline = pc.fit(pipeline, dataset, nonfinite=self.nonfinite)  # type: ignore[arg-type]  # checked above
        return pc.run(pipeline, dataset)

    def run(self, task: str, steps: Sequence[Composable], chosen: Sequence[Section] = (), **more: Any) -> NoReturn:
        """Run the recipe, write it where that was asked for, and then the report."""
        from pycroclass.operator import Pipeline
        from pycroclass.recipes.batch import Settings, jobs
        from pycroclass.recipes.progress import Spoken
        from pycroclass.recipes.recipe import Recipe
        from pycroclass.stage import Execution

        execution = Execution(device=self.device)
        execution.resolve()
        settings = Settings(
            key=self.key,
            size=self.size,
            fit=self.fit,  # type: ignore[arg-type]  # read checks it
            execution=execution,
            overwrite=self.overwrite,
            restart=self.restart,
        )
        todo = jobs(self.files, self.output)
        recipe = Recipe(Pipeline(tuple(steps)), task=task, nonfinite=self.nonfinite, **more)  # type: ignore[arg-type]  # checked there
        if self.save_recipe is not None:
            self.save_recipe.write_text(yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
            wrote(self.save_recipe)
        summary = run_and_tell(recipe, todo, settings, Spoken(out, err, is_quiet=False))
        if self.report is not None and summary.finished:
            done = [finished.started.job.output for finished in summary.finished]
            wrote(self._map(done[0], self.report) if task == "embed" else self._report(done, self.report, chosen))
        raise typer.Exit(summary.exit_code)

    def _report(self, results: Sequence[Path], report: Path, chosen: Sequence[Section]) -> Path:
        from pycroclass.reporting.exploration import exploration_report

        return exploration_report(results, report, before=chosen, overwrite=self.overwrite)

    def _map(self, result: Path, report: Path) -> Path:
        from pycroclass.embedding.page import write_map
        from pycroclass.embedding.read_map import read_map

        return write_map(read_map(result), self.dataset(self.files[0]), report, overwrite=self.overwrite)


def _explores(command: Callable[..., NoReturn]) -> Callable[..., None]:
    """A command whose first parameter is an `Exploration`: its fields become options beside those of the command itself."""
    hints = get_type_hints(command, include_extras=True) | get_type_hints(Exploration, include_extras=True)
    (_, *own) = inspect.signature(command).parameters.values()
    shared = inspect.signature(Exploration).parameters.values()
    needed = [parameter for parameter in shared if parameter.default is parameter.empty]
    ordered = [*needed, *own, *(parameter for parameter in shared if parameter not in needed)]

    @wraps(command)
    def with_options(**given: Any) -> None:
        common = Exploration(**{parameter.name: given.pop(parameter.name) for parameter in shared})
        command(common, **given)

    # what typer reads
    with_options.__signature__ = inspect.Signature([one.replace(annotation=hints[one.name]) for one in ordered])  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: hints[one.name] for one in ordered}
    return with_options


@app.command()
@_explores
def cluster(
    common: Exploration,
    method: Annotated[str, typer.Option(help=", ".join(_CLUSTERING))] = "kmeans",
    clusters: Annotated[
        int | None, typer.Option(help="How many. Without it, for one file, the number that most of six criteria want.", show_default=False)
    ] = None,
    components: Annotated[int, typer.Option(help="Principal components in which to look for clusters; 0: in the data as they are.")] = 5,
    smooth: Annotated[int, typer.Option(help="Let the majority in a square of so many pixels decide; 1: no.")] = 1,
) -> NoReturn:
    """Sort items into groups that are alike: labels, how sure they are, and the mean of each group."""
    import pycroclass as pc

    estimator = _known("--method", method, _CLUSTERING)
    if smooth > 1 and method == "gaussian":
        raise ParameterError(
            "--smooth takes labels alone, but a Gaussian mixture gives probabilities beside them; smooth its labels afterwards"
        )
    if method == "hdbscan" and clusters is not None:
        raise ParameterError("hdbscan finds the number of clusters itself; leave --clusters away")
    steps = common.steps(*([pc.PCA(components, seed=common.seed)] if components else []))
    chosen = []
    if method == "hdbscan":
        clusters = _SMALLEST_CLUSTER
    elif clusters is None:
        found = pc.cluster_count(common.seen(steps, "--clusters"), seed=common.seed, nonfinite=common.nonfinite)  # type: ignore[arg-type]
        clusters = max(2, found.recommended)
        text = f"{clusters} clusters, doubt: {found.doubt}. {' '.join(found.reasons)}"
        chosen = [_told("How many clusters", text, found.figure(), {"All measures": found})]
    steps += [estimator(clusters, seed=common.seed), *([pc.Majority(smooth)] if smooth > 1 else [])]
    common.run("cluster", steps, chosen)


@app.command()
@_explores
def decompose(
    common: Exploration,
    method: Annotated[str, typer.Option(help=", ".join(_DECOMPOSITION))] = "nmf",
    components: Annotated[
        int | None,
        typer.Option(help="How many. Without it, for one file, as many as stand out of white noise, at most 20.", show_default=False),
    ] = None,
) -> NoReturn:
    """Find the components that items are sums of, how much of each is where, and what is left over."""
    import pycroclass as pc

    estimator = _known("--method", method, _DECOMPOSITION)
    steps = common.steps()
    chosen = []
    if components is None:
        with _or_say("--components"):
            found = pc.scree(common.seen(steps, "--components"), nonfinite=common.nonfinite)  # type: ignore[arg-type]  # checked
        components = min(max(1, found.rank), _MOST_COMPONENTS)
        text = (
            f"{found.rank} components stand out of the noise, if it is white and alike in all channels; {components} are taken. "
            "Of counts, or where a detector spreads a signal over several channels, the number is too large: choose with --components."
        )
        chosen = [_told("How many components", text, found.plot())]
    common.run("decompose", [*steps, estimator(components, seed=common.seed)], chosen)


@app.command()
@_explores
def unmix(
    common: Exploration,
    method: Annotated[str, typer.Option(help=", ".join(_UNMIXING))] = "nfindr",
    endmembers: Annotated[
        int | None, typer.Option(help="How many. Without it, for one file, what HySime finds, at most 20.", show_default=False)
    ] = None,
    abundances: Annotated[str, typer.Option(help="fcls: shares of a whole; nnls: at least zero; ucls: any.")] = "fcls",
) -> NoReturn:
    """Find the purest items, and tell how much of each of them is in every item."""
    import pycroclass as pc

    estimator = _known("--method", method, _UNMIXING)
    steps = common.steps()
    chosen = []
    if endmembers is None:
        with _or_say("--endmembers"):
            found = pc.virtual_dimension(common.seen(steps, "--endmembers"), nonfinite=common.nonfinite)  # type: ignore[arg-type]  # checked
        endmembers = min(max(2, found.hysime), _MOST_COMPONENTS)
        text = f"HySime finds {found.hysime} end members, noise-whitened eigenvalues {found.nwhfc}; {endmembers} are taken."
        chosen = [_told("How many end members", text)]
    common.run("unmix", [*steps, estimator(endmembers, abundances=abundances, seed=common.seed)], chosen)


@app.command()
@_explores
def embed(
    common: Exploration,
    by: Annotated[
        str, typer.Option(help="What describes an image: classical, hog, lbp, radial, quantiles, patches, or a bundle.")
    ] = "classical",
    method: Annotated[str, typer.Option(help=f"Of clustering: {', '.join(_CLUSTERING)}")] = "kmeans",
    clusters: Annotated[int, typer.Option(help="How many.")] = 8,
    layout: Annotated[str, typer.Option(help="Of the map: tsne or umap.")] = "tsne",
) -> NoReturn:
    """Describe each image by numbers, sort images that look alike, and lay them out on a map. The report is the map, to point at."""
    from pycroclass.embedding.embed import BY_NAME
    from pycroclass.operator import Pipeline

    clustering = _known("--method", method, _CLUSTERING)
    drawing = _known("--layout", layout, _LAYOUT)
    is_bundle = by not in BY_NAME
    if is_bundle and (common.before is not None or not Path(by).is_file()):
        raise ParameterError(f"--by must be {', '.join(BY_NAME)} or a bundle, which brings its own steps (no --before); got {by!r}")
    if common.report is not None and len(common.files) > 1:
        raise ParameterError(f"a map is of one collection, got {len(common.files)} files; run them one by one, or give one folder")
    common.run(
        "embed",
        [] if is_bundle else common.steps(*BY_NAME[by].steps()),
        bundle=by if is_bundle else None,
        clustering=Pipeline((clustering(_SMALLEST_CLUSTER if method == "hdbscan" else clusters, seed=common.seed),)),
        layout=Pipeline((drawing(seed=common.seed),)),
    )


def _known(option: str, value: str, known: dict[str, str]) -> Callable[..., Any]:
    import pycroclass as pc

    if value not in known:
        raise ParameterError(f"{option} must be one of {', '.join(known)}, got {value!r}")
    estimator: Callable[..., Any] = getattr(pc, known[value])
    return estimator


@contextmanager
def _or_say(option: str) -> Iterator[None]:
    """Where data do not tell a number, the user has to."""
    try:
        yield
    except DataError as error:
        raise ParameterError(f"their number cannot be found here, say {option}: {error}") from error


def _told(title: str, text: str, *more: Any) -> Section:
    """Say how a number was chosen, for the report to say it again."""
    from pycroclass.reporting.exploration import count_section

    say(text)
    return count_section(title, text, *more)
