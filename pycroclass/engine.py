"""The engine: puts stages and reductions into dask graphs, block by block. The only place that knows dask's scheduling.

A graph holds paths and one copy of each stage, never data or open files. Blocks are merged in their order, so that equal blocks give
equal bits on every scheduler.
"""

from __future__ import annotations

import math
import operator
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph

from pycroclass.operator import WHOLE, Composable, Items
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
    array = array.transpose([spec.names.index(name) for name in (*navigation, *core)])
    n = len(navigation)
    if not tiles:
        array = array.rechunk(dict.fromkeys(range(n, array.ndim), -1))
    mean_bytes = array.nbytes / max(1, array.npartitions)
    too_big = array.itemsize * math.prod(array.chunksize) > 2 * execution.block_bytes
    too_small = array.npartitions > 1 and mean_bytes < execution.block_bytes / 16
    if n and (too_big or too_small):
        array = array.rechunk(dict.fromkeys(range(n), "auto"), block_size_limit=execution.block_bytes)
    return array


def _run_stage(stage: Stage, array: da.Array) -> dict[str, Lazy]:
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
    return Blocks(name, HighLevelGraph.from_collections(name, graph, dependencies=[array, *companions.values()]))


def _call(function: BlockTask, block: NDArray, starts: tuple[int, ...], companions: list[tuple[str, NDArray]]) -> Any:
    return function(block, starts, dict(companions))


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
    return array.transpose(order), spec.only(tuple(spec.names[i] for i in order))


@dataclass(frozen=True)
class BlockTask:
    """Knows the items of a block from where it starts."""

    shape: tuple[int, ...] = field(kw_only=True)
    """Of the navigation axes."""

    def items(self, block: NDArray, starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Items:
        """Global indices and companions of the items of a block, in C order."""
        n = len(self.shape)
        index = np.zeros(block.shape[:n], np.int64)
        for d in range(n):
            positions = starts[d] + np.arange(block.shape[d])
            index += positions.reshape(-1, *(1,) * (n - 1 - d)) * math.prod(self.shape[d + 1 :])
        return Items(index.ravel(), {key: np.ravel(values) for key, values in companions.items()})

    def __call__(self, block: NDArray, starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class _RunStage(BlockTask):
    stage: Stage

    def __call__(self, block: NDArray, starts: tuple[int, ...], companions: Mapping[str, NDArray]) -> dict[str, NDArray]:
        items = self.items(block, starts, companions) if self.stage.asks_items else NO_ITEMS
        return self.stage(block, items)
