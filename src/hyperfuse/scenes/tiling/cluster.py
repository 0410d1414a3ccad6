"""Tiles processed by the workers of a dask.distributed scheduler; needs the extra ``scale``."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.optional import require
from hyperfuse.runtime.peers import code_digest, missing_access
from hyperfuse.scenes.tiling.plan import Tile
from hyperfuse.version import __version__

_ADDRESS = re.compile(r"((tcp|tls|ucx|wss?)://)?[^/\s]+:\d+|inproc://\S+")
_RETRIES = 3
_CONNECT_SECONDS, _REPLY_SECONDS = 5, 30
# How often it is looked whether there are workers, and how often none may be found in a row.
_WATCH_SECONDS, _WATCHES = 15, 4
# Evaluated by workers before it is known that they have this package, and in the same version.
_VERSION = "(__import__('hyperfuse').__version__, __import__('hyperfuse.runtime.peers').runtime.peers.code_digest())"


def check_cluster(scheduler: str, folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse a cluster that could not process the tiles of a job, within seconds and before any work.

    Args:
        scheduler: its address.
        folder: where tiles are written; made where there is none, and left empty.
        inputs: files that workers read.

    Raises:
        MissingDependencyError: dask.distributed is not installed.
        InputError: no scheduler responds, it has no workers, or they have another version of this package or do not
            share the files.
    """
    with _client(scheduler) as client:
        if not _workers(client):
            raise InputError(
                f"the scheduler at {scheduler} has no workers; start some by `dask worker {scheduler}`",
                parameter="scheduler",
            )
        here = (__version__, code_digest())
        for worker, found in _asked(client, eval, _VERSION).items():
            if isinstance(found, BaseException):
                raise InputError(
                    f"the worker {worker} has no hyperfuse, or one of another version ({found}); install hyperfuse"
                    f" {__version__} there",
                    parameter="scheduler",
                )
            if tuple(found) != here:
                what = f"version {found[0]}" if found[0] != here[0] else "code"
                raise InputError(
                    f"the worker {worker} has another {what} of hyperfuse than this process ({__version__}); install"
                    " the same, and restart it",
                    parameter="scheduler",
                )
        token = secrets.token_hex(8)
        mark = folder / f".hyperfuse-{token}"
        try:
            mark.write_text(token)
            found_files = _asked(client, missing_access, str(mark), token, [str(path) for path in inputs])
        finally:
            for path in [mark, *folder.glob(f"{mark.name}.*")]:
                path.unlink(missing_ok=True)
        for worker, missing in found_files.items():
            if missing is not None:
                raise InputError(
                    f"the worker {worker} cannot {missing}; inputs and output have to be on a file system that all"
                    " workers see under the same path",
                    parameter="scheduler",
                )


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
        InputError: no scheduler responds at this address.
        HyperfuseError: several workers were killed at one tile, or none is left.
    """
    dask = require("distributed", "fusion on a dask cluster")
    with _client(scheduler) as client:
        # Keys must not be found again from an earlier call: an interrupted job leaves tiles, not tasks.
        waiting = {client.submit(task, tile, pure=False, retries=_RETRIES, key=f"{tile.name}-{key}") for tile in tiles}
        empty = 0
        try:
            while waiting:
                try:
                    # The loop of this client: another client of this program may be the default one.
                    for future in dask.as_completed(list(waiting), loop=client.loop, timeout=_WATCH_SECONDS):
                        waiting.discard(future)
                        if future.status == "error":
                            raise future.exception()
                        if future.status != "finished":
                            raise HyperfuseError(f"the scheduler at {scheduler} dropped the job; resume it")
                        # Nothing is gathered: the tile is on disk, and a message lost with its worker is not needed.
                        future.release()
                        yield True
                except dask.TimeoutError:
                    empty = 0 if _workers(client) else empty + 1
                    if empty == _WATCHES:
                        raise HyperfuseError(
                            f"the scheduler at {scheduler} has no workers any more; start some, then resume"
                        ) from None
        except dask.KilledWorker as error:
            raise HyperfuseError(
                "several workers were killed at one tile (too little memory?); choose a smaller tile, then resume"
            ) from error
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone holds no tasks
                client.cancel(list(waiting))


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler; what distributed logs about connections is left out, errors say it in one line."""
    dask = require("distributed", "fusion on a dask cluster")
    problem = InputError(
        f"no scheduler of dask.distributed responds at {scheduler or 'no address'}; write tcp://HOST:PORT", "scheduler"
    )
    if not _ADDRESS.fullmatch(scheduler):  # an empty one would start a cluster here
        raise problem
    if scheduler.startswith("tls:") and dask.Security().get_connection_args("client").get("ssl_context") is None:
        # A client that finds this out by itself prints a traceback when it is collected.
        raise InputError(f"{scheduler} needs certificates; name them in dask's configuration", "scheduler")
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio", "tornado")]
    thresholds = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        try:
            client = dask.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
            raise problem from error
        try:
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=_CONNECT_SECONDS)
    finally:
        for logger, threshold in zip(loggers, thresholds, strict=True):
            logger.setLevel(threshold)


def _workers(client: Any) -> Mapping[str, Any]:
    """Return the workers of a scheduler by address."""
    found: Mapping[str, Any] = client.run_on_scheduler(lambda dask_scheduler: dict.fromkeys(dask_scheduler.workers))
    return found


def _asked(client: Any, function: Callable[..., Any], *arguments: Any) -> Mapping[str, Any]:
    """Return what every worker returns or raises; a worker that hangs is not waited for.

    Raises:
        InputError: not all respond in time.
    """
    replies: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            replies.put(client.run(function, *arguments, on_error="return"))
        except BaseException as error:
            replies.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        reply = replies.get(timeout=_REPLY_SECONDS)
    except queue.Empty:
        reply = TimeoutError(f"no reply within {_REPLY_SECONDS} s")
    if isinstance(reply, BaseException):
        raise InputError(f"not all workers of the scheduler respond ({reply}); restart them", parameter="scheduler")
    found: Mapping[str, Any] = reply
    return found
