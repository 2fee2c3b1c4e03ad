"""Whether a network may compute in bfloat16: where the labels of a check batch are the same."""

from __future__ import annotations

import logging
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
from pycroclass.stage import Execution

log = logging.getLogger(__name__)

_N_PLACES: Final = 4
_N_ITEMS: Final = 16


def choose(pipeline: Composable, dataset: sidpy.Dataset, execution: Execution | None = None) -> Execution:
    """The execution with ``precision="bfloat16"``, if the device is made for it and no label changes; else as it is.

    Reads and computes a check batch: up to 16 items along the first axis from each of four places of the dataset. What was found is
    logged.

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
    device = execution.resolve()
    if not isinstance(network, Classify) or not computes_bfloat16(device):
        return execution
    array, spec = unwrap(dataset)
    shares: list[float] = []
    for start in np.unique(np.linspace(0, max(0, array.shape[0] - _N_ITEMS), _N_PLACES).astype(int)).tolist():
        some = slice(start, start + _N_ITEMS)
        place = replace(spec, axes=(spec.axes[0][some], *spec.axes[1:]))
        lazy, meaning = next(iter(engine.run(Pipeline(tuple(before)), array[some], place, execution).values()))
        items = Passes.over(lazy, meaning, network.domain, network.axes, nonfinite="mask", execution=execution)
        shares += [label_agreement(network, block[:_N_ITEMS].to(device)) for block, _ in items.blocks() if len(block)]
    agrees = bool(shares) and min(shares) == 1
    if not agrees:
        log.warning("%s: in bfloat16 labels of a check batch change, so the network computes in float32", spec.title)
        return execution
    log.info("%s: in bfloat16 no label of a check batch changes", spec.title)
    return replace(execution, precision="bfloat16")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; without them it would be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # torch has no public question
