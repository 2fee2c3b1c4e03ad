"""Where the time of a process goes: seconds of its threads for each phase of the work."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Literal, get_args

Phase = Literal["read", "decode", "copy", "compute", "write"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
"""From the file to the file: bytes from disk, decompression, to the device and back, operators, results to disk."""

_lock: Final = threading.Lock()
_spent: Final[dict[Phase, float]] = dict.fromkeys(PHASES, 0.0)
_running: Final = threading.local()


class timed:  # used as a verb: with timed("read")
    """Add the wall time of a block of code to a phase; what an inner block takes is not counted twice.

    Parameters
    ----------
    phase : {"read", "decode", "copy", "compute", "write"}

    Examples
    --------
    >>> reset()
    >>> with timed("read"):
    ...     with timed("decode"):
    ...         time.sleep(0.01)
    >>> collect()["decode"] >= 0.01 > collect()["read"]
    True
    """

    __slots__ = ("_inner", "_outer", "_phase", "_start")

    def __init__(self, phase: Phase) -> None:
        self._phase: Phase = phase
        self._inner = 0.0

    def __enter__(self) -> None:
        self._outer: timed | None = getattr(_running, "innermost", None)
        _running.innermost = self
        self._start = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds = time.perf_counter() - self._start
        _running.innermost = self._outer
        if self._outer is not None:
            self._outer._inner += seconds
        with _lock:
            _spent[self._phase] += seconds - self._inner


def collect() -> dict[Phase, float]:
    """Seconds of each phase since the process began or `reset`; those of parallel threads add up."""
    with _lock:
        return dict(_spent)


def reset() -> None:
    """Begin at zero."""
    with _lock:
        _spent.update(dict.fromkeys(PHASES, 0.0))
