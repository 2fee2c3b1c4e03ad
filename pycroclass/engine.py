"""The engine: puts stages and reductions into dask graphs, block by block. The only place that knows dask's scheduling.

A graph holds paths and one copy of each stage, never data or open files. Blocks are merged in their order, so that equal blocks give
equal bits on every scheduler.
"""

from __future__ import annotations

import math
import operator
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from pycroclass.operator import WHOLE, Composable, Items, Unfolding
from pycroclass.source import Chunks, Load, Reading, SourceLayer, plan_chunks, source_of
from pycroclass.spec import Spec
from pycroclass.stage import NO_ITEMS, Cut, Execution, Stage, plan

NDArray = npt.NDArray[Any]
Lazy = tuple[da.Array, Spec]


def run(pipeline: Composable, array: da.Array, spec: Spec, execution: Execution | None = None) -> dict[str, Lazy]:
    """Lazy results of a pipeline by output name (``""`` where the last operator has one unnamed output); they share their tasks.

    Surviving axes keep the order they had in ``spec``; new ones follow.
    """
    return run_stages(plan(pipeline, spec, execution), array, spec)


def run_stages(stages: Sequence[Stage | Cut], array: da.Array, spec: Spec) -> dict[str, Lazy]:
    """As `run`, for what is planned already."""
    results = {"": (array, spec)}
    for stage in stages:
        current, _ = next(iter(results.values()))
        results = {"": (current[stage.slices], stage.result)} if isinstance(stage, Cut) else _run_stage(stage, current)
    return {name: _in_order(result, spec.names) for name, result in results.items()}


def arrange(array: da.Array, spec: Spec, core: tuple[str, ...], execution: Execution, *, tiles: bool = False) -> da.Array:
    """The array with its core axes last and whole (unless in tiles), in blocks of about ``execution.block_bytes``."""
    navigation = tuple(name for name in spec.names if name not in core)
    array = transposed(array, [spec.names.index(name) for name in (*navigation, *core)])
    n = len(navigation)
    is_whole = array.numblocks[n:] == (1,) * len(core)
    source = source_of(array)
    if source is not None and n and not tiles and not (is_whole and _is_sized(array, execution)):
        return source.in_blocks(len(core), execution.block_bytes)  # before anything is read, other blocks cost nothing
    if not tiles:
        array = array.rechunk(dict.fromkeys(range(n, array.ndim), -1))
    if n and not _is_sized(array, execution):
        wanted = (*("auto",) * n, *array.chunks[n:])
        chunks = da.core.normalize_chunks(wanted, array.shape, execution.block_bytes, array.dtype, array.chunks)
        array = _split(array, chunks) if _are_parts(chunks, array.chunks) else array.rechunk(chunks)
    return array


def narrowed(stage: Stage, array: da.Array) -> tuple[Stage, da.Array]:
    """Where a stage begins with a window of what a file holds, the window as the source: blocks are then sized by what is read."""
    source, window, n = source_of(array), stage.window, len(stage.navigation)
    if source is None or window is None or not n or len(stage.steps) < 2 or stage.source.names != (*stage.navigation, *stage.core):
        return stage, array
    part = tuple(slice(*cut.indices(size)[:2]) for cut, size in zip((*(slice(None),) * n, *window), array.shape, strict=True))
    return stage.behind_window, source.window(part).in_blocks(len(stage.core), stage.execution.block_bytes)


def _are_parts(chunks: Chunks, of: Chunks) -> bool:
    """Whether each of the chunks lies within one of the others."""
    return all(set(np.cumsum(whole)) <= set(np.cumsum(parts)) for parts, whole in zip(chunks, of, strict=True))


