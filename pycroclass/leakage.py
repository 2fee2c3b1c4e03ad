"""Items that are nearly the same picture: copies, saved again, brighter, smaller, turned or mirrored.

The fingerprint of an image is its lowest 24 x 24 cosine coefficients (a perceptual hash, kept as numbers), so that it does not depend on
the size of the image. Without the mean and divided by their length they do not depend on brightness and contrast either. What all images of
the dataset have in common, the rim of a well or the fall of the light, is taken away: each coefficient loses its mean over all items and is
divided by its spread, so that a few coarse shadows do not outweigh all detail; one that hardly varies is noise, and is not made large.

The similarity of two images is the cosine between their fingerprints, 1 for copies and about 0 for images that have nothing in common, the
largest over the eight ways to turn and mirror one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pycroclass.errors import DataError
from pycroclass.per_item import column, columns
from pycroclass.sid import unwrap
from pycroclass.spec import Domain
from pycroclass.splitting import Split

Floats = npt.NDArray[np.float32]
Matches = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]
_N: Final = 24
_PRIOR: Final = 16
"""How many items' worth of mean 0 and equal spread are added to those that there are: few items say little of what all share."""
_FLOOR: Final = 0.3
"""Least variance of a coefficient that counts, in units of what is typical."""
_BLOCK: Final = 1024
_SHOWN: Final = 10


@dataclass(frozen=True)
class NearDuplicate:
    """Two items that are nearly the same picture.

    Parameters
    ----------
    first, second : int
        Their numbers; for a split, ``first`` in the training part and ``second`` in the testing part.
    similarity : float
        1 for copies.
    first_name, second_name : str
        Their files, where these are known.
    """

    first: int
    second: int
    similarity: float
    first_name: str
    second_name: str

    def __str__(self) -> str:
        return f"{self.first_name} and {self.second_name} ({self.similarity:.3f})"


def near_duplicates(dataset: sidpy.Dataset, *, similarity: float = 0.95) -> list[NearDuplicate]:
    """Items of a dataset that are nearly the same picture as one before them.

    Parameters
    ----------
    dataset : sidpy.Dataset
        Images along its first axis.
    similarity : float
        From which on two images count as nearly the same.

    Returns
    -------
    list of NearDuplicate
        For each such item the one before it that is most like it; the most similar pairs first.

    Raises
    ------
    AxisError
        If the items are no images.

    Examples
    --------
    >>> import numpy as np, sidpy
    >>> images = np.random.default_rng(0).random((6, 32, 32))
    >>> images[4] = 0.5 * images[1].T + 3
    >>> dataset = sidpy.Dataset.from_array(images); dataset.data_type = "image_stack"
    >>> [(pair.first, pair.second) for pair in near_duplicates(dataset)]
    [(1, 4)]
    """
    prints = fingerprints(dataset)
    names = _names(dataset)
    return _pairs(_matches(prints, None, similarity), names, names)


def find_leaks(split: Split, *, similarity: float = 0.95) -> list[NearDuplicate]:
    """Items to test with that are nearly the same picture as one to learn from.

    Parameters
    ----------
    split : Split
    similarity : float
        From which on two images count as nearly the same.

    Returns
    -------
    list of NearDuplicate
        For each such item the one to learn from that is most like it; the most similar pairs first. Numbers are those within each part.
    """
    matches = _matches(fingerprints(split.training), fingerprints(split.testing), similarity)
    return _pairs(matches, _names(split.training), _names(split.testing))


def check_leakage(split: Split, *, similarity: float = 0.95) -> None:
    """Make sure that no item to test with is nearly the same picture as one to learn from.

    Raises
    ------
    DataError
        If there are such pairs; the message names them.
    """
    leaks = find_leaks(split, similarity=similarity)
    if leaks:
        shown = ", ".join(map(str, leaks[:_SHOWN]))
        more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise DataError(
            f"{len(leaks)} of {split.testing.shape[0]} items to test with are nearly the same picture as one to learn from: {shown}{more}. "
            "Split by what they share, or by=duplicate_groups(dataset)."
        )


def duplicate_groups(dataset: sidpy.Dataset, *, similarity: float = 0.95) -> npt.NDArray[np.int64]:
    """A group for each set of items that are nearly the same picture, to `split` by.

    Returns
    -------
    array of int64, shape (n_items,)
        Number of each item's group; most have one of their own.
    """
    prints = fingerprints(dataset)
    found = [match[:2] for match in _matches(prints, None, similarity)]
    first, second = (np.concatenate([np.empty(0, np.int64), *side]) for side in (zip(*found) if found else ((), ())))
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(prints), len(prints)))
    groups: npt.NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def fingerprints(dataset: sidpy.Dataset) -> Floats:
    """The lowest cosine coefficients of each image without their mean, of length 1, shape (n_items, 24, 24); 0 for flat images."""
    array = stack_of_images(dataset)
    dropped = list(range(3, array.ndim))
    prints = array.map_blocks(
        _fingerprints_of, drop_axis=dropped, chunks=(array.chunks[0], _N, _N), dtype=np.float32, meta=np.empty((0, _N, _N), np.float32)
    )
    found: Floats = prints.compute()
    return found


