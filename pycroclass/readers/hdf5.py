"""Any HDF5 file: ``file.h5::/entry/data``, or all its datasets of numbers with two axes or more, by their path.

Axes come from the scales attached to a dataset, else from an NXdata group around it, else from their number: the last two are an image.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import sidpy

from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_axes import distinct, image_axes, nxdata_axes, scale_axis
from pycroclass.readers.hdf5_file import Stored, attributes, is_numeric, open_hdf5, plain, text, walk
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import wrap
from pycroclass.spec import Spec


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """The dataset that ``options.key`` names, else all with two axes or more; keys are HDF5 paths without the first ``/``.

    Raises
    ------
    ReadError
        If there is no such dataset, or it holds no numbers.
    """
    with open_hdf5(path) as file:
        if options.key is not None:
            found = {options.key.strip("/"): _named(path, file, options.key)}
        else:
            found = {name: dataset for name, dataset in walk(file).items() if dataset.ndim >= 2 and not dataset.is_scale}
        return {name: _open(path, dataset, name, options) for name, dataset in found.items()}


def _named(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    item = file.get(key)
    if is_numeric(item):
        return item
    problem = f"has nothing at {key!r}" if item is None else f"has no dataset of numbers at {key!r}, but {item!r}"
    raise failure(path, problem, f"Its datasets of numbers are {', '.join(walk(file)) or 'none'}.")


def _open(path: Path, dataset: h5py.Dataset, name: str, options: ReadOptions) -> sidpy.Dataset:
    axes = image_axes(dataset.shape)
    if "NX_class" in dataset.parent.attrs:
        axes = nxdata_axes(dataset.parent, axes, text(dataset, "axes"))
    axes = distinct(tuple(scale_axis(dataset, i, axis) for i, axis in enumerate(axes)))
    classes = plain(dataset.attrs.get("classes"))
    spec = Spec(
        axes,
        dataset.dtype,
        quantity=text(dataset, "quantity", "generic"),
        units=text(dataset, "units", "generic"),
        title=text(dataset, "title") or name.rpartition("/")[2],
        classes=tuple(classes) if isinstance(classes, list) else (),
    )
    held = Stored.of(path, dataset)
    record = provenance(name, path, options, also=held.sources)
    return wrap(held.lazy(spec), spec, provenance=record, original_metadata=attributes(dataset))
