"""How much memory there is, how much a job will take, and how much this process took."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

# What the program takes before it sees an image: Python, torch and the rest.
_PROGRAM = 500e6
# Peak over the size of the reference in float32, measured on 512 x 512 x 31 and rounded up.
_METHOD_FACTOR = 16.0
# A network holds latent images of many channels beside that; 128 channels are FeINFN's own width.
_NETWORK_CHANNELS = 4 * 128
_SELF = Path("/proc/self")
_CGROUP = Path("/sys/fs/cgroup")


def estimate_bytes(shape: tuple[int, int, int] | None, *, network: bool) -> float:
    """Return about what a job takes in memory: the program, and images by their size.

    Args:
        shape: (bands, rows, cols) of the scene; None counts the program only.
        network: whether a network is applied.

    Example:
        >>> 5e8 < estimate_bytes((31, 512, 512), network=False) < 2e9
        True
    """
    if shape is None:
        return _PROGRAM
    bands, rows, cols = shape
    factor = _METHOD_FACTOR * bands + (_NETWORK_CHANNELS if network else 0)
    return _PROGRAM + 4 * rows * cols * factor


def available_bytes() -> float:
    """Return the memory that is free for use, within the limit of a container where there is one."""
    free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        free = float(told.split()[1]) * 1024
    except (OSError, StopIteration):
        pass
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = float((_CGROUP / "memory.current").read_text())
        if limit != "max":
            free = min(free, float(limit) - used)
    except (OSError, ValueError):
        pass
    return max(free, 0.0)


def reset_peak() -> None:
    """Forget the peak so far, where the system can: reading and degrading a scene is no part of a fusion's peak."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Return the most memory that this process held, since :func:`reset_peak` where the system can tell."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
        told = next(line for line in lines if line.startswith("VmHWM:"))
        return int(told.split()[1]) * 1024
    except (OSError, StopIteration):
        # Kilobytes, but bytes on a Mac.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
