"""The iterations of a method: how many there are at most, when they end before, and the record of how they went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from hyperfuse.progress import Progress, silent

# Of a budget, what computing the image from the last iterate may take.
_FINISHING = 0.1
# A duration, in seconds, that messages state in advance.
_LONG = 600
# Values of a record: enough to see a curve, few enough for a header.
_MOST_RECORDED = 40


class Iterations:
    """Counts iterations until they converge, are as many as allowed, or their wall time is over.

    One is always made. The next is not started where it would, if it takes as long as the last one, exceed the time.
    Messages state the duration of all where that is above ten minutes, as far as it is seen from those made.

    Args:
        most: number of iterations.
        tolerance: they end below this value of what :meth:`record` gets first; default: never.
        budget_seconds: wall time for all, and for what follows them.
        progress: called with the fraction done.
        clock: gives seconds.

    Example:
        >>> steps = Iterations(100, tolerance=0.1)
        >>> for number in steps:
        ...     steps.record(change=0.5**number)
        >>> steps.details()
        {'iterations': 5, 'end': 'converged', 'change': [1.0, 0.5, 0.25, 0.125, 0.0625]}
    """

    def __init__(
        self,
        most: int,
        tolerance: float | None = None,
        budget_seconds: float | None = None,
        progress: Progress = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._tolerance, self._progress, self._clock = most, tolerance, progress, clock
        self._deadline = None if budget_seconds is None else clock() + (1 - _FINISHING) * budget_seconds
        self._values: dict[str, list[float]] = {}
        self._count, self._end, self._started = 0, "iterations", clock()

    def __iter__(self) -> Iterator[int]:
        for number in range(self._most):
            started = self._clock()
            yield number
            self._count = number + 1
            converged = self._converged()
            self._progress(1.0 if converged else self._count / self._most, self._message())
            if converged:
                self._end = "converged"
                break
            if self._count < self._most and self.late(self._clock() - started):
                self._end = "budget"
                break

    def late(self, ahead: float = 0.0) -> bool:
        """Return whether the time is over, or will be in ``ahead`` seconds; also for loops within an iteration."""
        over = self._deadline is not None and self._clock() + ahead > self._deadline
        if over:
            self._end = "budget"
        return over

    def record(self, **values: float) -> None:
        """Record what an iteration reached; the first value is compared with the tolerance."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(float(value))

    def details(self) -> dict[str, Any]:
        """Return how many iterations were made, what ended them, and the values of each, or of some spread evenly."""
        return {"iterations": self._count, "end": self._end} | {
            name: [float(f"{value:.4g}") for value in _spread(values)] for name, values in self._values.items()
        }

    def _message(self) -> str:
        seconds = (self._clock() - self._started) / self._count * self._most
        duration = f" of {self._most}, about {seconds / 60:.0f} min in all" if seconds > _LONG else ""
        return f"iteration {self._count}{duration}"

    def _converged(self) -> bool:
        if self._tolerance is None or not self._values:
            return False
        return next(iter(self._values.values()))[-1] < self._tolerance


def _spread(values: list[float]) -> list[float]:
    if len(values) <= _MOST_RECORDED:
        return values
    return [values[round(k * (len(values) - 1) / (_MOST_RECORDED - 1))] for k in range(_MOST_RECORDED)]


def relative_norm(difference: torch.Tensor, image: torch.Tensor) -> float:
    """Return the norm of a difference relative to that of an image, 0 where the image is 0."""
    size = float(image.norm())
    return float(difference.norm()) / size if size > 0 else 0.0