def _split(array: da.Array, chunks: Chunks) -> da.Array:
    """The array in chunks that are parts of its own: views of them, where dask would copy each."""
    name = f"split-{uuid.uuid4().hex}"
    along = [_places(parts, whole) for parts, whole in zip(chunks, array.chunks, strict=True)]
    graph = {}
    for block in np.ndindex(*(len(sizes) for sizes in chunks)):
        numbers, within = zip(*(places[i] for places, i in zip(along, block, strict=True)), strict=True)
        graph[(name, *block)] = (operator.getitem, (array.name, *numbers), within)
    layers = HighLevelGraph({**array.dask.layers, name: MaterializedLayer(graph)}, {**array.dask.dependencies, name: {array.name}})
    return da.Array(layers, name, chunks, dtype=array.dtype, meta=array._meta)


def _places(parts: tuple[int, ...], whole: tuple[int, ...]) -> list[tuple[int, slice]]:
    """In which chunk each part lies, and where in it."""
    ends = np.cumsum((0, *whole))
    starts = np.cumsum((0, *parts))[:-1]
    numbers = np.minimum(np.searchsorted(ends, starts, side="right"), len(whole)) - 1
    return [(int(n), slice(int(a - ends[n]), int(a - ends[n] + size))) for n, a, size in zip(numbers, starts, parts, strict=True)]


def _is_sized(array: da.Array, execution: Execution) -> bool:
    """Whether blocks are neither much larger nor much smaller than wanted."""
    too_big = array.itemsize * math.prod(array.chunksize) > 2 * execution.block_bytes
    too_small = array.npartitions > 1 and array.nbytes / array.npartitions < execution.block_bytes / 16
    return not too_big and not too_small


def transposed(array: da.Array, order: Sequence[int]) -> da.Array:
    """The array with its axes in that order; itself where they are so already, which dask would not see."""
    return array if list(order) == list(range(array.ndim)) else array.transpose(order)


def _run_stage(stage: Stage, array: da.Array) -> dict[str, Lazy]:
    if stage.unfolding is not None:
        return {"": _unfold(stage, stage.unfolding, array)}
    stage, array = narrowed(stage, array)
    n_navigation = len(stage.navigation)
    is_cut = any(array.numblocks[stage.source.names.index(name)] > 1 for name in stage.core)
    tiles = stage.halo != WHOLE and is_cut
    array = arrange(array, stage.source, stage.core, stage.execution, tiles=tiles)
    depth = {}
    if tiles and stage.halo:
        core = range(n_navigation, array.ndim)
        array = array.rechunk({axis: -1 for axis in core if array.shape[axis] <= stage.halo})
        depth = {axis: stage.halo for axis in core if array.numblocks[axis] > 1}
        array = da.overlap.overlap(array, depth=depth, boundary="none")
    blocks = map_blocks(_RunStage(stage, shape=array.shape[:n_navigation]), array, n_navigation, name="stage")
    results = {}
    for key, spec in stage.outputs.items():
        result = _pick(blocks, key, array, spec, n_navigation, tiles=tiles)
        results[key] = (da.overlap.trim_internal(result, depth, boundary="none") if depth else result, spec)
    return results


