"""Items to look at: of each class those that were sorted right, wrong, and without certainty, as the network saw them."""

from __future__ import annotations

from typing import Any, Final, Literal

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy
from matplotlib import colormaps
from matplotlib.figure import Figure

from pycroclass.api import run
from pycroclass.bundle import Bundle
from pycroclass.errors import DataError
from pycroclass.evaluation.predictions import UNCERTAIN, Floats, Integers, Predictions
from pycroclass.networks.classifier import ImageClassifier
from pycroclass.operator import Pipeline
from pycroclass.operators.grad_cam import with_grad_cam
from pycroclass.operators.network import Classify
from pycroclass.per_item import columns, take
from pycroclass.reporting.parts import Tile
from pycroclass.reporting.pixels import sized, stretched
from pycroclass.reporting.style import ACCENT, data_url, jpeg, styled, svg
from pycroclass.sid import unwrap
from pycroclass.spec import AxisKind, Spec

Kind = Literal["right", "wrong", "uncertain"]
KINDS: Final[tuple[Kind, ...]] = ("wrong", "uncertain", "right")


def choose(predictions: Predictions, n_each: int) -> dict[str, dict[Kind, Integers]]:
    """Numbers of the items to show, by true class and kind; an item is shown once.

    ``wrong`` are the most confident mistakes, ``uncertain`` the items whose most probable class is least probable (or that were left
    uncertain), ``right`` the most confident answers of the rest.

    Examples
    --------
    >>> seen = Predictions([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.3, 0.7]], [0, 0, 0, 1], ("miss", "hit"))
    >>> choose(seen, 1)["miss"]
    {'wrong': array([1]), 'uncertain': array([2]), 'right': array([0])}
    """
    confidence = predictions.confidence
    is_left = predictions.label == predictions.n_classes
    chosen: dict[str, dict[Kind, Integers]] = {}
    for c, name in enumerate(predictions.classes):
        items = np.flatnonzero(predictions.labels == c)
        by_confidence = items[np.argsort(confidence[items], kind="stable")]
        is_right, left = predictions.label[by_confidence] == c, is_left[by_confidence]
        wrong = by_confidence[~is_right & ~left][::-1][:n_each]
        rest = by_confidence[~np.isin(by_confidence, wrong)]
        unsure = rest[np.argsort(~is_left[rest], kind="stable")][: min(n_each, -(-len(rest) // 2))]
        sure = rest[(predictions.label[rest] == c) & ~np.isin(rest, unsure)][::-1][:n_each]
        chosen[name] = {"wrong": wrong, "uncertain": unsure, "right": sure}
    return chosen


def montage(predictions: Predictions, dataset: sidpy.Dataset, bundle: Bundle, *, n_each: int = 4) -> dict[str, dict[Kind, list[Tile]]]:
    """The tiles of each class and kind, drawn from what the network was given; only the items that are shown are computed.

    Parameters
    ----------
    predictions : Predictions
        Of the items of the dataset, in their order; items without a class are left out of both.
    dataset : sidpy.Dataset
        What was evaluated.
    bundle : Bundle
    n_each : int
        Most tiles of one class and kind.
    """
    chosen = choose(predictions, n_each)
    numbers = np.unique(np.concatenate([found for kinds in chosen.values() for found in kinds.values()]))
    pictures = _pictures(take(dataset, numbers_in(predictions, dataset)[numbers]), bundle)
    called = (*predictions.classes, UNCERTAIN)
    tiles = {
        int(number): Tile(
            name="" if predictions.names is None else str(predictions.names[number]),
            group="" if predictions.groups is None else str(predictions.groups[number]),
            truth=predictions.classes[predictions.labels[number]],
            called=called[predictions.label[number]],
            confidence=float(predictions.confidence[number]),
            of_truth=float(predictions.probability[number, predictions.labels[number]]),
            picture=picture,
            evidence=evidence,
        )
        for number, (picture, evidence) in zip(numbers, pictures, strict=True)
    }
    return {name: {kind: [tiles[int(n)] for n in found] for kind, found in kinds.items()} for name, kinds in chosen.items()}


def numbers_in(predictions: Predictions, dataset: sidpy.Dataset) -> Integers:
    """The number in the dataset of each item that was evaluated: by its name, else in the order of all items, or of those with a class.

    Raises
    ------
    DataError
        If the items cannot be told, or have other classes in the dataset.
    """
    known = columns(dataset)
    truth = np.asarray(known["labels"]) if "labels" in known else None
    numbers = _by_name(predictions, [str(name) for name in known.get("files", ())])
    if numbers is None and predictions.n_items == dataset.shape[0]:
        numbers = np.arange(dataset.shape[0])
    if numbers is None and truth is not None and (truth >= 0).sum() == predictions.n_items:
        numbers = np.flatnonzero(truth >= 0)
    if numbers is None:
        raise DataError(
            f"the evaluation is of {predictions.n_items} items, the dataset has {dataset.shape[0]}, and which is which cannot be told. "
            "Give the dataset that was evaluated."
        )
    classes = unwrap(dataset)[1].classes
    if truth is not None and classes and [classes[i] for i in truth[numbers]] != [predictions.classes[i] for i in predictions.labels]:
        raise DataError("the items of the dataset have other classes than those that were evaluated. Give the dataset that was evaluated.")
    return numbers


def _by_name(predictions: Predictions, files: list[str]) -> Integers | None:
    """Numbers by names, where each name is there once."""
    if predictions.names is None or len(set(files)) < len(files) or not set(predictions.names.tolist()) <= set(files):
        return None
    place = {name: i for i, name in enumerate(files)}
    return np.array([place[name] for name in predictions.names.tolist()], np.int64)


def _pictures(dataset: sidpy.Dataset, bundle: Bundle) -> list[tuple[str, str]]:
    """For each item the address of its picture, and of the picture under its evidence."""
    steps = bundle.pipeline.steps()
    place, classify = next((i, step) for i, step in enumerate(steps) if isinstance(step, Classify))
    shown, meaning = _after(Pipeline(steps[:place]), dataset)
    core = meaning.core(classify.domain, classify.axes)
    if len(core) == 1:
        return [(data_url(svg(_curve(spectrum))), "") for spectrum in np.asarray(shown)]
    lazy = [shown.transpose(0, *(meaning.names.index(name) for name in (*core[-2:], *core[:-2])))]
    if isinstance(classify.outline, ImageClassifier):
        evidence, spec = _after(with_grad_cam(bundle.pipeline), dataset)
        lazy.append(evidence.transpose(0, *(spec.names.index(name) for name in core[-2:])))
    images, *maps = dask.compute(*lazy)
    has_peaks = meaning[core[-1]].kind is AxisKind.RECIPROCAL
    pictures = [sized(stretched(image), has_peaks=has_peaks) for image in images]
    overlaid = [_overlaid(picture, sized(one)) for picture, one in zip(pictures, maps[0], strict=True)] if maps else pictures
    addresses = [[data_url(jpeg((255 * picture).round().astype(np.uint8))) for picture in some] for some in (pictures, overlaid)]
    return [(picture, under if maps else "") for picture, under in zip(*addresses, strict=True)]


def _after(pipeline: Pipeline, dataset: sidpy.Dataset) -> tuple[da.Array, Spec]:
    """What the network is given: the first result of a pipeline, which may be empty."""
    if not len(pipeline):
        return unwrap(dataset)
    result = run(pipeline, dataset)
    return unwrap(next(iter(result.values())) if isinstance(result, dict) else result)


def _overlaid(picture: Floats, evidence: Floats) -> Floats:
    """The picture in grey, in colour where there is evidence, up to the largest of this item."""
    strength = evidence / max(float(np.nanmax(evidence, initial=0.0)), 1e-30)
    colours = colormaps["inferno"](strength)[..., :3]
    share = 0.75 * np.nan_to_num(strength)[..., None]
    overlaid: Floats = picture.mean(2, keepdims=True) * (1 - share) + colours * share
    return overlaid


def _curve(spectrum: npt.NDArray[Any]) -> Figure:
    with styled():
        figure = Figure(figsize=(1.6, 1.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(spectrum, color=ACCENT, lw=1)
        axes.set_axis_off()
    return figure
