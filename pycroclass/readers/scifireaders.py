"""All readers of SciFiReaders behind one face: a dict of lazy datasets by channel name.

SciFiReaders loads a file whole, when it is opened. Here its arrays stay in a cache of the process, bounded in bytes; tasks carry the path,
and a process that has not loaded the file does so once. Three of its readers open files for writing, which changes their time and fails
where they are write-protected: these get a private copy, and so the source is never touched.
"""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import MissingDependencyError
from pycroclass.provenance import FileStamp
from pycroclass.readers.building import n_core, unique_keys
from pycroclass.readers.cache import LoadedFiles
from pycroclass.readers.channel import Channel
from pycroclass.readers.failure import failure, foreign
from pycroclass.readers.formats import format_named
from pycroclass.readers.mending import MEND
from pycroclass.readers.options import ReadOptions, provenance
from pycroclass.sid import safe_name, unwrap, wrap
from pycroclass.source import lazy_array, plan_chunks
from pycroclass.spec import Axis, AxisKind

_LOG: Final = logging.getLogger(__name__)
_GENERIC: Final = ("", "generic")


@dataclass(frozen=True)
class Adapter:
    """How to call one reader class of SciFiReaders.

    Parameters
    ----------
    reader : str
        Name of the class.
    module : str
        Where it lies; most are exported by the package itself.
    package : str
        Optional package that it needs.
    is_writer : bool
        Whether it opens files for writing.
    options : tuple of (str, value)
        For its method ``read``.
    """

    reader: str
    module: str = "SciFiReaders"
    package: str = ""
    is_writer: bool = False
    options: tuple[tuple[str, Any], ...] = ()


_AFM: Final = "SciFiReaders.readers.microscopy.spm.afm"

ADAPTERS: Final = {
    "Igor IBW": Adapter("IgorIBWReader", package="igor2"),
    "Igor Matrix": Adapter("IgorMatrixReader", package="igor2"),
    "Gwyddion": Adapter("GwyddionReader"),
    "Gwyddion simple field": Adapter("GwyddionReader"),
    "Bruker AFM": Adapter("BrukerAFMReader"),
    "Axz": Adapter("AxzReader"),
    "NT-MDT": Adapter("MDTReader"),
    "Nanonis spectrum": Adapter("NanonisDatReader"),
    "Nanonis grid": Adapter("Nanonis3dsReader"),
    "Nanonis image": Adapter("NanonisSXMReader"),
    "Nanosurf": Adapter("NanoSurfNIDReader", module=f"{_AFM}.nanosurf"),
    "Omicron ASC": Adapter("AscReader"),
    "Anfatec PiFM": Adapter("PiFMReader", module=f"{_AFM}.pifm"),
    "WSxM curve": Adapter("WSxM1DReader"),
    "WSxM image": Adapter("WSxM2DReader"),
    "WSxM spectroscopy": Adapter("WSxM3DReader"),
    "Asylum HDF5": Adapter("ARhdf5Reader"),
    "Princeton SPE": Adapter("RamanSpeReader"),
    "Zeiss CZI": Adapter("CZIReader", package="aicspylibczi"),
    "Bruker RTO": Adapter("BrukerReader"),
    "EDAX": Adapter("EDAXReader"),
    "Nion": Adapter("NionReader", is_writer=True),
    "DMReader": Adapter("DMReader"),
    "EMDReader": Adapter("EMDReader", is_writer=True, options=(("bin_xy", 1),)),
    "ImageReader": Adapter("ImageReader"),
    "MRCReader": Adapter("MRCReader", package="mrcfile"),
    "NSIDReader": Adapter("NSIDReader", is_writer=True),
    "Usid_reader": Adapter("Usid_reader"),
}
"""Every reader of SciFiReaders 0.12 by the name of our format; those that we have a lazy reader for, by their own."""


def open_file(path: Path, options: ReadOptions) -> dict[str, sidpy.Dataset]:
    """Every array of numbers in a file, by the name that the file gives it.

    Raises
    ------
    ReadError
        If the file does not begin as one of its format, or SciFiReaders cannot read it.
    MissingDependencyError
        If the reader needs a package that is not installed.
    """
    stamp = FileStamp.of(path)
    channels = load_channels(stamp, options.format)
    return {key: _dataset(stamp, options, key, channel) for key, channel in channels.items()}


