"""Tiles fused by this process, or by several of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext

import rasterio

from hyperfuse.errors import HyperfuseError
from hyperfuse.runtime.threads import limit_children, limit_process
from hyperfuse.scenes import tiles_job
from hyperfuse.scenes.tiles_job import Job, forget, run_tile
from hyperfuse.scenes.tiling.plan import Tile

_CACHE_MB = 64
# Workers may die this often without a tile coming out before it is given up.
_FUTILE_ROUNDS = 3


def run_here(job: Job, tiles: Sequence[Tile]) -> Iterator[bool]:
    """Fuse tiles one after the other; yield for each whether it holds data."""
    try:
        for tile in tiles:
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
                yield run_tile(job, tile.row, tile.col)
    finally:
        forget()


def run_in_processes(job: Job, tiles: Sequence[Tile], workers: int, threads: int) -> Iterator[bool]:
    """Fuse tiles in ``workers`` processes of ``threads`` threads each; yield as they come.

    A process that is killed costs its tiles, which are fused again.

    Raises:
        HyperfuseError: processes die again and again.
    """
    left = list(tiles)
    futile = 0
    while left:
        before = len(left)
        context = _context()
        with (
            limit_children(threads),
            ProcessPoolExecutor(min(workers, len(left)), context, initializer=_begin, initargs=(threads,)) as pool,
        ):
            pending = {pool.submit(run_tile, job, tile.row, tile.col): tile for tile in left}
            try:
                for future in as_completed(pending):
                    held = future.result()
                    left.remove(pending[future])
                    yield held
            except BrokenProcessPool:
                futile = futile + 1 if len(left) == before else 0
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if futile >= _FUTILE_ROUNDS:
            raise HyperfuseError(
                "the worker processes are killed again and again (too little memory?); take fewer --workers or a"
                " smaller --tile, then --resume"
            )


def _context() -> BaseContext:
    """Return how processes start: forked, where that can be, from one that has loaded the libraries for all."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([tiles_job.__name__])
    return context


def _begin(threads: int) -> None:
    limit_process(threads)
    os.environ["GDAL_CACHEMAX"] = str(_CACHE_MB)
