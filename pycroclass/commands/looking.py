"""The commands ``pycroclass info``, ``formats`` and ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from pycroclass.commands.console import complain, out, wrote
from pycroclass.commands.options import Files, Overwrite
from pycroclass.errors import PycroclassError, WriteError

if TYPE_CHECKING:
    import sidpy

app = typer.Typer()


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
            complain(error)
            n_bad += 1
            continue
        out.print(_describe(file, datasets))
        for key, dataset in datasets.items():
            title = f"{Path(file).name}: {key.rsplit('/', 1)[-1]}"
            everything[f"{file}: {key}" if title in everything else title] = dataset
    if picture and everything:
        thumbnails(everything).savefig(picture, format="png")
        wrote(picture)
    if n_bad:
        raise typer.Exit(2)


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


def _describe(file: str, datasets: dict[str, sidpy.Dataset]) -> Table:
    from pycroclass.sid import unwrap

    table = Table(Column("dataset", overflow="fold"), "shape", "dtype", "axes", "values", title=escape(file), title_justify="left")
    for key, dataset in datasets.items():
        _, spec = unwrap(dataset)
        axes = "\n".join(f"{a.name}: {a.values[0]:.4g} … {a.values[-1]:.4g} {a.units} ({a.kind})" for a in spec.axes)
        shape = " × ".join(map(str, spec.shape))
        table.add_row(*map(escape, (key, shape, str(spec.dtype), axes, f"{spec.quantity} ({spec.units})")))
    return table
