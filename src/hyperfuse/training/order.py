"""Which patch comes when: a pure function of seed and position, so that resumed and distributed runs agree exactly.

The patches of a run are counted from 0 through all its epochs; step ``t`` takes those from ``t * step_patches`` on,
whatever the number of processes. Every patch has its own random generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

# Separate the draws of different kinds from one seed.
_ORDER, _PATCH, _RATIO = 1, 2, 3


@dataclass(frozen=True)
class DataOrder:
    """The order of patches, and the random generator of each.

    An epoch has ``patches``, a forward pass ``batch`` of them over all processes, a step ``accumulation`` passes.

    Example:
        >>> order = DataOrder(seed=0, patches=5, batch=2, accumulation=2)
        >>> sorted(order.locate(n)[1] for n in range(5, 10)), order.locate(7)[0]
        ([0, 1, 2, 3, 4], 1)
    """

    seed: int
    patches: int
    batch: int
    accumulation: int = 1
    _permutations: dict[int, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def step_patches(self) -> int:
        """Patches of a step, over all processes."""
        return self.batch * self.accumulation

    def locate(self, position: int) -> tuple[int, int]:
        """Return the epoch of the patch at a position of the run, and which patch of the epoch it is."""
        epoch, index = divmod(position, self.patches)
        if epoch not in self._permutations:
            self._permutations.clear()
            generator = np.random.default_rng([_ORDER, self.seed, epoch])
            self._permutations[epoch] = generator.permutation(self.patches)
        return epoch, int(self._permutations[epoch][index])

    def generator(self, position: int) -> np.random.Generator:
        """Return the random generator of the patch at a position."""
        return np.random.default_rng([_PATCH, self.seed, *self.locate(position)])

    def choice(self, position: int, count: int) -> int:
        """Return which of ``count`` ratios the step of a position has; all patches of a step share it."""
        step = position // self.step_patches
        return int(np.random.default_rng([_RATIO, self.seed, step]).integers(count)) if count > 1 else 0


class ProcessBatches(Sampler[list[int]]):
    """The positions that process ``rank`` of ``processes`` works through, one list per forward pass.

    Steps ``first`` up to, not including, ``last``; ``order.batch`` is a multiple of the number of processes.
    """

    def __init__(self, order: DataOrder, first: int, last: int, rank: int = 0, processes: int = 1) -> None:
        local = order.batch // processes
        start, stop = first * order.step_patches, last * order.step_patches
        self._starts = range(start + rank * local, stop, order.batch)
        self._local = local

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(start, start + self._local)) for start in self._starts)
