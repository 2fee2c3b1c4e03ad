"""From a bundle to the sections of a page: what was trained on what, how it learned, what else was tried, where all came from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pycroclass.bundle import Bundle
from pycroclass.evaluation.evaluation import Evaluation
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.operator import Composable
from pycroclass.operators.network import Classify
from pycroclass.reporting import figures
from pycroclass.reporting.figures import Row
from pycroclass.reporting.notes import baseline_note, baseline_scores, files_of, kept_epoch, network_score
from pycroclass.reporting.parts import NOTHING, Fact, Grid, Picture, Section, counted, listed, number, percent
from pycroclass.reporting.style import data_url, png, svg
from pycroclass.serialize import to_dict

_SETTINGS: Final = ("epochs", "batch_size", "learning_rate", "validation", "seed", "augmentation", "balance", "optimisation", "transfer")
_SHOWN: Final = {"classifier", "sources", "versions", "counts", "history", "baselines", "validation_items", "n_usable", "device"}
_LONGEST: Final = 160


def training(bundle: Bundle) -> Section:
    """What was trained on what, and how it learned."""
    record = bundle.training
    history = record.get("history") or ()
    kept = kept_epoch(bundle)
    pictures = []
    if history:
        best = next((entry for entry in history if entry.get("epoch") == kept), history[-1])
        told = "; ".join(f"{name.replace('_', ' ')} {number(float(value))}" for name, value in best.items() if isinstance(value, float))
        pictures.append(
            Picture(
                data_url(svg(figures.learning(history, kept))),
                f"Learning curves over {counted(len(history), 'epoch')}. At the epoch that was kept: {told}.",
                "Learning curves",
                "The dotted line marks the epoch whose weights were kept.",
            )
        )
    return Section(
        "training",
        "What was trained on what",
        facts=tuple(_facts(bundle)),
        pictures=tuple(pictures),
        grids=tuple(_counts(record.get("counts") or {}, bundle.classes)),
    )


def _facts(bundle: Bundle) -> Iterator[Fact]:
    record = bundle.training
    classify = network_of(bundle)
    if classify is not None:
        n_weights = sum(weight.numel() for weight in classify.outline.parameters())
        yield Fact("network", classify.architecture, f"{counted(n_weights, 'weight')}; {_plain(dict(classify.parameters))}")
    yield Fact("classes", listed(bundle.classes, 12), f"{len(bundle.classes)} of them")
    yield Fact("steps", " → ".join(type(step).__name__ for step in bundle.pipeline.steps()), _steps(bundle.pipeline.steps()))
    files = sorted(file for source in record.get("sources", ()) for file in files_of(source))
    if files:
        names = [Path(path).name for path, *_ in files]
        folder = os.path.commonpath([Path(path).parent for path, *_ in files])
        yield Fact("trained on", counted(len(files), "file"), f"{listed(names, 2)} in {folder}")
    ((_, settings),) = _step(record.get("classifier")).items()
    for name in _SETTINGS:
        if settings.get(name) is not None and name not in record:
            yield Fact(name.replace("_", " "), *_short(_plain(settings[name])))
    for name, value in record.items():
        if name not in _SHOWN and value not in (None, "", 0, [], {}):
            yield Fact(name.removeprefix("n_").replace("_", " "), *_short(_plain(value)))
    if bundle.licence:
        yield Fact("licence", bundle.licence)


def _counts(counts: Mapping[str, Mapping[str, int]], classes: tuple[str, ...]) -> Iterator[Grid]:
    if not counts:
        return
    totals = {side: sum(of_class.values()) for side, of_class in counts.items()}
    rows = [
        (
            name,
            *(
                f"{of_class.get(name, 0)} ({percent(of_class.get(name, 0) / totals[side])})" if totals[side] else NOTHING
                for side, of_class in counts.items()
            ),
        )
        for name in classes
    ]
    yield Grid("Items of each class", ("class", *counts), (("all", *map(str, totals.values())), *rows), 1)


def baselines(bundle: Bundle) -> Section | None:
    """What simpler models reach on the same items; nothing where none was tried."""
    found = baseline_scores(bundle)
    if not found:
        return None
    score = network_score(bundle)
    others = sorted((Row(name, value) for name, value in found.items()), key=lambda row: -row.value)
    rows = [Row("this network", score, is_main=True), *others] if not math.isnan(score) else others
    chance = 1 / max(len(bundle.classes), 1)
    told = "; ".join(f"{row.name} {number(row.value)}" for row in rows)
    figure = Picture(
        data_url(svg(figures.intervals(rows, "balanced accuracy on the validation items", reference=chance))),
        f"Balanced accuracy on the validation items: {told}; chance {number(chance)}.",
        "Simpler models on the same items",
        "The dotted line is chance.",
    )
    keys = list(
        dict.fromkeys(
            name for values in bundle.training["baselines"].values() for name, value in values.items() if isinstance(value, int | float)
        )
    )
    grid = Grid(
        "",
        ("model", *(f"{name[2:]} items" if name.startswith("n_") else name.replace("_", " ") for name in keys)),
        tuple((row.name, *(_number(bundle.training["baselines"][row.name].get(name)) for name in keys)) for row in others),
    )
    note = baseline_note(bundle)
    return Section("baselines", "Baselines", note.text if note else "", pictures=(figure,), grids=(grid,))


def first_filters(bundle: Bundle) -> Section | None:
    """What the first layer of the network looks for; nothing where it has no filters for images."""
    classify = network_of(bundle)
    if classify is None or not isinstance(classify.outline, ImageClassifier):
        return None
    weights = classify.weights[f"{classify.outline.first_convolution()}.weight"].values
    n, c, y, x = weights.shape
    channels = "in colours" if c == 3 else "red above zero, blue below"
    figure = Picture(
        data_url(png(figures.filters(weights))),
        f"The {n} filters of the first layer, {y} by {x} pixels each, {counted(c, 'channel')}.",
        "",
        f"{n} filters of {y} × {x}, {channels}, each on a scale of its own. Smooth stripes and spots were learned; noise was not.",
    )
    return Section("filters", "What the first layer looks for", pictures=(figure,))


def origin(evaluation: Evaluation | None, bundle: Bundle | None, *, key: str = "origin") -> Section:
    """Digests, versions and the whole records."""
    facts = []
    details = []
    if bundle is not None:
        facts.append(Fact("bundle", bundle.digest))
        facts += [Fact(f"trained with {name}", str(value)) for name, value in (bundle.training.get("versions") or {}).items()]
        details.append(Fact("Record of the training", _json(bundle.training)))
        details.append(Fact("Pipeline", _json(to_dict(bundle.pipeline)[0])))
    if evaluation is not None:
        record = evaluation.provenance
        facts += [
            Fact(name.replace("_", " "), str(value)) for name, value in record.items() if isinstance(value, str | int) and value != ""
        ]
        facts += [Fact(f"evaluated with {name}", str(value)) for name, value in (record.get("versions") or {}).items()]
        details.append(Fact("Record of the evaluation", _json(record)))
    return Section(key, "Where all this came from", facts=tuple(facts), details=tuple(details))


def network_of(bundle: Bundle) -> Classify | None:
    """The network of a bundle."""
    return next((step for step in bundle.pipeline.steps() if isinstance(step, Classify)), None)


def _step(record: Any) -> dict[str, dict[str, Any]]:
    """The one step of a recipe, or an empty one."""
    step = record[0] if isinstance(record, list) and record else record
    return dict(step) if isinstance(step, Mapping) and len(step) == 1 else {"": {}}


def _steps(steps: tuple[Composable, ...]) -> str:
    told = []
    for step in steps:
        if isinstance(step, Classify):
            continue
        ((name, parameters),) = to_dict(step)[0][0].items()
        told.append(f"{name} ({_plain(parameters)})" if parameters else name)
    return "; ".join(told)


def _plain(value: Any) -> str:
    """A JSON value in words."""
    match value:
        case Mapping():
            return ", ".join(f"{name.replace('_', ' ')} {_plain(one)}" for name, one in value.items() if one not in (None, {}, []))
        case list() | tuple():
            return listed([_plain(one) for one in value])
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def _short(text: str) -> tuple[str, str]:
    """A short value as it is, a long one in small letters."""
    return (text, "") if len(text) <= 40 else ("", text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _number(value: Any) -> str:
    return number(float(value)) if isinstance(value, float | np.floating) else NOTHING if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
