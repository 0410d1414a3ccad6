"""Blocks that no signal breaks: the exception that a signal raises waits until they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class _Command:
    """Blocks of the main thread that are open, the exception that waits, and what is to be removed in any case.

    Signals reach the main thread alone.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.error: BaseException | None = None
        self.removals: dict[Path, Callable[[], None]] = {}

    def raise_held(self) -> None:
        if self.depth == 0 and self.error is not None:
            error, self.error = self.error, None
            raise error


_commands = [_Command()]


def start_command() -> None:
    """Start a command: blocks of an earlier one, which a signal may have left open, count no more."""
    _commands[0] = _Command()


def interrupt(error: BaseException) -> None:
    """Raise an exception for a signal: now, or at the end of the blocks of :func:`uninterrupted` that are open.

    Called by the handler of the signal.
    """
    _commands[0].error = error
    _commands[0].raise_held()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what :func:`interrupt` raises until the block ends, as where something is made and where it is removed.

    Example:
        >>> try:
        ...     with uninterrupted():
        ...         interrupt(KeyboardInterrupt())
        ...         print("to the end")
        ... except KeyboardInterrupt:
        ...     print("interrupted")
        to the end
        interrupted
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    command = _commands[0]
    command.depth += 1
    try:
        yield
    finally:
        command.depth -= 1
        command.raise_held()


@contextmanager
def interruptible() -> Iterator[None]:
    """Lift what one block of :func:`uninterrupted` holds back, for the work between making and removing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    command = _commands[0]
    command.depth -= 1
    try:
        command.raise_held()
        yield
    finally:
        command.depth += 1


def remove_at_the_end(path: Path, remove: Callable[[], None]) -> Callable[[], None]:
    """Have something removed by :func:`finish_removals`, unless what is returned, which removes it, was called before.

    A signal may arrive between the end of a block and the first line of what cleans up after it, where Python skips
    the latter.
    """
    removals = _commands[0].removals
    removals[path] = remove

    def removed() -> None:
        remove()
        removals.pop(path, None)

    return removed


def finish_removals() -> None:
    """Remove the remains at the end of a command that was interrupted."""
    removals = _commands[0].removals
    while removals:
        _, remove = removals.popitem()
        with suppress(OSError):
            remove()
