"""Blocks of several lazy arrays into files, in one pass over what they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from threading import Condition, Lock
from typing import Any, Final, Protocol

import dask
import dask.array as da
import dask.threaded
import distributed
import h5py
import numpy.typing as npt
from dask.array.core import slices_from_chunks
from dask.array.optimization import optimize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key

from pycroclass import engine
from pycroclass.profile import timed
from pycroclass.writers.atomic import PartialFile
from pycroclass.writers.places import Region, Remote, checked

NDArray = npt.NDArray[Any]

_PUTS: Final = "pycroclass-put"


@dataclass(frozen=True)
class Written:
    """One block that was just written.

    Parameters
    ----------
    name : str
        Of its dataset.
    values : array or None
        Not there where a worker of a cluster wrote the block itself.
    done, total : int
        Blocks written so far, those of an earlier attempt included, and blocks in all.
    is_new : bool
        False for one of an earlier attempt.
    """

    name: str
    values: NDArray | None
    done: int
    total: int
    is_new: bool = True


Progress = Callable[[Written], None]
"""Called after each block, never by two threads at once."""


class Tally:
    """What the targets of one write share: whether blocks may still come, and how many have."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._progress = progress
        self._done, self._total = 0, total
        self._counting = Lock()
        self._gate = Condition()
        self._is_open, self._n_inside = True, 0

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Whether a block may be written now; the file stays open until the code inside has ended."""
        with self._gate:
            is_open = self._is_open
            self._n_inside += 1
        try:
            yield is_open
        finally:
            with self._gate:
                self._n_inside -= 1
                self._gate.notify_all()

    def advance(self, name: str, values: NDArray | None, *, is_new: bool = True) -> None:
        """Count one block that is written."""
        with self._counting:
            self._done += 1
            if self._progress is not None:
                self._progress(Written(name, values, self._done, self._total, is_new))

    def close(self) -> None:
        """Let no more blocks in: threads may still be busy when an error is on its way up, and the file is about to be closed."""
        with self._gate:
            self._is_open = False
            self._gate.wait_for(lambda: self._n_inside == 0)


class Target(Protocol):
    """Where the blocks of one array go."""

    def remote(self, region: Region) -> Remote | None:
        """How a worker of a cluster writes a block itself; ``None`` if it is to be brought here."""

    def put(self, number: int, region: Region, result: Any) -> None:
        """Take a block, or the checksum of one that a worker wrote."""


class Hdf5Target:
    """A dataset of the open file, compressed or in chunks: HDF5 writes it, one block at a time."""

    def __init__(self, name: str, main: h5py.Dataset, file: PartialFile, tally: Tally, lock: Lock) -> None:
        self._name, self._main, self._file, self._tally, self._lock = name, main, file, tally, lock

    def remote(self, _: Region) -> None:
        """Only this process touches the file."""
        return

    def put(self, _: int, region: Region, block: NDArray) -> None:
        """Write a block."""
        checked(self._name, self._main.dtype, region, block)
        with self._tally.entered() as is_open:
            if is_open:
                with self._lock, timed("write"):
                    self._main[region] = block
                    self._file.check()
                self._tally.advance(self._name, block)


@dataclass(frozen=True)
class Job:
    """An array, where its blocks go, and the numbers of those that are there already."""

    array: da.Array
    target: Target
    done: Collection[int] = ()

    def blocks(self) -> Iterator[tuple[Key, Block]]:
        """Those that are wanted, each with the key of its task."""
        indices = product(*(range(len(sizes)) for sizes in self.array.chunks))
        for number, (index, region) in enumerate(zip(indices, slices_from_chunks(self.array.chunks), strict=True)):
            if number not in self.done:
                yield (
                    (self.array.name, *index),
                    Block(self.target, number, region, self.array.itemsize * math.prod(part.stop - part.start for part in region)),
                )


@dataclass(frozen=True)
class Block:
    """A block of a job."""

    target: Target
    number: int
    region: Region
    n_bytes: int

    def put(self, result: Any) -> None:
        """Hand it to its target."""
        self.target.put(self.number, self.region, result)


@dataclass(frozen=True)
class Group:
    """Blocks of different arrays that come from one task: they are computed and written together."""

    keys: tuple[Key, ...]
    blocks: tuple[tuple[Block, ...], ...]
    """For each key those that it fills: the same array may be written twice."""

    def __call__(self, values: Sequence[NDArray]) -> None:
        """Write them."""
        for value, blocks in zip(values, self.blocks, strict=True):
            for block in blocks:
                block.put(value)


@dataclass(frozen=True)
class Work:
    """All that is to be computed: tasks, what each needs, and the groups of blocks that they end in."""

    tasks: Mapping[Key, Any]
    needs: Mapping[Key, set[Key]]
    groups: Sequence[Group]

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Work:
        """Of the blocks that are wanted; tasks that only finished blocks need are not in it."""
        blocks: dict[Key, list[Block]] = {}
        for job in jobs:
            for key, block in job.blocks():
                blocks.setdefault(key, []).append(block)
        if not blocks:
            return cls({}, {}, ())
        graph = _merged([job.array for job in jobs], list(blocks))
        tasks: dict[Key, Any] = graph.to_dict()
        needs = graph.get_all_dependencies()
        return cls(tasks, needs, _groups(blocks, needs))


def store(jobs: Sequence[Job]) -> None:
    """Compute each wanted block once and put it: in threads, or on the dask cluster of the active client."""
    work = Work.of(jobs)
    if not work.groups:
        return
    if is_distributed():
        from pycroclass.writers.cluster_pass import ClusterPass

        ClusterPass(distributed.default_client(), work).run()
        return
    puts = {(_PUTS, i): (group, list(group.keys)) for i, group in enumerate(work.groups)}
    dask.threaded.get({**work.tasks, **puts}, list(puts))


def is_distributed() -> bool:
    """Whether a client of a dask cluster is active."""
    return dask.config.get("scheduler", None) in ("dask.distributed", "distributed")


def _merged(arrays: Sequence[da.Array], keys: list[Key]) -> HighLevelGraph:
    """One graph of all arrays, with shared tasks kept apart from those that need them."""
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    # a layer that needs all results shows which blocks of files are wanted for themselves
    ends = {array.name for array in arrays}
    graph = HighLevelGraph({**graph.layers, _PUTS: MaterializedLayer({})}, {**graph.dependencies, _PUTS: ends})
    graph = engine.fused(graph)
    layers = {name: layer for name, layer in graph.layers.items() if name != _PUTS}
    graph = HighLevelGraph(layers, {name: graph.dependencies[name] for name in layers})
    with dask.config.set({"optimization.fuse.active": False}):  # it is slow, and drops the futures of persisted arrays
        merged: HighLevelGraph = optimize(graph, keys)
    return merged


def _groups(blocks: Mapping[Key, Sequence[Block]], needs: Mapping[Key, set[Key]]) -> list[Group]:
    """Blocks whose values come, each by a chain of its own, from the same tasks; of one array never two."""
    n_users: dict[Key, int] = dict.fromkeys(blocks, 1)
    for needed in needs.values():
        for key in needed:
            n_users[key] = n_users.get(key, 0) + 1
    groups: dict[object, list[Key]] = {}
    n_before: Counter[object] = Counter()
    for key, array in ((key, key[0]) for key in blocks if isinstance(key, tuple)):
        root = needs.get(key, set())
        while len(root) == 1 and n_users[one := next(iter(root))] == 1 and needs.get(one):
            root = needs[one]
        origin = frozenset(root) or key
        groups.setdefault((origin, n_before[origin, array]), []).append(key)
        n_before[origin, array] += 1
    return [Group(tuple(keys), tuple(tuple(blocks[key]) for key in keys)) for keys in groups.values()]


def storage_chunks(array: da.Array, n_bytes: int = 1 << 20) -> tuple[int, ...]:
    """Chunks for the file of up to ``n_bytes`` that divide the array's own, so that no two blocks touch the same one.

    Examples
    --------
    >>> storage_chunks(da.zeros((100, 512, 512), chunks=(30, 512, 512), dtype="u2"))
    (2, 512, 512)
    """
    chunk = [math.gcd(*sizes[:-1]) if len(sizes) > 1 else sizes[0] for sizes in array.chunks]
    for d in range(array.ndim):
        rest = array.dtype.itemsize * math.prod(chunk[d + 1 :])
        fitting = (n for n in range(1, chunk[d] + 1) if chunk[d] % n == 0 and n * rest <= n_bytes)
        chunk[d] = max(fitting, default=1)
    return tuple(chunk)
