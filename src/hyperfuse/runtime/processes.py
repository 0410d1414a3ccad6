"""Processes that do one piece of work each: told by a line on stdin, and gone when whoever started them is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import torch

import hyperfuse

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Child:
    """A process at work on a line.

    Args:
        module: run as ``python -m``; its ``main`` calls :func:`serve`.
        line: one line of JSON, what to do.
        threads: that its numeric libraries use, told before they are loaded.
    """

    def __init__(self, module: str, line: str, threads: int) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        # The package may have been found by other means than an installation; the process must find the same one.
        home = str(Path(hyperfuse.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            # -P: a file torch.py in the working folder is not torch.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        assert self._process.stdin is not None  # it is a pipe
        self._stdin = self._process.stdin
        # A pipe is broken where it ended at once; why is told by failure().
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line.rstrip("\n") + "\n")
            self._stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def failure(self) -> str | None:
        """Return, of an ended process, how it failed, or None where it did not."""
        self._close()
        self._errors.seek(0)
        said = [line.strip() for line in self._errors if line.strip()]
        self._errors.close()
        code = self._process.returncode
        if code == 0:
            return None
        how = f"by signal {-code}{' (out of memory?)' if code == -9 else ''}" if code < 0 else f"with exit code {code}"
        return f"its process ended {how}" + (f": {said[-1]}" if said else "")

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close()
        self._errors.close()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()


def serve(work: Callable[[str], None]) -> None:
    """Do the work that the line on stdin tells, and end at once where the process that wrote it is gone."""
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads = os.environ.get(_THREADS[0])
    if threads is not None:
        torch.set_num_threads(int(threads))
    work(line)


def usable_threads() -> int:
    """Return how many threads this process may compute with: those it was told, else the machine's."""
    affinity = getattr(os, "sched_getaffinity", None)
    found = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(found, torch.get_num_threads()) if _THREADS[0] in os.environ else found


def _end_with_parent() -> None:
    # stdin stays open as long as the process at its other end lives, however that ends.
    sys.stdin.read()
    os._exit(1)
