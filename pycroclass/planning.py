"""A recipe's plan in words: what would run, in how many tasks, in how much memory. Nothing is read or computed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import dask.array as da
import sidpy

from pycroclass import engine
from pycroclass.bundle import Bundle
from pycroclass.operator import Operator, Pipeline
from pycroclass.recipe import Recipe
from pycroclass.reduction import Estimator
from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.stage import Cut, Execution, Stage, plan


def describe(recipe: Recipe, dataset: sidpy.Dataset, execution: Execution) -> Iterator[str]:
    """Lines of text about source, stages, estimators and results."""
    array, spec = unwrap(dataset)
    yield f"source   {spec.title}: {_shape(spec)}, {_bytes(array.nbytes)} in {array.npartitions} chunks of up to {_bytes(_largest(array))}"
    yield f"device   {execution.resolve()}"
    steps = Bundle.load(recipe.bundle).pipeline.steps() if recipe.bundle else recipe.pipeline.steps()
    ready: tuple[Operator, ...] = ()
    for step in steps:
        if not isinstance(step, Operator):
            break
        ready = (*ready, step)
    for number, stage in enumerate(plan(Pipeline(ready), spec, execution), 1):
        yield f"stage {number}  {_stage(stage)}"
    results = engine.run(Pipeline(ready), array, spec, execution)
    first, meaning = next(iter(results.values()))
    tasks = sum(len(layer) for layer in first.dask.layers.values())
    yield f"graph    {tasks} tasks, blocks of up to {_bytes(_largest(first))}"
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


def _fit(estimator: Estimator, array: da.Array, spec: Spec) -> str:
    """The first estimator: of those behind it, only the fit tells what they get."""
    core = spec.core(estimator.domain, estimator.axes)
    n_items = math.prod(axis.size for axis in spec.axes if axis.name not in core)
    return f"{estimator} to {n_items} items ({', '.join(core)}): each pass reads {_bytes(array.nbytes)}"


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
