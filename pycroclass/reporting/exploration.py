"""Results without labels as one HTML file: what was found, how much of it there is, how sure it is, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import sidpy
from matplotlib.figure import Figure

from pycroclass.errors import ParameterError
from pycroclass.exploring.cluster_pictures import cluster_page
from pycroclass.exploring.component_pictures import component_page
from pycroclass.files import refuse_existing, write_whole
from pycroclass.operator import Composable
from pycroclass.pictures import draw
from pycroclass.readers.records import Record, records
from pycroclass.readers.results import read_results
from pycroclass.reporting.page import rendered
from pycroclass.reporting.parts import Fact, Grid, Picture, Section, number, percent
from pycroclass.reporting.style import data_url, figure_png
from pycroclass.serialize import from_dict
from pycroclass.sid import unwrap

_AMOUNTS: Final = {"components": "maps", "endmembers": "abundance"}
_NUMBERS: Final = {"objective": "objective", "inertia": "inertia", "log_likelihood": "mean log-likelihood", "bic": "BIC"}
_PER_ROW: Final = 4


def exploration_report(
    results: str | Path | Sequence[str | Path],
    path: str | Path,
    *,
    title: str = "What is in these data?",
    before: Sequence[Section] = (),
    overwrite: bool = False,
) -> Path:
    """Write what `cluster`, `decompose` or `unmix` found as one HTML file that opens from disk and loads nothing.

    Parameters
    ----------
    results : path, or sequence of paths
        Files that pycroclass wrote; all they show is read from there.
    path : path
        Name of the report.
    title : str
    before : sequence of Section
        What is to stand before the results, such as how their number was chosen.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        If a file holds neither labels with their means nor components with their maps.
    ReadError
        If a file cannot be read.
    WriteError
        If the report exists and is not to be overwritten, or cannot be written.

    Examples
    --------
    >>> import pycroclass as pc
    >>> pc.write(pc.decompose(pc.NMF(3), dataset), "nmf.h5")  # doctest: +SKIP
    >>> exploration_report("nmf.h5", "nmf.html")  # doctest: +SKIP
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    files = [Path(file) for file in ([results] if isinstance(results, str | Path) else results)]
    sections = list(before)
    for place, file in enumerate(files, 1):
        sections += _of_one(file, str(place), file.name if len(files) > 1 else "")
    write_whole(path, rendered(title, sections, name=", ".join(file.name for file in files)).encode())
    return path


def _of_one(file: Path, key: str, name: str) -> list[Section]:
    datasets = read_results(file)
    found = [_components(datasets, shapes, maps, key) for shapes, maps in _AMOUNTS.items() if {shapes, maps} <= datasets.keys()]
    if {"label", "mean_by_label", "count_by_label"} <= datasets.keys():
        found.append(_clusters(datasets, key))
    if not found:
        raise ParameterError(f"{file} holds {', '.join(datasets)}: a report takes what 'cluster', 'decompose' or 'unmix' wrote")
    record = next(iter(records(file).values()))
    found = [*found, *_fit(record, key), _origin(file, record, key)]
    return [Section(**{**vars(one), "title": f"{one.title}: {name}"}) for one in found] if name else found


def _components(datasets: Mapping[str, sidpy.Dataset], shapes: str, maps: str, key: str) -> Section:
    title = {"components": "Components and where they are", "endmembers": "End members and how much of them is where"}[shapes]
    figure = component_page(datasets[shapes], datasets[maps], datasets.get("residual"))
    text = (
        "Left what each looks like, right how much of it is in each item; at the end what is left over. "
        "Colours end at the 1st and 99th percentile."
    )
    return Section(f"components-{key}", title, text, pictures=(_picture(figure, title),))


