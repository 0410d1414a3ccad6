"""How long work reports on itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long work with the share done in [0, 1] and a few words about the current step."""

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report progress."""


def silent(fraction: float, message: str = "") -> None:
    """Report nothing: the progress of callers that do not ask for any."""
