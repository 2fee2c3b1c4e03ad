"""Blocks from a dask cluster: a bounded number in flight, and what several need computed once."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from itertools import islice, zip_longest
from typing import Any, Final

import distributed
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph
from dask.order import order
from dask.typing import Key

from pycroclass.errors import ClusterError
from pycroclass.writers.blocks import Group, Work
from pycroclass.writers.places import Remote

_GROUPS_PER_THREAD: Final = 2
_Future = Any  # distributed.Future is generic only for type checkers


class ClusterPass:
    """Submits groups of blocks one by one; a shared result is held until the last group that is computed from it is done.

    The cluster computes again what was lost with a worker. A task that ended three workers is given up, and one that raises is an error
    at once.
    """

    def __init__(self, client: distributed.Client, work: Work) -> None:
        self._client = client
        self._given: dict[Key, _Future] = {key: task for key, task in work.tasks.items() if isinstance(task, distributed.Future)}
        self._held: dict[Key, _Future] = {}
        self._there = ChainMap(self._held, self._given)
        self._tasks = {key: task for key, task in work.tasks.items() if key not in self._given}
        self._needs: dict[Key, set[Key]] = {key: needs for key, needs in work.needs.items() if key in self._tasks}
        priority = order(self._tasks)  # neighbours share most; data that are there already have no place in it
        groups = sorted(work.groups, key=lambda group: min(priority.get(key, -1) for key in group.keys))
        self._groups = _in_turns(groups)
        self._workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        self._last_use = self._find_shared()

    def run(self) -> None:
        """Submit, write in the order of completion, submit the next.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or a task ends each worker that it runs on.
        """
        window = max(_GROUPS_PER_THREAD * sum(self._client.nthreads().values()), _GROUPS_PER_THREAD)
        waiting = iter(range(len(self._groups)))
        with _loss_named(self._client):
            in_flight = {self._submit(i): i for i in islice(waiting, window)}
            try:
                done = distributed.as_completed(list(in_flight))
                for future in done:
                    self._write(self._groups[in_flight[future]], future)
                    del in_flight[future]
                    self._release(min(in_flight.values(), default=len(self._groups)))
                    if (i := next(waiting, None)) is not None:
                        following = self._submit(i)
                        in_flight[following] = i
                        done.add(following)
            except BaseException:
                if self._client.status == "running":
                    with suppress(OSError, RuntimeError, TimeoutError):  # the cluster may be what failed
                        self._client.cancel([*in_flight, *self._held.values()])
                raise

    def _find_shared(self) -> dict[Key, int]:
        """Tasks whose own result several groups need, each with the last group that is computed from it."""
        first: dict[Key, int] = {}
        last: dict[Key, int] = {}
        until: dict[Key, int] = {}
        for i, group in enumerate(self._groups):
            for key in group.keys:
                first[key] = last[key] = until[key] = i
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
        """Send the part of the graph that ends in group ``i`` and is not computed yet."""
        group = self._groups[i]
        tasks = {key: self._there[key] if key in self._there else self._tasks[key] for key in self._walk(group.keys)}
        shared = [key for key in tasks if key in self._last_use and key not in self._there]
        end = f"write-{i}-{id(self)}"
        tasks[end] = (_Finish(_remotes(group)), list(group.keys))
        graph = HighLevelGraph.from_collections(end, tasks, dependencies=())
        future, futures = self._client.get(graph, [end, shared], sync=False, **self._preference(group))
        self._held.update(zip(shared, futures, strict=True))
        return future

    def _preference(self, group: Group) -> dict[str, Any]:
        """One worker for each shard, so that no two write to the same file where it can be helped."""
        shard = _shard(group)
        if shard is None or not self._workers:
            return {}
        return {"workers": [self._workers[shard % len(self._workers)]], "allow_other_workers": True}

    def _walk(self, ends: Sequence[Key]) -> Iterator[Key]:
        seen, stack = set(ends), list(ends)
        while stack:
            key = stack.pop()
            yield key
            if key not in self._there:
                new = self._needs[key] - seen
                seen |= new
                stack.extend(new)

    def _write(self, group: Group, future: _Future) -> None:
        for results, blocks in zip(future.result(), group.blocks, strict=True):
            for result, block in zip(results, blocks, strict=True):
                block.put(result)

    def _release(self, oldest: int) -> None:
        for key in [key for key in self._held if self._last_use[key] < oldest]:
            del self._held[key]


class _Finish:
    """The last task of a group, on a worker: writes the blocks that workers write, and gives the others as they are."""

    def __init__(self, remotes: list[list[Remote | None]]) -> None:
        self._remotes = remotes

    def __call__(self, values: Sequence[npt.NDArray[Any]]) -> list[list[Any]]:
        return [
            [value if remote is None else remote(value) for remote in remotes] for value, remotes in zip(values, self._remotes, strict=True)
        ]


def _remotes(group: Group) -> list[list[Remote | None]]:
    return [[block.target.remote(block.region) for block in blocks] for blocks in group.blocks]


def _shard(group: Group) -> int | None:
    return next((remote.shard for remotes in _remotes(group) for remote in remotes if remote is not None), None)


def _in_turns(groups: Sequence[Group]) -> list[Group]:
    """The groups of each shard in their order, and the shards in turns, so that all workers have work."""
    shards: dict[int | None, list[Group]] = {}
    for group in groups:
        shards.setdefault(_shard(group), []).append(group)
    return [group for turn in zip_longest(*shards.values()) for group in turn if group is not None]


@contextmanager
def _loss_named(client: distributed.Client) -> Iterator[None]:
    try:
        yield
    except distributed.KilledWorker as error:
        raise ClusterError(f"a task ended each worker that it ran on: out of memory, or a crash of a library. {error}") from error
    except (distributed.CancelledError, distributed.comm.CommClosedError, TimeoutError, RuntimeError) as error:
        if client.status == "running":
            raise
        raise ClusterError("the scheduler was lost: its process ended, or the network to it") from error
