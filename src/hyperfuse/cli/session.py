"""One call of a command: results on stdout; notes, warnings, errors and progress on stderr."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hyperfuse.cli.events import EventLines
from hyperfuse.errors import HyperfuseError
from hyperfuse.progress import Progress, silent, terminal_bar
from hyperfuse.text import escape_json, printable, single_line

if TYPE_CHECKING:
    from rich.console import RenderableType


class Session:
    """Results go to stdout; notes, warnings, errors and progress to stderr.

    Attributes:
        words: of the command line, after the program's name.
        warnings: that were shown.
        debug: tracebacks and the warnings of libraries are shown.
        quiet: no notes and no progress.
        alone: the process was started for this call.
        files: that were written.
        events: writes what goes to stderr as JSON; None for plain text and a bar.
        within: fractions of the progress of ``events`` between which this call lies.
    """

    def __init__(
        self,
        *,
        words: Sequence[str] = (),
        debug: bool = False,
        quiet: bool = False,
        alone: bool = False,
        events: EventLines | None = None,
    ) -> None:
        self.words = list(words)
        self.debug = debug
        self.quiet = quiet
        self.alone = alone
        self.events = events
        self.within = (0.0, 1.0)
        self.warnings: list[str] = []
        self.files: list[Path] = []
        self._traceback: dict[str, str] = {}
        self._start = time.monotonic()

    def nested(self, words: Sequence[str], first: float, last: float) -> Session:
        """Return the session of a call that takes this one from the fraction ``first`` to ``last``."""
        call = Session(words=words, debug=self.debug, quiet=self.quiet, events=self.events)
        call.within = (first, last)
        return call

    @property
    def seconds(self) -> float:
        """Seconds since the command started."""
        return time.monotonic() - self._start

    def spent(self) -> float:
        """Return the seconds that the user has waited, from the start of the process where it was started for this."""
        from hyperfuse.runtime.processes import seconds_alive

        return seconds_alive() if self.alone else self.seconds

    def result(self, text: str) -> None:
        """Write a line of results.

        Raises:
            HyperfuseError: stdout is closed.
        """
        self._write(printable(text))

    def flush(self) -> None:
        """Deliver all results."""
        if sys.stdout is not None:
            sys.stdout.flush()

    def result_json(self, value: Any) -> None:
        """Write results for machines; what JSON cannot hold (NaN, infinity) becomes null."""
        text = json.dumps(_plain(value), indent=2, ensure_ascii=not _is_unicode(sys.stdout), allow_nan=False)
        self._write(escape_json(text))

    def result_table(self, table: RenderableType) -> None:
        """Write a rich table: as wide as the terminal, or its natural width where stdout is not a terminal."""
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(
                highlight=False, width=max(console.measure(table, options=_unbounded(console)).maximum, 1)
            )
        console.print(table)

    def note(self, text: str) -> None:
        """Write a note on stderr, unless quiet."""
        if not self.quiet:
            self._report("note", text)

    def note_always(self, text: str) -> None:
        """Write an important note on stderr, also when quiet; as JSON it is a warning."""
        self._report("warning", text)

    def error(self, text: str) -> None:
        """Write on stderr why the command ends."""
        self._report("error", f"error: {text}", **self._traceback)

    def wrote(self, *files: Path | str) -> None:
        """Remember files that were written, for the result of ``--progress json``."""
        self.files += map(Path, files)

    def finish(self) -> None:
        """End a command that succeeded: its progress is 1, and its files are stated."""
        if self.events is not None:
            if self.quiet:
                self.events.result(self.files)
            else:
                self.events.finish(self.files)

    def end(self, text: str, code: int) -> None:
        """Write on stderr why the command ends; with the exit code 0 that is no error."""
        if code:
            if self.events is not None and self.files:  # such as those of other pairs than the one that failed
                self.events.result(self.files)
            self.error(text)
        else:
            self.note(f"note: {text}")
            self.finish()

    def traceback(self) -> None:
        """Write the traceback of the exception being handled; as JSON it is a part of the error that follows."""
        if self.events is not None:
            self._traceback = {"traceback": traceback.format_exc()}
            return
        with suppress(OSError):
            traceback.print_exc(file=sys.stderr)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Write a warning as one line; the signature is that of ``warnings.showwarning``."""
        text = single_line(message)
        if text in self.warnings:  # as of a file that is opened twice
            return
        self.warnings.append(text)
        where = f" ({category.__name__} at {filename}:{lineno})" if self.debug else ""
        self._report("warning", f"warning: {text}{where}")

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """Show a bar with the time left on a terminal, and nothing elsewhere or when quiet; as JSON, lines."""
        if self.events is not None and not self.quiet:
            yield self.events.progress(title, self.within)
            return
        if self.quiet or sys.stderr is None or not sys.stderr.isatty():
            yield silent
            return
        with terminal_bar(title) as report:
            yield report

    def step(self, fraction: float, message: str) -> None:
        """State the progress of a command of few steps, too short for a bar: as JSON only."""
        if self.events is not None and not self.quiet:
            self.events.step(fraction, message)

    @staticmethod
    def _write(text: str) -> None:
        if sys.stdout is None:
            raise HyperfuseError("stdout is closed, and results have nowhere to go")
        sys.stdout.write(text + "\n")

    def _report(self, event: str, text: str, **fields: str) -> None:
        if self.events is not None:
            self.events.message(event, text, **fields)
            return
        # A closed terminal must not keep a command from its end, nor from removing its scratch.
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(single_line(text) + "\n")
                sys.stderr.flush()


def _is_unicode(stream: TextIO | None) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _unbounded(console: Any) -> Any:
    return console.options.update(max_width=10_000, width=10_000)


def _plain(value: Any) -> Any:
    """Return a value as one that JSON can hold."""
    import numpy as np

    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value
