"""Learn feature maps from pixels of scenes: what benchmarks/feature_training.py trains.

A step takes pixels of a few scenes. The features' own prediction must explain what the default method lacks there, and
so must weights that ridge regression draws to it and fits to two thirds of these pixels, at the others: the gradient
goes through the solution (Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019).
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from feature_scenes import save
from hyperfuse.methods.feinfn.trained_features import (
    CHANNELS,
    IMAGE_RADIUS,
    IMAGE_RUNS,
    MSI_RADIUS,
    MSI_RUNS,
    RAW_CHANNELS,
    FeatureNetwork,
    band_runs,
    between_runs,
    contrast,
    description,
    raw_description,
)

_SCENES_PER_BATCH, _SUPPORT = 4, 2 / 3
_LARGEST = 10.0  # times a band's RMS: the largest residual that is learnt
_DELTA = 3.0  # beyond it the loss is linear
_AVERAGE = 0.998  # decay of the moving average of the weights
_PRINTED = 500  # steps of which losses are printed


@dataclass(frozen=True)
class Pixels:
    """Pixels of a scene: raw descriptions (n, RAW_CHANNELS), residuals of unit RMS (n, bands), weights (n,)."""

    raw: torch.Tensor
    residual: torch.Tensor
    weight: torch.Tensor
    contrast: torch.Tensor

    @classmethod
    def of(cls, file: Path, count: int, device: torch.device) -> Pixels:
        """Draw pixels, those of large residual more often, and with less weight."""
        kept = torch.load(file, weights_only=False)
        guided = kept["guided"]
        runs = band_runs(guided.image, IMAGE_RUNS)
        raw = raw_description(runs, guided.msi, torch.stack([runs.mean(), guided.msi.mean()]))
        residual = (kept["reference"] - kept["default"]).flatten(1)
        residual = residual / residual.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)
        energy = residual.square().mean(0)
        often = 0.3 + (energy / energy.mean()).clamp_max(4.0)
        drawn = torch.multinomial(often, min(count, len(often)), generator=torch.Generator().manual_seed(0))
        weight = 1 / often[drawn]
        parts = raw.flatten(1)[:, drawn].T, residual[:, drawn].clamp(-_LARGEST, _LARGEST).T
        half = (one.to(device, torch.float16).contiguous() for one in parts)
        return cls(*half, (weight / weight.mean()).to(device), contrast(raw).to(device))


def untrained(width: int, features: int, seed: int) -> FeatureNetwork:
    """Return a network of one member with random weights and no output."""
    generator = torch.Generator().manual_seed(seed)

    def layer(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
        limit = inputs**-0.5
        weights = limit * (2 * torch.rand(1, outputs, inputs, generator=generator) - 1)
        return weights, limit * (2 * torch.rand(1, outputs, generator=generator) - 1)

    return FeatureNetwork(*layer(width, CHANNELS), *layer(features, width), torch.zeros(1, IMAGE_RUNS, features))


def predicted(
    features: torch.Tensor, residual: torch.Tensor, output: torch.Tensor, support: int, ridge: torch.Tensor
) -> torch.Tensor:
    """Predict residuals (scenes, n - support, bands) by weights that are fitted to the first ``support`` pixels.

    Args:
        features: (scenes, n, features).
        residual: (scenes, n, bands).
        output: weights that ridge regression draws to, (bands, features).
        support: number of pixels.
        ridge: its strength.
    """
    mean, deviation = features[:, :support].mean(1, keepdim=True), features[:, :support].std(1, keepdim=True) + 1e-3
    standard, known, own = (features - mean) / deviation, residual[:, :support], deviation.transpose(1, 2) * output.T
    weighted = standard[:, :support] * (1 + known.square().mean(2, keepdim=True)).rsqrt()
    normal = weighted.transpose(1, 2) @ standard[:, :support] / support
    right = weighted.transpose(1, 2) @ (known - standard[:, :support] @ own) / support
    regular = normal + ridge * torch.eye(features.shape[2], device=features.device)
    return standard[:, support:] @ (own + torch.linalg.solve(regular, right))


def orientations() -> list[torch.Tensor]:
    """Return the raw channels in the order that they have in a patch that is rotated or flipped, eight times."""
    found = []
    for turn in range(8):
        order, first = [], 0
        for radius, channels in ((MSI_RADIUS, MSI_RUNS), (IMAGE_RADIUS, IMAGE_RUNS // 2)):
            side = 2 * radius + 1
            grid = torch.arange(side * side).reshape(side, side)
            moved = torch.rot90(grid.flip(1) if turn >= 4 else grid, turn % 4).flatten()
            centre = side * side // 2
            around = torch.cat([moved[:centre], moved[centre + 1 :]])
            around = around - (around > centre).long()
            order.append(first + (around[:, None] * channels + torch.arange(channels)).flatten())
            first += len(around) * channels
        found.append(torch.cat([*order, torch.arange(first, RAW_CHANNELS)]))
    return found


def spectral_curve(draw: random.Random, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return smooth factors of the image's runs and of the MSI's."""
    slope, bend = (strength * draw.gauss(0, 1) for _ in range(2))
    image, msi = torch.linspace(-1, 1, IMAGE_RUNS), torch.tensor([0.6, 0.0, -0.6])
    first, second = ((slope * at + bend * (at * at - 1 / 3)).exp() for at in (image, msi))
    return first, second


