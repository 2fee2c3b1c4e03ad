"""What all readers of HDF5 share: opening, lazy arrays of a dataset, attributes as plain Python values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeGuard

import dask.array as da
import h5py
import hdf5plugin  # noqa: F401  # registers the decompressors (bitshuffle, LZ4, …) in each process that unpickles a loader
import numpy as np
import numpy.typing as npt

from pycroclass.provenance import FileStamp
from pycroclass.readers.building import n_core, reading
from pycroclass.readers.failure import failure
from pycroclass.readers.hdf5_chunks import open_regions
from pycroclass.readers.hdf5_links import linked_file, virtual_sources
from pycroclass.readers.regions import Read
from pycroclass.source import Source
from pycroclass.spec import Spec

_OF_SCALES: Final = {"CLASS", "NAME", "DIMENSION_LABELS", "DIMENSION_LIST", "REFERENCE_LIST"}


@dataclass(frozen=True)
class Hdf5Array:
    """Reads parts of one dataset of a file, which is open no longer than that.

    Parameters
    ----------
    path : str
        Absolute.
    name : str
        HDF5 path of the dataset.
    """

    path: str
    name: str

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part.

        Raises
        ------
        ReadError
            If the file was removed, damaged or changed since it was opened.
        """
        with self.opened() as read:
            return read(slices)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that gives parts in turn, with the file held open; what it returns is valid until the next call.

        It is for one thread; as many as wish may hold the same file open.

        Raises
        ------
        ReadError
            As above; so does the function, and the end of the block.
        """
        with ExitStack() as stack:
            with reading(self.path, f"dataset {self.name!r}"):
                read = stack.enter_context(open_regions(self.path, self.name))

            def part(slices: tuple[slice, ...]) -> npt.NDArray[Any]:
                with reading(self.path, f"dataset {self.name!r}"):
                    return read(slices)

            yield part
            with reading(self.path, f"dataset {self.name!r}"):
                stack.close()


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, read-only, for as long as the block lasts.

    Raises
    ------
    ReadError
        If it cannot be opened, or is damaged where the block reads it.
    """
    with reading(path):
        try:
            file = h5py.File(path, "r")
        except BlockingIOError as error:
            raise failure(path, "is being written by another program", "Read it when that is done.") from error
        except OSError as error:
            raise failure(path, f"is a truncated or damaged HDF5 file: {error}", "Copy it again from where it was recorded.") from error
        with file:
            yield file


@dataclass(frozen=True)
class Stored:
    """One dataset, where it lies and how.

    Parameters
    ----------
    path : Path
        Of the file that tasks open.
    name : str
        HDF5 path of the dataset in it.
    shape : tuple of int
    dtype : numpy dtype
    chunks : tuple of int, optional
        As they are stored.
    sources : tuple of Path
        Further files that hold its values, where it is virtual.
    units : str
        Of its values.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None
    sources: tuple[Path, ...] = ()
    units: str = "generic"

    @classmethod
    def of(cls, path: Path, dataset: h5py.Dataset) -> Self:
        """From an open dataset.

        Raises
        ------
        ReadError
            If the dataset is virtual and what it is made of is missing: HDF5 would give zeros.
        """
        sources = _virtual_sources(path, dataset) if dataset.is_virtual else ()
        return cls(path.absolute(), dataset.name, dataset.shape, dataset.dtype, dataset.chunks, sources, text(dataset, "units", "generic"))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that hold its values."""
        return (self.path, *self.sources)

    def lazy(self, spec: Spec) -> da.Array:
        """Its values as a lazy array, in multiples of the stored chunks that keep items whole."""
        load = Hdf5Array(str(self.path), self.name)
        n_whole = min(n_core(spec), max(1, len(self.shape) - 1))  # one large image, or a table, may be read in bands
        stamps = [FileStamp.of(file) for file in self.files]
        return Source(load, self.shape, self.dtype.newbyteorder("="), stamps, self.chunks).in_blocks(n_whole)


