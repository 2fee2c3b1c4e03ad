"""A small labelled stack, and images in files, for the tests of labelled data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sidpy
from PIL import Image


def drops(n: int = 10, *, colours: int = 3, seed: int = 0) -> sidpy.Dataset:
    """Images 12 x 14 of two classes on five plates; the last item has no label."""
    shape = (n, 12, 14, 3)[: 3 + (colours == 3)]
    dataset = sidpy.Dataset.from_array(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8), title="drops")
    for i, (name, kind) in enumerate((("frame", "TEMPORAL"), ("y", "SPATIAL"), ("x", "SPATIAL"), ("channel", "CHANNEL"))[: len(shape)]):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(shape[i]), name=name, dimension_type=kind))
    dataset.data_type = "IMAGE_STACK"
    dataset.metadata = {
        "classes": ["Clear", "Crystals"],
        "labels": [*(i % 2 for i in range(n - 1)), -1],
        "files": [f"{i}.jpg" for i in range(n)],
        "items": {"plate": [f"P{i % 5}" for i in range(n)], "source": [7] * n, "score": [i / 4 for i in range(n)]},
    }
    return dataset


def save(path: Path, value: int = 0, size: tuple[int, int] = (4, 5)) -> Path:
    """A grey image of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
    return path
