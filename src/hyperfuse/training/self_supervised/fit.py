"""Fit a network to one pair: short, on patches, against held-out LR pixels."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.progress import Progress
from hyperfuse.training.self_supervised.patches import Batch, ScenePatches
from hyperfuse.training.self_supervised.task import HeldOutTask

_WARM_UP = 0.15  # share of the fit in which the learning rate rises
_LARGEST_GRADIENT = 1.0
_WEIGHT_DECAY = 1e-3
_CHECKS = 10  # times that the network is tried on kept pixels during a fit
_CHECK_BATCHES = 6
NO_TIME = "no time"  # the end of a fit that never began
_PATIENCE = 0.35  # share of the fit after which it must have helped


@dataclass(frozen=True)
class PairFitOptions:
    """How a network is fitted to a pair.

    Attributes:
        steps: optimisation steps; with ``seconds``, the most there can be.
        seconds: wall time for the fit, or None.
        learning_rate: the highest one.
        patch: side of a patch in LR pixels, even.
        batch: patches a step.
        seed: of the choice of patches.
        keep_best: when interrupted from the keyboard, end with the best weights so far instead of raising.
    """

    steps: int
    seconds: float | None = None
    learning_rate: float = 2e-3
    patch: int = 16
    batch: int = 8
    seed: int = 0
    keep_best: bool = False


@dataclass(frozen=True)
class PairFit:
    """What a fit did.

    Attributes:
        steps: that were taken.
        losses: mean loss of each tenth of them.
        kept: loss on kept pixels without the network and with the weights that were chosen.
        end: why it ended: all ``"steps"``, the ``"time"``, ``"nothing learnt"``, ``"interrupted"``, or
            ``NO_TIME``.
    """

    steps: int
    losses: tuple[float, ...]
    kept: tuple[float, float]
    end: str


def fit_to_pair(network: FeINFN, tasks: Sequence[HeldOutTask], options: PairFitOptions, progress: Progress) -> PairFit:
    """Fit the network to the errors at hidden LR pixels of a pair, or of some parts of one, in place.

    AdamW on random patches of random views; the learning rate rises, then falls as a cosine to nothing at the end of
    the steps or of the time. Now and then the network is tried on patches of kept pixels, which no step sees: the
    weights that do best there are taken, and a fit that has not helped there after a third of its length ends.
    """
    start = time.monotonic()
    patches = ScenePatches(tasks, options.patch, options.batch)
    generator = torch.Generator().manual_seed(options.seed)
    kept = _Kept(patches, tasks, options.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=_WEIGHT_DECAY)
    losses: list[float] = []
    end, checked = "steps", 0
    kept.check(network)  # one that was trained before may know enough
    network.train()
    try:
        while len(losses) < options.steps:
            done = len(losses) / options.steps
            if options.seconds is not None:
                done = max(done, (time.monotonic() - start) / options.seconds)
                if done >= 1:
                    end = "time"
                    break
            if done * _CHECKS >= checked + 1:
                checked = int(done * _CHECKS)
                kept.check(network)
                if done > _PATIENCE and not kept.helped:
                    end = "nothing learnt"
                    break
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * _schedule(done)
            loss = patches.loss(network, patches.draw(generator))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimiser.step()
            losses.append(float(loss.detach()))
            if len(losses) % 10 == 1:
                recent = losses[-10:]
                progress(done, f"fitting the network: loss {sum(recent) / len(recent):.4f}")
        if end != "nothing learnt":
            kept.check(network)
    except KeyboardInterrupt:
        if not options.keep_best:
            raise
        end = "interrupted"
    kept.restore(network)
    network.eval()
    tenth = max(1, math.ceil(len(losses) / 10))
    parts = [losses[first : first + tenth] for first in range(0, len(losses), tenth)]
    return PairFit(len(losses), tuple(sum(part) / len(part) for part in parts), (kept.without, kept.best), end)


def _schedule(done: float) -> float:
    if done < _WARM_UP:
        return 0.05 + 0.95 * done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


class _Kept:
    """A few fixed batches of kept pixels, and the weights that did best on them."""

    def __init__(self, patches: ScenePatches, tasks: Sequence[HeldOutTask], seed: int) -> None:
        self._patches = patches
        generator = torch.Generator().manual_seed(seed + 1)
        count = _CHECK_BATCHES if any(bool(task.kept.any()) for task in tasks) else 0
        self._batches = [patches.draw(generator, kept=True) for _ in range(count)]
        self.without = self._mean(patches.loss_of_nothing)
        self.best = math.inf
        self._weights: dict[str, torch.Tensor] | None = None

    @property
    def helped(self) -> bool:
        """Whether the best weights do better than none; so it is said where nothing was kept."""
        return not self._batches or self.best < self.without

    def check(self, network: FeINFN) -> None:
        """Try the network, and remember its weights where they do best."""
        network.eval()
        with torch.no_grad():
            loss = self._mean(lambda batch: self._patches.loss(network, batch))
        network.train()
        if loss <= self.best:
            self.best = loss
            self._weights = copy.deepcopy(network.state_dict())

    def restore(self, network: FeINFN) -> None:
        """Give the network its best weights back; without any check it keeps those it has."""
        if self._weights is not None:
            network.load_state_dict(self._weights)

    def _mean(self, loss: Callable[[Batch], torch.Tensor]) -> float:
        return sum(float(loss(batch)) for batch in self._batches) / max(len(self._batches), 1)
