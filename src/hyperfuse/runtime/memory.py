"""How much memory there is, and how much this process took; limits of containers count everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

_SELF = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")


class _Names(NamedTuple):
    """The files of a control group that state its limit, its use, and in which line how much of that is cache."""

    limit: str
    used: str
    cache: str


_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")


def total_bytes() -> float:
    """Return the memory of this machine, or the limit of the container where that is lower."""
    return min([float(psutil.virtual_memory().total), *(limit for limit, _ in _limits())])


def free_bytes() -> float:
    """Return the memory that is free for use, within the limit of the container where there is one."""
    free = [float(psutil.virtual_memory().available), *(limit - used for limit, used in _limits())]
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


def _limits() -> Iterator[tuple[float, float]]:
    """Yield limit and use, in bytes, of every control group that this process is in and that has a limit."""
    for folder, names in _groups():
        try:
            text = (folder / names.limit).read_text().strip()
            if text == "max":
                continue
            limit, used = float(text), float((folder / names.used).read_text())
        except (OSError, ValueError):
            continue
        yield limit, used - _cache(folder, names)


def _groups() -> Iterator[tuple[Path, _Names]]:
    """Yield the folders of this process's control groups, from its own to the root of each hierarchy."""
    try:
        lines = (_SELF / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, names = _CGROUPS, _VERSION_2
        elif "memory" in controllers.split(","):
            root, names = _CGROUPS / "memory", _VERSION_1
        else:
            continue
        folder = Path(os.path.normpath(root / path.lstrip("/")))
        # Inside a container the path may be the host's, of which only the root is mounted.
        for one in (folder, *folder.parents):
            if not one.is_relative_to(root):
                break
            yield one, names


def _cache(folder: Path, names: _Names) -> float:
    """Return how much of a group's use is page cache that the system drops when memory is needed."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        return float(next(line for line in lines if line.split()[0] == names.cache).split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return 0.0
