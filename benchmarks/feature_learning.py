"""Learn feature maps from pixels of scenes: what benchmarks/feature_training.py trains.

Two layers, an output layer for all scenes, and one that is solved for each scene by ridge regression within a batch.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hyperfuse.methods.feinfn.trained_features import (
    CHANNELS,
    IMAGE_RADIUS,
    IMAGE_RUNS,
    MSI_RADIUS,
    MSI_RUNS,
    RAW_CHANNELS,
    FeatureWeights,
    band_runs,
    contrast,
    description,
    raw_description,
)

_SCENES_PER_BATCH, _SUPPORT = 4, 2 / 3
_LARGEST = 10.0  # times a band's RMS: the largest residual that is learnt
_DELTA = 3.0  # beyond it the loss is linear


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


class Features(nn.Module):
    """The two layers, an output layer for all scenes, and the ridge of those solved for one."""

    def __init__(self, hidden: int, features: int, bands: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(CHANNELS, hidden), nn.Linear(hidden, features)
        self.output, self.log_ridge = nn.Linear(features, bands), nn.Parameter(torch.tensor(-3.0))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, described: torch.Tensor) -> torch.Tensor:
        """Return features (n, features) of descriptions (n, CHANNELS)."""
        return self.second(self.first(described).relu()).relu()

    def solved(self, features: torch.Tensor, residual: torch.Tensor, support: int) -> torch.Tensor:
        """Predict the residuals (scenes, n - support, bands) by ridge regression on the first ``support`` pixels."""
        mean, deviation = features[:, :support].mean(1, keepdim=True), features[:, :support].std(1, keepdim=True)
        standard = (features - mean) / (deviation + 1e-3)
        known = residual[:, :support]
        weighted = standard[:, :support] * (1 + known.square().mean(2, keepdim=True)).rsqrt()
        ridge = self.log_ridge.exp() * torch.eye(features.shape[2], device=features.device)
        normal = weighted.transpose(1, 2) @ standard[:, :support] / support + ridge
        return standard[:, support:] @ torch.linalg.solve(normal, weighted.transpose(1, 2) @ known / support)

    def weights(self) -> FeatureWeights:
        """Return what ships."""
        layers = (self.first.weight, self.first.bias, self.second.weight, self.second.bias)
        return FeatureWeights(*(one.detach().cpu() for one in layers))


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
    return (
        nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=_DELTA).mean(2) * weight
    ).mean()


def restored(checkpoint: Path, args: argparse.Namespace) -> FeatureWeights:
    """Return what a checkpoint holds."""
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} does not exist: leave out --score-only, and it is trained")
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = Features(args.hidden, args.features, len(stored["network"]["output.bias"]))
    return averaged(network, stored["average"])


def averaged(network: Features, average: list[torch.Tensor]) -> FeatureWeights:
    """Return the weights that the moving average has reached."""
    with torch.no_grad():
        for value, mean in zip(network.parameters(), average, strict=True):
            value.copy_(mean)
    return network.weights()


def train(files: list[Path], checkpoint: Path, args: argparse.Namespace, parts: int) -> FeatureWeights:
    """Train for the time of one of some parts; continue from the checkpoint where there is one."""
    seconds = args.seconds / parts
    device, draw = torch.device(args.device), random.Random(args.seed)
    torch.manual_seed(args.seed)
    scenes = [Pixels.of(file, args.pixels, device) for file in files]
    network = Features(args.hidden, args.features, scenes[0].residual.shape[1]).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=args.decay, betas=(0.9, 0.98))
    average = [value.detach().clone() for value in network.parameters()]
    done, step = 0.0, 0
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(stored["network"])
        optimiser.load_state_dict(stored["optimiser"])
        average, done, step = stored["average"], stored["done"], stored["step"]
    clock = time.process_time if device.type == "cpu" else time.monotonic
    began, saved, support = clock() - done, done, round(_SUPPORT * args.batch / _SCENES_PER_BATCH)
    source = batches(scenes, args, draw)

    def save() -> None:
        stored = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
        partial = checkpoint.with_suffix(".part")
        torch.save({**stored, "done": clock() - began, "step": step}, partial)
        partial.replace(checkpoint)

    while (done := clock() - began) < seconds:
        fraction = done / seconds
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1.0, (fraction + 1e-3) / 0.04) * (0.5 + 0.5 * math.cos(math.pi * fraction))
        described, residual, weight = next(source)
        features = network(described)
        losses = [
            args.shared * loss_of(network.output(features) - residual, weight),
            args.solved
            * loss_of(network.solved(features, residual, support) - residual[:, support:], weight[:, support:]),
        ]
        optimiser.zero_grad(set_to_none=True)
        sum(losses).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        torch._foreach_lerp_(average, [p.detach() for p in network.parameters()], 1 - min(0.998, step / (step + 9)))
        if step % 500 == 0:
            base = float(loss_of(residual, weight))
            values = " ".join(f"{float(one) / base:.4f}" for one in losses)
            print(f"{checkpoint.stem} {done:.0f} s, step {step}, {step * args.batch} pixels: {values}", flush=True)
        if clock() - began - saved > args.save_every:
            saved = clock() - began
            save()
    save()
    return averaged(network, average)
