"""Blocks that no signal breaks: the exception that a signal raises waits until they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Held:
    """Blocks of the main thread that are open, and the exception that waits; signals reach that thread alone."""

    depth = 0
    error: BaseException | None = None


def interrupt(error: BaseException) -> None:
    """Raise an exception for a signal: now, or at the end of the blocks of :func:`uninterrupted` that are open.

    Called by the handler of the signal.
    """
    _Held.error = error
    _raise_held()


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
    _Held.depth += 1
    try:
        yield
    finally:
        _Held.depth -= 1
        _raise_held()


@contextmanager
def interruptible() -> Iterator[None]:
    """Lift what one block of :func:`uninterrupted` holds back, for the work between making and removing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Held.depth -= 1
    try:
        _raise_held()
        yield
    finally:
        _Held.depth += 1


def _raise_held() -> None:
    if _Held.depth == 0 and _Held.error is not None:
        error, _Held.error = _Held.error, None
        raise error
