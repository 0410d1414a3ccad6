"""Fit a network to one pair: short, on patches, against held-out LR pixels."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.progress import Progress
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.held_out import HeldOutTask, correction

_WARM_UP = 0.15  # share of the fit in which the learning rate rises
_LARGEST_GRADIENT = 1.0
_WEIGHT_DECAY = 1e-3
_ROUNDED = 0.1  # residuals below this share of the usual error count squared, larger ones by their size


@dataclass(frozen=True)
class PairFitOptions:
    """How a network is fitted to a pair.

    Attributes:
        steps: optimisation steps; with ``seconds``, the most there can be.
        seconds: wall time for the fit, or None.
        learning_rate: the highest one.
        patch: side of a patch in LR pixels.
        batch: patches a step.
        seed: of the choice of patches.
    """

    steps: int
    seconds: float | None = None
    learning_rate: float = 2e-3
    patch: int = 16
    batch: int = 8
    seed: int = 0


@dataclass(frozen=True)
class PairFit:
    """What a fit did: steps taken and the mean loss of each tenth of them."""

    steps: int
    losses: tuple[float, ...]


def fit_to_pair(network: FeINFN, task: HeldOutTask, options: PairFitOptions, progress: Progress) -> PairFit:
    """Fit the network to the errors at hidden LR pixels, in place.

    AdamW on random patches of random views; the learning rate rises, then falls as a cosine to nothing at the end of
    the steps or of the time. The loss is a rounded absolute error, each band in units of its usual error.
    """
    start = time.monotonic()
    generator = torch.Generator().manual_seed(options.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=_WEIGHT_DECAY)
    sampler = _Patches(task, options)
    network.train()
    losses: list[float] = []
    for step in range(options.steps):
        elapsed = time.monotonic() - start
        done = step / options.steps
        if options.seconds is not None:
            done = max(done, elapsed / options.seconds)
            if done >= 1:
                break
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * _schedule(done)
        loss = sampler.loss(network, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 10 == 0:
            recent = losses[-10:]
            progress(done, f"fitting the network: loss {sum(recent) / len(recent):.4f}")
    network.eval()
    tenth = max(1, math.ceil(len(losses) / 10))
    parts = [losses[first : first + tenth] for first in range(0, len(losses), tenth)]
    return PairFit(len(losses), tuple(sum(part) / len(part) for part in parts))


def _schedule(done: float) -> float:
    if done < _WARM_UP:
        return 0.05 + 0.95 * done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


class _Patches:
    """Random patches of a task: the same LR window of the HSI, the guide and the error."""

    def __init__(self, task: HeldOutTask, options: PairFitOptions) -> None:
        self._task = task
        self._batch = options.batch
        self._sensors: dict[tuple[float, float], Sensor] = {}
        rows, cols = task.error.shape[-2:]
        self._lr = (min(options.patch, rows), min(options.patch, cols))
        guide = task.views[0].guide
        self._hr = tuple(
            min(size, math.ceil(cells * ratio - 1e-6))
            for size, cells, ratio in zip(guide.shape[-2:], self._lr, task.sensor.ratio, strict=True)
        )
        # The PSF of LR pixels at a patch's rim reaches beyond it: they do not count.
        self._margin = [
            0 if cells == size else min(2, (cells - 1) // 2, math.ceil(_reach(task.sensor, axis) / ratio))
            for axis, (cells, size, ratio) in enumerate(zip(self._lr, (rows, cols), task.sensor.ratio, strict=True))
        ]
        self._scale = task.band_scale.clamp_min(torch.finfo(task.error.dtype).tiny)[:, None, None]

    def loss(self, network: FeINFN, generator: torch.Generator) -> torch.Tensor:
        task, (rows, cols) = self._task, self._lr
        hsi, guide, error, counted, sensors = [], [], [], [], []
        for _ in range(self._batch):
            view = task.views[int(torch.randint(len(task.views), (), generator=generator))]
            row, row_hr, phase_y = self._place(0, generator)
            col, col_hr, phase_x = self._place(1, generator)
            lr = (..., slice(row, row + rows), slice(col, col + cols))
            hsi.append(view.hsi[lr])
            guide.append(view.guide[:, row_hr : row_hr + self._hr[0], col_hr : col_hr + self._hr[1]])
            error.append(task.error[lr])
            assert view.hidden is not None  # views of a task hide pixels
            counted.append(self._inside(view.hidden[lr] & ~task.kept[lr]))
            sensors.append((phase_y, phase_x))
        found = correction(network, torch.stack(hsi), torch.stack(guide))
        if len(set(sensors)) == 1:
            degraded = self._sensor(sensors[0]).degrade(found, self._lr)
        else:
            degraded = torch.stack(
                [self._sensor(phase).degrade(image, self._lr) for phase, image in zip(sensors, found, strict=True)]
            )
        left = (torch.stack(error) - task.expand(degraded)) / self._scale
        weight = torch.stack(counted)[:, None].to(left.dtype)
        rounded = (left.square() + _ROUNDED**2).sqrt() - _ROUNDED
        return (rounded * weight).sum() / (weight.sum() * left.shape[1]).clamp_min(1.0)

    def _place(self, axis: int, generator: torch.Generator) -> tuple[int, int, float]:
        """Draw a patch along one axis: its first LR and HR pixel, and the phase between the two."""
        sensor = self._task.sensor
        size = self._task.error.shape[-2 + axis]
        first = int(torch.randint(size - self._lr[axis] + 1, (), generator=generator))
        corner = sensor.offset[axis] + 0.5 - sensor.ratio[axis] / 2 + sensor.ratio[axis] * first
        fine = self._task.views[0].guide.shape[-2 + axis]
        start = min(max(0, math.floor(corner + 1e-6)), fine - self._hr[axis])
        return first, start, round(sensor.offset[axis] + sensor.ratio[axis] * first - start, 6)

    def _sensor(self, phase: tuple[float, float]) -> Sensor:
        if phase not in self._sensors:
            self._sensors[phase] = self._task.sensor.replace(phase=phase)
        return self._sensors[phase]

    def _inside(self, mask: torch.Tensor) -> torch.Tensor:
        inside = torch.zeros_like(mask)
        y, x = self._margin
        inner = (slice(y, mask.shape[0] - y), slice(x, mask.shape[1] - x))
        inside[inner] = mask[inner]
        return inside


def _reach(sensor: Sensor, axis: int) -> float:
    return max(factor.radius_x if axis else factor.radius_y for factor in sensor.psf.factors())
