"""The tasks of a pass, and which of them one group of blocks alone needs: these are done in one go."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from itertools import chain, product
from typing import Any, Final, Protocol

import dask
import dask.array as da
import distributed
import numpy.typing as npt
from dask._task_spec import DataNode, convert_legacy_graph  # the nodes of every dask graph, which dask gives no public name
from dask.array.core import slices_from_chunks
from dask.array.optimization import optimize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key

from pycroclass import engine
from pycroclass.writers.places import Region, Remote

NDArray = npt.NDArray[Any]
Task = Any
"""A node of a dask graph: it knows its ``key`` and ``dependencies``, and is called with the values of these."""

_END: Final = "pycroclass-end"
_FEW_TASKS: Final = 32


class Target(Protocol):
    """Where the blocks of one array go."""

    def remote(self, region: Region) -> Remote | None:
        """How a worker of a cluster writes a block itself; ``None`` if it is to be brought here."""

    def put(self, number: int, region: Region, result: Any) -> None:
        """Take a block, or the checksum of one that a worker wrote."""


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
                n_bytes = self.array.itemsize * math.prod(part.stop - part.start for part in region)
                yield (self.array.name, *index), Block(self.target, number, region, n_bytes)


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

    def put(self, results: Sequence[Sequence[Any]]) -> None:
        """Hand over the results: for each key one for each of its blocks."""
        for block, result in zip(chain.from_iterable(self.blocks), chain.from_iterable(results), strict=True):
            block.put(result)


@dataclass(frozen=True)
class Chain:
    """Tasks that become one: what they give for some keys, from what is given.

    Parameters
    ----------
    tasks : sequence of tasks
        Each after those that it needs.
    given : sequence of keys
        What none of them computes.
    keys : sequence of keys
        What is wanted.
    """

    tasks: Sequence[Task]
    given: Sequence[Key]
    keys: Sequence[Key]

    def __call__(self, given: Sequence[Any]) -> list[Any]:
        """Do them one after the other; a value is let go of behind the last task that needs it."""
        n_uses = Counter(key for task in self.tasks for key in task.dependencies) + Counter(self.keys)
        values = dict(zip(self.given, given, strict=True))
        for task in self.tasks:
            values[task.key] = task(values)
            for key in task.dependencies:
                n_uses[key] -= 1
                if not n_uses[key]:
                    del values[key]
        return [values[key] for key in self.keys]


@dataclass(frozen=True)
class Work:
    """All that is to be computed.

    Parameters
    ----------
    tasks : mapping of key to task
    futures : mapping of key to Future
        What is on the cluster already.
    groups : sequence of Group
        What the tasks end in.
    """

    tasks: Mapping[Key, Task]
    futures: Mapping[Key, Any]
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
        graph: dict[Key, Any] = _merged([job.array for job in jobs], list(blocks)).to_dict()
        futures = {key: task for key, task in graph.items() if isinstance(task, distributed.Future)}
        tasks = convert_legacy_graph({key: task for key, task in graph.items() if key not in futures}, all_keys=set(graph))
        wanted = set(
            cls(tasks, futures, ()).walk(list(blocks))
        )  # dask keeps a layer whole where by chance it has as many tasks as are wanted
        tasks = {key: task for key, task in tasks.items() if key in wanted}
        return cls(tasks, futures, _groups(blocks, tasks))

    def needs(self, key: Key) -> Iterable[Key]:
        """What a task needs at once."""
        return self.tasks[key].dependencies if key in self.tasks else ()

    def walk(self, ends: Sequence[Key], stop: Container[Key] = ()) -> Iterator[Key]:
        """The keys that ends need, and they; not what those need that stop the walk."""
        seen, stack = set(ends), list(ends)
        while stack:
            key = stack.pop()
            yield key
            if key not in stop:
                new = [need for need in self.needs(key) if need not in seen]
                seen.update(new)
                stack.extend(new)

    @cached_property
    def last_use(self) -> dict[Key, int]:
        """Tasks whose own result several groups need, each with the number of the last group that is computed from it."""
        first: dict[Key, int] = {}
        last: dict[Key, int] = {}
        until: dict[Key, int] = {}
        for i, group in enumerate(self.groups):
            for key in group.keys:
                first[key] = last[key] = until[key] = i
        direct = set(first)
        for key in reversed(list(TopologicalSorter({key: task.dependencies for key, task in self.tasks.items()}).static_order())):
            for need in self.needs(key):
                first[need] = min(first.get(need, first[key]), first[key])
                last[need] = max(last.get(need, last[key]), last[key])
                until[need] = max(until.get(need, first[key]), first[key])
                if first[key] == last[key]:
                    direct.add(need)
        return {key: until[key] for key in direct if first[key] != last[key] and key in self.tasks}

    def chain(self, group: Group) -> Chain:
        """The tasks that nobody else needs, if they are few; else none, so that the scheduler spreads them."""
        own, given = self._own(group)
        return Chain(own, given, group.keys) if len(own) <= _FEW_TASKS else Chain((), group.keys, group.keys)

    def _own(self, group: Group) -> tuple[list[Task], list[Key]]:
        own: list[Task] = []
        given: list[Key] = []
        seen: set[Key] = set()
        stack: list[tuple[Key, bool]] = [(key, False) for key in group.keys]
        while stack:
            key, is_left = stack.pop()
            if is_left:
                own.append(self.tasks[key])
            elif key not in seen:
                seen.add(key)
                if key in self.last_use or key not in self.tasks:
                    given.append(key)
                else:
                    stack.append((key, True))
                    stack.extend((need, False) for need in self.needs(key))
        return own, given

    def is_constant(self, key: Key) -> bool:
        """Whether there is nothing to compute."""
        return isinstance(self.tasks.get(key), DataNode)


def _merged(arrays: Sequence[da.Array], keys: list[Key]) -> HighLevelGraph:
    """One graph of all arrays, with shared tasks kept apart from those that need them."""
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    # a layer that needs all results shows which blocks of files are wanted for themselves
    ends = {array.name for array in arrays}
    graph = HighLevelGraph({**graph.layers, _END: MaterializedLayer({})}, {**graph.dependencies, _END: ends})
    graph = engine.fused(graph)
    layers = {name: layer for name, layer in graph.layers.items() if name != _END}
    graph = HighLevelGraph(layers, {name: graph.dependencies[name] for name in layers})
    with dask.config.set({"optimization.fuse.active": False}):  # it is slow, and drops the futures of persisted arrays
        merged: HighLevelGraph = optimize(graph, keys)
    return merged


def _groups(blocks: Mapping[Key, Sequence[Block]], tasks: Mapping[Key, Task]) -> list[Group]:
    """Blocks whose values come, each by a chain of its own, from the same tasks; of one array never two."""
    n_users: dict[Key, int] = dict.fromkeys(blocks, 1)
    for task in tasks.values():
        for key in task.dependencies:
            n_users[key] = n_users.get(key, 0) + 1
    groups: dict[object, list[Key]] = {}
    n_before: Counter[object] = Counter()
    for key, array in ((key, key[0]) for key in blocks if isinstance(key, tuple)):
        root = tasks[key].dependencies if key in tasks else frozenset()
        while len(root) == 1 and n_users[one := next(iter(root))] == 1 and one in tasks and tasks[one].dependencies:
            root = tasks[one].dependencies
        origin = root or key
        groups.setdefault((origin, n_before[origin, array]), []).append(key)
        n_before[origin, array] += 1
    return [Group(tuple(keys), tuple(tuple(blocks[key]) for key in keys)) for keys in groups.values()]
