"""The map of a collection as one HTML file: point at a place to see the image, draw around places to get the numbers of their items."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
import sidpy

from pycroclass._version import __version__
from pycroclass.embedding.figures import NO_CLUSTER, cluster_colours, cluster_name
from pycroclass.embedding.image_map import ImageMap
from pycroclass.embedding.small_pictures import small_pictures
from pycroclass.errors import DataError
from pycroclass.files import refuse_existing, write_whole
from pycroclass.per_item import columns
from pycroclass.reduction import hash_uniform
from pycroclass.reporting.style import data_url, jpeg

_SIDE: Final = 80
_PER_ROW: Final = 24
_PER_SHEET: Final = _PER_ROW**2
_DIGITS: Final = 4


def write_map(
    image_map: ImageMap,
    dataset: sidpy.Dataset,
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    title: str = "Images by appearance",
    n_pictures: int = 3000,
    overwrite: bool = False,
) -> Path:
    """Write the map of a collection as one HTML file that opens from disk and loads nothing.

    Pointing at an item shows its image, name, cluster and margin. Drawing around items, choosing a cluster, or typing numbers selects
    items; the page gives the list of their numbers, to be copied into `pycroclass.take` or a table of labels.

    Parameters
    ----------
    image_map : ImageMap
    dataset : sidpy.Dataset
        The images that it was made from.
    path : path
        Name of the file; about 3 kB for each picture.
    names : mapping of int to str, optional
        Of clusters.
    title : str
    n_pictures : int
        Most images that the page holds; of more, some are chosen by their number, and the others are points without a picture.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Path

    Raises
    ------
    WriteError
        If the file exists and is not to be overwritten, or cannot be written.
    DataError
        If the dataset has not the items of the map.

    Examples
    --------
    >>> import pycroclass as pc
    >>> from pycroclass.embedding import write_map
    >>> write_map(pc.map_images(images), images, "map.html")  # doctest: +SKIP
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    if dataset.shape[:1] != (image_map.n_items,):
        raise DataError(f"the map is of {image_map.n_items} items, the dataset has {dataset.shape[0]}. Give the one that was mapped.")
    write_whole(path, page(image_map, dataset, names, title, n_pictures).encode())
    return path


def page(image_map: ImageMap, dataset: sidpy.Dataset, names: Mapping[int, str] | None, title: str, n_pictures: int) -> str:
    """The HTML of a map."""
    template, style, script = _template()
    shown = _shown(image_map.n_items, n_pictures)
    colours = cluster_colours(image_map.labels)
    n_without = image_map.n_items - sum(image_map.sizes.values())
    clusters = [
        {"number": number, "name": cluster_name(number, names), "colour": colours.get(number, NO_CLUSTER), "size": size}
        for number, size in (image_map.sizes | ({-1: n_without} if n_without else {})).items()
    ]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        title=title,
        clusters=clusters,
        n_items=image_map.n_items,
        n_shown=len(shown),
        data={**_data(image_map, dataset), "clusters": clusters, **_sheets(dataset, shown)},
        style=style,
        script=script,
        digest=digest,
        version=__version__,
    )


def _data(image_map: ImageMap, dataset: sidpy.Dataset) -> dict[str, Any]:
    """What the page knows of each item: place in units of the map, cluster, margin and name."""
    places = image_map.coordinates
    low, high = np.nanmin(places, 0), np.nanmax(places, 0)
    extent = max(float((high - low).max()), 1e-30)
    scaled = (places - low) / extent
    given = columns(dataset).get("files")
    return {
        "x": [_number(value) for value in scaled[:, 0]],
        "y": [_number(value) for value in scaled[:, 1]],
        "label": image_map.labels.tolist(),
        "margin": [_number(value) for value in image_map.margin],
        "name": [str(name) for name in given] if given is not None and len(given) == image_map.n_items else [],
    }


def _sheets(dataset: sidpy.Dataset, shown: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    """Small pictures side by side in a few larger ones, and which item stands where."""
    sheets = []
    for start in range(0, len(shown), _PER_SHEET):
        pictures = small_pictures(dataset, shown[start : start + _PER_SHEET], _SIDE)
        n_rows = -(-len(pictures) // _PER_ROW)
        sheet = np.full((n_rows * _PER_ROW, _SIDE, _SIDE, 3), 255, np.uint8)
        sheet[: len(pictures)] = pictures
        joined = sheet.reshape(n_rows, _PER_ROW, _SIDE, _SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(n_rows * _SIDE, _PER_ROW * _SIDE, 3)
        sheets.append(data_url(jpeg(joined)))
    return {"sheets": sheets, "pictured": shown.tolist(), "side": _SIDE, "perRow": _PER_ROW, "perSheet": _PER_SHEET}


def _shown(n_items: int, n_pictures: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of the items whose picture the page holds."""
    numbers = np.arange(n_items)
    return np.sort(numbers[np.argsort(hash_uniform(numbers, 0), kind="stable")[:n_pictures]])


def _number(value: float) -> float | None:
    return round(float(value), _DIGITS) if np.isfinite(value) else None


@cache
def _template() -> tuple[jinja2.Template, str, str]:
    folder = files("pycroclass.embedding")
    text, style, script = (folder.joinpath(f"map.{kind}").read_text("utf-8") for kind in ("html.j2", "css", "js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text), style, f"\n{script}"
