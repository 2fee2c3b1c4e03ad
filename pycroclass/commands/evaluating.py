"""The commands ``pycroclass evaluate`` and ``pycroclass report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pycroclass.commands.console import out, wrote
from pycroclass.commands.options import Device, Fit, Key, Overwrite, Size
from pycroclass.errors import ParameterError
from pycroclass.files import refuse_existing

app = typer.Typer()


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle, as 'pycroclass train' writes it.")],
    data: Annotated[list[str], typer.Argument(help="Labelled data that it has not seen: a folder for each class, a table, or files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Evaluation to write, a .json file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Report to write, an .html file that opens in any browser.")] = None,
    table: Annotated[Path | None, typer.Option(help="Table of all numbers to write, a .parquet file.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Column that says what items belong together, such as plate; without it each of several files is one."),
    ] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of the class of the bundle's threshold where it will be used, for the precision there.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Dataset that holds the labels; 'label' where there is one.")] = None,
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    n_bootstrap: Annotated[int, typer.Option(help="Resamples for the intervals.")] = 1000,
    seed: int = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure how good a bundle is on labelled data, in all and for each group, with intervals."""
    from pycroclass.bundle import Bundle
    from pycroclass.evaluation import evaluate as measure
    from pycroclass.recipes.labelled_files import LabelledFiles
    from pycroclass.stage import Execution

    for path in filter(None, (output, report, table)):
        refuse_existing(path, overwrite=overwrite, option="--overwrite")
    loaded = Bundle.load(bundle)
    files = LabelledFiles.read(data, key=key, labels=labels, size=size, fit=fit)
    dataset = files.whole
    execution = Execution(device=device)
    found = measure(
        loaded,
        dataset,
        labels=files.truth,
        groups=files.groups if groups is None else groups,
        prior=prior,
        n_bootstrap=n_bootstrap,
        seed=seed,
        execution=execution,
    )
    out.print(found.summary())
    if output:
        wrote(found.save(output, overwrite=overwrite))
    if table:
        wrote(found.to_parquet(table))
    if report:
        from pycroclass.reporting import report as write_report

        wrote(write_report(found, report, bundle=loaded, dataset=dataset, overwrite=overwrite))


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="What 'pycroclass evaluate' wrote; several are compared with the first.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The report to write, an .html file.")],
    bundle: Annotated[Path | None, typer.Option(help="What was evaluated: adds training, baselines and filters.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="What the first evaluation is of: adds pictures with Grad-CAM.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "How good is this classifier?",
    key: Key = None,
    size: Size = None,
    fit: Fit = None,
    overwrite: Overwrite = False,
) -> None:
    """Write an evaluation as one HTML file that opens from disk, on a laptop or a phone."""
    from pycroclass.bundle import Bundle
    from pycroclass.evaluation import Evaluation
    from pycroclass.recipes.labelled_files import LabelledFiles
    from pycroclass.reporting import report as write_report

    refuse_existing(output, overwrite=overwrite, option="--overwrite")
    if data and not bundle:
        raise ParameterError("--data needs --bundle, which sorted them")
    names = [path.stem for path in evaluations]
    if len(set(names)) < len(names):
        raise ParameterError(f"several evaluations need different file names, got {', '.join(names)}")
    found = [Evaluation.load(path) for path in evaluations]
    dataset = LabelledFiles.read(data, key=key, labels=None, size=size, fit=fit).whole if data else None
    wrote(
        write_report(
            dict(zip(names, found, strict=True)) if len(found) > 1 else found[0],
            output,
            bundle=Bundle.load(bundle) if bundle else None,
            dataset=dataset,
            title=title,
            overwrite=overwrite,
        )
    )
