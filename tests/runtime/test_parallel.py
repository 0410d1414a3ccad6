"""Regions that are computed by several threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from hyperfuse.runtime.parallel import in_threads, strips


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_results_come_in_the_order_of_the_items_from_several_threads_that_compute_alone(two_threads: None) -> None:
    meeting, before = threading.Barrier(2, timeout=10), threading.active_count()

    def task(item: int) -> tuple[int, int]:
        meeting.wait()  # passes only where two threads are here
        return item, torch.get_num_threads()

    assert in_threads(task, [3, 1, 2, 0]) == [(3, 1), (1, 1), (2, 1), (0, 1)]
    assert torch.get_num_threads() == 2
    assert threading.active_count() == before


def test_one_thread_one_item_and_other_devices_are_no_region(two_threads: None) -> None:
    here = threading.get_ident()
    assert in_threads(lambda _: threading.get_ident(), [0]) == [here]
    assert in_threads(lambda _: threading.get_ident(), [0, 1], "meta") == [here, here]
    torch.set_num_threads(1)
    assert in_threads(lambda _: threading.get_ident(), [0, 1]) == [here, here]


def test_a_region_within_a_region_is_the_threads_own(two_threads: None) -> None:
    def outer(item: int) -> list[bool]:
        here = threading.get_ident()
        return in_threads(lambda _: threading.get_ident() == here, [item, item])

    assert in_threads(outer, [0, 1]) == [[True, True], [True, True]]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_tasks_compute_in_the_callers_mode(mode: type[torch.inference_mode], two_threads: None) -> None:
    def modes(_: int) -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with mode():
        expected = modes(0)
        assert in_threads(modes, [0, 1]) == [expected, expected]


def test_an_exception_ends_the_region_and_restores_the_threads(two_threads: None) -> None:
    def task(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    with pytest.raises(ValueError, match="one"):
        in_threads(task, list(range(100)))
    assert torch.get_num_threads() == 2


def test_strips_cover_a_size_once() -> None:
    assert strips(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert strips(2, 5) == [slice(0, 2)]
    assert strips(0, 5) == []