def stack_of_images(dataset: sidpy.Dataset) -> da.Array:
    """The images of a dataset, shape ``(item, y, x)`` or ``(item, channel, y, x)``, each whole in one block.

    Raises
    ------
    DataError
        If its first axis does not count images, or there are further axes.
    """
    array, spec = unwrap(dataset)
    core = spec.core(Domain.IMAGE)
    items = spec.names[0]
    if items in core or len(core) + 1 != len(spec.names):
        raise DataError(f"wanted images along the first axis, got the axes {spec.names}, of which {core} are those of an image")
    array = array.transpose([spec.names.index(name) for name in (items, *core)])
    return array.rechunk(dict.fromkeys(range(1, array.ndim), -1))


def _fingerprints_of(images: npt.NDArray[Any]) -> Floats:
    n_y, n_x = images.shape[-2:]
    rows, columns_ = _cosines(n_y), _cosines(n_x).T
    prints = np.empty((len(images), _N, _N), np.float32)
    for number, image in enumerate(images):
        grey = np.abs(image).astype(np.float32) if image.dtype.kind == "c" else image.astype(np.float32)
        grey = np.nan_to_num(grey if grey.ndim == 2 else grey.mean(0), posinf=0, neginf=0)
        found = rows @ (grey - grey.mean()) @ columns_
        found[0, 0] = 0
        length, scale = np.linalg.norm(found), np.abs(grey).max(initial=0)
        prints[number] = found / length if length > 1e-6 * scale else 0
    return prints


def _cosines(n: int) -> Floats:
    """Rows of the cosine transform of ``n`` values; those beyond its last are 0."""
    k = np.arange(_N)[:, None]
    rows = np.where(k < n, np.cos(np.pi * (np.arange(n) + 0.5) * k / n), 0) / n
    return rows.astype(np.float32)


def _matches(prints: Floats, others: Floats | None, similarity: float) -> Iterator[Matches]:
    """Numbers of all pairs that are alike, and how much: of one set, the first before the second; or of two sets."""
    mean, spread = _common(prints if others is None else np.concatenate([prints, others]))
    known = _standard(prints, mean, spread)
    second = prints if others is None else others
    for start in range(0, len(second), _BLOCK):
        turned = [_standard(way, mean, spread) for way in _eight_ways(second[start : start + _BLOCK])]
        for begin in range(0, start + _BLOCK if others is None else len(known), _BLOCK):
            part = known[begin : begin + _BLOCK]
            alike = np.max([way @ part.T for way in turned], axis=0)
            i, j = np.nonzero(alike >= similarity)
            is_wanted = (begin + j < start + i) if others is None else np.ones(len(i), bool)
            yield begin + j[is_wanted], start + i[is_wanted], alike[i, j][is_wanted]


def _common(prints: Floats) -> tuple[Floats, Floats]:
    """Mean and spread of each coefficient over all items, drawn towards 0 and towards equal spread."""
    n = len(prints) + _PRIOR
    mean = prints.sum(0) / n
    squares = ((prints - mean) ** 2).sum(0)
    typical = squares.sum() / (max(len(prints), 1) * (_N * _N - 1))
    return mean, np.sqrt((squares + _PRIOR * typical) / n + _FLOOR * typical)


def _standard(prints: Floats, mean: Floats, spread: Floats) -> Floats:
    """Fingerprints without what is common, of length 1, as rows; those of flat images stay 0."""
    is_flat = ~prints.any(axis=(1, 2))
    rows = ((prints - mean) / np.where(spread > 0, spread, 1)).reshape(len(prints), -1)
    length = np.linalg.norm(rows, axis=1)
    standard: Floats = (rows / np.where(is_flat | (length == 0), np.inf, length)[:, None]).astype(np.float32)
    return standard


def _eight_ways(prints: Floats) -> Iterator[Floats]:
    """The fingerprints of the images turned and mirrored."""
    sign = np.where(np.arange(_N) % 2, -1, 1).astype(np.float32)
    for of_y in (1, sign[:, None]):
        for of_x in (1, sign):
            way = prints * of_y * of_x
            yield way
            yield way.transpose(0, 2, 1)


def _pairs(matches: Iterator[Matches], first_names: list[str], second_names: list[str]) -> list[NearDuplicate]:
    """The best match of each second item, the first of equal ones; rounding makes copies equal whatever the blocks."""
    best: dict[int, tuple[float, int]] = {}
    for first, second, similarity in matches:
        for i, j, how in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
            best[j] = min(best.get(j, (0.0, 0)), (-min(round(how, 5), 1.0), i))
    ranked = sorted((negative, j, i) for j, (negative, i) in best.items())
    return [NearDuplicate(i, j, -negative, first_names[i], second_names[j]) for negative, j, i in ranked]


def _names(dataset: sidpy.Dataset) -> list[str]:
    if "files" in columns(dataset):
        return [str(name) for name in column(dataset, "files")]
    return [f"item {number}" for number in range(dataset.shape[0])]
