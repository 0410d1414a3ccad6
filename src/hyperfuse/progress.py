"""How long work reports on itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long work with the fraction done in [0, 1] and a short message about the current step."""

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report progress."""


def silent(fraction: float, message: str = "") -> None:
    """Report nothing: the progress of callers that do not ask for any."""


def part(progress: Progress, first: float, last: float) -> Progress:
    """Return the progress of a step that takes ``progress`` from the fraction ``first`` to ``last``.

    Example:
        >>> half = part(lambda fraction, message="": print(fraction, message), 0.5, 1.0)
        >>> half(0.5, "tile 3 of 6")
        0.75 tile 3 of 6
    """

    def report(fraction: float, message: str = "") -> None:
        progress(first + (last - first) * fraction, message)

    return report
