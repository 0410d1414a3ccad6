"""Learning rates as closed forms of the patches seen, so that a resumed run needs no state of the schedule.

In all, ``unit`` is the number of patches between changes of the rate: those of a step, or of an epoch. A run whose
length is a time counts milliseconds in place of patches.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal

Schedule = Callable[[int], float]


def constant(rate: float) -> Schedule:
    """Return the schedule that stays at ``rate``."""
    return lambda patches: rate


def cosine(
    highest: float, minimum: float, *, period: int, unit: int, after: Literal["rise", "restart", "stay"] = "rise"
) -> Schedule:
    """Return half a cosine wave from ``highest`` to ``minimum`` (Loshchilov and Hutter, 2017, eq. 5).

    Beyond ``period``, in patches, the rate rises as it fell, restarts at the top, or stays.

    Example:
        >>> schedule = cosine(1.0, 0.0, period=100, unit=10)
        >>> schedule(0), schedule(9), round(schedule(50), 12), round(schedule(100), 12)
        (1.0, 1.0, 0.5, 0.0)
    """

    def rate(patches: int) -> float:
        seen = patches // unit * unit
        if after == "restart":
            seen %= period
        elif after == "stay":
            seen = min(seen, period)
        return _between(minimum, highest, (1 + math.cos(math.pi * seen / period)) / 2)

    return rate


def one_cycle(highest: float, minimum: float, *, start: float, rise: float, length: int, unit: int) -> Schedule:
    """Return one rise and one fall over the run, each half a cosine wave (Smith and Topin, 2018).

    The first unit has the rate ``start``, the last ``minimum``. The rate rises in the fraction ``rise`` of the run,
    which has ``length`` patches.

    Example:
        >>> schedule = one_cycle(1.0, 0.0, start=0.1, rise=0.5, length=1010, unit=10)
        >>> schedule(0), round(schedule(500), 12), round(schedule(1000), 12)
        (0.1, 1.0, 0.0)
    """
    last = max((length - 1) // unit, 1)

    def rate(patches: int) -> float:
        done = min(patches // unit / last, 1.0)
        if done < rise:
            return _between(start, highest, (1 - math.cos(math.pi * done / rise)) / 2)
        return _between(minimum, highest, (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2)

    return rate


def steps(rate: float, factor: float, *, at: Sequence[int]) -> Schedule:
    """Return the schedule that multiplies ``rate`` by ``factor`` once each of the numbers of patches ``at`` is seen.

    Example:
        >>> schedule = steps(1.0, 0.5, at=[80, 90])
        >>> schedule(79), schedule(80), schedule(1000)
        (1.0, 0.5, 0.25)
    """
    milestones = sorted(at)
    return lambda patches: rate * factor ** bisect_right(milestones, patches)


def _between(low: float, high: float, fraction: float) -> float:
    return low + (high - low) * fraction
