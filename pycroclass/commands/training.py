"""The command ``pycroclass train``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from pycroclass.commands.console import err, out, say, wrote
from pycroclass.commands.options import Fit, Key, Overwrite, Size
from pycroclass.errors import ParameterError

if TYPE_CHECKING:
    from pycroclass.bundle import Bundle

app = typer.Typer()


@app.command()
def train(
    inputs: Annotated[
        list[str],
        typer.Argument(help="A recipe (.yaml), and data: a folder with one folder of images for each class, or files with labels."),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The bundle to write: a .safetensors file.")] = None,
    preprocessing: Annotated[Path | None, typer.Option(help="Recipe of operators that run before the network.")] = None,
    architecture: Annotated[str | None, typer.Option(help="A registered network.", show_default="resnet_small")] = None,
    augmentation: Annotated[str | None, typer.Option(help="none, dihedral, micrograph, drop, diffraction or spectrum.")] = None,
    key: Key = None,
    labels: Annotated[str | None, typer.Option(help="Dataset that holds the labels; 'label' where there is one.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Column that keeps items together in the split, such as plate; without it each of several files does."),
    ] = None,
    size: Size = None,
    fit: Fit = None,
    epochs: Annotated[int | None, typer.Option(show_default="20")] = None,
    seed: Annotated[int | None, typer.Option(show_default="0")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Train simple methods too, to compare with.")] = False,
    max_time: Annotated[str | None, typer.Option(help="Stop before this is over, such as 90m or 2h; the same command goes on.")] = None,
    log: Annotated[Path | None, typer.Option(help="Folder for the curve as CSV, and for TensorBoard if installed.")] = None,
    gallery: Annotated[Path | None, typer.Option(help="Draw what the network sees of some items into this PNG, and stop.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw an unfinished training away and begin anew.")] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
) -> None:
    """Train a network on labelled images or spectra and save it as a bundle.

    The same command goes on with a training that was cut off, as if it had not been.
    """
    from pycroclass.estimators import Session
    from pycroclass.pictures import gallery as draw_gallery
    from pycroclass.recipes.progress import TrainingBar
    from pycroclass.recipes.recipe import Recipe
    from pycroclass.recipes.training import TrainingRecipe

    is_recipe = Path(inputs[0]).suffix.lower() in (".yaml", ".yml")
    recipe = TrainingRecipe.load(inputs[0]) if is_recipe else TrainingRecipe(tuple(inputs))
    network = _given(architecture=architecture, epochs=epochs, seed=seed, augmentation=augmentation, baselines=baselines or None)
    recipe = replace(
        recipe,
        classifier=replace(recipe.classifier, **network),
        **_given(
            data=tuple(inputs[1:]) if is_recipe and len(inputs) > 1 else None,
            output=output and str(output),
            preprocessing=Recipe.load(preprocessing).pipeline if preprocessing else None,
            dataset=key,
            labels=labels,
            groups=groups,
            size=size,
            fit=fit,
        ),
    )
    if gallery:
        draw_gallery(recipe.read().runs[0], recipe.classifier, preprocessing=recipe.preprocessing).savefig(gallery, format="png")
        wrote(gallery)
        return
    with TrainingBar(err, is_quiet=quiet) as bar, _going_on_later():
        session = Session(max_seconds=None if max_time is None else _seconds(max_time), log=log, progress=bar)
        path, bundle = recipe.make(session, overwrite=overwrite, restart=restart)
    if bundle.training.get("stopped") == "max_seconds":
        n_done = len(bundle.training["history"])
        err.print(f"stopped after epoch {n_done} of {recipe.classifier.epochs} for lack of time; run the same command again to go on")
    _say_result(path, bundle)


def _say_result(path: Path, bundle: Bundle) -> None:
    best = bundle.metrics["validation"]
    say(f"{path}: classes {', '.join(bundle.classes)}")
    table = Table("on the validation items", Column("balanced accuracy", justify="right"))
    table.add_row(f"network, epoch {best['epoch']}", f"{best['balanced_accuracy']:.4f}")
    for name, score in bundle.training.get("baselines", {}).items():
        table.add_row(name, f"{score['balanced_accuracy']:.4f}")
    out.print(table)


def _given(**values: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _seconds(text: str) -> float:
    """Of a time such as 90 (seconds), 30m, 2h or 1:30:00."""
    try:
        if ":" in text:
            return float(sum(int(part) * 60**power for power, part in enumerate(reversed(text.split(":")))))
        factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
        return float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        raise ParameterError(f"--max-time is a time such as 90, 30m, 2h or 1:30:00, got {text!r}") from None


@contextmanager
def _going_on_later() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        err.print("stopped; run the same command again to go on")
        raise typer.Exit(130) from None
