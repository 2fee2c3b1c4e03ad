"""Writing and reading NSID files; each returns the sum of the values."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyNSID
import SciFiReaders

import pycroclass as pc

_FOLDER = tempfile.TemporaryDirectory(prefix="pycroclass-bench-")
_COPY = Path(_FOLDER.name) / "copy.h5"


def ours_write(path: str) -> Callable[[], list[float]]:
    """`pycroclass.write` of what `pycroclass.read` gives."""
    (image,) = pc.read(path).values()

    def work() -> list[float]:
        pc.write({"copy": image}, _COPY, overwrite=True)
        return _sum_of_copy()

    return work


def pynsid_write(path: str) -> Callable[[], list[float]]:
    """`pyNSID.hdf_io.write_nsid_dataset` of the same."""
    (image,) = pc.read(path).values()

    def work() -> list[float]:
        with h5py.File(_COPY, "w") as file:
            pyNSID.hdf_io.write_nsid_dataset(image, file.create_group("Measurement_000/Channel_000"), main_data_name="copy")
        return _sum_of_copy()

    return work


def ours_read(path: str) -> Callable[[], list[float]]:
    """All values by `pycroclass.read`."""
    return lambda: [float(np.asarray(next(iter(pc.read(path).values()))).sum(dtype=np.float64))]


def scifireaders_read(path: str) -> Callable[[], list[float]]:
    """All values by `SciFiReaders.NSIDReader`."""

    def work() -> list[float]:
        reader = SciFiReaders.NSIDReader(path)
        values = np.asarray(reader.read()["Channel_000"])
        reader.close()
        return [float(values.sum(dtype=np.float64))]

    return work


def _sum_of_copy() -> list[float]:
    with h5py.File(_COPY, "r") as file:
        return [float(file["Measurement_000/Channel_000/copy/copy"][::7].sum(dtype=np.float64))]
