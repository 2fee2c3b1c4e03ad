"""A recipe's plan in words: what would run, in how many tasks, in how much memory. Nothing is read or computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import dask.array as da
import sidpy
from dask.system import CPU_COUNT

from pycroclass import engine
from pycroclass.bundle import Bundle
from pycroclass.operator import Operator, Pipeline
from pycroclass.recipes.recipe import Recipe
from pycroclass.reduction import Estimator
from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.stage import Cut, Execution, Stage, plan


def describe(recipe: Recipe, dataset: sidpy.Dataset, execution: Execution) -> Iterator[str]:
    """Lines of text about source, stages, estimators and results."""
    array, spec = unwrap(dataset)
    pieces = f"{_bytes(array.nbytes)} in {_counted(array.npartitions, 'chunk')} of up to {_bytes(_largest(array))}"
    yield f"source   {spec.title}: {_shape(spec)}, {pieces}"
    yield f"device   {execution.resolve()}"
    steps = Bundle.load(recipe.bundle).pipeline.steps() if recipe.bundle else recipe.pipeline.steps()
    ready: tuple[Operator, ...] = ()
    for step in steps:
        if not isinstance(step, Operator):
            break
        ready = (*ready, step)
    stages = plan(Pipeline(ready), spec, execution)
    for number, stage in enumerate(stages, 1):
        yield f"stage {number}  {_stage(stage)}"
    yield from _memory(stages, array, execution)
    results = engine.run(Pipeline(ready), array, spec, execution)
    first, meaning = next(iter(results.values()))
    tasks = sum(len(layer) for layer in first.dask.layers.values())
    yield f"graph    {_counted(tasks, 'task')}, blocks of up to {_bytes(_largest(first))}"
    for i, step in enumerate(steps[len(ready) :]):
        yield f"fit      {_fit(step, first, meaning) if not i else step}" if isinstance(step, Estimator) else f"then     {step}"
    if len(ready) == len(steps):
        for name, (lazy, result) in results.items():
            yield f"result   {name or result.title}: {_shape(result)} {result.dtype}, {_bytes(lazy.nbytes)}"
    else:
        yield "result   known once the estimators are fitted"


def _stage(stage: Stage | Cut) -> str:
    if isinstance(stage, Cut):
        return f"take {_shape(stage.result)}"
    names = " | ".join(type(step.operator).__name__ for step in stage.steps)
    item = ", ".join(stage.core) or "each value"
    return f"{names}  on items ({item}) → {', '.join(_shape(spec) for spec in stage.outputs.values())}"


def _memory(stages: Sequence[Stage | Cut], array: da.Array, execution: Execution) -> Iterator[str]:
    """What one task needs at its largest stage, and all that run at once on this machine."""
    if stages and isinstance(stages[0], Stage):
        first, array = engine.narrowed(stages[0], array)
        stages = (first, *stages[1:])
    needs = [_Need.of(stage, array, execution) for stage in stages if isinstance(stage, Stage) and stage.unfolding is None]
    if not needs:
        return
    most = max(needs, key=lambda need: need.total)
    n_tasks = CPU_COUNT  # what the machine gives to this process, as dask will use it
    yield (
        f"memory   a task needs up to {_bytes(most.total)}: block {_bytes(most.block)}, results {_bytes(most.results)}, "
        f"batch of {most.n_items} × {_bytes(most.item)}"
    )
    yield f"         {_counted(n_tasks, 'task')} at once on this machine: {_bytes(n_tasks * most.total)}"


@dataclass(frozen=True)
class _Need:
    """Bytes that a task of a stage holds."""

    block: int
    results: int
    n_items: int
    item: int

    @classmethod
    def of(cls, stage: Stage, array: da.Array, execution: Execution) -> Self:
        """Of a stage with blocks of the size that is aimed at, or as the data have them."""
        n_total = math.prod(axis.size for axis in stage.source.axes if axis.name not in stage.core)
        one = stage.source.dtype.itemsize * math.prod(stage.source.only(stage.core).shape)
        n_block = max(1, min(n_total, max(execution.block_bytes, _largest(array)) // one))
        results = sum(spec.dtype.itemsize * math.prod(spec.shape) for spec in stage.outputs.values()) * n_block // n_total
        return cls(n_block * one, results, min(stage.batch, n_block), stage.workspace)

    @property
    def total(self) -> int:
        """Of all of it."""
        return self.block + self.results + self.n_items * self.item


def _fit(estimator: Estimator, array: da.Array, spec: Spec) -> str:
    """The first estimator: of those behind it, only the fit tells what they get."""
    core = spec.core(estimator.domain, estimator.axes)
    n_items = math.prod(axis.size for axis in spec.axes if axis.name not in core)
    return f"{estimator} to {_counted(n_items, 'item')} ({', '.join(core)}): each pass reads {_bytes(array.nbytes)}"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _shape(spec: Spec) -> str:
    return " × ".join(f"{axis.name} {axis.size}" for axis in spec.axes) or "one value"


def _largest(array: da.Array) -> int:
    return int(math.prod(array.chunksize) * array.itemsize)


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
