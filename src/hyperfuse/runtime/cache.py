"""The folder of a user for what can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of this user for what can be made again: that of the system, or ``HYPERFUSE_CACHE``."""
    named = os.environ.get("HYPERFUSE_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "hyperfuse" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hyperfuse"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperfuse"
