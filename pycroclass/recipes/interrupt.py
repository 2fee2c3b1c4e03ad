"""A clean end on SIGINT and SIGTERM: at once while nothing is being written, else behind the block that is in hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run was asked to stop; what it has written can be gone on from.

    Parameters
    ----------
    signal : int
        Number of the signal that asked.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class Interrupt:
    """What two signals ask of a run. The second one ends the process as if nobody listened.

    Parameters
    ----------
    on_request : callable, optional
        Called with the number of the signal that is the first.
    """

    def __init__(self, on_request: Callable[[int], None] | None = None) -> None:
        self._on_request = on_request
        self._asked: int | None = None
        self._is_deferred = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over both signals; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise from `check` alone meanwhile: an error in the middle of HDF5's own work would harm the file."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def check(self) -> None:
        """Raise `Stopped` if a signal has asked for it."""
        if self._asked is not None:
            raise Stopped(self._asked)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self._asked is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._asked = number
        if self._on_request is not None:
            self._on_request(number)
        if not self._is_deferred:
            self.check()
