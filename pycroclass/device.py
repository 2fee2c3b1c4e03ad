"""To a device and back: batches that fit, on streams of their own, with the memory halved where it does not suffice."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pycroclass.errors import DataError
from pycroclass.profile import timed

log = logging.getLogger(__name__)

CACHE_BYTES: Final = 16 << 20
"""Of float32 input: small networks on large frames are three times slower when their activations leave the cache."""
WORKSPACE_BYTES: Final = 60 << 20
"""Of a batch on a CPU, of which a tensor may be half: one of 32 MiB and more is new memory each time, page by page, by the rules of
glibc's malloc. Deep networks on large frames gain nothing from company either."""
MEMORY_SHARE: Final = 0.4
"""Of a GPU's memory, for the batch that is computed; blocks on their way to it and back take some too."""
_NO_MEMORY: Final = ("can't allocate memory", "out of memory", "ALLOC_FAILED")

T = TypeVar("T")
Forward = Callable[[torch.Tensor, int, int], dict[str, torch.Tensor]]
"""Results by name of some items on the device, which are those with the numbers ``a`` to ``b`` of a block."""
Parts = list[tuple[int, dict[str, torch.Tensor]]]

_turns: Final[defaultdict[torch.device, threading.Lock]] = defaultdict(threading.Lock)
_computing: Final[dict[torch.device, torch.cuda.Stream]] = {}
_of_thread: Final = threading.local()
_full: Final = threading.Lock()
_before: Final[list[Any]] = []
"""For each turn that is taken now, the number type of convolutions that the first of them found."""


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
            return _joined(len(block), in_batches(lambda a, b: forward(block[a:b], a, b), 0, len(block), n, device))
    with torch.cuda.device(device), torch.cuda.stream(_copying(device)):
        with timed("copy"):
            there = resident(block, device)
            torch.cuda.current_stream().synchronize()
        with turn(device):
            parts = in_parts(there, forward, device, n)
        with timed("copy"):
            return _joined(len(block), iter(parts))


@contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Compute on the device: for this thread alone on a GPU, on its one stream for that, and what was asked of it is done at the end.

    A stream has memory of its own: were there more, each would keep what a batch takes. Networks compute in full float32, as on a CPU.
    """
    if device.type == "cpu":
        with timed("compute"):
            yield
        return
    with torch.cuda.device(device), _turns[device]:
        stream = _computing.get(device) or _computing.setdefault(device, _new_stream(device))
        with full_float32(), torch.cuda.stream(stream), timed("compute"):
            yield
            stream.synchronize()


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions of float32 in float32. That is a setting of the process: the last block that ends puts it back."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    owner, name, full = (torch.backends.cudnn, "allow_tf32", False) if conv is None else (conv, "fp32_precision", "ieee")
    with _full:
        _before.append(_before[0] if _before else getattr(owner, name))
        setattr(owner, name, full)
    try:
        yield
    finally:
        with _full:
            before = _before.pop()
            if not _before:
                setattr(owner, name, before)


def resident(block: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A block on the device; where memory does not suffice, the block as it is, to be copied bit by bit."""
    try:
        return torch.empty(block.shape, dtype=block.dtype, pin_memory=True).copy_(block).to(device, non_blocking=True)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    log.warning("the memory for %s does not suffice for a block of %d items; it is copied batch by batch", device, len(block))
    torch.cuda.empty_cache()
    return block


def in_parts(block: torch.Tensor, forward: Forward, device: torch.device, n: int) -> Parts:
    """Results of all items in batches, each with the item that it begins at; on the device as long as memory suffices."""
    parts: Parts = []

    def to_host() -> None:
        for _, results in parts:  # in place: others hold the last of them too
            results.update({name: result.cpu() for name, result in results.items()})

    for part in in_batches(lambda a, b: forward(block[a:b].to(device), a, b), 0, len(block), n, device, make_room=to_host):
        parts.append(part)
    return parts


def in_batches(
    compute: Callable[[int, int], T], a: int, b: int, n: int, device: torch.device, *, make_room: Callable[[], None] | None = None
) -> Iterator[tuple[int, T]]:
    """What ``compute`` gives for the items ``a`` to ``b``, ``n`` at a time, each with the item that it begins at.

    Where the memory does not suffice it calls ``make_room`` and goes on with half as many.

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
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise DataError(f"the memory of {device} does not suffice for one item: {error}") from error
        else:
            yield start, result
            continue
        half = (stop - start + 1) // 2  # out of the handler, so that nothing holds the tensors of what failed
        log.warning("the memory of %s does not suffice for %d items at once; going on with %d", device, stop - start, half)
        if make_room is not None:
            make_room()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        yield from in_batches(compute, start, b, half, device, make_room=make_room)
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, on a CPU or a GPU, as PyTorch, CUDA, cuBLAS and cuDNN say it."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in text for words in _NO_MEMORY)


def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream on which this thread copies to the device."""
    streams: dict[torch.device, torch.cuda.Stream] = vars(_of_thread).setdefault("streams", {})
    if device not in streams:
        streams[device] = _new_stream(device)
    return streams[device]


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch is typed in part
