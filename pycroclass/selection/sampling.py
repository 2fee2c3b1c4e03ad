"""Which frames are drawn at random: the same ones whatever their order, and wherever their files lie."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from pycroclass.reduction import hash_uniform
from pycroclass.selection.frame_places import Places
from pycroclass.selection.frame_selection import Floats


def sample_uniform(where: Places, seed: int) -> Floats:
    """A random number in [0, 1) for each frame, from the seed and the name of its file, its dataset and its number alone."""
    found = np.empty(len(where))
    frames: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(where.file.tolist(), where.dataset.tolist(), strict=True)):
        frames.setdefault(key, []).append(i)
    for (file, dataset), here in frames.items():
        named = json.dumps([seed, Path(file).name, dataset]).encode()
        found[here] = hash_uniform(where.index[here], int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big"))
    return found
