"""Progress, notes, warnings, errors and results as JSON, one object per line, for programs that run a command."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hyperfuse.progress import Progress, part
from hyperfuse.text import single_line

# Lines of progress in any second, and the pause between two that differ by their fraction only: the others of a second
# are for new messages, so that the last line always names the step that is worked on.
_MAXIMUM, _PAUSE_SECONDS = 10, 0.2
# Below it, the time that the first steps took says nothing about the others.
_FRACTION_FOR_ETA = 0.01


class EventLines:
    """Writes events on stderr, an object per line: ``{"event": "note", "message": "..."}``.

    ``progress`` has ``progress`` (0 to 1, which never falls), ``message`` and ``eta_s`` (seconds, or null); ``note``,
    ``warning`` and ``error`` have ``message``; ``result`` has ``files``. Text is ASCII, others as JSON escapes.

    Args:
        clock: seconds, for the rate of lines and the time remaining.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._times: deque[float] = deque(maxlen=_MAXIMUM)
        self._fraction, self._message = 0.0, ""
        self._lock = threading.Lock()

    def write(self, event: str, **fields: Any) -> None:
        """Write an event."""
        line = json.dumps({"event": event, **fields}, allow_nan=False)
        # A closed stderr must not keep a command from its end.
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()

    def message(self, event: str, text: str, **fields: Any) -> None:
        """Write a note, a warning or an error, without the word that says so in plain output."""
        self.write(event, message=single_line(text).removeprefix(f"{event}: "), **fields)

    def progress(self, title: str, within: tuple[float, float] = (0.0, 1.0)) -> Progress:
        """Return the progress of a step that takes the command from the first to the last fraction of ``within``."""

        def report(fraction: float, message: str = "") -> None:
            self.step(fraction, single_line(f"{title}: {message}" if message else title))

        reporter = part(report, *within)
        reporter(0.0)
        return reporter

    def step(self, fraction: float, message: str) -> None:
        """State the fraction of the command that is done."""
        self._report(fraction, message)

    def finish(self, files: Sequence[Path]) -> None:
        """End the progress at 1, and state the files that were written."""
        self._report(1.0, "done", last=True)
        self.result(files)

    def result(self, files: Sequence[Path]) -> None:
        """State the files that were written."""
        self.write("result", files=[str(file) for file in files])

    def _report(self, fraction: float, message: str, *, last: bool = False) -> None:
        with self._lock:
            now = self._clock()
            self._fraction = max(self._fraction, min(fraction, 1.0))
            pause = now - self._times[-1] if self._times else _PAUSE_SECONDS
            full = len(self._times) == _MAXIMUM and now - self._times[0] < 1.0
            if not last and (full or (message == self._message and pause < _PAUSE_SECONDS)):
                return
            self._times.append(now)
            self._message = message
            known = self._fraction >= _FRACTION_FOR_ETA
            eta = (now - self._start) * (1 - self._fraction) / self._fraction if known else None
            self.write(
                "progress",
                progress=round(self._fraction, 4),
                message=message,
                eta_s=None if eta is None else round(eta, 1),
            )
