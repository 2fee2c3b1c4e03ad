"""To a device and back: batches that fit, on streams of their own, with the memory halved where it does not suffice."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import DataError
from pycroclass.profile import timed

log = logging.getLogger(__name__)

CACHE_BYTES: Final = 4 << 20
"""Of float32 input: small networks on large frames are three times slower when their activations leave the cache."""
WORKSPACE_BYTES: Final = 64 << 20
"""Of a batch on a CPU: deep networks on large frames gain nothing from company, and lose the cache."""
MEMORY_SHARE: Final = 0.4
"""Of a GPU's memory, for the batch that is computed; blocks on their way to it and back take some too."""

T = TypeVar("T")
Forward = Callable[[torch.Tensor, int, int], dict[str, torch.Tensor]]
"""Results by name of the items ``a`` to ``b`` of a block."""

_turns: Final[defaultdict[torch.device, threading.Lock]] = defaultdict(threading.Lock)
_of_thread: Final = threading.local()


def batch_size(device: torch.device, item_bytes: int, workspace: Callable[[], int]) -> int:
    """How many items are computed at once: what stays in the cache of a CPU, what the memory of a GPU holds.

    Parameters
    ----------
    device : torch.device
    item_bytes : int
        Of one item as it is computed with.
    workspace : callable
        Gives the bytes that one item needs while it is computed; asked only where it could matter.
    """
    if device.type == "cpu":
        n = CACHE_BYTES // max(1, item_bytes)
        return max(1, min(n, WORKSPACE_BYTES // max(1, workspace()))) if n > 1 else 1
    memory: int = torch.cuda.get_device_properties(device).total_memory  # not what is free just now: equal GPUs give equal batches
    return max(1, int(MEMORY_SHARE * memory) // max(1, workspace()))


def on_device(block: torch.Tensor, forward: Forward, device: torch.device, n: int) -> dict[str, npt.NDArray[Any]]:
    """Results for all items of a block, computed on the device ``n`` at a time.

    A GPU computes for one thread of the process at a time. Meanwhile others read, and copy theirs to it, each on its own stream.
    """
    if device.type == "cpu":
        with timed("compute"):
            return _joined(len(block), in_batches(partial(forward, block), 0, len(block), n, device))
    torch.backends.cudnn.allow_tf32 = False  # convolutions in full float32, as on a CPU
    stream = _stream(device)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        with timed("copy"):
            resident = torch.empty(block.shape, dtype=block.dtype, pin_memory=True).copy_(block).to(device, non_blocking=True)
            stream.synchronize()
        with _turns[device], timed("compute"):
            parts = list(in_batches(partial(forward, resident), 0, len(block), n, device))
            stream.synchronize()
        with timed("copy"):
            return _joined(len(block), iter(parts))


def in_batches(compute: Callable[[int, int], T], a: int, b: int, n: int, device: torch.device) -> Iterator[tuple[int, T]]:
    """What ``compute`` gives for the items ``a`` to ``b``, ``n`` at a time, each with the item that it begins at.

    Where the memory does not suffice it goes on with half as many.

    Raises
    ------
    DataError
        If the memory does not suffice for one item.
    """
    for start in range(a, b, n):
        stop = min(start + n, b)
        try:
            result = compute(start, stop)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise DataError(f"the memory of {device} does not suffice for one item: {error}") from error
        else:
            yield start, result
            continue
        half = (stop - start + 1) // 2  # out of the handler, so that nothing holds the tensors of what failed
        log.warning("the memory of %s does not suffice for %d items at once; going on with %d", device, stop - start, half)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        yield from in_batches(compute, start, b, half, device)
        return


def _joined(n_items: int, parts: Iterator[tuple[int, dict[str, torch.Tensor]]]) -> dict[str, npt.NDArray[Any]]:
    joined: dict[str, npt.NDArray[Any]] = {}
    for start, results in parts:
        for name, result in results.items():
            values = result.cpu().numpy()
            if name not in joined:
                joined[name] = values if len(values) == n_items else np.empty((n_items, *values.shape[1:]), values.dtype)
            if joined[name] is not values:
                joined[name][start : start + len(values)] = values
    return joined


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of this thread on the device."""
    streams: dict[torch.device, torch.cuda.Stream] = vars(_of_thread).setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch is typed in part
    return streams[device]
