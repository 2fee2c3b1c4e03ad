"""Threads of tasks and of libraries: as many tasks as cores, and one thread in each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

_lock: Final = threading.Lock()
_before: Final[list[int]] = []
"""For each task that runs now, the number of threads that the first of them found."""
_of_thread: Final = threading.local()

torch.get_num_threads()  # a thread keeps the count that the process has when it is first asked for: here before any task


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch within tasks: they already run on all cores, and equal thread counts give equal bits.

    Each thread has a count of its own, and a new one begins with the count that was set last in any other. So each task sets that of its
    thread, and puts back what was found while no task ran.
    """
    if getattr(_of_thread, "is_inside", False):
        yield
        return
    with _lock:
        found = torch.get_num_threads()
        _before.append(_before[0] if _before else found)
        torch.set_num_threads(1)
    _of_thread.is_inside = True
    try:
        yield
    finally:
        _of_thread.is_inside = False
        with _lock:
            torch.set_num_threads(_before.pop())
