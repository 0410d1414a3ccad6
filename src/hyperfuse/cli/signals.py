"""Ctrl-C, SIGTERM and SIGHUP end a command as an exception does: outputs stay whole, scratch and processes go."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# By name, because not every system has them all.
_MESSAGES = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}


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


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise :class:`Interrupted` where a signal arrives inside, the first of SIGTERM and SIGHUP once; then ignore all.

    A signal that the caller ignores or handles itself stays so, as in ``nohup`` or in a host application. Without
    effect outside the main thread.
    """
    changed: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        # A terminal that is closed says so twice; Ctrl-C twice ends what Ctrl-C once let finish.
        for other in changed:
            if other != signal.SIGINT:
                signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    if threading.current_thread() is threading.main_thread():
        for name in _MESSAGES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                changed[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore at the end how signals are handled, for callers that go on."""
    main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in _MESSAGES if hasattr(signal, name)] if main else []
    before = [(number, signal.getsignal(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