@dataclass(frozen=True)
class Loader:
    """Reads a part of one channel from the cache of the process, which loads the file where it has not.

    Parameters
    ----------
    stamp : FileStamp
        Of the file when it was opened.
    format : str
        Key of `ADAPTERS`.
    key : str
        Name of the channel.
    """

    stamp: FileStamp
    format: str
    key: str

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part, as a copy: nobody can change what the cache holds.

        Raises
        ------
        ReadError
            If the file was changed after it was opened.
        """
        return load_channels(self.stamp, self.format)[self.key].array[slices].copy()


def load_channels(stamp: FileStamp, format: str) -> Mapping[str, Channel]:
    """All channels of a file by name, from the cache of this process.

    Raises
    ------
    ReadError
        If the file was changed since ``stamp`` was taken, does not begin as one of its format, or SciFiReaders cannot read it.
    MissingDependencyError
        If the reader needs a package that is not installed.
    """
    return _CACHE.get((stamp, format), lambda: _load(stamp, format))


def _size(channels: Mapping[str, Channel]) -> int:
    return sum(channel.array.nbytes for channel in channels.values())


_CACHE: Final[LoadedFiles[Mapping[str, Channel]]] = LoadedFiles(_size)


def _dataset(stamp: FileStamp, options: ReadOptions, key: str, channel: Channel) -> sidpy.Dataset:
    spec = channel.spec
    chunks = plan_chunks(spec.shape, spec.dtype, n_core(spec))
    return wrap(
        lazy_array(Loader(stamp, options.format, key), spec.shape, spec.dtype, chunks, (stamp,)),
        spec,
        provenance=provenance(key, Path(stamp.path), options),
        metadata=channel.metadata,
        original_metadata=channel.original_metadata,
        modality=channel.modality,
        source=channel.source,
    )


def _load(stamp: FileStamp, format: str) -> dict[str, Channel]:
    path, adapter = Path(stamp.path), ADAPTERS[format]
    _check(stamp, format)
    try:
        with _quiet(), _private_copy(path) if adapter.is_writer else nullcontext(path) as file:
            channels = [_channel(names, dataset) for names, dataset in _flat(_read_all(adapter, file))]
            channels = MEND[adapter.reader](path, channels) if adapter.reader in MEND else channels
    except Exception as error:  # SciFiReaders raises anything, from AssertionError to struct.error
        problem = f"SciFiReaders.{adapter.reader} cannot read this file ({type(error).__name__}: {error})".replace(": )", ")")
        remedy = "If it is whole, this is a limit of that reader: export the data from the instrument's program to another format."
        raise failure(path, problem, remedy) from error
    if not channels:
        raise failure(path, f"SciFiReaders.{adapter.reader} finds no arrays of numbers in it", "It may be of another format.")
    keys = unique_keys([channel.spec.title for channel in channels])
    return {key: replace(channel, spec=replace(channel.spec, title=key)) for key, channel in zip(keys, channels, strict=True)}


def _check(stamp: FileStamp, format: str) -> None:
    """What must hold before a reader may touch the file; some hang on one of another format."""
    path, package = Path(stamp.path), ADAPTERS[format].package
    known = format_named(format)
    if not stamp.is_current():
        raise failure(path, "was changed or removed after it was opened", "Read it again.")
    with path.open("rb") as file:
        head = file.read(4096)
    if known.signatures and not known.matches_content(head):
        raise foreign(path, f"does not begin as a file of {known.name} does", "Leave out format=… to have it told by its content.")
    if package and find_spec(package) is None:
        raise MissingDependencyError.of(package, extra=known.extra or package, purpose=f"reading {path.name}")


def _read_all(adapter: Adapter, file: Path) -> Any:
    reader = getattr(import_module(adapter.module), adapter.reader)(str(file))
    try:
        return reader.read(**dict(adapter.options))
    finally:
        getattr(reader, "close", lambda: None)()


@contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pycroclass-") as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


@contextmanager
def _quiet() -> Iterator[None]:
    """Log what SciFiReaders prints and warns of; one load at a time, because stdout and warnings belong to the process."""
    printed = io.StringIO()
    with _QUIET, warnings.catch_warnings(record=True) as caught, redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            yield
        finally:
            messages = [*printed.getvalue().splitlines(), *(str(warning.message) for warning in caught)]
            for message in dict.fromkeys(messages):
                _LOG.info("SciFiReaders: %s", message)


_QUIET: Final = threading.Lock()


def _flat(found: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], sidpy.Dataset]]:
    """Every dataset in what a reader returned, a dataset or dicts and lists of them, with the names on the way to it."""
    if isinstance(found, sidpy.Dataset):
        if found.ndim and found.dtype.kind in "biufc":
            yield names, found
            return
    elif isinstance(found, Mapping):
        for name, value in found.items():
            yield from _flat(value, (*names, str(name)))
        return
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _flat(value, names)
        return
    _LOG.info("SciFiReaders: %s holds no array of numbers but %s", "/".join(names) or "the file", type(found).__name__)


def _channel(names: tuple[str, ...], dataset: sidpy.Dataset) -> Channel:
    lazy, spec = unwrap(dataset)
    array = np.ascontiguousarray(lazy.compute(scheduler="synchronous"), dtype=dataset.dtype.newbyteorder("="))
    array.setflags(write=False)
    return Channel(
        array,
        replace(
            spec,
            axes=tuple(map(_axis, spec.axes)),
            dtype=array.dtype,
            title=_title(names, dataset),
            units=spec.units.removeprefix("None"),  # Anasys: no prefix, as text
        ),
        dict(dataset.metadata),
        dict(dataset.original_metadata),
        dataset.modality,
        dataset.source,
    )


def _axis(axis: Axis) -> Axis:
    if axis.kind is AxisKind.SPATIAL and axis.units == "frame":  # an image without calibration, its axes taken for time
        axis = replace(axis, quantity="generic", units="generic")
    return replace(axis, name=safe_name(axis.name))


def _title(names: tuple[str, ...], dataset: sidpy.Dataset) -> str:
    if len(names) > 1:  # inside a group of the file the names alone tell datasets apart
        return "/".join(names)
    known = (text.strip() for text in (dataset.title, dataset.quantity, *names) if text.strip() not in _GENERIC)
    title = next(known, "data")
    return title.split('"')[1] if title.count('"') == 2 else title  # Bruker: S [DeflectionError] "Deflection Error"
