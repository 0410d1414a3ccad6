"""Tiles fused by the workers of a dask.distributed scheduler; needs the extra ``scale``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.optional import require
from hyperfuse.scenes.tiles_job import Job, run_tile
from hyperfuse.scenes.tiling.plan import Tile

_RETRIES = 3
_TIMEOUT_SECONDS = 30


def run_on_scheduler(job: Job, tiles: Sequence[Tile], scheduler: str) -> Iterator[bool]:
    """Fuse tiles on a cluster; yield once for each that has come.

    Inputs and output lie where every worker finds them under the same path. Workers keep finished tiles there, so
    that only small messages pass the scheduler, and one that is killed costs the tiles it was at: they are fused by
    the others.

    Args:
        job: what to do.
        tiles: which.
        scheduler: address of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        MissingDependencyError: dask.distributed is not installed.
        InputError: no scheduler answers at this address.
        HyperfuseError: a tile has cost several workers their lives.
    """
    dask = require("distributed", "fusion on a cluster (scheduler=...)")
    try:
        client = dask.Client(scheduler, timeout=_TIMEOUT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no scheduler of dask.distributed answers at {scheduler}; write tcp://HOST:PORT") from error
    with client:
        # A job that is killed leaves tiles behind, not tasks: keys must not be found again from an earlier call.
        futures = [
            client.submit(run_tile, job, tile.row, tile.col, pure=False, retries=_RETRIES, key=f"{tile.name}-{job.key}")
            for tile in tiles
        ]
        try:
            # The client's own loop: another client of this program may be the default one.
            for future in dask.as_completed(futures, loop=client.loop):
                if future.status == "error":
                    raise future.exception()
                # Nothing is gathered: the tile is on disk, and a message that dies with its worker is not missed.
                future.release()
                yield True
        except dask.KilledWorker as error:
            raise HyperfuseError(
                "a tile has cost several workers their lives (too little memory?); take a smaller --tile, then --resume"
            ) from error
        finally:
            client.cancel(futures)
