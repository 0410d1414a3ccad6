"""How much memory there is, and how much this process took; limits of containers count everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from hyperfuse.runtime.cgroups import memory_limits

_SELF = Path("/proc/self")


def total_bytes() -> float:
    """Return the memory of this machine, or the limit of the container where that is lower."""
    return min([float(psutil.virtual_memory().total), *(limit for limit, _ in memory_limits())])


def free_bytes() -> float:
    """Return the memory that is free for use, within the limit of the container where there is one."""
    free = [float(psutil.virtual_memory().available), *(limit - used for limit, used in memory_limits())]
    return max(min(free), 0.0)


def reset_peak() -> None:
    """Restart the measurement of :func:`peak_bytes`, on systems that can."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Return the maximum of memory that this process held, since :func:`reset_peak` on systems that can."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # Kilobytes, but bytes on a Mac.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
