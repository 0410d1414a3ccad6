"""Child processes that do one job each: it is a line on their stdin, and they end when their parent does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

from hyperfuse.runtime.threads import environment, limit_process, usable_threads

Task = TypeVar("Task")

_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1


def start_python(
    words: Sequence[str], threads: int, errors: IO[Any] | int, *, stdout: int = subprocess.DEVNULL, **variables: str
) -> subprocess.Popen[bytes]:
    """Start this Python with a pipe to its stdin.

    A file ``torch.py`` in the working folder is not torch to it, nor to processes that it starts. Signals of the
    terminal (Ctrl-C) reach this process alone, which ends its children.

    Args:
        words: of its command line, such as ``-m`` and a module.
        threads: number of threads that its numeric libraries use.
        errors: file of its stderr.
        stdout: of it.
        variables: further ones of its environment.
    """
    # The package may have been found by other means than an installation; the process must find the same one. An
    # empty entry would be the working folder.
    home = str(Path(__file__).parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    safe: Mapping[str, str] = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", *words],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=errors,
        env={**os.environ, **environment(threads), **safe, **variables},
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends, on systems that can."""
    if sys.platform == "linux":
        # A thread cannot act while a library computes, or hangs, without releasing Python's lock; the kernel can.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent(receive: Callable[[bytes], None] = lambda data: None) -> None:
    """End this process when its parent does, however that ends: its stdin is a pipe that the parent holds open.

    Args:
        receive: called with what comes through that pipe, in another thread.
    """
    die_with_parent()
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        while data := os.read(pipe, 2**16):
            receive(data)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def how_it_ended(process: subprocess.Popen[bytes], errors: IO[str]) -> str | None:
    """Return how a process that has ended failed, with the last line on its stderr; None where it succeeded."""
    code = process.wait()
    if code == 0:
        return None
    errors.seek(0)
    written = [line.strip() for line in errors if line.strip()]
    how = f"by signal {-code}{' (out of memory?)' if code == -9 else ''}" if code < 0 else f"with exit code {code}"
    return f"its process ended {how}" + (f": {written[-1]}" if written else "")


def seconds_alive() -> float:
    """Return the seconds since this process was started, what it took to load Python and packages included."""
    try:  # psutil knows the time of the start to a second only
        ticks = int(Path("/proc/self/stat").read_text("utf-8").rsplit(")", 1)[1].split()[19])
        return float(Path("/proc/uptime").read_text("utf-8").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except OSError:  # not Linux
        created: float = psutil.Process().create_time()
        return max(0.0, time.time() - created)


class Child:
    """A process that works on a line.

    Args:
        function: called with the line, such as ``package.module:name``.
        line: one line of JSON that describes the job.
        threads: number of threads that its numeric libraries use.
    """

    def __init__(self, function: str, line: str, threads: int) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed with it)
        self._process = start_python(["-m", __name__, function], threads, self._errors)
        assert self._process.stdin is not None  # it is a pipe
        self._stdin = self._process.stdin
        # A process that ended at once breaks the pipe; failure() returns the reason.
        with contextlib.suppress(OSError):
            self._stdin.write(line.rstrip("\n").encode() + b"\n")
            self._stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def failure(self) -> str | None:
        """Return how a process that has ended failed, or None where it succeeded."""
        failure = how_it_ended(self._process, self._errors)
        self._close()
        return failure

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._errors.close()


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


def _main() -> None:
    received: list[bytes] = []
    complete = threading.Event()

    def receive(data: bytes) -> None:
        received.append(data)
        if data.endswith(b"\n"):
            complete.set()

    end_with_parent(receive)
    function = pkgutil.resolve_name(sys.argv[1])
    complete.wait()
    if "OMP_NUM_THREADS" in os.environ:
        limit_process(usable_threads())
    function(b"".join(received).decode())


if __name__ == "__main__":
    _main()
