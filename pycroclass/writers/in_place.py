"""A file whose structure is whole before any value is there: blocks are written at their places, and HDF5 is not asked again.

Until everything is on disk the file lacks its signature, so that nothing takes it for an HDF5 file. Then the time of completion and the
signature are written over what is there: a process that is killed, at whatever moment, leaves a file that can be gone on with.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import h5py
import numpy as np
from dask.array.core import slices_from_chunks

from pycroclass.errors import WriteError
from pycroclass.profile import timed
from pycroclass.writers.atomic import BegunError, PartialFile
from pycroclass.writers.blocks import NDArray, Tally
from pycroclass.writers.journal import Blocks, Journal
from pycroclass.writers.layout import COMPLETE, Output, write_record
from pycroclass.writers.places import SIGNATURE, Place, Region, Remote, checked, contiguous, writing
from pycroclass.writers.record import now
from pycroclass.writers.shards import Piece, Shards, remove_shards

_FINISHED: Final = '"finished": "'


@dataclass(frozen=True)
class Ground:
    """Where everything lies in a file that was laid out.

    Parameters
    ----------
    size : int
        Of the file.
    signature : int
        Offset of the signature.
    finished : tuple of int
        Offset of each record's time of completion.
    pieces : mapping of str to tuple of Piece
        Of each dataset, in the order of its first axis.
    shards : tuple of str
        Files that hold pieces, relative to the folder of the file.
    """

    size: int
    signature: int
    finished: tuple[int, ...]
    pieces: Mapping[str, tuple[Piece, ...]]
    shards: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        pieces = {name: [piece.to_dict() for piece in pieces] for name, pieces in self.pieces.items()}
        return {**vars(self), "pieces": pieces}

    def remove_shards(self, folder: Path) -> None:
        """Remove the shards of a file that is given up."""
        remove_shards(folder, self.shards)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From its JSON."""
        pieces = {name: tuple(Piece.from_dict(piece) for piece in pieces) for name, pieces in data["pieces"].items()}
        return cls(data["size"], data["signature"], tuple(data["finished"]), pieces, tuple(data["shards"]))


def lay_out(
    partial: PartialFile,
    mode: Literal["w", "r+"],
    place: Callable[[h5py.File], h5py.Group],
    outputs: Sequence[Output],
    record: Callable[[Output], str],
    shards: Shards | None = None,
) -> Ground:
    """Make everything but the values, with space for these, and wait until the disk has it.

    Raises
    ------
    WriteError
        If it cannot be written: the disk is full, for example.
    """
    pieces = {} if shards is None else shards.lay_out(outputs)

    def make(home: h5py.Group, output: Output) -> h5py.Dataset:
        if output.name in pieces:
            return Shards.join(home, output, pieces[output.name])
        return contiguous(home, output.name, output.array.shape, output.array.dtype)

    with opened(partial, mode) as file:
        group = place(file)
        mains = {output.name: output.create(group, make) for output in outputs}
        finished = tuple(_complete(outputs, mains, record))
        file.flush()
        partial.check()
        here = {name: (Piece("", 0, Place.of(main)),) for name, main in mains.items() if name not in pieces}
        signature = file.userblock_size
    partial.check()
    with writing(partial.path):
        for (piece,) in here.values():
            piece.place.reserve(partial.fileno())
        os.pwrite(partial.fileno(), bytes(len(SIGNATURE)), signature)
    partial.sync()
    ground = Ground(os.fstat(partial.fileno()).st_size, signature, finished, {**here, **pieces})
    return ground if shards is None else replace(ground, shards=shards.names)


def _complete(outputs: Sequence[Output], mains: Mapping[str, h5py.Dataset], record: Callable[[Output], str]) -> Iterator[int]:
    """Add records and axes; gives the offsets of the times of completion."""
    stored: dict[str, h5py.Dataset] = {}
    for output in outputs:
        main, text = mains[output.name], record(output)
        written = write_record(main, text, output.provenance.all_arrays(), stored)
        output.link_axes(main)
        main.attrs[COMPLETE] = True
        yield written.id.get_offset() + text.rindex(_FINISHED) + len(_FINISHED)


def opened(partial: PartialFile, mode: Literal["w", "r+"]) -> h5py.File:
    """The partial file as HDF5.

    Raises
    ------
    WriteError
        If it is no HDF5 file.
    """
    try:
        return h5py.File(partial, mode)
    except OSError as error:
        raise WriteError(f"nothing can be added to {partial.path.stem}: it is no HDF5 file ({error})") from error


