"""One plain file from a file that joins shards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
from dask.array.core import slices_from_chunks

from pycroclass.errors import ParameterError, WriteError
from pycroclass.readers.hdf5_file import Hdf5Array, Stored, open_hdf5
from pycroclass.source import plan_chunks
from pycroclass.writers.atomic import PartialFile, copied, whole_or_nothing
from pycroclass.writers.in_place import opened
from pycroclass.writers.places import Place, Region, contiguous, writing

_BYTES: Final = 16 << 20


def pack(path: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Make one plain NSID file of a file whose datasets lie in shards.

    Everything else is taken over as it is, records included. The values are copied piece by piece, and compared with the shards when
    the disk has them. The file and its shards stay.

    Parameters
    ----------
    path : path
        A file written by `write` with ``shard_bytes``.
    output : path
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the new file.

    Raises
    ------
    ReadError
        If the file or a shard cannot be read.
    ParameterError
        If no dataset of it is virtual.
    WriteError
        If the new file exists, cannot be written, or does not hold what was written to it.

    Examples
    --------
    >>> pack("run.h5", "run-plain.h5")  # doctest: +SKIP
    PosixPath('/data/run-plain.h5')
    """
    source, target = Path(path).absolute(), Path(os.path.realpath(output))
    with open_hdf5(source) as file:
        names = _virtual(source, file)
        if not names:
            raise ParameterError(f"{source} holds no virtual dataset: it is one plain file already")
        if target.exists() and os.path.samefile(source, target):
            raise ParameterError(f"{source} cannot be packed into itself; choose another name for the output")
        with whole_or_nothing(target, overwrite=overwrite) as partial:
            copied(source, partial)
            with opened(partial, "r+") as copy:
                places = {name: _made_plain(copy, name) for name in names}
            partial.check()
            for name, place in places.items():
                with writing(partial.path):
                    place.reserve(partial.fileno())
                checksums = _copied(Hdf5Array(str(source), name), place, partial)
                partial.sync()
                if checksums != [place.read(partial.fileno(), region)[1] for region in _regions(place)]:
                    raise WriteError(f"{partial.path} does not hold the values of {name!r} that were written to it: is the disk sound?")
    return target


def _virtual(path: Path, file: h5py.File) -> list[str]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) and item.is_virtual else None)
    for dataset in found:
        Stored.of(path, dataset)  # refuses a missing shard, where HDF5 gives zeros
    return [dataset.name for dataset in found]


def _made_plain(file: h5py.File, name: str) -> Place:
    """Put a dataset that has a place in the file where a virtual one was."""
    old = file[name]
    home, own_name = old.parent, name.rpartition("/")[2]
    scales = [(dimension.label, list(dimension.values())) for dimension in old.dims]
    attributes = {key: old.attrs[key] for key in old.attrs if key not in ("DIMENSION_LIST", "DIMENSION_LABELS")}
    for i, (_, axes) in enumerate(scales):
        for axis in axes:
            old.dims[i].detach_scale(axis)
    shape, dtype = old.shape, old.dtype
    del home[own_name]
    new = contiguous(home, own_name, shape, dtype)
    for key, value in attributes.items():
        new.attrs[key] = value
    for i, (label, axes) in enumerate(scales):
        new.dims[i].label = label
        for axis in axes:
            new.dims[i].attach_scale(axis)
    file.flush()
    return Place.of(new)


def _copied(load: Hdf5Array, place: Place, partial: PartialFile) -> list[int]:
    """Write the values piece by piece; returns the checksum of each."""
    checksums = []
    with load.opened() as read:
        for region in _regions(place):
            values = read(region)
            with writing(partial.path):
                checksums.append(place.write(partial.fileno(), region, values))
    return checksums


def _regions(place: Place) -> Iterator[Region]:
    """Pieces of at most a few MiB."""
    yield from slices_from_chunks(plan_chunks(place.shape, place.dtype, n_core=0, n_bytes=_BYTES))
