"""Tiles processed by this process, or by several of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext

import rasterio

from hyperfuse.errors import HyperfuseError
from hyperfuse.runtime.threads import limit_children, limit_process
from hyperfuse.scenes.tiling.plan import Tile

Task = Callable[[Tile], bool]
Runner = Callable[[Task, Sequence[Tile]], Iterator[bool]]

_CACHE_MB = 64
# Rounds in which workers are killed before any tile is finished, until the job is given up.
_FAILED_ROUNDS = 3


def run_here(task: Task, tiles: Sequence[Tile]) -> Iterator[bool]:
    """Call a task for one tile after the other; yield what it returns."""
    for tile in tiles:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            yield task(tile)


def run_in_processes(task: Task, tiles: Sequence[Tile], workers: int, threads: int) -> Iterator[bool]:
    """Call a task for every tile in ``workers`` processes of ``threads`` threads each; yield results as they come.

    The tiles of a process that is killed are processed again. The processes end when this one does.

    Args:
        task: picklable; stores its result.
        tiles: to process.
        workers: processes.
        threads: of each.

    Raises:
        HyperfuseError: processes are killed again and again.
    """
    waiting = list(tiles)
    failed = 0
    context = _context(type(task).__module__)
    while waiting:
        before = len(waiting)
        with (
            limit_children(threads),
            ProcessPoolExecutor(min(workers, before), context, initializer=_start, initargs=(threads,)) as pool,
        ):
            pending = {pool.submit(task, tile): tile for tile in waiting}
            try:
                for future in as_completed(pending):
                    held = future.result()
                    waiting.remove(pending[future])
                    yield held
            except BrokenProcessPool:
                failed = failed + 1 if len(waiting) == before else 0
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if failed >= _FAILED_ROUNDS:
            raise HyperfuseError(
                "the worker processes are killed again and again (too little memory?); choose fewer workers or a"
                " smaller tile, then resume"
            )


def _context(module: str) -> BaseContext:
    """Return how processes start: where possible forked from one that has loaded a module for all."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def _start(threads: int) -> None:
    limit_process(threads)
    os.environ["GDAL_CACHEMAX"] = str(_CACHE_MB)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
