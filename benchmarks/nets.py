"""The networks of the benchmark, with fixed random weights, as bundles in the cache folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import pycroclass as pc
from benchmarks import data
from benchmarks.environments import CACHE
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import Classifier, architecture


@dataclass(frozen=True)
class Net:
    """A registered network and the data that it sorts.

    Parameters
    ----------
    architecture : str
    parameters : mapping
    crop : int, optional
        Rows and columns in the middle of a frame.
    batch : int
        What a user would take for it.
    n : int
        Images in one repeat on a CPU.
    block_bytes : int
        Of one task of ours: at least two for each core.
    """

    architecture: str
    parameters: Mapping[str, Any]
    crop: int | None
    batch: int
    n: int
    block_bytes: int

    def frames(self, n: int, storage: str = "none") -> Path:
        """A file with ``n`` images."""
        return data.photographs(n) if self.architecture == "resnet18" else data.frames(n, storage)

    @property
    def is_dense(self) -> bool:
        """Whether each pixel is sorted."""
        return self.architecture == "unet"


NETS = {
    "hit network": Net("hit_network", {}, 350, 32, 1024, 32 << 20),
    "ResNet-18": Net("resnet18", {"n_classes": 10}, None, 32, 192, 2 << 20),
    "U-Net": Net("unet", {"n_classes": 3}, None, 4, 8, 1 << 20),
}


def bundle(name: str) -> Path:
    """Where the bundle of a network lies."""
    return CACHE / "data" / f"{NETS[name].architecture}.safetensors"


def make_bundle(name: str) -> None:
    """Write it anew; its normalisations fit the data, so that answers differ."""
    net = NETS[name]
    torch.manual_seed(0)
    module = architecture(net.architecture).build(net.parameters).train()
    for norm in module.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.momentum = None
    with torch.no_grad():
        module(sample(net.frames(net.n), name, min(16, net.n)))
    classes = tuple(f"class {i}" for i in range(module.n_classes))
    axes = ("axis_1", "y", "x") if net.architecture == "resnet18" else None
    classify = pc.Classify(net.architecture, net.parameters, module.state_dict(), classes=classes, axes=axes)
    pipeline = pc.Pipeline((pc.Crop(net.crop), classify) if net.crop else (classify,))
    image = (ItemAxis("y", kind=pc.AxisKind.SPATIAL), ItemAxis("x", kind=pc.AxisKind.SPATIAL))
    first = ItemAxis("axis_1") if axes else ItemAxis("channel", 1, pc.AxisKind.CHANNEL)
    pc.Bundle(pipeline, ItemSpec("image", (first, *image), core=axes), classes).save(bundle(name), overwrite=True)


def sample(path: str | Path, name: str, n: int) -> torch.Tensor:
    """The first ``n`` items, cropped, as float32 with their channel axis."""
    with h5py.File(path, "r") as file:
        return torch.from_numpy(items(file["data"], slice(0, n), NETS[name].crop))


def items(frames: Any, rows: slice, crop: int | None) -> np.ndarray:
    """``(batch, channel, y, x)`` of float32 from an HDF5 dataset or an array."""
    if crop:
        edge = (data.FRAME - crop) // 2
        frames = frames[rows, edge : edge + crop, edge : edge + crop]
    else:
        frames = frames[rows]
    values = frames.astype(np.float32)
    return values[:, None] if values.ndim == 3 else values


def module_of(name: str) -> Classifier:
    """The network as PyTorch users have it: eager, float32."""
    classify = pc.Bundle.load(bundle(name)).pipeline.steps()[-1]
    net = NETS[name]
    module = architecture(net.architecture).build(net.parameters)
    module.load_state_dict({key: torch.from_numpy(value.values.copy()) for key, value in classify.weights.items()})
    return module.eval().requires_grad_(requires_grad=False)
