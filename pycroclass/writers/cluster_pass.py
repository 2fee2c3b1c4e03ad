"""Blocks from a dask cluster: a bounded number in flight, and what several need computed once."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final

import distributed
from dask.highlevelgraph import HighLevelGraph
from dask.order import order
from dask.typing import Key

from pycroclass.cluster import loss_named
from pycroclass.writers.places import Remote
from pycroclass.writers.work import Chain, Group, Work

_GROUPS_PER_THREAD: Final = 2
_SMALL_GROUPS_PER_THREAD: Final = 16
_BYTES: Final = 64 << 20
"""Of what is small, and of what is brought here at a time; one group at least."""
_REFILL: Final = 4
"""Groups are sent when the window is empty by one part in so many: one message for several."""
_Future = Any  # distributed.Future is generic only for type checkers


class ClusterPass:
    """Submits groups of blocks one by one; a shared result is held until the last group that is computed from it is done.

    The cluster computes again what was lost with a worker. A task that ended three workers is given up, and one that raises is an error
    at once.
    """

    def __init__(self, client: distributed.Client, work: Work) -> None:
        self._client = client
        self._held: dict[Key, _Future] = {}
        self._there = ChainMap(self._held, dict(work.futures))
        priority = order(work.tasks)  # neighbours share most; data that are there already have no place in it
        self._groups = _in_turns(sorted(work.groups, key=lambda group: min(priority.get(key, -1) for key in group.keys)))
        self._work = replace(work, groups=self._groups)
        self._largest = max(map(self._n_bytes, self._groups), default=0)
        self._workers: list[str] = []

    def run(self) -> None:
        """Submit, write in the order of completion, submit the next.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or a task ends each worker that it runs on.
        """
        n_groups = len(self._groups)
        window = self._window()
        with loss_named(self._client):
            in_flight = self._submit(range(min(window, n_groups)))
            n_submitted = len(in_flight)
            try:
                done = distributed.as_completed(list(in_flight))
                for futures in done.batches():
                    for some in self._portions(futures, in_flight):
                        for future, results in zip(some, self._client.gather(some), strict=True):
                            self._groups[in_flight.pop(future)].put(results)
                    self._release(min(in_flight.values(), default=n_submitted))
                    room = window - len(in_flight)
                    if n_submitted < n_groups and room >= window // _REFILL:
                        window = self._window()
                        room = max(1, window - len(in_flight))
                        following = self._submit(range(n_submitted, min(n_submitted + room, n_groups)))
                        n_submitted += len(following)
                        in_flight.update(following)
                        done.update(list(following))
            except BaseException:
                if self._client.status == "running":
                    with suppress(OSError, RuntimeError, TimeoutError):  # the cluster may be what failed
                        self._client.cancel([*in_flight, *self._held.values()])
                raise

    def _window(self) -> int:
        """How many groups may be in flight: two for each thread, more if they are small, so that no worker waits for the next.

        It asks for the workers, for some join late and some leave.
        """
        threads = self._client.nthreads()
        self._workers = sorted(threads)
        n_threads = max(1, sum(threads.values()))
        fitting = _BYTES // max(1, self._largest)
        window: int = n_threads * min(max(_GROUPS_PER_THREAD, fitting // n_threads), _SMALL_GROUPS_PER_THREAD)
        return window

    def _n_bytes(self, group: Group) -> int:
        """What a group brings here."""
        return sum(block.n_bytes for blocks in group.blocks for block in blocks if block.target.remote(block.region) is None)

    def _portions(self, futures: Sequence[_Future], in_flight: Mapping[_Future, int]) -> Iterator[list[_Future]]:
        """The futures in portions that fit into memory together."""
        portion: list[_Future] = []
        n_bytes = 0
        for future in futures:
            size = self._n_bytes(self._groups[in_flight[future]])
            if portion and n_bytes + size > _BYTES:
                yield portion
                portion, n_bytes = [], 0
            portion.append(future)
            n_bytes += size
        yield portion

    def _submit(self, numbers: Sequence[int]) -> dict[_Future, int]:
        """Send the part of the graph that ends in these groups and is not computed yet."""
        by_shard: dict[int | None, list[int]] = {}
        for i in numbers:
            by_shard.setdefault(_shard(self._groups[i]), []).append(i)
        return {future: i for shard, some in by_shard.items() for future, i in self._submit_to(shard, some)}

    def _submit_to(self, shard: int | None, numbers: Sequence[int]) -> Iterator[tuple[_Future, int]]:
        tasks: dict[Key, Any] = {}
        ends = {f"write-{i}-{id(self)}": i for i in numbers}
        for end, i in ends.items():
            chain = self._work.chain(self._groups[i])
            tasks |= {key: self._there[key] if key in self._there else self._work.tasks[key] for key in self._missing(chain.given)}
            tasks[end] = (_Finish(chain, _remotes(self._groups[i])), list(chain.given))
        shared = [key for key in tasks if key in self._work.last_use and key not in self._there]
        graph = HighLevelGraph.from_collections(next(iter(ends)), tasks, dependencies=())
        futures, held = self._client.get(graph, [list(ends), shared], sync=False, **self._preference(shard))
        self._held.update(zip(shared, held, strict=True))
        return zip(futures, ends.values(), strict=True)

    def _preference(self, shard: int | None) -> dict[str, Any]:
        """One worker for each shard, so that no two write to the same file where it can be helped."""
        if shard is None or not self._workers:
            return {}
        return {"workers": [self._workers[shard % len(self._workers)]], "allow_other_workers": True}

    def _missing(self, keys: Sequence[Key]) -> Iterator[Key]:
        """The keys and what they need, but not what those need that are there."""
        return self._work.walk(keys, stop=self._there)

    def _release(self, oldest: int) -> None:
        for key in [key for key in self._held if self._work.last_use[key] < oldest]:
            del self._held[key]


@dataclass(frozen=True)
class _Finish:
    """The one task of a group, on a worker: computes, writes the blocks that workers write, and gives the others as they are."""

    chain: Chain
    remotes: list[list[Remote | None]]

    def __call__(self, given: Sequence[Any]) -> list[list[Any]]:
        values = self.chain(given)
        return [
            [value if remote is None else remote(value) for remote in remotes] for value, remotes in zip(values, self.remotes, strict=True)
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
