"""The names that dialogs offer, as ``hyperfuse methods --json`` states them. Needs no QGIS.

The program takes seconds to list them, so they are kept in a file until its version changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable

from .executable import ExecutableError, clean_environment, find_executable, find_version, hidden_window


class Catalogue:
    """Methods and spectral responses of the installed program; empty until they are known.

    Args:
        path: of the file that keeps them.
        setting: returns the path of the program that the user has set.
    """

    def __init__(self, path: Path, setting: Callable[[], str]) -> None:
        self._path = path
        self._setting = setting
        self._lock = threading.Lock()
        self._held: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            held = json.loads(path.read_text("utf-8"))
            if isinstance(held, dict):
                self._held = held

    @property
    def methods(self) -> list[dict[str, Any]]:
        """What the program states of each method."""
        return [one for one in self._stated("methods", list) if isinstance(one, dict) and "name" in one]

    @property
    def srfs(self) -> list[str]:
        """The names of spectral responses, without those that want numbers, such as ``boxes:N``."""
        return [name for name in self._stated("srfs", dict) if ":" not in name]

    @property
    def presets(self) -> list[str]:
        """The names of presets of a simulation."""
        return [str(name) for name in self._stated("presets", list)]

    def _stated(self, key: str, kind: type) -> Any:
        stated = self._held.get("stated")
        value = stated.get(key) if isinstance(stated, dict) else None
        return value if isinstance(value, kind) else kind()

    def refresh_in_background(self) -> threading.Thread:
        """Start a thread that calls :meth:`refresh`; what it cannot find stays unknown until the next time."""
        thread = threading.Thread(target=self._refresh_quietly, name="hyperfuse methods", daemon=True)
        thread.start()
        return thread

    def refresh(self) -> None:
        """List the methods again where the program is another than the one they were listed for.

        Raises:
            ExecutableError: there is no program.
            ValueError: it lists none.
            OSError: it does not start.
        """
        with self._lock:
            path = find_executable(self._setting())
            program = {"path": path, "version": find_version(path)}
            if self._held.get("program") == program:
                return
            done = subprocess.run(
                [path, "methods", "--json"],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
                check=True,
                **hidden_window(),
            )
            self._held = {"program": program, "stated": json.loads(done.stdout.decode("utf-8"))}
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            new.write_text(json.dumps(self._held), "utf-8")
            new.replace(self._path)

    def _refresh_quietly(self) -> None:
        # The dialog still takes any name, and the program says what it does not know.
        with contextlib.suppress(ExecutableError, OSError, ValueError, subprocess.SubprocessError):
            self.refresh()