class InPlace:
    """A file that was laid out, and its shards, open to take blocks."""

    def __init__(self, partial: PartialFile, ground: Ground, handles: Mapping[str, int]) -> None:
        self._partial, self.ground, self._handles = partial, ground, handles
        self.folder = partial.path.parent

    @classmethod
    @contextmanager
    def opened(cls, partial: PartialFile, ground: Ground) -> Iterator[Self]:
        """Open it.

        Raises
        ------
        WriteError
            If a file of it is missing or was cut off.
        """
        if os.fstat(partial.fileno()).st_size < ground.size:
            raise BegunError(partial.path, "was cut off and cannot be gone on with")
        with ExitStack() as stack:
            handles = {"": partial.fileno()}
            for name in ground.shards:
                handles[name] = _open_shard(partial, partial.path.parent / name)
                stack.callback(os.close, handles[name])
            yield cls(partial, ground, handles)

    def target(self, name: str, tally: Tally, journal: Journal | None) -> InPlaceTarget:
        """Where the blocks of a dataset go."""
        return InPlaceTarget(self, name, tally, journal)

    def find(self, name: str, region: Region) -> tuple[Piece, Region]:
        """The piece that holds a region, and the region in it."""
        pieces = self.ground.pieces[name]
        piece = pieces[bisect_right([piece.start for piece in pieces], region[0].start) - 1]
        return piece, (slice(region[0].start - piece.start, region[0].stop - piece.start), *region[1:])

    def write(self, name: str, region: Region, block: NDArray) -> int:
        """Write a block; returns its checksum."""
        piece, inside = self.find(name, region)
        with timed("write"), writing(self._partial.path):
            return piece.place.write(self._handles[piece.file], inside, block)

    def read(self, name: str, region: Region) -> tuple[NDArray, int]:
        """A block as it is, and its checksum."""
        piece, inside = self.find(name, region)
        with writing(self._partial.path):
            return piece.place.read(self._handles[piece.file], inside)

    def remote(self, name: str, region: Region) -> Remote | None:
        """How another process writes a block, where that is wanted."""
        piece, inside = self.find(name, region)
        if not piece.file:
            return None
        return Remote(name, str(self.folder / piece.file), piece.place, inside, self.ground.shards.index(piece.file))

    def sync(self) -> None:
        """Wait until the disk has all blocks written here."""
        for handle in self._handles.values():
            os.fdatasync(handle)

    def finish(self) -> None:
        """Make them HDF5 files, complete; all blocks must have been written."""
        with writing(self._partial.path):
            for offset in self.ground.finished:
                os.pwrite(self._partial.fileno(), now().encode(), offset)
            self.sync()
            for name in self.ground.shards:
                os.pwrite(self._handles[name], SIGNATURE, 0)
            self.sync()
            os.pwrite(self._partial.fileno(), SIGNATURE, self.ground.signature)


def _open_shard(partial: PartialFile, shard: Path) -> int:
    with writing(shard):
        try:
            return os.open(shard, os.O_RDWR)
        except FileNotFoundError as error:
            raise BegunError(partial.path, f"lacks a part: {shard} is missing", "Put it back to go on") from error


class InPlaceTarget:
    """A dataset of such a file: each thread writes the blocks that it computed."""

    def __init__(self, file: InPlace, name: str, tally: Tally, journal: Journal | None) -> None:
        self._file, self._name, self._tally, self._journal = file, name, tally, journal
        self._dtype = file.ground.pieces[name][0].place.dtype

    def remote(self, region: Region) -> Remote | None:
        """How a worker writes a block of a shard."""
        return self._file.remote(self._name, region)

    def put(self, number: int, region: Region, result: Any) -> None:
        """Write a block, or take note of one that a worker wrote."""
        is_there = isinstance(result, int)
        if not is_there:
            checked(self._name, np.dtype(self._dtype), region, result)
        with self._tally.entered():
            checksum = result if is_there else self._file.write(self._name, region, result)
            if self._journal is not None:
                self._journal.add(self._name, number, checksum)
            self._tally.advance(self._name, None if is_there else result)


def still_there(file: InPlace, outputs: Sequence[Output], blocks: Blocks, tally: Tally) -> dict[str, set[int]]:
    """Numbers of the blocks that the journal names and the disk holds; they are counted as written."""
    done: dict[str, set[int]] = {output.name: set() for output in outputs}
    for output in outputs:
        for number, region in enumerate(slices_from_chunks(output.array.chunks)):
            if (wanted := blocks.get((output.name, number))) is not None:
                values, checksum = file.read(output.name, region)
                if checksum == wanted:
                    done[output.name].add(number)
                    tally.advance(output.name, values, is_new=False)
    return done