def _clusters(datasets: Mapping[str, sidpy.Dataset], key: str) -> Section:
    labels, means = datasets["label"], {name: datasets[f"{name}_by_label"] for name in ("mean", "sd", "count")}
    label = np.asarray(unwrap(labels)[0].compute())
    count = np.asarray(unwrap(means["count"])[0].compute())
    sure = np.asarray(unwrap(datasets["confidence"])[0].compute()) if "confidence" in datasets else None
    names = unwrap(means["mean"])[1].classes or tuple(map(str, range(len(count))))
    rows = []
    for i, (name, n) in enumerate(zip(names, count.tolist(), strict=True)):
        of_it = () if sure is None else (number(float(np.nanmean(sure[label == i]))) if n else number(np.nan),)
        rows.append((name, f"{n}", percent(n / max(label.size, 1)), *of_it))
    if left := int((label < 0).sum()):
        rows.append(("none", f"{left}", percent(left / label.size), *(() if sure is None else (number(np.nan),))))
    header = ("cluster", "items", "share", *(() if sure is None else ("mean confidence",)))
    grid = Grid("How many items are in each", header, tuple(rows))
    is_map = label.ndim == 2 and unwrap(means["mean"])[0].ndim == 2
    figure = cluster_page(labels, means) if is_map else _mean_items(means["mean"], names)
    caption = "Bands are one standard deviation wide to each side." if is_map else ""
    return Section(
        f"clusters-{key}", "Clusters and their means", pictures=(_picture(figure, "Clusters and their means", caption),), grids=(grid,)
    )


def _mean_items(means: sidpy.Dataset, names: Sequence[str]) -> Figure:
    """The mean item of each label, side by side."""
    spec = unwrap(means)[1]
    place = spec.names.index("label")
    n_rows = -(-len(names) // _PER_ROW)
    figure = Figure(figsize=(3 * _PER_ROW, 2.6 * n_rows), layout="constrained")
    cells = figure.subplots(n_rows, _PER_ROW, squeeze=False).ravel()
    for i, (axes, name) in enumerate(zip(cells, names, strict=False)):
        draw(axes, means[(slice(None),) * place + (i,)])
        axes.set_title(name, fontsize=9, parse_math=False)
    for axes in cells[len(names) :]:
        axes.set_axis_off()
    return figure


def _fit(record: Record, key: str) -> list[Section]:
    """What the fitted steps say of themselves: shares of variance, the objective, the likelihood."""
    facts = []
    for name, step in _steps(record):
        if ratios := getattr(step, "explained_variance_ratio", None):
            shares = ", ".join(percent(ratio) for ratio in ratios)
            facts.append(Fact(f"{name}: variance explained", percent(sum(ratios)), f"by component: {shares}"))
        for attribute, words in _NUMBERS.items():
            if isinstance(value := getattr(step, attribute, None), float):
                facts.append(Fact(f"{name}: {words}", f"{value:.6g}"))
        if n := getattr(step, "n_iterations", 0):
            facts.append(Fact(f"{name}: steps", str(n)))
    return [Section(f"fit-{key}", "What the fit says of itself", facts=tuple(facts))] if facts else []


def _steps(record: Record) -> Iterator[tuple[str, Composable]]:
    """The steps of the last run, each with the name that the recipe had for it: that of the estimator, where it was fitted."""
    for node in record.provenance.walk():
        if "pipeline" in node.parameters:
            steps = from_dict(node.parameters["pipeline"], record.provenance.all_arrays()).steps()
            asked = (node.parameters.get("fit") or {}).get("recipe") or node.parameters["pipeline"]
            return zip((next(iter(step)) for step in asked), steps)
    return iter(())


def _origin(file: Path, record: Record, key: str) -> Section:
    sources = [stamp for node in record.provenance.walk() for stamp in node.files]
    facts = [Fact("result", str(file.resolve()), f"'pycroclass replay {file.name}' computes it again and compares")]
    facts += [Fact("source", stamp.path, stamp.digest or "") for stamp in dict.fromkeys(sources)]
    facts += [Fact("computed", f"{record.started} to {record.finished}", record.device or "")]
    facts += [Fact(name, version) for name, version in record.versions.items()]
    tree = json.dumps(record.provenance.to_dict(), indent=1)
    return Section(f"origin-{key}", "Where all this came from", facts=tuple(facts), details=(Fact("How to compute it again", tree),))


def _picture(figure: Figure, alt: str, caption: str = "") -> Picture:
    return Picture(data_url(figure_png(figure)), alt, caption=caption)


def count_section(title: str, text: str, figure: Figure | None = None, details: Mapping[str, Any] | None = None) -> Section:
    """How a number of clusters, components or end members was chosen."""
    pictures = () if figure is None else (_picture(figure, title),)
    folded = tuple(Fact(name, str(value)) for name, value in (details or {}).items())
    return Section("count", title, text, pictures=pictures, details=folded)
