"""Limits of control groups (containers, batch systems, systemd), version 1 and 2, nested or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SELF = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")


class _Names(NamedTuple):
    """The files of a group that state its memory limits, its use, and in which line how much of that is cache."""

    limits: tuple[str, ...]
    used: str
    cache: str


# Above "high" a group is slowed down until it is useless.
_VERSION_2 = _Names(("memory.max", "memory.high"), "memory.current", "inactive_file")
_VERSION_1 = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")


def memory_limits() -> Iterator[tuple[float, float]]:
    """Yield limit and use, in bytes, of every group that this process is in and that has a limit."""
    for folder, version in _groups("memory"):
        names = _VERSION_1 if version == 1 else _VERSION_2
        limits = [found for name in names.limits if (found := _number(folder / name)) is not None]
        used = _number(folder / names.used)
        if limits and used is not None:
            yield min(limits), used - _cache(folder, names)


def processor_limit() -> float | None:
    """Return the processors whose time this process may use together; None without a limit."""
    limits = []
    for folder, version in _groups("cpu"):
        if version == 1:
            quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        else:
            quota, period = ([*_numbers(folder / "cpu.max"), None, None])[:2]
        if quota is not None and period is not None and quota > 0 and period > 0:
            limits.append(quota / period)
    return min(limits, default=None)


def _groups(controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the folders of this process's groups, from its own to the root of each hierarchy, and their version."""
    try:
        lines = (_SELF / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            # Where both versions are mounted, the second is in a folder of the first.
            roots, version = (_CGROUPS, _CGROUPS / "unified"), 2
        elif controller in controllers.split(","):
            roots, version = (_CGROUPS / controller, _CGROUPS / controllers), 1
        else:
            continue
        for root in dict.fromkeys(roots):
            folder = Path(os.path.normpath(root / path.lstrip("/")))
            # Inside a container the path may be the host's, of which only the root is mounted.
            for one in (folder, *folder.parents):
                if not one.is_relative_to(root):
                    break
                yield one, version


def _numbers(path: Path) -> list[float | None]:
    """Return the numbers in a file, None for one that is no limit; empty where it cannot be read."""
    try:
        return [None if word == "max" else float(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


def _number(path: Path) -> float | None:
    return next(iter(_numbers(path)), None)


def _cache(folder: Path, names: _Names) -> float:
    """Return how much of a group's use is page cache that the system drops when memory is needed."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        return float(next(line for line in lines if line.split()[0] == names.cache).split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return 0.0
