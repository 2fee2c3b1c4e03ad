"""Streaming NSID files: several datasets in one pass, each file whole or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import h5py
import sidpy

from pycroclass.errors import ParameterError, WriteError
from pycroclass.provenance import DigestKind, FileStamp
from pycroclass.writers.atomic import PartialFile, refuse_taken, try_lock, whole_or_nothing
from pycroclass.writers.blocks import Progress, Tally, Target, store
from pycroclass.writers.layout import COMPLETE, Output, Storage, book_keeping, place_beside, write_record
from pycroclass.writers.record import Sources

GROUP: Final = "Measurement_000/Channel_000"
_COPY_BYTES: Final = 16 << 20


def write(
    datasets: Mapping[str, sidpy.Dataset],
    path: str | os.PathLike[str],
    *,
    group: str = GROUP,
    overwrite: bool = False,
    compression: Literal["gzip", "lzf"] | None = None,
    chunks: Literal[True] | tuple[int, ...] | None = None,
    digest: DigestKind = "sampled",
    progress: Progress | None = None,
) -> Path:
    """Compute lazy datasets together and write them to a new NSID file.

    What several datasets share is computed once. The work goes to ``PATH.partial``, and ``path`` appears when all of it is on disk;
    on any error nothing appears, and a file that was there stays as it was. With an active `distributed.Client` the blocks are
    computed on its cluster and come here to be written, a bounded number at a time; otherwise they are computed in threads.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset
        By name, any shape; ``name`` lies at ``/<group>/<name>/<name>``.
    path : path
    group : str
    overwrite : bool
        Replace a file that exists.
    compression : {None, "gzip", "lzf"}
    chunks : None, True or tuple of int
        On disk. ``None``: one piece, unless compressed. ``True``: up to 1 MiB that divide the blocks.
    digest : {"sampled", "full"}
        Of the source files, kept for `replay`.
    progress : callable, optional
        Called with the number of blocks written and of all blocks.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError, AxisError
        If there is nothing to write, or a name, an axis or a value is not one that can be written.
    WriteError
        If the file exists, cannot be written, is being written by another run, or a source file changed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> image = sidpy.Dataset.from_array(np.eye(3), title="identity")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write({"image": image}, f"{folder}/out.h5").name
    'out.h5'
    """
    target = _real(path)
    outputs = _outputs(datasets)
    storage = Storage(compression, chunks)
    _check_group(group)
    refuse_taken(target, overwrite=overwrite)
    sources = Sources.of(_stamps(outputs), digest)
    if any(_is_same_file(stamp.path, target) for stamp in sources.stamps):
        raise WriteError(f"{target} is a source of what is to be written. Choose another name, or add to it with append.")
    with whole_or_nothing(target, overwrite=overwrite) as partial:
        _fill(partial, "w", lambda file: file.require_group(group), outputs, storage, sources, progress)
    return target


def append(
    datasets: Mapping[str, sidpy.Dataset],
    path: str | os.PathLike[str],
    *,
    beside: str | None = None,
    name: str = "pycroclass",
    compression: Literal["gzip", "lzf"] | None = None,
    chunks: Literal[True] | tuple[int, ...] | None = None,
    digest: DigestKind = "sampled",
    progress: Progress | None = None,
) -> str:
    """Compute lazy datasets together and add them to an NSID file, as a group ``Log_<name>_NNN`` in a Channel.

    The work is done on a copy, which replaces the file when all of it is on disk.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset
        By name.
    path : path
        An NSID file; nothing may have it open for writing.
    beside : str, optional
        HDF5 path of the main dataset that the results belong to, or of its group or Channel; not needed in a file with one Channel.
    name : str
        Of the step, without ``/`` and ``-``.
    compression, chunks, digest, progress
        As for `write`.

    Returns
    -------
    str
        HDF5 path of the new group.

    Raises
    ------
    ParameterError, AxisError
        If there is nothing to write, or a name, an axis or a value is not one that can be written.
    WriteError
        If the file is missing, is no NSID file, is open for writing, or changed meanwhile.
    """
    target = _real(path)
    outputs = _outputs(datasets)
    storage = Storage(compression, chunks)
    if not name or any(character in name for character in "/-\0"):
        raise ParameterError(f"name must be without '/' and '-', and not empty; got {name!r}")
    if not target.is_file():
        raise WriteError(f"{target} does not exist; wanted an NSID file to add to. Make a new one with write.")
    sources = Sources.of([*_stamps(outputs), FileStamp.of(target)], digest, grows=str(target))
    places: list[str] = []

    def log_group(file: h5py.File) -> h5py.Group:
        group = _new_log(place_beside(file, beside), name)
        places.append(group.name)
        return group

    with whole_or_nothing(target, overwrite=True) as partial:
        _copy(target, partial)
        _fill(partial, "r+", log_group, outputs, storage, sources, progress)
    return places[0]


def _fill(
    partial: PartialFile,
    mode: Literal["w", "r+"],
    place: Callable[[h5py.File], h5py.Group],
    outputs: Sequence[Output],
    storage: Storage,
    sources: Sources,
    progress: Progress | None,
) -> None:
    """Lay out, compute, record; a main dataset is complete when nothing can go wrong any more."""
    tally = Tally(partial, sum(output.array.npartitions for output in outputs), progress)
    with _opened(partial, mode) as file, contextlib.closing(tally):
        group = place(file)
        mains = [output.create(group, storage) for output in outputs]
        store([output.array for output in outputs], [Target(main, tally) for main in mains])
        sources.refuse_changed()
        stored: dict[str, h5py.Dataset] = {}
        for output, main in zip(outputs, mains, strict=True):
            write_record(main, sources.record(output.provenance, output.name), output.provenance.all_arrays(), stored)
        file.flush()
        partial.sync()
        for output, main in zip(outputs, mains, strict=True):  # all values are on disk: from here on other readers may take them
            output.link_axes(main)
        file.flush()
        partial.sync()
        for main in mains:
            main.attrs[COMPLETE] = True


def _opened(partial: PartialFile, mode: Literal["w", "r+"]) -> h5py.File:
    try:
        return h5py.File(partial, mode)
    except OSError as error:
        raise WriteError(f"nothing can be added to {partial.path.stem}: it is no HDF5 file ({error})") from error


def _outputs(datasets: Mapping[str, sidpy.Dataset]) -> list[Output]:
    if not isinstance(datasets, Mapping) or not datasets:
        raise ParameterError(f"wanted datasets by name, such as {{'label': dataset}}; got {type(datasets).__name__} of none")
    return [Output.of(name, dataset) for name, dataset in datasets.items()]


def _stamps(outputs: Sequence[Output]) -> list[FileStamp]:
    return [stamp for output in outputs for node in output.provenance.walk() for stamp in node.files]


def _check_group(group: str) -> None:
    parts = group.strip("/").split("/")
    if not all(part.strip(".") for part in parts):
        raise ParameterError(f"group must be a path such as {GROUP!r}, got {group!r}")


def _new_log(channel: h5py.Group, name: str) -> h5py.Group:
    number = 0
    while f"Log_{name}_{number:03d}" in channel:
        number += 1
    group = channel.create_group(f"Log_{name}_{number:03d}")
    group.attrs.update(book_keeping())
    return group


def _copy(source: Path, partial: PartialFile) -> None:
    with open(source, "rb") as original:
        if not try_lock(original.fileno(), fcntl.LOCK_SH):
            raise WriteError(f"{source} is open for writing elsewhere, or in this process. Close it first.")
        shutil.copyfileobj(original, partial, _COPY_BYTES)
    partial.check()
    shutil.copymode(source, partial.path)


def _real(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))


def _is_same_file(a: str, b: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(a, b)
    return False
