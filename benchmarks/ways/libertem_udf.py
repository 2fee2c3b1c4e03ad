"""The same by LiberTEM, in its own environment."""

from __future__ import annotations

import atexit
from collections.abc import Callable

import libertem.api as lt
import numpy as np
from libertem.udf.masks import ApplyMasksUDF


def run(path: str, weights: str, executor: str, sparse: bool, n_workers: int) -> Callable[[], list[float]]:
    """`ApplyMasksUDF` with an executor that is kept."""
    stack = np.load(weights)
    context = lt.Context.make_with(executor, **({"cpus": n_workers} if executor == "dask" else {}))
    atexit.register(context.close)
    options = {"npy": {"filetype": "npy"}, "h5": {"filetype": "hdf5", "ds_path": "data"}}[path.rpartition(".")[2]]
    udf = ApplyMasksUDF(
        mask_factories=lambda: stack, mask_count=len(stack), mask_dtype=np.float32, use_sparse="scipy.sparse" if sparse else False
    )

    def work() -> list[float]:
        dataset = context.load(path=path, **options)
        result = context.run_udf(dataset=dataset, udf=udf)["intensity"].data
        return np.asarray(result, np.float64).reshape(-1, len(stack)).mean(0).tolist()

    return work
