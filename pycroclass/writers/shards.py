"""Large results in several files, one for each worker, that one file joins into virtual datasets."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import distributed
import h5py
import numpy as np

from pycroclass.errors import WriteError
from pycroclass.files import sync_folder
from pycroclass.readers.hdf5_links import escaped
from pycroclass.writers.layout import Output
from pycroclass.writers.places import SIGNATURE, Place, contiguous, writing


@dataclass(frozen=True)
class Piece:
    """A part of a dataset along its first axis.

    Parameters
    ----------
    file : str
        Path of the shard, relative to the folder of the result; empty where the result holds the dataset itself.
    start : int
        Index of its first item.
    place : Place
    """

    file: str
    start: int
    place: Place

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"file": self.file, "start": self.start, "place": vars(self.place)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From its JSON."""
        return cls(data["file"], data["start"], Place.from_dict(data["place"]))


@dataclass(frozen=True)
class Shards:
    """Files to be, in ``PATH.shards``.

    Parameters
    ----------
    path : Path
        Of the result.
    n_shards : int
    n_bytes : int
        Smaller datasets are not put into shards.
    """

    path: Path
    n_shards: int
    n_bytes: int
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Begins the name of each shard: a new run never touches those of an old one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative to the folder of the result."""
        return tuple(f"{self.path.name}.shards/{self.token}-{i:03d}.h5" for i in range(self.n_shards))

    def lay_out(self, outputs: Sequence[Output]) -> dict[str, tuple[Piece, ...]]:
        """Make all shards with space for the values; returns the pieces of each dataset that lies in them."""
        large = [output for output in outputs if output.array.nbytes > self.n_bytes]
        folder = self.path.with_name(f"{self.path.name}.shards")
        pieces: dict[str, list[Piece]] = {output.name: [] for output in large}
        with writing(folder):
            folder.mkdir(exist_ok=True)
            for i, name in enumerate(self.names):
                for output, piece in self._lay_out(name, i, large):
                    pieces[output.name].append(piece)
            sync_folder(folder)
            sync_folder(folder.parent)
        return {name: tuple(found) for name, found in pieces.items()}

    def _lay_out(self, name: str, i: int, outputs: Sequence[Output]) -> Iterator[tuple[Output, Piece]]:
        starts = {}
        with h5py.File(self.path.parent / name, "x") as file:
            for output in outputs:
                start, stop = self._part(output, i)
                if start < stop:
                    starts[output.name] = start
                    contiguous(file, output.name, (stop - start, *output.array.shape[1:]), output.array.dtype)
            file.flush()
            places = {key: Place.of(file[key]) for key in starts}
        handle = os.open(self.path.parent / name, os.O_RDWR)
        try:
            for place in places.values():
                place.reserve(handle)
            os.pwrite(handle, bytes(len(SIGNATURE)), 0)
            os.fsync(handle)
        finally:
            os.close(handle)
        for output in outputs:
            if output.name in places:
                yield output, Piece(name, starts[output.name], places[output.name])

    def _part(self, output: Output, i: int) -> tuple[int, int]:
        """First item of a shard and of the next one; a block lies in one shard."""
        ends = np.cumsum((0, *output.array.chunks[0]))
        n_blocks = len(ends) - 1
        return int(ends[n_blocks * i // self.n_shards]), int(ends[n_blocks * (i + 1) // self.n_shards])

    def remove(self) -> None:
        """Remove them, and their folder if it is empty then."""
        remove_shards(self.path.parent, self.names)

    @staticmethod
    def join(home: h5py.Group, output: Output, pieces: Sequence[Piece]) -> h5py.Dataset:
        """Make the virtual dataset."""
        layout = h5py.VirtualLayout(output.array.shape, output.array.dtype)
        for piece in pieces:
            shape = piece.place.shape
            source = h5py.VirtualSource(escaped(piece.file), escaped(output.name), shape, output.array.dtype)
            layout[piece.start : piece.start + shape[0]] = source
        return home.create_virtual_dataset(output.name, layout)


def remove_shards(folder: Path, names: Sequence[str]) -> None:
    """Remove shards of a result that is given up, and the folder that they are in if it is empty then."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for home in {(folder / name).parent for name in names}:
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()


def check_workers_see(folder: Path, names: Sequence[str], client: distributed.Client) -> None:
    """Refuse to go on where a worker cannot write the shards.

    Raises
    ------
    WriteError
        If one cannot.
    """
    found = client.run(_can_write, [str(folder / name) for name in names], on_error="return")
    if blind := [worker for worker, can_write in found.items() if can_write is False]:  # one that is lost meanwhile gives its error
        raise WriteError(
            f"{len(blind)} of {len(found)} workers cannot write to {(folder / names[0]).parent}, {blind[0]} for one. Write to a folder "
            "that all machines share, or pass shard_bytes=None to bring all results here."
        )


def _can_write(paths: Sequence[str]) -> bool:
    return all(os.access(path, os.W_OK) for path in paths)
