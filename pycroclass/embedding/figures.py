"""Pictures of a collection of images: its map with small images on it, and members of each cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import sidpy
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from pycroclass.embedding.image_map import KINDS, ImageMap
from pycroclass.embedding.neighbours import diverse_sample
from pycroclass.embedding.small_pictures import small_pictures
from pycroclass.reporting.style import COLOURS, styled

NO_CLUSTER: Final = "#b0b7c0"
_MARGIN: Final = 0.06
"""Of the map on each side, in its widths, so that pictures at its rim are whole."""
_POINTS: Final = 440
"""About how wide and high the items of a map lie apart on the page, in points."""


def cluster_colours(clusters: npt.ArrayLike) -> dict[int, str]:
    """A colour for each cluster; those of up to seven are told apart by colour-blind readers too."""
    numbers = [int(number) for number in np.unique(clusters) if number >= 0]
    colours = COLOURS if len(numbers) <= len(COLOURS) else tuple(to_hex(colour) for colour in colormaps["tab20"].colors)  # type: ignore[attr-defined]  # of a listed map
    return {number: colours[i % len(colours)] for i, number in enumerate(numbers)}


def cluster_name(number: int, names: Mapping[int, str] | None) -> str:
    """What a cluster is called."""
    return "no cluster" if number < 0 else (names or {}).get(number, f"cluster {number}")


def draw_map(image_map: ImageMap, dataset: sidpy.Dataset, *, n_pictures: int = 60, names: Mapping[int, str] | None = None) -> Figure:
    """The map of a collection: a point for each image in the colour of its cluster, and small pictures of some, spread over the map.

    Parameters
    ----------
    image_map : ImageMap
    dataset : sidpy.Dataset
        The images that it was made from; only those that are shown are computed.
    n_pictures : int
        Most pictures; fewer where they would hide each other.
    names : mapping of int to str, optional
        Of clusters.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with styled():
        figure = Figure(figsize=(8.5, 7), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        places, labels = image_map.coordinates, image_map.labels
        grey = {-1: NO_CLUSTER} if (labels < 0).any() else {}
        for number, colour in (grey | cluster_colours(labels)).items():
            of_cluster = places[labels == number]
            axes.scatter(
                of_cluster[:, 0],
                of_cluster[:, 1],
                s=12,
                color=colour,
                lw=0,
                alpha=0.8,
                label=f"{cluster_name(number, names)} ({len(of_cluster)})",
            )
        axes.margins(_MARGIN)
        axes.set(xticks=(), yticks=(), xlabel="neighbours look alike; distances between groups mean nothing")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
        _put_pictures(axes, image_map, dataset, n_pictures)
    return figure


def _put_pictures(axes: Axes, image_map: ImageMap, dataset: sidpy.Dataset, n: int, side: int = 34) -> None:
    """Pictures of images that are at least a picture's width apart, each in a frame of its cluster's colour."""
    usable = np.flatnonzero(np.isfinite(image_map.coordinates).all(1))
    places = image_map.coordinates[usable]
    extent = np.maximum(np.ptp(places, axis=0), 1e-30)
    width = 1.2 * side / _POINTS  # with its frame
    chosen: list[int] = []
    for i in diverse_sample(places / extent, min(4 * n, len(places))).tolist():
        apart = np.abs(places[chosen] - places[i]) / extent
        if len(chosen) < n and (not chosen or (apart.max(1) > width).all()):
            chosen.append(i)
    colours = cluster_colours(image_map.labels)
    for number, picture in zip(usable[chosen], small_pictures(dataset, usable[chosen], 2 * side), strict=True):
        box = AnnotationBbox(
            OffsetImage(picture, zoom=0.5),
            tuple(image_map.coordinates[number]),
            pad=0.12,
            bboxprops={"edgecolor": colours.get(int(image_map.labels[number]), NO_CLUSTER), "lw": 1.5},
        )
        axes.add_artist(box)


def draw_members(image_map: ImageMap, dataset: sidpy.Dataset, *, n_each: int = 5, names: Mapping[int, str] | None = None) -> Figure:
    """Members of each cluster, a row for each: typical ones, ones on its border to another, and ones far from its middle.

    Parameters
    ----------
    image_map : ImageMap
    dataset : sidpy.Dataset
        The images that it was made from; only those that are shown are computed.
    n_each : int
        Most pictures of each kind.
    names : mapping of int to str, optional
        Of clusters.

    Returns
    -------
    matplotlib.figure.Figure
    """
    clusters = list(image_map.sizes)
    members = {number: image_map.members(number, n_each) for number in clusters}
    shown = np.concatenate([found for kinds in members.values() for found in kinds.values()])
    pictures = dict(zip(shown.tolist(), small_pictures(dataset, shown, 96), strict=True))
    colours = cluster_colours(clusters)
    with styled():
        figure = Figure(figsize=(0.85 * n_each * len(KINDS) + 1.6, 0.95 * len(clusters) + 0.5), layout="constrained", facecolor="white")
        halves = figure.add_gridspec(len(clusters), n_each * len(KINDS) + len(KINDS) - 1, width_ratios=_widths(n_each))
        for row, number in enumerate(clusters):
            for part, kind in enumerate(KINDS):
                for column in range(n_each):
                    axes = figure.add_subplot(halves[row, part * (n_each + 1) + column])
                    axes.set(xticks=(), yticks=())
                    axes.spines[:].set_visible(False)
                    if row == 0 and column == 0:
                        axes.set_title(kind)
                    if part == column == 0:
                        text = f"{cluster_name(number, names)}\n{image_map.sizes[number]} images"
                        axes.set_ylabel(text, rotation=0, ha="right", va="center", color=colours[number], weight="bold")
                    if column < len(members[number][kind]):
                        axes.imshow(pictures[int(members[number][kind][column])])
    return figure


def _widths(n_each: int) -> list[float]:
    """Of the columns: a gap after each kind."""
    widths = ([1.0] * n_each + [0.3]) * len(KINDS)
    return widths[:-1]
