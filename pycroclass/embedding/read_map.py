"""A map of images back from the file that it was written to."""

from __future__ import annotations

from pathlib import Path

from pycroclass.embedding.image_map import ImageMap
from pycroclass.errors import ReadError
from pycroclass.operator import Pipeline
from pycroclass.readers.records import records
from pycroclass.readers.results import read_results
from pycroclass.serialize import from_dict

_PARTS = ("features", "scores", "label", "places")


def read_map(path: str | Path) -> ImageMap:
    """The map that ``pycroclass embed`` or a recipe with ``task: embed`` wrote.

    Raises
    ------
    ReadError
        If the file cannot be read, or holds no map.

    Examples
    --------
    >>> found = read_map("map.h5")  # doctest: +SKIP
    >>> found.members(0)  # doctest: +SKIP
    """
    datasets = read_results(path)
    if lacking := [name for name in _PARTS if name not in datasets]:
        raise ReadError(f"{path} holds no map of images: it lacks {', '.join(lacking)}")
    record = next(record for key, record in records(path).items() if key.rsplit("/", 1)[-1] == "label")
    runs = [node for node in record.provenance.walk() if node.verb == "run"]
    steps = [step for node in reversed(runs) for step in from_dict(node.parameters["pipeline"], node.arrays)]
    return ImageMap(**{name: datasets[name] for name in _PARTS}, sorter=Pipeline(tuple(steps)))
