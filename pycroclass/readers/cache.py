"""Files that can only be loaded whole: each process loads one once and keeps the last few, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

CACHE_BYTES: Final = 1 << 30
"""How much a process keeps of files that were loaded whole."""


class LoadedFiles(Generic[Value]):
    """Loaded values by key; the least recently used give way where all together exceed a limit, the newest always stays.

    Safe for threads: one load at a time, and what one thread loads the others wait for.

    Parameters
    ----------
    size : callable
        Bytes of a value.
    limit : int
        Bytes to keep.

    Examples
    --------
    >>> files = LoadedFiles(size=len, limit=10)
    >>> files.get("a", lambda: b"12345678")
    b'12345678'
    >>> files.get("b", lambda: b"123"), "a" in files
    (b'123', False)
    """

    def __init__(self, size: Callable[[Value], int], limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._using = threading.Lock()
        self._loading = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        with self._using:
            return key in self._values

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """The value of ``key``; ``load`` makes it where it is not kept."""
        try:
            return self._find(key)
        except KeyError:
            with self._loading:
                return self._load(key, load)

    def _find(self, key: Hashable) -> Value:
        with self._using:
            self._values.move_to_end(key)
            return self._values[key]

    def _load(self, key: Hashable, load: Callable[[], Value]) -> Value:
        try:
            return self._find(key)  # another thread loaded it while this one waited
        except KeyError:
            value = load()
        with self._using:
            self._values[key] = value
            while len(self._values) > 1 and sum(map(self._size, self._values.values())) > self.limit:
                self._values.popitem(last=False)
        return value
