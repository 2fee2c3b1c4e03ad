"""Blocks of several lazy arrays into files, in one pass over what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from threading import Condition, Lock
from typing import Any, Final

import dask
import dask.array as da
import dask.threaded
import distributed
import h5py
import numpy.typing as npt
from dask.typing import Key

from pycroclass.profile import timed
from pycroclass.writers.atomic import PartialFile
from pycroclass.writers.places import Region, checked
from pycroclass.writers.work import Chain, Group, Job, Work

NDArray = npt.NDArray[Any]

_MANY_ERRANDS: Final = 256
"""So many at least, before one does several groups."""
_GROUPS_PER_ERRAND: Final = 16


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
    def entered(self) -> Iterator[None]:
        """Write a block; the file stays open until the code inside has ended.

        Raises
        ------
        CancelledError
            If it is closed: a thread that is still busy has nothing more to do.
        """
        with self._gate:
            if not self._is_open:
                raise CancelledError
            self._n_inside += 1
        try:
            yield
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
        with self._tally.entered():
            with self._lock, timed("write"):
                self._main[region] = block
                self._file.check()
            self._tally.advance(self._name, block)


def store(jobs: Sequence[Job]) -> None:
    """Compute each wanted block once and put it: in threads, or on the dask cluster of the active client."""
    work = Work.of(jobs)
    if not work.groups:
        return
    if is_distributed():
        from pycroclass.writers.cluster_pass import ClusterPass

        ClusterPass(distributed.default_client(), work).run()
        return
    errands = _errands(work)
    tasks = {**work.tasks, **work.futures}
    shared = {key: tasks[key] for key in work.walk([key for errand in errands for key in errand.given])}
    ends = {f"errand-{i}": (errand, list(errand.given)) for i, errand in enumerate(errands)}
    dask.threaded.get({**shared, **ends}, list(ends))


@dataclass(frozen=True)
class _Errand:
    """One task for several groups, one after the other: each is computed and put before the next begins."""

    groups: Sequence[tuple[Chain, Group]]

    @property
    def given(self) -> tuple[Key, ...]:
        """What is computed by others."""
        return tuple({key: None for chain, _ in self.groups for key in chain.given})

    def __call__(self, given: Sequence[Any]) -> None:
        values = dict(zip(self.given, given, strict=True))
        for chain, group in self.groups:
            results = chain([values[key] for key in chain.given])
            group.put([[result] * len(blocks) for result, blocks in zip(results, group.blocks, strict=True)])


def _errands(work: Work) -> list[_Errand]:
    """A group each; several where they are many and wait for nothing that others compute."""
    n = min(max(1, len(work.groups) // _MANY_ERRANDS), _GROUPS_PER_ERRAND)
    chains = ((work.chain(group), group) for group in work.groups)
    errands: list[_Errand] = []
    for is_free, some in groupby(chains, key=lambda one: all(map(work.is_constant, one[0].given))):
        groups = list(some)
        size = n if is_free else 1
        errands += [_Errand(groups[i : i + size]) for i in range(0, len(groups), size)]
    return errands


def is_distributed() -> bool:
    """Whether a client of a dask cluster is active."""
    return dask.config.get("scheduler", None) in ("dask.distributed", "distributed")


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
