"""Ctrl-C, SIGTERM, SIGHUP, Ctrl-Break end a command as an exception does: outputs whole, scratch and processes gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from hyperfuse.cli.streams import asks_for_json
from hyperfuse.runtime.interruption import interrupt, start_command

# By name, because not every system has them all; the last is Windows's, by which a program ends a process group.
_MESSAGES = {
    "SIGINT": "interrupted",
    "SIGTERM": "terminated",
    "SIGHUP": "the terminal was closed",
    "SIGBREAK": "terminated",
}
# After which a signal comes again that was raised where Python drops exceptions.
_AGAIN_SECONDS = 0.02


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The code by which shells report the signal."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """What happened."""
        return _MESSAGES[signal.Signals(self.number).name]


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End a process that has not started to work, as while it loads what it works with: nothing has to be removed."""
    message = _MESSAGES[signal.Signals(number).name]
    line = f'{{"event": "error", "message": "{message}"}}' if asks_for_json(sys.argv) else f"error: {message}"
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())
    os._exit(128 + number)


def signals_end_at_once() -> None:
    """Handle signals by :func:`end_at_once` until :func:`signals_raised` takes over."""
    for number in _numbers():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end_at_once)


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise :class:`Interrupted` where a signal arrives inside, the first of SIGTERM and SIGHUP once; then ignore all.

    A signal that arrives in a block of :func:`~hyperfuse.runtime.interruption.uninterrupted` is raised at its end, and
    one that is raised where Python drops exceptions, as in a callback from C, is raised again.

    A signal that the caller ignores or handles itself stays so, as in ``nohup`` or in a host application. Without
    effect outside the main thread.
    """
    changed: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        # A terminal that is closed says so twice; Ctrl-C twice ends what Ctrl-C once let finish.
        for other in changed:
            if other != signal.SIGINT:
                signal.signal(other, signal.SIG_IGN)
        interrupt(Interrupted(number))

    def unraisable(dropped: Any) -> None:
        if isinstance(dropped.exc_value, Interrupted):
            number = dropped.exc_value.number
            signal.signal(number, handle)
            threading.Timer(_AGAIN_SECONDS, _send, (number,)).start()
        else:
            before(dropped)

    before = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        start_command()
        sys.unraisablehook = unraisable
        for number in _numbers():
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, end_at_once):
                changed[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_IGN)
        if sys.unraisablehook is unraisable:
            sys.unraisablehook = before


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore at the end how signals are handled, for callers that go on."""
    main = threading.current_thread() is threading.main_thread()
    before = [(number, signal.getsignal(number)) for number in _numbers()] if main else []
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in _MESSAGES if hasattr(signal, name)]


def _send(number: int) -> None:
    """Send a signal to the main thread, from another."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
