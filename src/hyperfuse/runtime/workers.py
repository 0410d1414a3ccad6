"""Worker processes that call one task on many items; they end when their parent does."""

from __future__ import annotations

import contextlib
import multiprocessing.spawn
import os
import pickle
import queue
import subprocess
import tempfile
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import IO, Any, TypeVar

from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.runtime.processes import end_with_parent, how_it_ended, start_python

Item = TypeVar("Item")
Result = TypeVar("Result")

# Workers that one item may cost, and (per worker) all items without one that is done, until the job is given up.
_DEATHS = 3
_POLL_SECONDS = 0.5
# By which a worker that imports the main script of its parent knows itself.
_NAME = "hyperfuse-worker"


class WorkersKilledError(HyperfuseError):
    """One item has cost several workers."""


class _WorkerError(Exception):
    """The traceback of an exception that a worker raised."""


class _Worker:
    """A process that calls a task; what it replies is put into a queue, None when it has ended."""

    def __init__(self, threads: int, replies: queue.Queue[tuple[_Worker, Any]], variables: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed with it)
        self._process = start_python(["-m", __name__], threads, self._errors, stdout=subprocess.PIPE, **variables)
        threading.Thread(target=self._listen, args=(replies,), daemon=True).start()

    def _listen(self, replies: queue.Queue[tuple[_Worker, Any]]) -> None:
        stream = self._process.stdout
        assert stream is not None  # it is a pipe
        # A stream that ends, or that a dying process has cut off.
        with stream, contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                replies.put((self, pickle.load(stream)))
        replies.put((self, None))

    def send(self, *messages: Any) -> None:
        """Send messages; whether it is alive shows in its reply."""
        stream = self._process.stdin
        assert stream is not None  # it is a pipe
        with contextlib.suppress(OSError):
            for message in messages:
                pickle.dump(message, stream)
            stream.flush()

    def failure(self) -> str:
        """Return how it ended."""
        return how_it_ended(self._process, self._errors) or "its process ended early"

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._errors.close()


def run_in_workers(
    task: Callable[[Item], Result], items: Sequence[Item], *, workers: int, threads: int, **variables: str
) -> Generator[Result, None, None]:
    """Call a task on every item in worker processes; yield results as they come.

    The item of a process that is killed goes to another one. All processes end with this one, and when the iterator
    is closed.

    Args:
        task: picklable.
        items: picklable.
        workers: processes.
        threads: of each.
        variables: further ones of their environment.

    Raises:
        InputError: called from the main script of a worker.
        WorkersKilledError: one item has cost several processes.
        Exception: whatever the task raises.
    """
    if multiprocessing.current_process().name == _NAME:
        raise InputError("a script that uses workers has its calls under `if __name__ == '__main__':`")
    preparation = multiprocessing.spawn.get_preparation_data(_NAME)
    preparation.pop("authkey", None)  # of no use there, and not to be pickled
    pickled = pickle.dumps(task)
    waiting, deaths, consecutive = deque(enumerate(items)), Counter[int](), 0
    replies: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
    alive: set[_Worker] = set()
    busy: dict[_Worker, tuple[int, Item]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = next(iter(alive - busy.keys()), None)
                if worker is None:
                    worker = _Worker(threads, replies, variables)
                    alive.add(worker)
                    worker.send(preparation, pickled)
                busy[worker] = waiting.popleft()
                worker.send(busy[worker][1])
            worker, reply = _next(replies)
            if worker not in busy:  # it was killed while it was idle
                alive.discard(worker)
                worker.kill()
                continue
            number, item = busy.pop(worker)
            if reply is not None:
                consecutive = 0
                yield _result(reply)
                continue
            alive.remove(worker)
            failure = worker.failure()
            worker.kill()
            deaths[number] += 1
            consecutive += 1
            waiting.append((number, item))
            if deaths[number] == _DEATHS or consecutive == _DEATHS * workers:
                raise WorkersKilledError(f"the worker processes are killed again and again ({failure})")
    finally:
        for worker in alive:
            worker.kill()


def _next(replies: queue.Queue[tuple[_Worker, Any]]) -> tuple[_Worker, Any]:
    while True:
        # On some systems Ctrl-C does not end a wait without a limit.
        with contextlib.suppress(queue.Empty):
            return replies.get(timeout=_POLL_SECONDS)


def _result(reply: Any) -> Any:
    kind, value, text = reply
    if kind == "result":
        return value
    raise value from _WorkerError(f"\n{text}")


def _reply(task: Callable[[Any], Any], item: Any) -> tuple[str, Any, str]:
    try:
        return "result", task(item), ""
    except BaseException as error:
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return "error", RuntimeError(f"{type(error).__name__}: {error}"), text
        return "error", error, text


def _main() -> None:
    read, write = os.pipe()
    messages: IO[bytes] = os.fdopen(read, "rb")
    end_with_parent(lambda data: _write_all(write, data))
    # Whatever is printed goes to stderr: stdout is the way back.
    back = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    preparation, pickled = pickle.load(messages), pickle.load(messages)
    multiprocessing.spawn.prepare(preparation)
    task = pickle.loads(pickled)
    while True:
        pickle.dump(_reply(task, pickle.load(messages)), back)
        back.flush()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    _main()
