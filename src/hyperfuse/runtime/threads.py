"""How many threads numeric libraries compute with: in this process and in those that it starts."""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hyperfuse.errors import InputError
from hyperfuse.runtime.cgroups import processor_limit

# Read when the libraries are first loaded, so they have to be set before a process starts.
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")
# Systems refuse to start some thousands, and libraries end with a segmentation fault then.
_MAX_THREADS = 256


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables that limit a process which has not started yet."""
    return dict.fromkeys(_VARIABLES, str(threads))


@contextmanager
def limit_children(threads: int) -> Iterator[None]:
    """Limit the threads of processes that are started inside; those of this one stay as they are."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(environment(threads))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def limit(threads: int | None) -> Iterator[None]:
    """Limit the threads of this process and of those that are started inside; None changes nothing."""
    if threads is None:
        yield
        return
    with limit_children(threads):
        import torch
        from threadpoolctl import threadpool_limits

        before = torch.get_num_threads()
        with threadpool_limits(threads):
            torch.set_num_threads(threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


def limit_process(threads: int) -> None:
    """Limit the threads of this process until it ends, as at the start of a worker."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)


@functools.cache
def let_idle_threads_sleep() -> None:
    """Shorten the time for which idle OpenMP threads of this process wait by spinning, where torch was loaded first.

    Importing hyperfuse sets ``OMP_WAIT_POLICY=passive``, which OpenMP reads when torch is loaded. A process that loaded
    torch before and specifies no policy has the default: threads spin for milliseconds at the end of every parallel
    region. Next to 10 other processes on 2 cores a fusion took 28 s for what takes 0.5 s. GNU OpenMP spins 300 times
    less as soon as it manages more threads than there are cores, and threads of a second pool that does nothing count.
    Results and numbers of threads stay the same.
    """
    if "OMP_WAIT_POLICY" in os.environ or sys.platform != "linux":
        return
    import torch

    started = threading.Event()

    def hold_a_pool() -> None:
        torch.ones(1 << 20).add_(1)  # large enough to be computed in parallel, which makes the pool of this thread
        started.set()
        threading.Event().wait()

    threading.Thread(target=hold_a_pool, name="hyperfuse-idle-pool", daemon=True).start()
    started.wait()


def usable_cores() -> int:
    """Return how many cores this process may use, within the limit of the container where there is one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = processor_limit()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def limit_to_quota() -> None:
    """Limit the libraries that this process has not loaded yet where a container may use fewer than all cores."""
    cores = usable_cores()
    if cores < (os.cpu_count() or 1) and _VARIABLES[0] not in os.environ:
        os.environ.update(environment(cores))


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no machine of this size can use.

    Raises:
        InputError: less than 1, or more than the system may start.
    """
    maximum = max(_MAX_THREADS, 4 * usable_cores())
    if threads is not None and not 1 <= threads <= maximum:
        raise InputError(f"this machine takes 1 to {maximum} threads, got {threads}", parameter="threads")


def usable_threads() -> int:
    """Return how many threads this process may compute with: its limit where it has one, else the machine's cores."""
    cores = usable_cores()
    if _VARIABLES[0] not in os.environ:
        return cores
    torch = sys.modules.get("torch")
    return min(cores, int(torch.get_num_threads() if torch is not None else os.environ[_VARIABLES[0]]))
