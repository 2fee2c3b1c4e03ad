"""Streaming NSID files: several datasets in one pass, each file whole or not there at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

import distributed
import h5py
import sidpy

from pycroclass.cluster import loss_named
from pycroclass.errors import ParameterError, WriteError
from pycroclass.provenance import DigestKind, FileStamp
from pycroclass.writers.atomic import (
    BegunError,
    PartialFile,
    copied,
    journal_of,
    partial_of,
    refuse_taken,
    whole_or_nothing,
    whole_or_resumable,
)
from pycroclass.writers.blocks import Hdf5Target, Progress, Tally, is_distributed, store
from pycroclass.writers.in_place import Ground, InPlace, lay_out, opened, still_there
from pycroclass.writers.journal import Blocks, Journal, begin_journal, read_journal
from pycroclass.writers.layout import COMPLETE, Output, Storage, book_keeping, place_beside, write_record
from pycroclass.writers.record import Sources
from pycroclass.writers.run import Run, describe, differences, differences_to, is_result_of
from pycroclass.writers.run import digest as digest_of
from pycroclass.writers.shards import Shards, check_workers_see
from pycroclass.writers.work import Job

GROUP: Final = "Measurement_000/Channel_000"


def write(
    datasets: Mapping[str, sidpy.Dataset],
    path: str | os.PathLike[str],
    *,
    group: str = GROUP,
    overwrite: bool = False,
    resume: bool = False,
    compression: Literal["gzip", "lzf"] | None = None,
    chunks: Literal[True] | tuple[int, ...] | None = None,
    shard_bytes: int | None = None,
    digest: DigestKind = "sampled",
    progress: Progress | None = None,
) -> Path:
    """Compute lazy datasets together and write them to a new NSID file.

    What several datasets share is computed once. The work goes to ``PATH.partial``, and ``path`` appears when all of it is on disk;
    on any error nothing appears, and a file that was there stays as it was. With an active `distributed.Client` the blocks are
    computed on its cluster, a bounded number at a time; otherwise they are computed in threads.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset
        By name, any shape; ``name`` lies at ``/<group>/<name>/<name>``.
    path : path
    group : str
    overwrite : bool
        Replace a file that exists.
    resume : bool
        Keep ``PATH.partial`` and its journal ``PATH.partial.journal`` on any error, and go on from them: only blocks that are missing
        are computed, and the result has the same bits as that of an unbroken run. A file that holds the result of the very same run
        is left as it is.
    compression : {None, "gzip", "lzf"}
    chunks : None, True or tuple of int
        On disk. ``None``: one piece, unless compressed. ``True``: up to 1 MiB that divide the blocks.
    shard_bytes : int, optional
        With an active client, datasets of more bytes are written by the workers to files in ``PATH.shards``, which ``path`` joins into
        virtual datasets; all workers must see that folder. `pack` makes one plain file of them.
    digest : {"sampled", "full"}
        Of the source files, kept for `replay`.
    progress : callable, optional
        Called with a `Written` after each block; with ``resume`` also for each that is there already.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError, AxisError
        If there is nothing to write, or a name, an axis or a value is not one that can be written; if a run with ``resume`` is
        compressed, in chunks, or of data whose origin is not known.
    WriteError
        If the file exists, cannot be written, is being written by another run, or a source file changed; if what is to be gone on
        with was begun by another run.
    ClusterError
        If the cluster was lost.

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
    _check_shard_bytes(shard_bytes, storage)
    if resume:
        _check_resumable(outputs, storage)
    else:
        refuse_taken(target, overwrite=overwrite)
    sources = Sources.of(_stamps(outputs), digest)
    if any(_is_same_file(stamp.path, target) for stamp in sources.stamps):
        raise WriteError(f"{target} is a source of what is to be written. Choose another name, or add to it with append.")
    run = describe(outputs, sources, group)
    if resume:
        if is_result_of(target, run):
            _remove_begun(target, run)
            return target
        refuse_taken(target, overwrite=overwrite, differences=differences_to(target, run))
    shards = _shards(target, outputs, shard_bytes)
    task = _Task(outputs, storage, sources, run, progress, lambda file: file.require_group(group))
    begin = whole_or_resumable if resume else whole_or_nothing
    with begin(target, overwrite=overwrite, remove_rest=None if shards is None else shards.remove) as partial:
        if resume:
            _go_on(partial, task, run, shards)
        else:
            _fill(partial, "w", task, shards)
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

    task = _Task(outputs, storage, sources, None, progress, log_group)
    with whole_or_nothing(target, overwrite=True) as partial:
        copied(target, partial)
        _fill(partial, "r+", task)
    return places[0]


@dataclass(frozen=True)
class _Task:
    """What one call is to do."""

    outputs: Sequence[Output]
    storage: Storage
    sources: Sources
    run: Run | None
    progress: Progress | None
    place: Callable[[h5py.File], h5py.Group]

    def tally(self) -> Tally:
        return Tally(sum(output.array.npartitions for output in self.outputs), self.progress)

    def record(self, output: Output) -> str:
        return self.sources.record(output.provenance, output.name, None if self.run is None else digest_of(self.run))


