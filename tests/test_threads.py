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
