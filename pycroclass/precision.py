"""Whether a network may compute in bfloat16: where the labels of a check batch are the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import sidpy
import torch

from pycroclass import engine
from pycroclass.operator import Composable, Pipeline
from pycroclass.operators import Classify
from pycroclass.operators.network import label_agreement
from pycroclass.passes import Passes
from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.stage import Execution
from pycroclass.worker_device import is_like_here

log = logging.getLogger(__name__)

_N_PLACES: Final = 4
_N_ITEMS: Final = 16


def choose(pipeline: Composable, dataset: sidpy.Dataset, execution: Execution | None = None) -> Execution:
    """The execution with ``precision="bfloat16"``, if the device is made for it and no label changes; else as it is.

    Reads and computes a check batch: up to 16 neighbouring items from each of four places of what the network is given. What was found
    is logged.

    Parameters
    ----------
    pipeline : Operator or Pipeline
        Fitted. Only a network that is its last step can change: others give numbers, of which the last digits count.
    dataset : sidpy.Dataset
    execution : Execution, optional

    Returns
    -------
    Execution
    """
    execution = replace(execution or Execution(), precision="float32")
    *before, network = pipeline.steps()
    if not isinstance(network, Classify):
        return execution
    if not is_like_here(execution):
        log.info("the workers have another device than this process, which cannot check a batch for them; networks compute in float32")
        return execution
    device = execution.resolve()
    if not computes_bfloat16(device):
        return execution
    (lazy, meaning), *_ = engine.run(Pipeline(tuple(before)), *unwrap(dataset), execution).values()
    shares: list[float] = []
    for place in _places(meaning, meaning.core(network.domain, network.axes)):
        here = replace(meaning, axes=tuple(axis[part] for axis, part in zip(meaning.axes, place, strict=True)))
        items = Passes.over(lazy[place], here, network.domain, network.axes, nonfinite="mask", execution=execution)
        shares += [label_agreement(network, block.to(device)) for block, _ in items.blocks() if len(block)]
    agrees = bool(shares) and min(shares) == 1
    if not agrees:
        log.info("%s: in bfloat16 labels of a check batch change, so the network computes in float32", meaning.title)
        return execution
    log.info("%s: in bfloat16 no label of a check batch changes", meaning.title)
    return replace(execution, precision="bfloat16")


def _places(spec: Spec, core: tuple[str, ...]) -> Iterator[tuple[slice, ...]]:
    """Parts of a dataset that lie apart, each of whole items: neighbours on the last navigation axes."""
    sizes = {axis.name: axis.size for axis in spec.axes}
    n_left = _N_ITEMS
    for axis in reversed(spec.axes):
        if axis.name not in core:
            sizes[axis.name] = min(n_left, axis.size)
            n_left = max(1, n_left // max(1, sizes[axis.name]))
    free = np.array([axis.size - sizes[axis.name] for axis in spec.axes])
    for starts in np.unique(np.linspace(0 * free, free, _N_PLACES).astype(int), axis=0).tolist():
        yield tuple(slice(start, start + sizes[axis.name]) for start, axis in zip(starts, spec.axes, strict=True))


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; without them it would be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # torch has no public question
