"""Batches where memory does not suffice, and where the time goes."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
import pytest
import torch

from pycroclass import profile
from pycroclass.device import CACHE_BYTES, WORKSPACE_BYTES, batch_size, in_batches, on_device
from pycroclass.errors import DataError
from pycroclass.profile import timed

CPU = torch.device("cpu")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")], ids=repr
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(limit: int, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    block = torch.arange(17.0)
    sizes = []

    def forward(block: torch.Tensor, a: int, b: int) -> dict[str, torch.Tensor]:
        if b - a > limit:
            raise error
        sizes.append(b - a)
        return {"square": block[a:b] ** 2, "both": torch.stack([block[a:b], -block[a:b]], 1)}

    with caplog.at_level(logging.WARNING):
        results = on_device(block, forward, CPU, 8)
    assert np.array_equal(results["square"], np.arange(17.0) ** 2)
    assert np.array_equal(results["both"][:, 1], -np.arange(17.0))
    assert max(sizes) <= limit
    assert sum(sizes) == 17
    assert ("does not suffice" in caplog.text) == (limit < 8)


def test_one_item_that_is_too_large_is_an_error() -> None:
    def forward(a: int, b: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DataError, match="does not suffice for one item"):
        list(in_batches(forward, 0, 4, 4, CPU))


def test_other_errors_pass() -> None:
    def forward(a: int, b: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(forward, 0, 4, 4, CPU))


def test_batches_on_a_cpu_fit_the_cache() -> None:
    assert batch_size(CPU, CACHE_BYTES // 8, lambda: 1) == 8
    assert batch_size(CPU, CACHE_BYTES // 8, lambda: WORKSPACE_BYTES // 3) == 3
    assert batch_size(CPU, CACHE_BYTES // 8, lambda: 2 * WORKSPACE_BYTES) == 1
    assert batch_size(CPU, 10 * CACHE_BYTES, lambda: 1) == 1


def test_threads_add_up_and_inner_phases_are_not_counted_twice() -> None:
    profile.reset()

    def work() -> None:
        with timed("compute"):
            time.sleep(0.05)
            with timed("read"):
                time.sleep(0.1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = profile.collect()
    assert spent["read"] >= 0.2
    assert 0.1 <= spent["compute"] < spent["read"]
    profile.reset()
    assert set(profile.collect().values()) == {0.0}