def stored(path: Path, group: h5py.Group, name: str) -> Stored | None:
    """The dataset of numbers of that name, also where a link leads to another file; ``None`` where there is none.

    Raises
    ------
    ReadError
        If the file that a link leads to is missing, or does not hold the dataset.
    """
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        item = group.get(name)
        return Stored.of(path, item) if is_numeric(item) else None
    other = linked_file(path, link.filename)
    with open_hdf5(other) as file:
        if not is_numeric(item := file.get(link.path)):
            raise failure(other, f"has no dataset of numbers at {link.path!r}, where {path.name} links to", "Copy both files again.")
        return Stored.of(other, item)


def _virtual_sources(path: Path, dataset: h5py.Dataset) -> tuple[Path, ...]:
    """The other files of a virtual dataset, after a look into each."""
    wanted = virtual_sources(path, dataset)
    for source, names in wanted.items():
        with open_hdf5(source) as file:
            for name in names:
                if not is_numeric(item := file.get(name)):
                    raise failure(source, f"has no dataset of numbers at {name!r}, which {path.name} needs", "Copy both files again.")
                if item.is_virtual and source != path.absolute():
                    _virtual_sources(source, item)
    return tuple(source for source in wanted if source != path.absolute())


def members(group: h5py.Group) -> dict[str, h5py.Group | h5py.Dataset]:
    """What a group holds, by name, without broken links.

    h5py's own ``values()`` and ``items()`` hold its global lock while they are iterated; one that an error interrupts holds it for as
    long as its traceback lives, and other threads wait for ever.
    """
    found = {name: group.get(name) for name in group}
    return {name: item for name, item in found.items() if item is not None}


def is_numeric(item: object) -> TypeGuard[h5py.Dataset]:
    """Whether it is a dataset of numbers with one axis or more, none of them empty."""
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "biufc" and bool(item.shape) and 0 not in item.shape


def attributes(item: h5py.HLObject) -> dict[str, Any]:
    """The attributes of a group or dataset as plain Python values and arrays, without those that tie it to other datasets."""
    names = (name for name in item.attrs if name not in _OF_SCALES and h5py.check_ref_dtype(item.attrs.get_id(name).dtype) is None)
    return {name: plain(item.attrs[name]) for name in names}


def plain(value: Any) -> Any:
    """A value from HDF5 as Python has it: text is `str`, a NumPy scalar a number, an array of text a list.

    Examples
    --------
    >>> plain(np.bytes_(b"eV")), plain(np.float32(0.5)), plain(np.array([b"x", b"y"]))
    ('eV', 0.5, ['x', 'y'])
    """
    match value:
        case bytes():
            return value.decode(errors="replace")
        case np.ndarray() if value.dtype.kind in "SUO":
            return [plain(item) for item in value.tolist()]
        case np.generic():
            return plain(value.item())
        case h5py.Empty():
            return None
    return value


def text(item: h5py.HLObject, name: str, default: str = "") -> str:
    """A text attribute, whether it is stored as text, bytes or a list of one."""
    value = plain(item.attrs.get(name, default))
    if isinstance(value, list):
        value = value[0] if value else default
    return str(value)


def number(item: Any) -> float | None:
    """The one number of a dataset, or the median of several; ``None`` where there is no finite number."""
    if not is_numeric(item) and not (isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind in "iuf"):
        return None
    values = np.asarray(item[()], dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else None


def small_values(group: h5py.Group) -> dict[str, Any]:
    """All values of one number or text below a group, by their path; links are not followed."""
    found: dict[str, Any] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.size == 1 and item.dtype.kind in "biufcSO":
            value = plain(item[()])
            found[name] = plain(value.ravel()[0]) if isinstance(value, np.ndarray) else value[0] if isinstance(value, list) else value

    group.visititems(note)
    return found


def walk(file: h5py.Group) -> Mapping[str, h5py.Dataset]:
    """All datasets of numbers below a group, by their path; not hidden ones, whose path has a name with ``_``. Links are not followed."""
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if is_numeric(item) and not any(part.startswith("_") for part in name.split("/")):
            found[name] = item

    file.visititems(note)
    return found
