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


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch within tasks: they already run on all cores, and equal thread counts give equal bits.

    The count belongs to the process: the first task that begins sets it, the last one that ends puts it back.
    """
    with _lock:
        _before.append(_before[0] if _before else torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            n_threads = _before.pop()
            if not _before:
                torch.set_num_threads(n_threads)
