"""Small collections of images of three kinds, for tests."""

from __future__ import annotations

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

KINDS = ("stripes", "spot", "noise")


def pictures(n: int = 90, size: int = 32, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Stripes, a spot, and noise in turn, each with noise of its own, and the number of the kind of each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    kind = np.arange(n) % 3
    images = np.empty((n, size, size), np.float32)
    for i, k in enumerate(kind):
        phase, place = rng.uniform(0, 6), rng.normal(size / 2, 1, 2)
        images[i] = (
            np.sin(0.9 * x + phase),
            3 * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 30),
            rng.normal(0, 1, (size, size)),
        )[k]
    return images + rng.normal(0, 0.1, images.shape).astype(np.float32), kind


def stack(images: npt.NDArray, chunk: int = 40, **metadata: object) -> sidpy.Dataset:
    """Images (frame, y, x) or (frame, y, x, channel) as a lazy dataset."""
    axes = [Axis("frame", len(images), "temporal"), Axis("y", images.shape[1], "spatial"), Axis("x", images.shape[2], "spatial")]
    if images.ndim == 4:
        axes.append(Axis("channel", images.shape[3], "channel"))
    array = da.from_array(images, chunks=(chunk, *images.shape[1:]))
    return wrap(array, Spec(tuple(axes), images.dtype, title="images"), provenance=Provenance("given", {}), metadata=metadata)
