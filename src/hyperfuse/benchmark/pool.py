"""Child processes, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hyperfuse.runtime.processes import Child

Task = TypeVar("Task")

_POLL_SECONDS = 0.05


def run_children(
    tasks: Sequence[Task],
    start: Callable[[Task], Child],
    finish: Callable[[Task, Child], None],
    *,
    workers: int,
    fits: Callable[[Task, Sequence[Task]], bool] = lambda task, running: True,
) -> None:
    """Do each task in a process; all processes are ended where one of the functions raises.

    Args:
        tasks: in the order in which they start.
        start: starts the process of a task.
        finish: called with each process that has ended.
        workers: largest number of processes at a time.
        fits: whether a task can start in addition to those that run. Where nothing runs, the next one starts in any
            case.
    """
    waiting = list(tasks)
    running: list[tuple[Task, Child]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                busy = [task for task, _ in running]
                task = next((one for one in waiting if not busy or fits(one, busy)), None)
                if task is None:
                    break
                waiting.remove(task)
                running.append((task, start(task)))
            time.sleep(_POLL_SECONDS)
            for item in [item for item in running if item[1].ended]:
                running.remove(item)
                finish(*item)
    finally:
        for _, child in running:
            child.kill()
