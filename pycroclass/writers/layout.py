"""How one dataset lies in an NSID file: ``<name>/<name>`` with its axes, attributes and metadata beside it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, Literal, Self

import dask.array as da
import h5py
import numpy as np
import sidpy

from pycroclass.array_value import ArrayValue
from pycroclass.errors import ParameterError, WriteError
from pycroclass.metadata_json import HIDDEN, encode, member
from pycroclass.provenance import Provenance
from pycroclass.readers.records import ARRAYS, RECORD
from pycroclass.sid import provenance_of, unwrap
from pycroclass.writers.attributes import is_plain, write_attributes
from pycroclass.writers.blocks import storage_chunks

COMPLETE: Final = "complete"
"""Attribute of a main dataset, set last."""

_DICTIONARIES: Final = {
    "metadata": "metadata",
    "original_metadata": "original_metadata",
    "provenance": "sidpy_provenance",
    "point_cloud": "point_cloud",
}
"""Dictionaries of a Dataset, and what their exact form is called in the hidden group."""
_version: Final = cache(version)  # it reads the metadata of the package each time


@dataclass(frozen=True)
class Storage:
    """How main datasets lie on disk.

    Parameters
    ----------
    compression : {None, "gzip", "lzf"}
        With byte shuffling.
    chunks : None, True or tuple of int
        ``None``: one piece, unless compressed. ``True``: up to 1 MiB that divide the blocks.
    """

    compression: Literal["gzip", "lzf"] | None = None
    chunks: Literal[True] | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.compression not in (None, "gzip", "lzf"):
            raise ParameterError(f"compression must be None, 'gzip' or 'lzf', got {self.compression!r}")
        if self.chunks is not None and self.chunks is not True and not _is_shape(self.chunks):
            raise ParameterError(f"chunks must be None, True or a tuple of positive integers, got {self.chunks!r}")

    def options(self, name: str, array: da.Array) -> dict[str, Any]:
        """What `h5py.Group.create_dataset` takes for this array.

        Raises
        ------
        ParameterError
            If chunks were given that do not fit its shape.
        """
        chunks = self.chunks
        if chunks is True or (chunks is None and self.compression is not None):
            chunks = storage_chunks(array)
        if chunks is not None and (len(chunks) != array.ndim or any(c > n for c, n in zip(chunks, array.shape))):
            raise ParameterError(f"chunks {chunks} do not fit {name!r} of shape {array.shape}")
        return {"chunks": chunks, "compression": self.compression, "shuffle": True if self.compression else None}

    def make(self, home: h5py.Group, output: Output) -> h5py.Dataset:
        """An empty main dataset, in the group that has its name."""
        return home.create_dataset(output.name, output.array.shape, output.array.dtype, **self.options(output.name, output.array))

    @property
    def is_one_piece(self) -> bool:
        """Whether each dataset lies in the file as it lies in memory."""
        return self.compression is None and self.chunks is None


@dataclass(frozen=True)
class Output:
    """One dataset that can be written, with all that goes beside it ready before anything is computed."""

    name: str
    array: da.Array
    dataset: sidpy.Dataset
    provenance: Provenance
    dictionaries: Mapping[str, dict[Any, Any]]

    @classmethod
    def of(cls, name: str, dataset: sidpy.Dataset) -> Self:
        """Check a dataset and its name.

        Raises
        ------
        ParameterError, WriteError, AxisError
            If the name cannot be used, or the dataset holds what NSID cannot.
        """
        array, spec = unwrap(dataset)
        _check_name(name, spec.names)
        _check_array(name, array)
        if dataset.variance is not None:
            raise WriteError(f"{name!r} has a variance, which NSID has no place for. Write it as a dataset of its own.")
        if dataset.structures:
            raise WriteError(f"{name!r} has crystal structures, which are not written. Keep them in a file of their own.")
        texts = [*_texts(dataset).values(), *(text for i in range(array.ndim) for text in _texts_of_axis(dataset._axes[i]).values())]
        if odd := [text for text in texts if not is_plain(text)]:
            raise WriteError(f"{name!r} has a title, quantity or units that HDF5 cannot hold: {odd[0]!r}. Remove the odd character.")
        found = {attribute: getattr(dataset, attribute) for attribute in _DICTIONARIES}
        dictionaries = {attribute: value for attribute, value in found.items() if value}
        return cls(name, array, dataset, provenance_of(dataset), dictionaries)

    def create(self, parent: h5py.Group, make: MakeMain) -> h5py.Dataset:
        """Make the main dataset, empty, with everything beside it but its axes and its record."""
        if self.name in parent:
            raise WriteError(f"{parent.name} holds {self.name!r} already; choose another name")
        home = parent.create_group(self.name)
        home.attrs.update(book_keeping())
        main = make(home, self)
        main.attrs.update({**_texts(self.dataset), "pyNSID_version": _version("pyNSID")})
        hidden = home.create_group(HIDDEN)
        for attribute, values in self.dictionaries.items():
            write_attributes(home.create_group(attribute), values)
            hidden[member(_DICTIONARIES[attribute])] = encode(values)
        return main

    def link_axes(self, main: h5py.Dataset) -> None:
        """Give the main dataset its axes; until then no NSID reader takes it for one."""
        for i in range(main.ndim):
            _attach_axis(main, i, self.dataset._axes[i])


MakeMain = Callable[[h5py.Group, Output], h5py.Dataset]
"""Makes the main dataset of an output, empty, in the group that has its name."""


def write_record(main: h5py.Dataset, record: str, arrays: Mapping[str, ArrayValue], stored: dict[str, h5py.Dataset]) -> h5py.Dataset:
    """Put the record and its arrays into the hidden group; an array that is ``stored`` already gets a second name only.

    The record is text of fixed length, so that a part of it can be written again at its place in the file.
    """
    hidden: h5py.Group = main.parent[HIDDEN]
    text = record.encode("ascii")
    written = hidden.create_dataset(RECORD, data=np.array(text, h5py.string_dtype("utf-8", len(text))))
    if arrays:
        group = hidden.create_group(ARRAYS)
        for digest, array in arrays.items():
            group[digest] = stored.get(digest, array.values)
            stored[digest] = group[digest]
    return written


def book_keeping() -> dict[str, str]:
    """What pyNSID writes on each group, without the name of the machine."""
    return {
        "timestamp": datetime.now(UTC).strftime("%Y_%m_%d-%H_%M_%S"),
        "sidpy_version": _version("sidpy"),
        "pyNSID_version": _version("pyNSID"),
    }


def place_beside(file: h5py.File, beside: str | None) -> h5py.Group:
    """The Channel group that holds the group of a main dataset.

    Parameters
    ----------
    file : h5py.File
    beside : str, optional
        Path of a main dataset, of its group, or of the Channel; may be left out where the file has one Channel only.

    Raises
    ------
    WriteError
        If there is no such place, or several and none was named.
    """
    if beside is None:
        channels = sorted({_channel(main) for main in _mains(file)})
        if len(channels) != 1:
            raise WriteError(f"the file has {len(channels)} channels {channels}; name one with beside=")
        return file[channels[0]]
    if beside not in file:
        raise WriteError(f"there is nothing at {beside!r}; main datasets are {[main.name for main in _mains(file)]}")
    place = file[beside]
    if isinstance(place, h5py.Dataset):
        return file[_channel(place)]
    directly = [child for child in place.values() if _is_main(child)]
    return file[_channel(directly[0])] if directly else place


def _mains(file: h5py.File) -> Iterator[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if _is_main(item) else None)
    yield from found


def _is_main(item: h5py.HLObject) -> bool:
    return isinstance(item, h5py.Dataset) and "main_data_name" in item.attrs and "data_type" in item.attrs


def _channel(main: h5py.Dataset) -> str:
    """Path of the group around the main dataset's own; out of the results of earlier steps."""
    home = posixpath.dirname(str(main.name))
    if home == "/":
        raise WriteError(f"{main.name} lies at the top of the file, where nothing can be put beside it. Write to a new file.")
    channel = posixpath.dirname(home)
    while posixpath.basename(channel).startswith("Log_"):
        channel = posixpath.dirname(channel)
    return channel


