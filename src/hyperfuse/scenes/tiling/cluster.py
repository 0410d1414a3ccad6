"""Tiles processed by the workers of a dask.distributed scheduler; needs the extra ``scale``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.optional import require
from hyperfuse.scenes.tiling.plan import Tile

_RETRIES = 3
_TIMEOUT_SECONDS = 30


def run_on_scheduler(
    task: Callable[[Tile], bool], tiles: Sequence[Tile], scheduler: str, key: str
) -> Generator[bool, None, None]:
    """Call a task for every tile on a cluster; yield True for each that has come.

    Inputs and output lie where every worker finds them under the same path. Workers store finished tiles there, so
    that only small messages pass the scheduler; tiles of a worker that is killed are processed by the others.

    Args:
        task: picklable; stores its result.
        tiles: to process.
        scheduler: address of the scheduler, such as ``tcp://10.0.0.1:8786``.
        key: differs between jobs.

    Raises:
        MissingDependencyError: dask.distributed is not installed.
        InputError: no scheduler answers at this address.
        HyperfuseError: several workers were killed at one tile.
    """
    dask = require("distributed", "fusion on a dask cluster")
    try:
        client = dask.Client(scheduler, timeout=_TIMEOUT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no scheduler of dask.distributed answers at {scheduler}; write tcp://HOST:PORT") from error
    with client:
        # Keys must not be found again from an earlier call: an interrupted job leaves tiles, not tasks.
        futures = [client.submit(task, tile, pure=False, retries=_RETRIES, key=f"{tile.name}-{key}") for tile in tiles]
        try:
            # The loop of this client: another client of this program may be the default one.
            for future in dask.as_completed(futures, loop=client.loop):
                if future.status == "error":
                    raise future.exception()
                # Nothing is gathered: the tile is on disk, and a message lost with its worker is not needed.
                future.release()
                yield True
        except dask.KilledWorker as error:
            raise HyperfuseError(
                "several workers were killed at one tile (too little memory?); choose a smaller tile, then resume"
            ) from error
        finally:
            client.cancel(futures)
