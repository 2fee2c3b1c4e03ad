"""NSID files, lazily and read-only: written by pyNSID, by SciFiReaders, or by pycroclass.

Keys are the HDF5 paths of the main datasets without the first ``/``, such as ``Measurement_000/Channel_000/scan/scan``. A dataset that
pycroclass began to write and did not finish (it lacks the attribute ``complete``) is left out, and is refused where it is asked for or
is all there is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import sidpy

from pycroclass.errors import DataError
from pycroclass.metadata_json import HIDDEN, decode, member
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_axes import distinct, scale_axis
from pycroclass.readers.hdf5_file import Stored, attributes, members, open_hdf5, plain, text, walk
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import classes_of, geometry_of, wrap
from pycroclass.spec import Axis, Spec

_LOG: Final = logging.getLogger(__name__)
_GENERIC: Final = ("", "generic")


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Every main dataset of an NSID file by its HDF5 path.

    Raises
    ------
    ReadError
        If the file is damaged, or its datasets were never finished.
    """
    with open_hdf5(path) as file:
        mains = {name: dataset for name, dataset in walk(file).items() if "main_data_name" in dataset.attrs}
        unfinished = [name for name, dataset in mains.items() if not _is_finished(dataset)]
        if unfinished and (len(unfinished) == len(mains) or (options.key or "").strip("/") in unfinished):
            raise failure(path, f"holds {', '.join(unfinished)}, which was never finished", "Run again what wrote it.")
        for name in unfinished:
            _LOG.warning("%s: %s was never finished and is left out", path, name)
        return {name: _open(path, dataset, name, options) for name, dataset in mains.items() if name not in unfinished}


def _is_finished(main: h5py.Dataset) -> bool:
    return HIDDEN not in main.parent or "complete" in main.attrs


def _open(path: Path, main: h5py.Dataset, key: str, options: ReadOptions) -> sidpy.Dataset:
    metadata = _dictionary(main.parent, "metadata")
    spec = Spec(
        distinct(tuple(_axis(main, i) for i in range(main.ndim))),
        main.dtype,
        quantity=text(main, "quantity", "generic"),
        units=text(main, "units", "generic"),
        title=_title(main),
        geometry=geometry_of(metadata),
        classes=classes_of(metadata),
    )
    dataset = wrap(
        Stored.of(path, main).lazy(spec),
        spec,
        provenance=provenance(key, path, options),
        metadata=metadata,
        original_metadata=_dictionary(main.parent, "original_metadata"),
        modality=text(main, "modality", "generic"),
        source=text(main, "source", "generic"),
    )
    dataset.provenance = _merged(_dictionary(main.parent, "provenance", exact="sidpy_provenance"), dataset.provenance)
    if points := _dictionary(main.parent, "point_cloud"):
        dataset.point_cloud = points
    if (kind := text(main, "data_type")) in sidpy.DataType.__members__:
        dataset.data_type = kind
    return dataset


def _title(main: h5py.Dataset) -> str:
    names = (text(main, "title"), text(main, "main_data_name"))
    return next((name for name in names if name not in _GENERIC), main.name.rpartition("/")[2])


def _axis(main: h5py.Dataset, i: int) -> Axis:
    return scale_axis(main, i, Axis(f"axis_{i}", main.shape[i]))


def _dictionary(home: h5py.Group, name: str, exact: str = "") -> dict[Any, Any]:
    """A dictionary of a dataset: from our exact JSON, from NSIDWriter's hidden datasets, or from pyNSID's attributes."""
    json = home.get(f"{HIDDEN}/{member(exact or name)}")
    if isinstance(json, h5py.Dataset):
        try:
            return decode(json[()])
        except DataError as error:
            raise failure(home.file.filename, f"{json.name}: {error}", "Run again what wrote it.") from error
    if isinstance(hidden := home.get(f"_{name}"), h5py.Group):
        return _from_datasets(hidden)
    group = home.get(name)
    return _from_attributes(group) if isinstance(group, h5py.Group) else {}


def _from_datasets(group: h5py.Group) -> dict[str, Any]:
    return {key: _from_datasets(item) if isinstance(item, h5py.Group) else plain(item[()]) for key, item in members(group).items()}


def _from_attributes(group: h5py.Group) -> dict[str, Any]:
    groups = {key: _from_attributes(item) for key, item in members(group).items() if isinstance(item, h5py.Group)}
    return attributes(group) | groups


def _merged(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    """Both dictionaries; where they have the same group, both of these, and where the same value, the old one."""
    both = {key: _merged(old[key], new[key]) for key in old if isinstance(old[key], Mapping) and isinstance(new.get(key), Mapping)}
    return {**new, **old, **both}
