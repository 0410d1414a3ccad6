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
from hyperfuse.training.self_supervised.patches import PatchBatch, ScenePatches
from hyperfuse.training.self_supervised.task import HeldOutTask

_WARM_UP = 0.15  # fraction of the fit in which the learning rate rises
_LARGEST_GRADIENT = 1.0
_WEIGHT_DECAY = 1e-3
_CHECKS = 10  # validations during a fit
_CHECK_BATCHES = 6
_PATIENCE = 0.35  # fraction of the fit after which validation must have improved
NO_TIME = "no time"  # the end of a fit for which the budget left no time
NOTHING_LEARNT = "nothing learnt"


@dataclass(frozen=True)
class PairFitOptions:
    """How a network is fitted to a pair.

    Attributes:
        steps: optimisation steps; with ``seconds``, their maximum.
        seconds: wall time of the fit, or None.
        learning_rate: its maximum.
        patch: side of a patch in LR pixels, even.
        batch: patches per step.
        seed: of the sampling of patches.
        keep_best: on KeyboardInterrupt, end with the best weights so far instead of raising.
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
    """Record of a fit.

    Attributes:
        steps: number of steps taken.
        losses: mean loss of each tenth of them.
        validation_losses: on validation pixels, without the network and with the selected weights.
        end: why it ended: ``"steps"``, ``"time"``, ``"nothing learnt"``, ``"interrupted"`` or ``NO_TIME``.
    """

    steps: int
    losses: tuple[float, ...]
    validation_losses: tuple[float, float]
    end: str


def fit_to_pair(
    network: FeINFN,
    tasks: Sequence[HeldOutTask],
    options: PairFitOptions,
    progress: Progress,
    accepts: Callable[[FeINFN], bool] | None = None,
) -> PairFit:
    """Fit the network, in place, to the errors at held-out LR pixels of a pair or of parts of one.

    AdamW on random patches of random masked pairs; the learning rate rises, then falls as a cosine to 0 at the end of
    the steps or of the time. The network is validated at intervals on pixels that no step uses: the weights with the
    lowest validation loss are selected, and a fit without improvement after a third of its length ends. So does one
    whose network ``accepts`` does not accept then.
    """
    start = time.monotonic()
    patches = ScenePatches(tasks, options.patch, options.batch)
    generator = torch.Generator().manual_seed(options.seed)
    validation = _Validation(patches, tasks, options.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=_WEIGHT_DECAY)
    losses: list[float] = []
    end, checked = "steps", 0
    checked_from = time.monotonic()
    validation.check(network)  # a pretrained network may need no fit
    fit_start = time.monotonic()
    # The last step is followed by another check.
    seconds = None if options.seconds is None else options.seconds - (fit_start - start) - (fit_start - checked_from)
    network.train()
    try:
        while len(losses) < options.steps:
            done = len(losses) / options.steps
            if seconds is not None:
                done = max(done, (time.monotonic() - fit_start) / seconds if seconds > 0 else 1.0)
                if done >= 1:
                    end = "time"
                    break
            if done * _CHECKS >= checked + 1:
                checked = int(done * _CHECKS)
                validation.check(network)
                if done > _PATIENCE and not (validation.improved and (accepts is None or accepts(network))):
                    end = NOTHING_LEARNT
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
        if end != NOTHING_LEARNT:
            validation.check(network)
    except KeyboardInterrupt:
        if not options.keep_best:
            raise
        end = "interrupted"
    validation.restore(network)
    network.eval()
    tenth = max(1, math.ceil(len(losses) / 10))
    parts = [losses[first : first + tenth] for first in range(0, len(losses), tenth)]
    return PairFit(
        len(losses), tuple(sum(part) / len(part) for part in parts), (validation.without, validation.best), end
    )


def _schedule(done: float) -> float:
    if done < _WARM_UP:
        return 0.05 + 0.95 * done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


class _Validation:
    """A few fixed batches of validation pixels, and the weights with the lowest loss on them."""

    def __init__(self, patches: ScenePatches, tasks: Sequence[HeldOutTask], seed: int) -> None:
        self._patches = patches
        generator = torch.Generator().manual_seed(seed + 1)
        count = _CHECK_BATCHES if any(bool(task.validation.any()) for task in tasks) else 0
        self._batches = [patches.draw(generator, validation=True) for _ in range(count)]
        self.without = self._mean(patches.loss_without_network)
        self.best = math.inf
        self._weights: dict[str, torch.Tensor] | None = None

    @property
    def improved(self) -> bool:
        """Whether the best weights have a lower loss than no network; True without validation pixels."""
        return not self._batches or self.best < self.without

    def check(self, network: FeINFN) -> None:
        """Compute the validation loss, and copy the weights if it is the lowest so far."""
        network.eval()
        with torch.no_grad():
            loss = self._mean(lambda batch: self._patches.loss(network, batch))
        network.train()
        if loss <= self.best:
            self.best = loss
            self._weights = copy.deepcopy(network.state_dict())

    def restore(self, network: FeINFN) -> None:
        """Load the best weights; without a check the network keeps its own."""
        if self._weights is not None:
            network.load_state_dict(self._weights)

    def _mean(self, loss: Callable[[PatchBatch], torch.Tensor]) -> float:
        return sum(float(loss(batch)) for batch in self._batches) / max(len(self._batches), 1)