def _texts(dataset: sidpy.Dataset) -> dict[str, str]:
    return {
        "quantity": dataset.quantity,
        "units": dataset.units,
        "main_data_name": dataset.title,
        "title": dataset.title,
        "data_type": dataset.data_type.name,
        "modality": dataset.modality,
        "source": dataset.source,
    }


def _texts_of_axis(dimension: sidpy.Dimension) -> dict[str, str]:
    return {
        "name": dimension.name,
        "units": dimension.units,
        "quantity": dimension.quantity,
        "dimension_type": dimension.dimension_type.name,
    }


def _attach_axis(main: h5py.Dataset, i: int, dimension: sidpy.Dimension) -> None:
    scale = main.parent.create_dataset(dimension.name, data=np.array(dimension.values))
    scale.attrs.update(_texts_of_axis(dimension))
    scale.make_scale(dimension.name)
    main.dims[i].label = dimension.name
    main.dims[i].attach_scale(scale)


def _check_name(name: str, axes: tuple[str, ...]) -> None:
    if not isinstance(name, str) or not name.strip() or name.strip() != name or name.startswith((".", "_")):
        raise ParameterError(f"a dataset needs a name that begins with a letter, got {name!r}")
    if any(character in name for character in "/-\0"):
        raise ParameterError(f"{name!r} cannot name an NSID dataset: '/' and '-' are not allowed. Use {_mended(name)!r}.")
    taken = {name, HIDDEN, *_DICTIONARIES}
    if clash := [axis for axis in axes if axis in taken or "/" in axis or not axis.strip(".")]:
        raise WriteError(f"{name!r} cannot be written beside its axis {clash[0]!r}: give the dataset, or the axis, another name")
    if name in _DICTIONARIES:
        raise ParameterError(f"{name!r} is the name of a metadata group; give the dataset another name")


def _check_array(name: str, array: da.Array) -> None:
    if array.dtype.kind not in "biufc":
        raise WriteError(f"{name!r} holds {array.dtype}; wanted numbers or booleans. Convert it with .astype(...).")
    if array.ndim == 0 or any(not n > 0 for n in array.shape):  # an unknown length is not > 0 either
        raise WriteError(f"{name!r} has shape {array.shape}; wanted one axis or more, each of a known length. See compute_chunk_sizes.")


def _mended(name: str) -> str:
    return re.sub(r"[/\-\0]", "_", name)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) and n > 0 for n in value)
