"""Blocks of several lazy arrays into one open file, in one pass over what they share."""

from __future__ import annotations

import math
from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterator, Sequence
from graphlib import TopologicalSorter
from itertools import islice, product
from threading import Lock
from typing import Any, Final

import dask
import dask.array as da
import distributed
import h5py
import numpy as np
import numpy.typing as npt
from dask.array.core import slices_from_chunks
from dask.array.optimization import optimize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from dask.order import order
from dask.typing import Key

from pycroclass.errors import DataError
from pycroclass.writers.atomic import PartialFile

Progress = Callable[[int, int], None]
"""Called with the number of blocks written and of all blocks."""

_BLOCKS_PER_THREAD: Final = 2
_Region = tuple[slice, ...]
_Future = Any  # distributed.Future is generic only for type checkers


class Tally:
    """What the targets of one write share: the file, its lock, whether it is still open, how many blocks it holds."""

    def __init__(self, file: PartialFile, n_blocks: int, progress: Progress | None) -> None:
        self.lock = Lock()
        self.is_open = True
        self._file = file
        self._n_blocks = n_blocks
        self._done = 0
        self._progress = progress

    def advance(self) -> None:
        """Count one block that is written, or raise `WriteError` if it is not; call it under the lock."""
        self._file.check()
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._n_blocks)

    def close(self) -> None:
        """Let no more blocks in: threads may still be busy when an error is on its way up."""
        with self.lock:
            self.is_open = False


class Target:
    """A dataset of the open file as a place for blocks that are as they were declared."""

    def __init__(self, main: h5py.Dataset, tally: Tally) -> None:
        self._main = main
        self._name: str = main.name
        self._dtype: np.dtype[Any] = main.dtype
        self._tally = tally

    def __dask_tokenize__(self) -> tuple[str, int]:
        return self._name, id(self)

    def __setitem__(self, region: _Region, block: npt.NDArray[Any]) -> None:
        shape = tuple(part.stop - part.start for part in region)
        if block.shape != shape or not np.can_cast(block.dtype, self._dtype, "safe"):
            raise DataError(
                f"a block of {self._name} is {block.dtype} {block.shape}, but was declared as {self._dtype} {shape}. "
                "Declare dtype and chunks as the block function returns them, or add .astype(...)."
            )
        with self._tally.lock:
            if self._tally.is_open:
                self._main[region] = block
                self._tally.advance()


def store(arrays: Sequence[da.Array], targets: Sequence[Target]) -> None:
    """Compute each block once and write it: in threads, or on the dask cluster of the active client.

    Only this process touches the file.
    """
    if dask.config.get("scheduler", None) in ("dask.distributed", "distributed"):
        _ClusterPass(distributed.default_client(), arrays, targets).run()
    else:
        places: list[Any] = list(targets)  # to dask, whatever has __setitem__
        da.store(arrays, places, lock=False, return_stored=False, scheduler="threads")


class _ClusterPass:
    """A bounded number of blocks in flight; what several blocks need is computed once and held until the last of them is written."""

    def __init__(self, client: distributed.Client, arrays: Sequence[da.Array], targets: Sequence[Target]) -> None:
        graph = _merged(arrays)
        tasks: dict[Key, Any] = graph.to_dict()
        self._client = client
        self._given: dict[Key, _Future] = {key: task for key, task in tasks.items() if isinstance(task, distributed.Future)}
        self._held: dict[Key, _Future] = {}
        self._there = ChainMap(self._held, self._given)
        self._tasks = {key: task for key, task in tasks.items() if key not in self._given}
        self._needs: dict[Key, set[Key]] = {key: needs for key, needs in graph.get_all_dependencies().items() if key in self._tasks}
        self._places: dict[Key, list[tuple[Target, _Region]]] = defaultdict(list)
        for array, target in zip(arrays, targets, strict=True):
            indices = product(*(range(len(sizes)) for sizes in array.chunks))
            for index, region in zip(indices, slices_from_chunks(array.chunks), strict=True):
                self._places[(array.name, *index)].append((target, region))
        priority = order(self._tasks)  # neighbours share most; data that are there already have no place in it
        self._blocks = sorted(self._places, key=lambda key: priority.get(key, -1))
        self._last_use = self._find_shared()

    def run(self) -> None:
        """Submit, write in the order of completion, submit the next."""
        window = max(_BLOCKS_PER_THREAD * sum(self._client.nthreads().values()), _BLOCKS_PER_THREAD)
        waiting = iter(range(len(self._blocks)))
        in_flight = {self._submit(i): i for i in islice(waiting, window)}
        try:
            done = distributed.as_completed(list(in_flight))
            for future in done:
                self._write(self._blocks[in_flight[future]], future)
                del in_flight[future]
                self._release(min(in_flight.values(), default=len(self._blocks)))
                if (i := next(waiting, None)) is not None:
                    following = self._submit(i)
                    in_flight[following] = i
                    done.add(following)
        except BaseException:
            self._client.cancel([future for future in (*in_flight, *self._held.values()) if future.key not in self._given])
            raise

    def _find_shared(self) -> dict[Key, int]:
        """Tasks whose own result several blocks need, each with the last block that is computed from it."""
        first = {key: i for i, key in enumerate(self._blocks)}
        last, until = dict(first), dict(first)
        direct = set(first)
        for key in reversed(list(TopologicalSorter(self._needs).static_order())):
            for need in self._needs.get(key, ()):
                first[need] = min(first.get(need, first[key]), first[key])
                last[need] = max(last.get(need, last[key]), last[key])
                until[need] = max(until.get(need, first[key]), first[key])
                if first[key] == last[key]:
                    direct.add(need)
        return {key: until[key] for key in direct if first[key] != last[key] and key in self._tasks}

    def _submit(self, i: int) -> _Future:
        """Send the part of the graph that ends in block ``i`` and is not computed yet."""
        block = self._blocks[i]
        if block in self._there:
            return self._there[block]
        tasks = {key: self._there[key] if key in self._there else self._tasks[key] for key in self._walk(block)}
        shared = [key for key in tasks if key in self._last_use and key not in self._there and key != block]
        graph = HighLevelGraph.from_collections(f"write-{i}", tasks, dependencies=())
        future, futures = self._client.get(graph, [block, shared], sync=False)
        self._held.update(zip(shared, futures, strict=True))
        if block in self._last_use:
            self._held[block] = future
        return future

    def _walk(self, block: Key) -> Iterator[Key]:
        seen, stack = {block}, [block]
        while stack:
            key = stack.pop()
            yield key
            if key not in self._there:
                new = self._needs[key] - seen
                seen |= new
                stack.extend(new)

    def _write(self, block: Key, future: _Future) -> None:
        values = future.result()
        for target, region in self._places[block]:
            target[region] = values

    def _release(self, oldest: int) -> None:
        for key in [key for key in self._held if self._last_use[key] < oldest]:
            del self._held[key]


def _merged(arrays: Sequence[da.Array]) -> HighLevelGraph:
    """One graph of all arrays, with shared tasks kept apart from those that need them."""
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    keys = list(flatten([array.__dask_keys__() for array in arrays]))
    with dask.config.set({"optimization.fuse.active": False}):  # it drops the futures of persisted arrays
        merged: HighLevelGraph = optimize(graph, keys)
    return merged


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
