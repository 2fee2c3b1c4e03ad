"""A small job whose results are known, with places where it can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import FileStamp, Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

SHAPE, CHUNKS = (23, 6, 5), (3, 4, 5)
N_LOADS = 8 * 2
N_BLOCKS = {"frames": 16, "columns": 8 * 3, "label": 8, "total": 1}

Hook = Callable[[tuple[int, ...]], None]


def nothing(_: tuple[int, ...]) -> None:
    """The hook of an unbroken run."""


def load(block: npt.NDArray[Any], hook: Hook, pause: float = 0, block_id: tuple[int, ...] = ()) -> npt.NDArray[Any]:
    """A block of numbers that follow from its place; the hook may raise."""
    hook(block_id)
    return np.random.default_rng(block_id).normal(size=block.shape)


def job(source: Path, hook: Hook = nothing, **parameters: Any) -> dict[str, sidpy.Dataset]:
    """Four datasets from one pass over what ``load`` gives: in runs of bytes, in strides, of few bytes, and in one block."""
    raw = da.map_blocks(load, da.zeros(SHAPE, chunks=CHUNKS, dtype="f8"), hook, dtype="f8", meta=np.empty((0, 0, 0)))
    results = {
        "frames": raw,
        "columns": (raw * 2).rechunk((3, 6, 2)).astype(">f4"),
        "label": (raw.sum(axis=(1, 2)) > 0),
        "total": raw.sum(axis=0).rechunk(-1),
    }
    tree = Provenance("read", {"path": str(source), "key": "image", **parameters}, files=(FileStamp.of(source),))
    names = {3: ("frame", "y", "x"), 1: ("frame",), 2: ("y", "x")}
    return {
        name: wrap(array, Spec(tuple(map(Axis, names[array.ndim], array.shape)), array.dtype, title=name), provenance=tree)
        for name, array in results.items()
    }


def bits(path: Path) -> dict[str, bytes]:
    """The bytes of each dataset."""
    with h5py.File(path, "r") as file:
        channel = file["Measurement_000/Channel_000"]
        assert all(channel[f"{name}/{name}"].attrs["complete"] for name in N_BLOCKS)
        return {name: channel[f"{name}/{name}"][()].tobytes() for name in N_BLOCKS}
