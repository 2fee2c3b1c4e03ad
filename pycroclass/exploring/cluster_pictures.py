"""Pictures of clusters: criteria for their number, and their map beside their mean spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
import sidpy
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from pycroclass.errors import AxisError
from pycroclass.exploring.map_picture import draw_map
from pycroclass.sid import unwrap

_CRITERIA: Final = {
    "silhouette": "silhouette (large)",
    "calinski_harabasz": "Calinski–Harabasz (large)",
    "davies_bouldin": "Davies–Bouldin (small)",
    "gap": "gap statistic (first peak)",
    "bic": "BIC of a mixture (small)",
    "stability": "bootstrap stability, ARI (large)",
}


def criteria(table: pd.DataFrame, votes: Mapping[str, int], recommended: int, title: str) -> Figure:
    """Each criterion against the number of clusters; a ring marks what it wants, a line what is recommended.

    Parameters
    ----------
    table : pandas.DataFrame
        `pycroclass.exploring.cluster_count.ClusterCount.table`.
    votes : mapping of str to int
    recommended : int
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(11, 6), layout="constrained")
    figure.suptitle(title)
    for axes, (name, label) in zip(figure.subplots(2, 3, sharex=True).flat, _CRITERIA.items(), strict=True):
        error = table.get(f"{name}_error")
        axes.errorbar(table.index, table[name], None if error is None else error.to_numpy(), marker=".", capsize=2)
        axes.axvline(recommended, color="0.6", lw=0.8, ls="--")
        if name in votes:
            axes.plot(votes[name], table[name][votes[name]], "o", mfc="none", ms=11, mec="tab:red")
        else:
            axes.text(0.5, 0.5, "too many features", transform=axes.transAxes, ha="center")
        axes.set_title(label, fontsize=10)
        axes.set_xticks(table.index)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("number of clusters", fontsize=10)
    return figure


def cluster_page(labels: sidpy.Dataset, means: Mapping[str, sidpy.Dataset]) -> Figure:
    """The map of labels beside the mean spectrum of each label with its spread of one standard deviation, in the same colours.

    Parameters
    ----------
    labels : sidpy.Dataset
        On two axes; white where there is no label.
    means : mapping of str to sidpy.Dataset
        What `mean_by_label` gives for spectra: ``mean``, ``sd`` and ``count``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    AxisError
        If the labels are no map, or the means no spectra.
    """
    array, spec = unwrap(labels)
    _, mean_spec = unwrap(means["mean"])
    if len(spec.axes) != 2 or len(mean_spec.axes) != 2:
        raise AxisError(f"wanted labels on two axes and means of spectra, got the axes {spec.names} and {mean_spec.names}")
    mean, sd, count = (np.asarray(unwrap(dataset)[0].compute()) for dataset in (means["mean"], means["sd"], means["count"]))
    n = len(count)
    colours = colormaps["tab10" if n <= 10 else "turbo"](np.arange(n) if n <= 10 else np.linspace(0.05, 0.95, n))
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    shown = np.ma.masked_less(np.asarray(array.compute()), 0)
    draw_map(left, shown, spec.axes, cmap=ListedColormap(colours), norm=BoundaryNorm(np.arange(n + 1) - 0.5, n))
    spectral = mean_spec.axes[0]
    for number, colour in enumerate(colours):
        name = mean_spec.classes[number] if mean_spec.classes else str(number)
        right.plot(spectral.values, mean[:, number], color=colour, lw=1.2, label=f"{name}: {count[number]}")
        right.fill_between(spectral.values, *(mean[:, number] + sign * sd[:, number] for sign in (-1, 1)), color=colour, alpha=0.2, lw=0)
    right.set_xlabel(f"{spectral.quantity} ({spectral.units})", parse_math=False)
    right.set_ylabel(f"{mean_spec.quantity} ({mean_spec.units})", parse_math=False)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=8, frameon=False, title="items")
    return figure
