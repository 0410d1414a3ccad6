"""stdout and stderr as a process finds them: closed, full, or of few characters."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence


def asks_for_json(words: Sequence[str]) -> bool:
    """Return whether stderr is to be JSON: asked of the words, because they may be no call, which is an error then."""
    return "--progress=json" in words or ("--progress", "json") in itertools.pairwise(words)


def reserve_descriptors() -> None:
    """Open closed standard streams on the null device: a file opened later would take their number and get output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def prepare_stdout() -> None:
    """Write characters that stdout cannot express as escapes, as Python does on stderr."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def flush_stdout() -> None:
    """Flush stdout; where that fails, as at the end of an error that says so, the rest is dropped."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        silence_stdout()


def silence_stdout() -> None:
    """Redirect stdout to the null device after its reader has closed it, so that the last flush stays silent."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # a stdout that is no file, as in tests
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
