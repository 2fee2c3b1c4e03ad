"""The commands ``pycroclass select`` and ``compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pycroclass.commands.console import out, say, wrote
from pycroclass.commands.options import Overwrite
from pycroclass.errors import DataError, ParameterError
from pycroclass.files import refuse_existing

if TYPE_CHECKING:
    import sidpy
    from rich.table import Table

    from pycroclass.crystfel import CrystFELGeometry
    from pycroclass.geometry import PanelGeometry
    from pycroclass.selection import FrameSelection, Places, Veto, VetoPolicy
    from pycroclass.selection.scores import Kind

app = typer.Typer()

_EACH: Final = "{decision}"
"""In the name of an output: a list for each decision."""
_SENSITIVITY: Final = 0.98
_MOST_ROWS: Final = 30


@app.command()
def select(
    results: Annotated[list[Path], typer.Argument(help="What 'pycroclass run' wrote: probabilities, labels or numbers of peaks.")],
    output: Annotated[
        list[str],
        typer.Option(
            "--output",
            "-o",
            help="File to write; may be given several times. .lst: kept frames for CrystFEL, with {decision} in its name one for each "
            "decision; .stream: all frames for CrystFEL; .csv, .parquet: a table of all frames; .h5: kept frames without a copy; "
            ".cxi: kept frames; .emc: the same as photons; .hf5: decisions as NSID. Peaks in the results go into .cxi and .stream.",
        ),
    ],
    sensitivity: Annotated[
        float | None, typer.Option(help="Share of the hits to be found; needs --labelled.", show_default=f"{_SENSITIVITY}")
    ] = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            help="Frames whose class is known: an evaluation (.json), or recordings with labels or tables (file, index, label) that are "
            "among the results; may be given several times."
        ),
    ] = None,
    veto: Annotated[Path | None, typer.Option(help="Thresholds found before, with --save-veto.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep frames with at least this probability, or so many peaks.")] = None,
    sure: Annotated[float | None, typer.Option(help="With --threshold: frames below this are uncertain.")] = None,
    guarantee: Annotated[str, typer.Option(help="Of the sensitivity: bound, conformal or empirical.")] = "bound",
    confidence: Annotated[float, typer.Option(help="Of a bound.")] = 0.95,
    precision: Annotated[float | None, typer.Option(help="Call hits those alone that reach this precision; others are uncertain.")] = None,
    specificity: Annotated[
        float | None, typer.Option(help="Call hits those alone from which this share of the misses stays away; others are uncertain.")
    ] = None,
    keep_misses: Annotated[float, typer.Option(help="Share of the misses that is kept as a sample.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    positive: Annotated[str, typer.Option(help="Name of the class of hits.")] = "hit",
    save_veto: Annotated[Path | None, typer.Option(help="Write the thresholds, a .json file.")] = None,
    gain: Annotated[float | None, typer.Option(help="What a photon adds, for .emc; by default the frames hold photons.")] = None,
    geometry: Annotated[
        Path | None, typer.Option(help="CrystFEL's .geom of the frames, for .stream; by default that of the files.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Choose the frames that are kept, and write lists of them that say why.

    Without --labelled, --veto and --threshold the labels in the results decide.
    """
    from pycroclass.readers.results import read_results
    from pycroclass.selection import Veto, VetoPolicy

    _check_outputs(output, save_veto, overwrite=overwrite)
    ways = {"--labelled": labelled, "--veto": veto, "--threshold": threshold}
    asked = [name for name, value in ways.items() if value is not None]
    if len(asked) > 1:
        raise ParameterError(f"{' and '.join(asked)} exclude each other; say one of them")
    for_labelled = {"--sensitivity": sensitivity, "--precision": precision, "--specificity": specificity}
    if odd := [name for name, value in for_labelled.items() if value is not None and not labelled]:
        raise ParameterError(f"{' and '.join(odd)} needs --labelled: frames whose class is known, to find thresholds from")
    if sure is not None and threshold is None:
        raise ParameterError("--sure belongs to --threshold; with --labelled say --precision or --specificity")
    parts = [read_results(path) for path in results]
    if veto is not None:
        chosen = Veto.load(veto)
    else:
        policy = VetoPolicy(
            _target("sensitivity", _SENSITIVITY if sensitivity is None else sensitivity, guarantee, confidence),
            _sure(precision, specificity, guarantee, confidence),
            keep_misses,
            seed,
        )
        if labelled is not None:
            chosen = _fitted(policy, parts, labelled, positive)
        elif threshold is not None:
            chosen = policy.at(threshold, sure, kind=_score_kind(parts[0]), positive=positive)
        else:
            chosen = policy.by_label(positive)
    selection = chosen.select(parts)
    say(str(chosen))
    if chosen.calibration is not None:
        say(f"to expect: {chosen.expected(len(selection))}")
    out.print(_counts(selection))
    if save_veto is not None:
        wrote(chosen.save(save_veto, overwrite=overwrite))
    peaks = _peaks_of(parts)
    for name in output:
        for path in _written(selection, name, peaks, geometry, gain, overwrite=overwrite):
            wrote(path)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Lists (.lst), tables (.csv, .parquet) or other selections; two or more.")],
    picture: Annotated[Path | None, typer.Option(help="Draw who keeps what into this PNG.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write who keeps each frame, a .csv file.")] = None,
    by_name: Annotated[bool, typer.Option("--by-name", help="Files of the same name are the same, wherever they lie.")] = False,
    data: Annotated[str | None, typer.Option(help="HDF5 path of the frames that lists name, as in the geometry file: /%/data.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare selections of frames: what they have in common, and who has what."""
    from pycroclass.files import write_whole
    from pycroclass.selection import compare as compare_selections
    from pycroclass.selection import read_lst, read_selection

    for path in filter(None, (picture, table)):
        refuse_existing(path, overwrite=overwrite, option="--overwrite")
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    selections = [read_lst(path, data=data) if path.suffix.lower() == ".lst" else read_selection(path) for path in files]
    found = compare_selections(*selections, names=names, by_name=by_name)
    out.print(found.summary())
    if table is not None:
        write_whole(table, found.table().to_csv(index=False).encode())
        wrote(table)
    if picture is not None:
        found.figure().savefig(picture, format="png", dpi=150)
        wrote(picture)


def _check_outputs(output: Sequence[str], save_veto: Path | None, *, overwrite: bool) -> None:
    from pycroclass.selection.formats import format_of

    for name in output:
        if format_of(name).ending != ".lst" and _EACH in name:
            raise ParameterError(f"{name}: {_EACH} is for lists (.lst); a file of this kind holds all decisions")
        for path in _paths(name).values():
            refuse_existing(path, overwrite=overwrite, option="--overwrite")
    if save_veto is not None:
        refuse_existing(save_veto, overwrite=overwrite, option="--overwrite")
    if len(set(output)) < len(output):
        raise ParameterError(f"an output is named twice: {', '.join(output)}")


def _paths(name: str) -> dict[str | None, Path]:
    """Where which decision goes; None is what is kept."""
    from pycroclass.selection import DECISIONS

    return {decision: Path(name.replace(_EACH, decision)) for decision in DECISIONS} if _EACH in name else {None: Path(name)}


def _written(
    selection: FrameSelection,
    name: str,
    peaks: Mapping[str, sidpy.Dataset],
    geometry: Path | None,
    gain: float | None,
    *,
    overwrite: bool,
) -> list[Path]:
    from pycroclass.selection import write_lst, write_selected_cxi, write_selected_emc, write_selection, write_stream

    match Path(name).suffix.lower():
        case ".cxi":
            return [write_selected_cxi(selection, name, peaks=peaks, overwrite=overwrite)]
        case ".emc":
            return [write_selected_emc(selection, name, gain=gain, overwrite=overwrite)]
        case ".stream":
            detector = _detector(selection, geometry)
            return [write_stream(selection, name, peaks=peaks.get("peaks"), geometry=detector, overwrite=overwrite)]
    if _EACH not in name:
        return [write_selection(selection, name, overwrite=overwrite)]
    return [write_lst(selection, path, decision=decision, overwrite=overwrite) for decision, path in _paths(name).items()]


def _peaks_of(parts: Sequence[Mapping[str, sidpy.Dataset]]) -> dict[str, sidpy.Dataset]:
    """Peaks of all frames, where all results hold them."""
    from pycroclass.api import concatenate

    return {name: concatenate([part[name] for part in parts]) for name in ("n_peaks", "peaks") if all(name in part for part in parts)}


def _detector(selection: FrameSelection, geometry: Path | None) -> CrystFELGeometry | PanelGeometry:
    """What was given, else what the files know."""
    from pycroclass.crystfel import read_crystfel
    from pycroclass.geometry import PanelGeometry
    from pycroclass.selection import selected_frames
    from pycroclass.sid import unwrap

    if geometry is not None:
        return read_crystfel(geometry)
    spec = unwrap(selected_frames(selection)["image"])[1]
    if spec.geometry is None:
        raise DataError("a stream needs the geometry of the frames, and their files do not tell it; give it with --geometry")
    height, width = spec.shape[-2:]
    return spec.geometry if isinstance(spec.geometry, PanelGeometry) else PanelGeometry.of_flat(spec.geometry, (height, width))


def _target(quantity: Any, value: float, guarantee: Any, confidence: float) -> Any:
    from pycroclass.evaluation import Target

    return Target(quantity, value, guarantee, confidence)


def _sure(precision: float | None, specificity: float | None, guarantee: str, confidence: float) -> Any:
    if precision is not None and specificity is not None:
        raise ParameterError("--precision and --specificity exclude each other; say one of them")
    if precision is not None:
        return _target("precision", precision, guarantee, confidence)
    return None if specificity is None else _target("specificity", specificity, guarantee, confidence)


def _score_kind(results: Any) -> Kind:
    for kind, name in (("probability", "probability"), ("peaks", "n_peaks")):
        if name in results:
            return kind  # type: ignore[return-value]  # these are two of them
    raise DataError(f"a threshold needs probabilities or numbers of peaks, the results hold {', '.join(results) or 'nothing'}")


def _fitted(policy: VetoPolicy, parts: Sequence[Any], labelled: Sequence[str], positive: str) -> Veto:
    from pycroclass.evaluation import Evaluation
    from pycroclass.selection import Places, places, scores_of, truth_of

    if any(Path(path).suffix.lower() == ".json" for path in labelled):
        if len(labelled) > 1:
            raise ParameterError("an evaluation is enough to find thresholds from; give it alone")
        return policy.fit(Evaluation.load(labelled[0]).predictions, positive)
    import numpy as np

    kind = _score_kind(parts[0])
    scores = np.concatenate([scores_of(part, kind, positive=positive).values for part in parts])
    name = "probability" if kind == "probability" else "n_peaks"
    where: Places = Places.joined([places(part[name]) for part in parts])
    known, is_hit = truth_of(labelled, positive=positive).among(where)
    has_answer = ~np.isnan(scores[known])  # frames without one are kept in any case
    return policy.fit_scores(scores[known][has_answer], is_hit[has_answer], kind=kind, positive=positive)


def _counts(selection: FrameSelection) -> Table:
    """How many frames of each file got which decision, and how many are kept."""
    from rich.markup import escape
    from rich.table import Column, Table

    from pycroclass.selection import DECISIONS

    heads = ("frames", *DECISIONS, "kept", "of them sampled misses")
    table = Table(Column("file", overflow="fold"), *(Column(head, justify="right") for head in heads))
    files = list(dict.fromkeys(selection.file.tolist()))
    for name, here in [*((file, selection.file == file) for file in files[:_MOST_ROWS]), ("all", selection.file == selection.file)]:
        decided = [int((selection.decision[here] == decision).sum()) for decision in DECISIONS]
        sampled = int((selection.reason[here] == "sampled miss").sum())
        table.add_row(escape(Path(name).name), *map(str, (int(here.sum()), *decided, int(selection.is_kept[here].sum()), sampled)))
    return table
