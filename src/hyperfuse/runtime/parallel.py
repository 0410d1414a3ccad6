"""Few large regions in parallel: threads of this process, each of which computes by itself.

Libraries divide every single operation among threads that wait for each other at its end: thousands of times per
second, in which a processor that also does something else is waited for by all. Regions of a tenth of a second and more
meet once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    task: Callable[[Item], Result], items: Sequence[Item], device: torch.device | str = "cpu"
) -> list[Result]:
    """Call a task on every item in as many threads as torch computes with; return the results in the items' order.

    Inside, torch computes with one thread, so that results depend on how the work is divided into items alone, and a
    call within a task is made by its own thread. An exception ends the call after the tasks that have started.

    Args:
        task: releases the interpreter for most of its time, as torch and numpy do on large arrays.
        items: several per thread, of similar size.
        device: of the tensors; on any but the processor one item follows the other.

    Example:
        >>> in_threads(lambda size: float(torch.ones(size).sum()), [1, 2, 3])
        [1.0, 2.0, 3.0]
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) < 2 or torch.device(device).type != "cpu":
        return [task(item) for item in items]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def call(item: Item) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients and not inference):
            return task(item)

    # Threads take over the number that is set when they first compute.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(threads, len(items)), "hyperfuse") as pool:
            futures = [pool.submit(call, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads)


def strips(size: int, step: int) -> list[slice]:
    """Return slices of ``step`` that cover ``size``, the last one shorter where they do not fit.

    Example:
        >>> strips(5, 2)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
