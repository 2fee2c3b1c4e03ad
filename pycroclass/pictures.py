"""Pictures of datasets with matplotlib, computed from a small part of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import sidpy
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pycroclass import engine
from pycroclass.augmentation import Augmentation, Chance, augmented, mixed
from pycroclass.errors import AxisError
from pycroclass.estimators import NetworkClassifier
from pycroclass.operator import Composable, Pipeline
from pycroclass.passes import Passes
from pycroclass.profile import Phase
from pycroclass.sid import unwrap
from pycroclass.spec import AxisKind, Domain, Spec

_MOST_PIXELS = 512
_N_CHANNELS = 64
_N_CURVES = 10


def thumbnails(datasets: Mapping[str, sidpy.Dataset]) -> Figure:
    """One small picture for each dataset: the middle image where there is one, else curves; axes in their units.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = len(datasets)
    columns = min(4, n)
    figure = Figure(figsize=(3.4 * columns, 3.2 * -(-n // columns)), layout="constrained")
    for i, (name, dataset) in enumerate(datasets.items(), 1):
        axes = figure.add_subplot(-(-n // columns), columns, i)
        draw(axes, dataset)
        axes.set_title(name, fontsize=8, wrap=True, parse_math=False)
    return figure


def gallery(
    dataset: sidpy.Dataset,
    classifier: NetworkClassifier,
    *,
    preprocessing: Composable | None = None,
    n_items: int = 4,
    n_versions: int = 6,
) -> Figure:
    """What a network sees of some items while it learns: each as it is, then as augmentation may change it.

    Look at it before a long training. Where a person could not tell the class any more, a network cannot either.

    Parameters
    ----------
    dataset : sidpy.Dataset
    classifier : NetworkClassifier
        Its augmentation, and its seed.
    preprocessing : Operator or Pipeline, optional
        As for `pycroclass.train`.
    n_items, n_versions : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    lazy, spec = next(iter(engine.run(Pipeline(preprocessing.steps() if preprocessing else ()), *unwrap(dataset)).values()))
    data = Passes.over(lazy, spec, classifier.domain, classifier.axes, nonfinite="mask")
    items = torch.from_numpy(data.sample(n_items, classifier.seed)).float()
    settings = Augmentation.of(classifier.augmentation)
    chance = Chance((classifier.seed, 0), items.device)
    labels = torch.zeros(len(items), dtype=torch.int64)
    versions = [items, *(mixed(augmented(items, settings, chance), labels, settings, chance)[0] for _ in range(n_versions))]
    figure = Figure(figsize=(1.6 * len(versions), 1.7 * len(items) + 0.3), layout="constrained")
    panels = figure.subplots(len(items), len(versions), squeeze=False)
    for column, version in enumerate(versions):
        panels[0, column].set_title("as it is" if column == 0 else f"version {column}", fontsize=8)
        for row, item in enumerate(version):
            _small(panels[row, column], item.numpy(), items[row].numpy())
    return figure


def _small(axes: Axes, item: npt.NDArray[Any], original: npt.NDArray[Any]) -> None:
    """One item without ticks, in the range of the original."""
    low, high = np.percentile(original, (1, 99))
    axes.set(xticks=(), yticks=())
    if item.ndim == 1:
        axes.plot(item, lw=0.7)
        axes.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
    else:
        shown = np.clip((item - low) / max(high - low, 1e-30), 0, 1).transpose(1, 2, 0)
        axes.imshow(shown if len(item) == 3 else shown.mean(2), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def phases(spent: Mapping[Phase, float], elapsed: float, n_threads: int) -> Figure:
    """Where the time of a run went: a bar for each phase, and for what its threads spent on none of them.

    Parameters
    ----------
    spent : mapping of phase to float
        Seconds, those of all threads added, as `pycroclass.profile.collect` gives them.
    elapsed : float
        Seconds from begin to end.
    n_threads : int
        That could work at the same time.

    Returns
    -------
    matplotlib.figure.Figure
    """
    available = max(elapsed * n_threads, sum(spent.values()))
    bars = {str(phase): seconds for phase, seconds in spent.items()} | {"other or idle": available - sum(spent.values())}
    figure = Figure(figsize=(7, 0.5 * len(bars) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    places = axes.barh(list(bars), list(bars.values()), color=[*(f"C{i}" for i in range(len(spent))), "lightgrey"])
    axes.bar_label(places, [f"{seconds:.3g} s, {seconds / max(available, 1e-9):.0%}" for seconds in bars.values()], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="seconds of all threads", title=f"{elapsed:.3g} s on {n_threads} threads")
    axes.margins(x=0.22)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def hit_page(frames: npt.NDArray[Any], score: npt.NDArray[Any], is_hit: npt.NDArray[Any], *, threshold: float = 0.5) -> Figure:
    """A page about a hit finder: misses and hits from their lowest to their highest score, confusion matrix, histogram of scores.

    Parameters
    ----------
    frames : array, shape (frame, y, x)
    score : array, shape (frame,)
        Probability of a hit.
    is_hit : array, shape (frame,)
        The truth, nonzero for a hit.
    threshold : float
        From which score on a frame is called a hit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    is_hit = np.asarray(is_hit, bool)
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(2.2, 1))
    top, bottom = (figure.add_subfigure(halves[i]) for i in range(2))
    shown = np.concatenate([_spread(np.flatnonzero(truth), score, 5) for truth in (~is_hit, is_hit)])
    for axes, i in zip(top.subplots(2, 5).flat, shown, strict=False):
        small = _shrunk(frames[i], 3)
        axes.imshow(small, cmap="magma", vmin=np.percentile(small, 1), vmax=np.percentile(small, 99.7), interpolation="nearest")
        right = (score[i] >= threshold) == is_hit[i]
        axes.set_title(f"frame {i}: {'hit' if is_hit[i] else 'miss'}, score {score[i]:.2f}", fontsize=9, color="k" if right else "r")
        axes.set_axis_off()
    left, middle = bottom.subplots(1, 2, width_ratios=(1, 2))
    _confusion(left, is_hit, score >= threshold)
    bins = np.linspace(0, 1, 26)
    middle.hist([score[~is_hit], score[is_hit]], bins, stacked=True, label=["miss", "hit"], color=["tab:blue", "tab:orange"])
    middle.axvline(threshold, color="k", lw=0.8, ls="--")
    middle.set(xlabel="score: probability of a hit", ylabel="frames", yscale="log", ylim=(0.7, None))
    middle.legend(title="truth", loc="upper center")
    return figure


def _spread(items: npt.NDArray[np.intp], score: npt.NDArray[Any], n: int) -> npt.NDArray[np.intp]:
    """``n`` of the items, from the lowest to the highest score."""
    order = items[np.argsort(score[items], kind="stable")]
    return order[np.linspace(0, len(order) - 1, min(n, len(order))).astype(np.intp)]


def _shrunk(frame: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """The largest value of each small square, so that a Bragg peak of one pixel stays to be seen."""
    y, x = (size // factor for size in frame.shape)
    shrunk: npt.NDArray[Any] = frame[: y * factor, : x * factor].reshape(y, factor, x, factor).max((1, 3))
    return shrunk


def _confusion(axes: Axes, truth: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]) -> None:
    counts = np.array([[int(((truth == t) & (called == c)).sum()) for c in (False, True)] for t in (False, True)])
    axes.imshow(counts, cmap="Blues", norm="symlog")
    for (row, column), n in np.ndenumerate(counts):
        axes.text(column, row, str(n), ha="center", va="center", fontsize=14, color="w" if n > counts.max() / 8 else "k")
    axes.set(xticks=(0, 1), yticks=(0, 1), xticklabels=("miss", "hit"), yticklabels=("miss", "hit"), xlabel="called", ylabel="truth")


def draw(axes: Axes, dataset: sidpy.Dataset) -> None:
    """Draw one dataset: its middle image, or its middle curve, or one for each of a few labels.

    Names are shown as they are: not all of a file's are sound TeX.
    """
    array, spec = unwrap(dataset)
    try:
        core = spec.core(Domain.IMAGE)[-2:]
    except AxisError:
        core = (spec.core(Domain.SPECTRUM) if spec.of_kind(AxisKind.SPECTRAL) else spec.names[-1:])[-1:]
    most = 4 if len(core) == 2 else _N_CURVES
    colour = tuple(name for name in spec.of_kind(AxisKind.CHANNEL) if name not in core and spec[name].size <= most)
    middle = tuple(_part(spec, name, core, colour) for name in spec.names)
    values = np.asarray(array[middle])
    kept = [name for name, part in zip(spec.names, middle, strict=True) if isinstance(part, slice)]
    values = values.mean(tuple(i for i, name in enumerate(kept) if name not in (*core, *colour)))
    kept = [name for name in kept if name in (*core, *colour)]
    values = values.transpose([kept.index(name) for name in (*core, *colour)])
    if len(core) == 2:
        _image(axes, values, spec, core)
    else:
        axes.plot(spec[core[0]].values[middle[spec.names.index(core[0])]], np.abs(values) if np.iscomplexobj(values) else values, lw=0.8)
        axes.set_xlabel(_label(spec, core[0]), fontsize=7, parse_math=False)
        axes.set_ylabel(f"{spec.quantity} ({spec.units})", fontsize=7, parse_math=False)
    axes.tick_params(labelsize=6)


def _part(spec: Spec, name: str, core: tuple[str, ...], colour: tuple[str, ...]) -> slice | int:
    """What to show of an axis: all of the picture's own, every so many of a spectral one, the middle of others."""
    if name in colour:
        return slice(None)
    size = spec[name].size
    if name not in core and spec[name].kind is AxisKind.SPECTRAL:
        return slice(None, None, max(1, size // _N_CHANNELS))
    return slice(None, None, max(1, size // _MOST_PIXELS if len(core) == 2 else 1)) if name in core else size // 2


def _image(axes: Axes, values: npt.NDArray[Any], spec: Spec, core: tuple[str, ...]) -> None:
    values = np.abs(values) if np.iscomplexobj(values) else values
    y, x = (spec[name].values for name in core)
    extent = (x[0], x[-1], y[-1], y[0]) if len(x) > 1 and len(y) > 1 and x[0] != x[-1] and y[0] != y[-1] else None
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0, 1)
    grey = values.ndim == 2
    shown = values if grey else np.clip((values - float(low)) / max(float(high - low), 1e-30), 0, 1)
    if spec.classes and grey:
        low, high = 0, max(9, len(spec.classes) - 1)
    colours = "tab10" if spec.classes else "viridis"
    axes.imshow(shown, cmap=colours, vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="nearest")
    axes.set_ylabel(_label(spec, core[0]), fontsize=7, parse_math=False)
    axes.set_xlabel(_label(spec, core[1]), fontsize=7, parse_math=False)


def _label(spec: Spec, name: str) -> str:
    return f"{name} ({spec[name].units})"
