"""A bundle, the images it was asked about and its evaluation, small and made up, for tests of the report."""

from __future__ import annotations

from typing import Any, Final

import dask.array as da
import numpy as np
import sidpy
import torch

import pycroclass as pc
from pycroclass.evaluation import Evaluation, Predictions, evaluation_of
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import ImageResNet
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec

CLASSES: Final = ("clear", "crystal", "other")
N_ITEMS: Final = 90


def images(n: int = N_ITEMS, *, n_channels: int = 1, size: int = 40, kind: str = "spatial") -> sidpy.Dataset:
    """Noise; a third of the items have a bright square, a third a stripe."""
    rng = np.random.default_rng(0)
    values = rng.normal(100, 10, (n, n_channels, size, size)).astype(np.float32)
    labels = np.arange(n) % 3
    values[labels == 1, :, 10:18, 20:30] += 60
    values[labels == 2, :, :, 5:9] += 40
    axes = (
        Axis("image", n, AxisKind.TEMPORAL),
        Axis("channel", n_channels, AxisKind.CHANNEL),
        Axis("y", size, kind),
        Axis("x", size, kind),
    )
    if n_channels == 1:
        values, axes = values[:, 0], (axes[0], *axes[2:])
    metadata = {
        "labels": labels.tolist(),
        "files": [f"drop_{i:03}.png" for i in range(n)],
        "items": {"plate": [f"plate {i // 15}" for i in range(n)]},
    }
    spec = Spec(axes, np.dtype(np.float32), title="drops", classes=CLASSES)
    return wrap(da.from_array(values, chunks=(17, *values.shape[1:])), spec, provenance=Provenance("given", {}), metadata=metadata)


def bundle(classes: tuple[str, ...] = CLASSES, *, n_channels: int = 1, **training: Any) -> pc.Bundle:
    """An untrained network with the record of a training."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        module = ImageResNet(n_classes=len(classes), n_channels=n_channels, width=4)
    parameters = {"n_classes": len(classes), "n_channels": n_channels, "width": 4}
    network = pc.Classify("resnet_small", parameters, module.state_dict(), classes=classes)
    history = [
        {
            "epoch": i + 1,
            "training_loss": 1.1 / (i + 1),
            "validation_loss": 1.1 / (i + 1) + 0.02 * i,
            "accuracy": 1 - 0.5 / (i + 1),
            "balanced_accuracy": 0.97 - 0.5 / (i + 1),
        }
        for i in range(8)
    ]
    counts = {side: {name: n + 7 * i for i, name in enumerate(classes)} for side, n in (("training", 80), ("validation", 20))}
    record = {
        "classifier": [
            {"NetworkClassifier": {"epochs": 8, "batch_size": 32, "learning_rate": 0.005, "seed": 0, "augmentation": "dihedral"}}
        ],
        "counts": counts,
        "history": history,
        "baselines": {"total intensity": {"balanced_accuracy": 0.41}, "random forest": {"balanced_accuracy": 0.88}},
        "versions": {"python": "3.11", "torch": "2.13"},
        **training,
    }
    item = ItemSpec("image", (ItemAxis("channel", n_channels, "channel"), ItemAxis("y"), ItemAxis("x")))
    metrics = {"validation": {**history[5], "confusion": [[20, 0], [1, 26]]}}
    return pc.Bundle(pc.Crop(32) | pc.ZScore() | network, item, classes, record, metrics, "MIT")


def predictions(classes: tuple[str, ...] = CLASSES, n: int = N_ITEMS, *, n_groups: int = 6) -> Predictions:
    """Answers that are mostly right, of items as `images` has them; too sure of themselves."""
    rng = np.random.default_rng(1)
    labels = np.arange(n) % len(classes)
    logits = rng.normal(0, 1.5, (n, len(classes)))
    logits[np.arange(n), labels] += 3
    probability = np.exp(3 * logits)
    groups = [f"plate {i * n_groups // n}" for i in range(n)] if n_groups else None
    return Predictions(probability / probability.sum(1, keepdims=True), labels, classes, groups, [f"drop_{i:03}.png" for i in range(n)])


def evaluation(classes: tuple[str, ...] = CLASSES, n: int = N_ITEMS, *, n_groups: int = 6, **provenance: Any) -> Evaluation:
    return evaluation_of(predictions(classes, n, n_groups=n_groups), n_bootstrap=100, provenance=provenance)