def _unfold(stage: Stage, unfolding: Unfolding, array: da.Array) -> Lazy:
    """Views of items that are whole in memory, in blocks of the size that is aimed at."""
    result, n_navigation, n_bytes = stage.result, len(stage.navigation), stage.execution.block_bytes
    growth = max(1, math.prod(result.shape) // max(1, math.prod(stage.source.shape)))
    array = arrange(array, stage.source, stage.core, replace(stage.execution, block_bytes=max(1, n_bytes // growth)))
    channels, places, inside = (result.shape[n_navigation:][cut] for cut in (slice(-4), slice(-4, -2), slice(-2, None)))
    values = math.prod(array.chunksize[:n_navigation]) * math.prod(channels) * math.prod(inside)  # of the windows at one place
    along = plan_chunks((*places, values), result.dtype, 1, None, n_bytes)[:2]
    chunks = (*array.chunks[:n_navigation], *((n,) for n in channels), *along, *((n,) for n in inside))
    starts = [np.cumsum((0, *sizes)).tolist() for sizes in chunks]
    name = f"unfold-{uuid.uuid4().hex}"
    shared = f"{name}-operator"
    graph: dict[Any, Any] = {shared: unfolding}
    for block in np.ndindex(*(len(sizes) for sizes in chunks)):
        within = tuple(slice(starts[d][i], starts[d][i + 1]) for d, i in enumerate(block))[n_navigation:]
        part = (slice(None),) * n_navigation + within
        graph[(name, *block)] = (_views, shared, (array.name, *block[:n_navigation], *(0,) * len(stage.core)), part)
    layers = HighLevelGraph({**array.dask.layers, name: MaterializedLayer(graph)}, {**array.dask.dependencies, name: {array.name}})
    return da.Array(layers, name, chunks, dtype=result.dtype, meta=np.empty((0,) * len(chunks), result.dtype)), result


def _views(unfolding: Unfolding, items: NDArray, part: tuple[slice, ...]) -> NDArray:
    return unfolding.views(items)[part]


@dataclass(frozen=True)
class Blocks:
    """A grid of tasks, one for each block of an array."""

    name: str
    graph: HighLevelGraph


def map_blocks(
    function: BlockTask, array: da.Array, n_navigation: int, *, name: str, companions: Mapping[str, da.Array] | None = None
) -> Blocks:
    """One task ``function(block, starts, {name: companion block})`` for each block; the function stands once in the graph."""
    companions = {key: c.rechunk(array.chunks[:n_navigation]) for key, c in (companions or {}).items()}
    name = f"{name}-{uuid.uuid4().hex}"
    shared = f"{name}-function"
    starts = [np.cumsum((0, *sizes)).tolist() for sizes in array.chunks[:n_navigation]]
    graph: dict[Any, Any] = {shared: function}
    for block in np.ndindex(*array.numblocks):
        navigation = block[:n_navigation]
        where = tuple(starts[d][i] for d, i in enumerate(navigation))
        theirs = [[key, (c.name, *navigation)] for key, c in companions.items()]
        graph[(name, *block)] = (_call, shared, (array.name, *block), where, theirs)
    needed = [array, *companions.values()]
    layers = HighLevelGraph.merge(*(each.dask for each in needed))
    source = array.dask.layers.get(array.name)
    layer = _ReadingLayer(graph, source) if isinstance(source, SourceLayer) else MaterializedLayer(graph)
    return Blocks(name, HighLevelGraph({**layers.layers, name: layer}, {**layers.dependencies, name: {each.name for each in needed}}))


def _call(function: BlockTask, block: NDArray, starts: tuple[int, ...], companions: list[tuple[str, NDArray]]) -> Any:
    return function(block, starts, dict(companions))


class _ReadingLayer(MaterializedLayer):  # type: ignore[misc]  # dask is not typed
    """The tasks of `map_blocks` on an array that comes from a file: when dask culls the graph, each is to read its block itself."""

    def __init__(self, graph: Mapping[Any, Any], source: SourceLayer) -> None:
        super().__init__(graph)
        self.source = source

    def cull(self, keys: set[Any], all_hlg_keys: Collection[Any]) -> Any:
        """Those of the tasks that are wanted, and what they need."""
        return self.reading().cull(keys, all_hlg_keys)

    def reading(self) -> MaterializedLayer:
        """The same tasks, each of which reads its block itself."""
        tasks: dict[Any, Any] = {}
        for key, task in self.mapping.items():
            if isinstance(task, BlockTask):
                tasks[key] = task
            else:
                _, shared, block, where, theirs = task
                tasks[key] = (_read_and_call, shared, self.source.readings[block], where, theirs)
        return MaterializedLayer(tasks)


def _read_and_call(function: BlockTask, reading: Reading, starts: tuple[int, ...], companions: list[tuple[str, NDArray]]) -> Any:
    return function.read(reading, starts, dict(companions))


def fused(graph: HighLevelGraph) -> HighLevelGraph:
    """The same graph in which a task that alone needs a block of a file reads it itself, bit by bit, as it works through it.

    A block that several need is read once, by a task of its own.
    """
    layers, dependencies = dict(graph.layers), dict(graph.dependencies)
    for name, layer in graph.layers.items():
        if not isinstance(layer, _ReadingLayer):
            continue
        source = layer.source.name
        if graph.dependents[source] == {name}:
            layers[name] = layer.reading()
            dependencies[name] = dependencies[name] - {source}
            del layers[source], dependencies[source]
        else:
            layers[name] = MaterializedLayer(layer.mapping)
    return HighLevelGraph(layers, dependencies)


def _pick(blocks: Blocks, key: str, array: da.Array, spec: Spec, n_navigation: int, *, tiles: bool) -> da.Array:
    """The array of one output of a grid of stage tasks."""
    whole = tuple((size,) for size in spec.shape[n_navigation:])
    chunks = array.chunks if tiles else array.chunks[:n_navigation] + whole
    name = f"{key or 'result'}-{uuid.uuid4().hex}"
    n_core = array.ndim - n_navigation
    graph = {}
    for block in np.ndindex(*(len(sizes) for sizes in chunks)):
        source = block if tiles else (*block[:n_navigation], *((0,) * n_core))
        graph[(name, *block)] = (operator.getitem, (blocks.name, *source), key)
    layers = HighLevelGraph({**blocks.graph.layers, name: graph}, {**blocks.graph.dependencies, name: {blocks.name}})
    return da.Array(layers, name, chunks, dtype=spec.dtype, meta=np.empty((0,) * len(chunks), spec.dtype))


def _in_order(result: Lazy, names: Sequence[str]) -> Lazy:
    array, spec = result
    order = sorted(range(len(spec.axes)), key=lambda i: (names.index(spec.axes[i].name) if spec.axes[i].name in names else len(names), i))
    return transposed(array, order), spec.only(tuple(spec.names[i] for i in order))


@dataclass(frozen=True)
class BlockTask:
    """Knows the items of a block from where it starts."""

    shape: tuple[int, ...] = field(kw_only=True)
    """Of the navigation axes."""

    def items(self, navigation: tuple[int, ...], starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Items:
        """Global indices and companions of the items of a block, in C order."""
        n = len(self.shape)
        index = np.zeros(navigation, np.int64)
        for d in range(n):
            positions = starts[d] + np.arange(navigation[d])
            index += positions.reshape(-1, *(1,) * (n - 1 - d)) * math.prod(self.shape[d + 1 :])
        return Items(index.ravel(), {key: np.ravel(values) for key, values in companions.items()})

    def __call__(self, block: NDArray, starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Any:
        """Work on a block that is in memory."""
        n = len(self.shape)
        return self.stream(block.shape[:n], lambda part: block[part], self.items(block.shape[:n], starts, companions))

    def read(self, reading: Reading, starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Any:
        """Work on a block that lies in a file."""
        navigation = tuple(s.stop - s.start for s in reading.part[: len(self.shape)])
        with reading.opened() as load:
            return self.stream(navigation, load, self.items(navigation, starts, companions))

    def stream(self, navigation: tuple[int, ...], load: Load, items: Items) -> Any:
        """Work on a block of items on these navigation axes, which ``load`` gives piece by piece."""
        raise NotImplementedError


@dataclass(frozen=True)
class _RunStage(BlockTask):
    stage: Stage

    def items(self, navigation: tuple[int, ...], starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Items:
        return super().items(navigation, starts, companions) if self.stage.asks_items else NO_ITEMS

    def stream(self, navigation: tuple[int, ...], load: Load, items: Items) -> dict[str, NDArray]:
        return self.stage.stream(navigation, load, items)