def _fill(partial: PartialFile, mode: Literal["w", "r+"], task: _Task, shards: Shards | None = None) -> None:
    """Lay out, compute, finish; nothing of it is kept when something fails."""
    if not task.storage.is_one_piece:
        _fill_through_hdf5(partial, mode, task)
        return
    ground = lay_out(partial, mode, task.place, task.outputs, task.record, shards)
    tally = task.tally()
    with InPlace.opened(partial, ground) as file:
        _check_workers(file)
        with contextlib.closing(tally):
            store([Job(output.array, file.target(output.name, tally, None)) for output in task.outputs])
        task.sources.refuse_changed()
        file.finish()


def _fill_through_hdf5(partial: PartialFile, mode: Literal["w", "r+"], task: _Task) -> None:
    """As `_fill`; a main dataset is complete when nothing can go wrong any more."""
    tally, lock = task.tally(), Lock()
    with opened(partial, mode) as file, contextlib.closing(tally):
        group = task.place(file)
        mains = [(output, output.create(group, task.storage.make)) for output in task.outputs]
        store([Job(output.array, Hdf5Target(output.name, main, partial, tally, lock)) for output, main in mains])
        task.sources.refuse_changed()
        stored: dict[str, h5py.Dataset] = {}
        for output, main in mains:
            write_record(main, task.record(output), output.provenance.all_arrays(), stored)
        file.flush()
        partial.sync()
        for output, main in mains:  # all values are on disk: from here on other readers may take them
            output.link_axes(main)
        file.flush()
        partial.sync()
        for _, main in mains:
            main.attrs[COMPLETE] = True


def _go_on(partial: PartialFile, task: _Task, run: Run, shards: Shards | None) -> None:
    """Begin, or go on with what was begun: compute what the disk does not hold yet. What it holds is kept when something fails."""
    tally = task.tally()
    header, blocks = read_journal(partial.journal) or _begin(partial, task, shards)
    if header["run"] != run:
        problem = f"was begun by a run that is not this one. Not the same: {'; '.join(differences(header['run'], run))}"
        raise BegunError(partial.path, problem, "Go on with what it was begun with")
    with InPlace.opened(partial, Ground.from_dict(header["ground"])) as file:
        _check_workers(file)
        done = still_there(file, task.outputs, blocks, tally)
        with contextlib.closing(Journal(partial.journal, file.sync)) as journal, contextlib.closing(tally):
            store([Job(output.array, file.target(output.name, tally, journal), done[output.name]) for output in task.outputs])
        try:
            task.sources.refuse_changed()
        except WriteError:  # nobody knows which blocks are of the old source
            partial.discard()
            file.ground.remove_shards(partial.path.parent)
            raise
        file.finish()


def _begin(partial: PartialFile, task: _Task, shards: Shards | None) -> tuple[dict[str, Any], Blocks]:
    partial.discard()
    partial.truncate(0)
    ground = lay_out(partial, "w", task.place, task.outputs, task.record, shards)
    header = {"run": task.run, "ground": ground.to_dict()}
    begin_journal(partial.journal, header)
    return header, {}


def _check_workers(file: InPlace) -> None:
    if file.ground.shards and is_distributed():
        check_workers_see(file.folder, file.ground.shards, distributed.default_client())


def _shards(target: Path, outputs: Sequence[Output], shard_bytes: int | None) -> Shards | None:
    if shard_bytes is None or not is_distributed() or all(output.array.nbytes <= shard_bytes for output in outputs):
        return None
    client = distributed.default_client()
    with loss_named(client):
        client.submit(bool, pure=False).result()  # waits for the first worker; a cluster that grows with its work needs some
        n_workers = len(client.nthreads())
    return Shards(target, max(1, n_workers), shard_bytes)


def _remove_begun(target: Path, run: Run) -> None:
    """Remove what a run that was killed between its last two steps left beside its result."""
    partial = partial_of(target)
    begun = read_journal(journal_of(partial))
    if begun is not None and begun[0]["run"] == run:
        partial.unlink(missing_ok=True)
        journal_of(partial).unlink()


def _check_resumable(outputs: Sequence[Output], storage: Storage) -> None:
    if not storage.is_one_piece:
        raise ParameterError("only results in one piece can be gone on with: pass resume=True without compression and chunks")
    for output in outputs:
        if not output.provenance.is_replayable:
            raise ParameterError(
                f"nobody can tell whether {output.name!r} will be the same the next time: its data were not read by pycroclass.read, or "
                "were changed since. Write it without resume=True."
            )


def _check_shard_bytes(shard_bytes: int | None, storage: Storage) -> None:
    if shard_bytes is None:
        return
    if not isinstance(shard_bytes, int) or shard_bytes < 0:
        raise ParameterError(f"shard_bytes must be None or a number of bytes, got {shard_bytes!r}")
    if not storage.is_one_piece:
        raise ParameterError("shards are neither compressed nor in chunks: pass shard_bytes without compression and chunks")


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


def _real(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))


def _is_same_file(a: str, b: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(a, b)
    return False
