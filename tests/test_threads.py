"""Tasks take one thread each, and leave the count as it was."""

from __future__ import annotations

import threading

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
def test_tasks_that_overlap_keep_it_until_the_last_one_ends() -> None:
    before, entered, go_on = torch.get_num_threads(), threading.Event(), threading.Event()
    inside = []

    def task() -> None:
        with single_threaded():
            entered.set()
            go_on.wait(10)
            inside.append(torch.get_num_threads())

    thread = threading.Thread(target=task)
    thread.start()
    entered.wait(10)
    with single_threaded():
        pass
    go_on.set()
    thread.join()
    assert inside == [1]
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_threads")
def test_an_error_puts_them_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), single_threaded():
        raise RuntimeError
    assert torch.get_num_threads() == before
