"""Virtual detectors, sums and radial means of a 4-D stack, beside LiberTEM, dask and numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks import data, machine
from benchmarks.harness import Case, Group

TITLE = "Sums over a 4-D stack"
_INPUTS = (("detectors", "uint16", "npy"), ("detectors", "float32", "npy"), ("detectors", "uint16", "h5"))
_MORE = (("sum", "float32", "npy"), ("rings", "float32", "npy"))
_NAMES = {"detectors": "4 virtual detectors", "sum": "sum of each frame", "rings": "radial means"}


def groups(*, quick: bool) -> Iterator[Group]:
    """By work, dtype and file."""
    for what, dtype, kind in _INPUTS[:2] if quick else _INPUTS + _MORE:
        path = str(data.stack(dtype, kind))
        size = math.prod(data.STACK) * np.dtype(dtype).itemsize / 1e9
        yield Group(f"{_NAMES[what]}, {dtype}, {kind}", size, "GB", tuple(_cases(path, what)))


def _cases(path: str, what: str) -> Iterator[Case]:
    file = {"path": path}
    yield Case("pycroclass", "map_reduce:ours", {**file, "what": what}, role="ours")
    stack = {"detectors": data.masks, "rings": data.rings, "sum": lambda: np.ones((1, *data.STACK[2:]), np.float32)}[what]()
    common = {**file, "weights": str(data.saved(what, stack)), "sparse": what == "rings", "n_workers": machine.n_cores()}
    yield Case("LiberTEM, inline", "libertem_udf:run", {**common, "executor": "inline"}, peer="libertem")
    if what == "detectors":
        yield Case("LiberTEM, dask executor", "libertem_udf:run", {**common, "executor": "dask"}, peer="libertem")
    yield Case("dask map_blocks", "map_reduce:with_dask", {**file, "what": what})
    yield Case("numpy", "map_reduce:with_numpy", {**file, "what": what})
    yield Case("read alone", "map_reduce:read", file, role="limit")
