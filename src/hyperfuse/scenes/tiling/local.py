"""Tiles processed by this process, or by several of this machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import rasterio

from hyperfuse.errors import HyperfuseError
from hyperfuse.runtime.workers import WorkersKilledError, run_in_workers
from hyperfuse.scenes.tiling.plan import Tile

Task = Callable[[Tile], bool]
Runner = Callable[[Task, Sequence[Tile]], Generator[bool, None, None]]

_CACHE_MB = 64


def run_here(task: Task, tiles: Sequence[Tile]) -> Generator[bool, None, None]:
    """Call a task for one tile after the other; yield what it returns."""
    for tile in tiles:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            yield task(tile)


def run_in_processes(task: Task, tiles: Sequence[Tile], workers: int, threads: int) -> Generator[bool, None, None]:
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
    try:
        yield from run_in_workers(task, tiles, workers=workers, threads=threads, GDAL_CACHEMAX=str(_CACHE_MB))
    except WorkersKilledError as error:
        raise HyperfuseError(f"{error}; choose fewer workers or a smaller tile, then resume") from error
