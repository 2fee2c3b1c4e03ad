"""Tasks take one thread each, and leave the count as it was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pycroclass.threads import single_threaded


@pytest.fixture
def two_threads() -> None:
    torch.set_num_threads(2)


@pytest.mark.usefixtures("two_threads")
def test_the_count_is_one_inside_and_as_before_outside() -> None:
    before = torch.get_num_threads()
    with single_threaded(), single_threaded():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_a_task_that_ends_leaves_the_others_theirs() -> None:
    inside = []

    def task() -> None:
        with single_threaded():
            inside.append(torch.get_num_threads())

    thread = threading.Thread(target=task)
    with single_threaded():
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 1
    assert inside == [1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_puts_them_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), single_threaded():
        raise RuntimeError
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_every_thread_has_its_count_back_and_so_have_new_ones() -> None:
    """B is made while A is busy, and is busy alone at last: neither may leave one thread to itself or to others."""
    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b:
        both = threading.Barrier(2)
        first = [pool.submit(_task, both) for pool in (a, b)]
        assert [future.result() for future in first] == [1, 1]
        for pool in (a, b):
            assert pool.submit(_task).result() == 1
        counts = [pool.submit(torch.get_num_threads).result() for pool in (a, b)]
    with ThreadPoolExecutor(1) as new:
        assert [*counts, new.submit(torch.get_num_threads).result()] == [2, 2, 2]


def _task(both: threading.Barrier | None = None) -> int:
    with single_threaded():
        if both is not None:
            both.wait(timeout=10)
        return torch.get_num_threads()
