"""Batches where memory does not suffice, and where the time goes."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from pycroclass import profile
from pycroclass.device import CACHE_BYTES, WORKSPACE_BYTES, batch_size, full_float32, in_batches, in_parts, on_device, resident
from pycroclass.errors import DataError
from pycroclass.profile import timed

CPU = torch.device("cpu")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=repr,
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(limit: int, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    block = torch.arange(17.0)
    sizes = []

    def forward(some: torch.Tensor, a: int, b: int) -> dict[str, torch.Tensor]:
        if b - a > limit:
            raise error
        sizes.append(b - a)
        assert torch.equal(some, block[a:b])
        return {"square": some**2, "both": torch.stack([some, -some], 1)}

    with caplog.at_level(logging.WARNING):
        results = on_device(block, forward, CPU, 8)
    assert np.array_equal(results["square"], np.arange(17.0) ** 2)
    assert np.array_equal(results["both"][:, 1], -np.arange(17.0))
    assert max(sizes) <= limit
    assert sum(sizes) == 17
    assert ("does not suffice" in caplog.text) == (limit < 8)


def test_results_leave_the_device_where_a_later_batch_needs_the_room() -> None:
    """A tensor that counts itself as long as it is where it was made stands for the memory of a GPU."""

    class OnDevice(torch.Tensor):
        def cpu(self) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

    made: list[weakref.ref[torch.Tensor]] = []

    def forward(some: torch.Tensor, a: int, b: int) -> dict[str, torch.Tensor]:
        if a and any(ref() is not None for ref in made):
            raise torch.OutOfMemoryError
        result = (some + 1).as_subclass(OnDevice)
        if not a:
            made.append(weakref.ref(result))
        return {"": result}

    parts = in_parts(torch.arange(6.0), forward, CPU, 3)
    assert [start for start, _ in parts] == [0, 3, 5]
    assert torch.cat([results[""].cpu() for _, results in parts]).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_block_that_does_not_fit_is_copied_batch_by_batch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    block = torch.arange(3.0)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", no_room)
        assert resident(block, CPU) is block
    assert "batch by batch" in caplog.text


def test_convolutions_are_whole_within_and_as_before_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with full_float32():
        with full_float32():
            pass
        with pytest.raises(KeyError), full_float32():
            raise KeyError
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_that_is_full_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    device, block = torch.device("cuda"), torch.arange(17.0)
    copy = torch.empty

    def forward(some: torch.Tensor, a: int, b: int) -> dict[str, torch.Tensor]:
        if b - a > 3:
            raise torch.OutOfMemoryError
        return {"": some**2}

    def empty(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs.get("pin_memory"):
            raise torch.OutOfMemoryError
        return copy(*args, **kwargs)

    for is_full in (False, True):
        with monkeypatch.context() as patch, ThreadPoolExecutor(4) as pool:
            if is_full:
                patch.setattr(torch, "empty", empty)
            for results in pool.map(lambda _: on_device(block, forward, device, 8), range(8)):
                assert np.array_equal(results[""], np.arange(17.0) ** 2)


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
