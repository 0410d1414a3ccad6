"""Child processes that do one job each: it is a line on their stdin, and they end when their parent does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hyperfuse.runtime.threads import environment, limit_process, usable_threads

Task = TypeVar("Task")

_POLL_SECONDS = 0.05


class Child:
    """A process that works on a line.

    Args:
        module: run as ``python -m``; its ``main`` calls :func:`serve`.
        line: one line of JSON that describes the job.
        threads: number of threads that its numeric libraries use.
    """

    def __init__(self, module: str, line: str, threads: int) -> None:
        variables = {**os.environ, **environment(threads)}
        # The package may have been found by other means than an installation; the process must find the same one.
        home = str(Path(__file__).parents[2])
        variables["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            # -P: a file torch.py in the working folder is not torch.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=variables,
            text=True,
        )
        assert self._process.stdin is not None  # it is a pipe
        self._stdin = self._process.stdin
        # A process that ended at once breaks the pipe; failure() returns the reason.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line.rstrip("\n") + "\n")
            self._stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def failure(self) -> str | None:
        """Return how a process that has ended failed, or None where it succeeded."""
        self._close()
        self._errors.seek(0)
        written = [line.strip() for line in self._errors if line.strip()]
        self._errors.close()
        code = self._process.returncode
        if code == 0:
            return None
        how = f"by signal {-code}{' (out of memory?)' if code == -9 else ''}" if code < 0 else f"with exit code {code}"
        return f"its process ended {how}" + (f": {written[-1]}" if written else "")

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close()
        self._errors.close()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()


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


def serve(work: Callable[[str], None]) -> None:
    """Do the job that the line on stdin describes; end at once where the parent process is gone."""
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if "OMP_NUM_THREADS" in os.environ:
        limit_process(usable_threads())
    work(line)


def _end_with_parent() -> None:
    # stdin stays open as long as the process at its other end lives, however that ends.
    sys.stdin.read()
    os._exit(1)
