from __future__ import annotations

import threading
import time

import pytest

from pycroclass.readers.cache import LoadedFiles


def test_least_recently_used_gives_way() -> None:
    files = LoadedFiles(size=len, limit=10)
    files.get("a", lambda: b"1234")
    files.get("b", lambda: b"1234")
    files.get("a", lambda: b"never loaded again")
    files.get("c", lambda: b"1234")
    assert ("a" in files, "b" in files, "c" in files) == (True, False, True)


def test_newest_stays_even_if_too_large() -> None:
    files = LoadedFiles(size=len, limit=3)
    files.get("a", lambda: b"1234")
    assert "a" in files


def test_many_threads_load_once() -> None:
    files = LoadedFiles(size=len, limit=10)
    loads = []

    def load() -> bytes:
        loads.append(1)
        time.sleep(0.05)
        return b"123"

    threads = [threading.Thread(target=files.get, args=("a", load)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_a_failed_load_leaves_nothing_behind() -> None:
    files = LoadedFiles(size=len, limit=10)
    with pytest.raises(ZeroDivisionError):
        files.get("a", lambda: 1 / 0)
    assert files.get("a", lambda: b"1") == b"1"
