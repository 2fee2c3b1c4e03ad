"""One HTML file that tells a scientist whether to trust a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
import sidpy

from pycroclass._version import __version__
from pycroclass.bundle import Bundle
from pycroclass.errors import ParameterError
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.files import refuse_existing, write_whole
from pycroclass.reporting import about, sections
from pycroclass.reporting.notes import notes
from pycroclass.reporting.parts import Fact, Note, Section

_TEMPLATE: Final = "page.html.j2"
_STYLE: Final = "page.css"


def report(
    evaluation: Evaluation | Mapping[str, Evaluation],
    path: str | Path,
    *,
    bundle: Bundle | None = None,
    dataset: sidpy.Dataset | None = None,
    title: str = "How good is this classifier?",
    overwrite: bool = False,
) -> Path:
    """Write what is known of a classifier as one HTML file that opens from disk, without a network, on a laptop or a phone.

    Parameters
    ----------
    evaluation : Evaluation or mapping of str to Evaluation
        Several are compared, the first with the others: on known runs, say, and on one run left out after the other.
    path : path
        Name of the file.
    bundle : Bundle, optional
        What was evaluated: adds how it was trained, baselines and filters.
    dataset : sidpy.Dataset, optional
        What the (first) evaluation is of: adds pictures of items that were sorted right, wrong and without certainty, with Grad-CAM.
        Only these items are computed. Needs the bundle.
    title : str
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        If there is no evaluation, or a dataset without its bundle.
    WriteError
        If the file exists and is not to be overwritten, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pycroclass.evaluation import Predictions, evaluation_of
    >>> seen = Predictions([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1], ("miss", "hit"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(evaluation_of(seen, n_bootstrap=0), folder + "/report.html").read_text(encoding="utf-8")
    >>> "http://" in page or "https://" in page
    False
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    evaluations = dict(evaluation) if isinstance(evaluation, Mapping) else {"": evaluation}
    if not evaluations:
        raise ParameterError("there is nothing to report: give an evaluation, as pycroclass.evaluate returns it")
    if dataset is not None and bundle is None:
        raise ParameterError("pictures of items need the bundle that sorted them; give bundle=… too")
    write_whole(path, page(evaluations, bundle, dataset, title).encode())
    return path


def page(evaluations: Mapping[str, Evaluation], bundle: Bundle | None, dataset: sidpy.Dataset | None, title: str) -> str:
    """The HTML of a report."""
    first = next(iter(evaluations.values()))
    found = [about.training(bundle)] if bundle else []
    if len(evaluations) > 1:
        found.append(sections.comparison(evaluations))
    for place, (name, evaluation) in enumerate(evaluations.items()):
        found += _of_one(evaluation, name, "" if place == 0 else f"{place + 1}-")
        if place == 0 and bundle and dataset is not None:
            found.append(sections.items_to_look_at(evaluation, dataset, bundle))
    if bundle:
        found += [section for section in (about.baselines(bundle), about.first_filters(bundle)) if section]
    found.append(about.origin(first, bundle))
    return rendered(
        title,
        found,
        name=next(iter(evaluations)),
        classes=first.classes,
        headline=sections.headline(first),
        notes=notes(first, bundle),
    )


def rendered(
    title: str,
    parts: Sequence[Section],
    *,
    name: str = "",
    classes: Sequence[str] = (),
    headline: Sequence[Fact] = (),
    notes: Sequence[Note] = (),
) -> str:
    """A page of these sections as HTML; below the title a name, classes, the most important numbers, and what to know before."""
    template, style = _template()
    return template.render(
        title=title, name=name, classes=classes, headline=headline, notes=notes, sections=parts, style=style, version=__version__
    )


def _of_one(evaluation: Evaluation, name: str, prefix: str) -> list[Section]:
    """The sections that each evaluation has."""
    found = [sections.sorting(evaluation, prefix)]
    if evaluation.per_group:
        found.append(sections.by_group(evaluation, prefix))
    if "balanced_accuracy" in evaluation.gaps:
        found.append(sections.gap(evaluation, prefix))
    found += [sections.ranking(evaluation, prefix), sections.calibration(evaluation, prefix)]
    if evaluation.operating_points:
        found.append(sections.thresholds(evaluation, prefix))
    return [Section(**{**vars(one), "title": f"{one.title}: {name}"}) for one in found] if name else found


@cache
def _template() -> tuple[jinja2.Template, str]:
    folder = files("pycroclass.reporting")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(folder.joinpath(_TEMPLATE).read_text("utf-8")), folder.joinpath(_STYLE).read_text("utf-8")