def batches(
    scenes: list[Pixels], args: argparse.Namespace, draw: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield descriptions (scenes, n, CHANNELS), residuals (scenes, n, bands) and weights (scenes, n)."""
    orders = [one.to(scenes[0].raw.device) for one in orientations()]
    around_msi, around_image = ((2 * radius + 1) ** 2 - 1 for radius in (MSI_RADIUS, IMAGE_RADIUS))
    while True:
        parts: list[tuple[torch.Tensor, ...]] = []
        for one in draw.sample(scenes, min(_SCENES_PER_BATCH, len(scenes))):
            some = torch.randint(len(one.raw), (args.batch // _SCENES_PER_BATCH,), device=one.raw.device)
            image, msi = spectral_curve(draw, args.curve)
            factors = torch.cat([msi.repeat(around_msi), image.view(-1, 2).mean(1).repeat(around_image), image, msi])
            factors = factors * math.exp(args.gain * draw.gauss(0, 1))
            raw = one.raw[some].float()[:, orders[draw.randrange(8)]] * factors.to(one.raw.device)
            described = description(raw.T, one.contrast * math.exp(0.2 * draw.gauss(0, 1))).T
            parts.append((described, one.residual[some].float(), one.weight[some]))
        yield tuple(torch.stack(some) for some in zip(*parts, strict=True))  # type: ignore[misc]


def loss_of(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return Huber's loss, weighted by pixel."""
    return (F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=_DELTA).mean(2) * weight).mean()


class Learner:
    """A member of a network in training.

    Args:
        args: of the command.
        bands: of the residuals.
        seed: of its first weights.
    """

    def __init__(self, args: argparse.Namespace, bands: int, seed: int = 0) -> None:
        self.args, device = args, torch.device(args.device)
        start = vars(untrained(args.width, args.features, seed))
        self.network = FeatureNetwork(**{name: value.to(device).requires_grad_() for name, value in start.items()})
        self.log_ridge = torch.tensor(-3.0, device=device, requires_grad=True)
        self.parameters = [*vars(self.network).values(), self.log_ridge]
        self.average = [value.detach().clone() for value in self.parameters]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=args.rate, weight_decay=args.decay, betas=(0.9, 0.98))
        self.bands, self.steps = between_runs(bands).to(device), 0
        self.support = round(_SUPPORT * args.batch / _SCENES_PER_BATCH)

    def averaged(self) -> FeatureNetwork:
        """Return the network of the moving average of the weights, on the processor."""
        names = [field.name for field in fields(FeatureNetwork)]
        return FeatureNetwork(**{name: one.cpu() for name, one in zip(names, self.average[:-1], strict=True)})

    def step(self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], rate: float) -> torch.Tensor:
        """Take a step; return both losses relative to that without a prediction."""
        described, residual, weight = batch
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        count, pixels = residual.shape[:2]
        _, second = self.network.layers(0, described.flatten(0, 1).T)
        features = second.T.reshape(count, pixels, -1)
        output, support = self.bands @ self.network.output[0], self.support
        fitted = predicted(features, residual, output, support, self.log_ridge.exp())
        own = loss_of(features @ output.T - residual, weight)
        drawn = loss_of(fitted - residual[:, support:], weight[:, support:])
        self.optimiser.zero_grad(set_to_none=True)
        (self.args.shared * own + self.args.solved * drawn).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.steps += 1
        decay = min(_AVERAGE, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self.average, [one.detach() for one in self.parameters], 1 - decay)
        without = loss_of(residual, weight), loss_of(residual[:, support:], weight[:, support:])
        return torch.stack([own.detach() / without[0], drawn.detach() / without[1]])

    def state(self) -> dict[str, Any]:
        """Return what training continues from."""
        state = {"parameters": self.parameters, "optimiser": self.optimiser.state_dict()}
        return {**state, "average": self.average, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, state["parameters"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.steps = state["average"], state["steps"]


def train(files: list[Path], checkpoint: Path, args: argparse.Namespace, seed: int) -> FeatureNetwork:
    """Train a member for some time, on a processor that of the processor; continue from its checkpoint."""
    device, draw = torch.device(args.device), random.Random(seed)
    torch.manual_seed(seed)
    scenes = [Pixels.of(file, args.pixels, device) for file in files]
    learner, done = Learner(args, scenes[0].residual.shape[1], seed), 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        learner.restore(state)
        done = state["done"]
    clock = time.process_time if device.type == "cpu" else time.monotonic
    began, saved, losses = clock() - done, done, []
    source = batches(scenes, args, draw)
    while (done := clock() - began) < args.seconds:
        fraction = done / args.seconds
        rate = args.rate * min(1.0, (fraction + 1e-3) / 0.04) * (0.5 + 0.5 * math.cos(math.pi * fraction))
        losses.append(learner.step(next(source), rate))
        if len(losses) == _PRINTED:
            own, drawn = torch.stack(losses).mean(0).tolist()
            losses = []
            pixels = learner.steps * args.batch
            print(f"{checkpoint.stem} {done:.0f} s, {pixels} pixels: own {own:.4f}, drawn {drawn:.4f}", flush=True)
        if done - saved > args.save_every:
            saved = done
            save(checkpoint, {**learner.state(), "done": done})
    save(checkpoint, {**learner.state(), "done": done})
    return learner.averaged()


def restored(checkpoint: Path, args: argparse.Namespace) -> FeatureNetwork:
    """Return the member that a checkpoint holds."""
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} does not exist: leave out --score-only, and it is trained")
    learner = Learner(args, bands=IMAGE_RUNS)
    learner.restore(torch.load(checkpoint, map_location=args.device, weights_only=True))
    return learner.averaged()
