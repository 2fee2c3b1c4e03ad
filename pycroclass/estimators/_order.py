"""The order in which clusters are numbered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def by_size(sizes: FloatArray, centres: FloatArray) -> npt.NDArray[np.intp]:
    """The order of clusters from the largest to the smallest, equal ones by their centres ``(cluster, feature)``."""
    return np.lexsort((*centres.T[::-1], -sizes))
