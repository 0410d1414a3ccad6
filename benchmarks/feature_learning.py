"""Learn feature maps from crops of scenes: what benchmarks/feature_training.py trains.

Scenes of one degradation and their residuals are resident on the device. A step takes crops of a few scenes of one
degradation. The features' own prediction must explain what the default method lacks, and so must weights that ridge
regression draws there and fits to the LR pixels of these crops: the gradient goes through the solution (Bertinetto et
al., Meta-learning with differentiable closed-form solvers, ICLR 2019).
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from feature_scenes import Task, save
from hyperfuse.methods.feinfn.trained_features import (
    IMAGE_RUNS,
    FeatureNetwork,
    band_runs,
    contrast,
    description,
    raw_description,
)
from hyperfuse.sensor.model import Sensor

_MARGIN = 2  # LR pixels of a crop along its border, of which too little is seen
_LARGEST = 10.0  # times a band's RMS: the largest residual that is learnt
_LINEAR = 4.0  # beyond it the loss is linear
# A crop is drawn as often as this, plus its energy relative to the mean of its scene, up to the second number.
_OFTEN, _MOST_OFTEN = 0.3, 4.0
_AVERAGE = 0.998  # decay of the moving average of the weights


@dataclass(frozen=True)
class Crops:
    """A batch: ``scenes`` times ``crops`` images, those of a scene one after the other.

    Attributes:
        image: runs of its bands, in units of the mean radiance, (B, IMAGE_RUNS, H, W).
        held_out: the same of the image that held-out residuals belong to.
        msi: likewise, (B, msi_bands, H, W).
        contrast: of MSI and image, (B, 2).
        error: what the default's image lacks of the reference, in units of its RMS in the scene, (B, bands, H, W).
        left_over: what the default's held-out predictions leave of the HSI, in the same units, (B, bands, h, w).
        weight: of each crop, (B,).
    """

    image: torch.Tensor
    held_out: torch.Tensor
    msi: torch.Tensor
    contrast: torch.Tensor
    error: torch.Tensor
    left_over: torch.Tensor
    weight: torch.Tensor


class Scenes:
    """Scenes of one degradation, resident on a device.

    Args:
        tasks: prepared scenes of the same size.
        device: where to.
        side: of crops, HR pixels.
    """

    def __init__(self, tasks: list[Task], device: torch.device, side: int) -> None:
        self.names = [task.name for task in tasks]
        kept = [torch.load(task.file, weights_only=False) for task in tasks]
        self.image, self.held_out, self.msi, error, left_over = (
            torch.stack([one[part] for one in kept]).to(device)
            for part in ("image", "held_out", "msi", "error", "left_over")
        )
        self.sensor: Sensor = kept[0]["sensor"]
        self.ratio, self.device = round(self.sensor.ratio[0]), device
        self.side = side // self.ratio * self.ratio
        unit = error.float().square().mean((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        self.error = (error.float() / unit).clamp(-_LARGEST, _LARGEST).half()
        self.left_over = (left_over / unit).clamp(-_LARGEST, _LARGEST)
        runs = [band_runs(one.float(), IMAGE_RUNS) for one in self.image]
        self.units = torch.stack(
            [torch.stack([a.mean(), b.float().mean()]) for a, b in zip(runs, self.msi, strict=True)]
        )
        self.contrast = torch.stack(
            [
                contrast(raw_description(image, msi.float(), units, 4))
                for image, msi, units in zip(runs, self.msi, self.units, strict=True)
            ]
        )
        lr_side = self.side // self.ratio
        energy = F.avg_pool2d(self.error.float().square().mean(1, keepdim=True), self.ratio)
        energy = F.avg_pool2d(energy, lr_side, 1)[:, 0]
        relative = energy / energy.mean((1, 2), keepdim=True)
        self.often, self.starts = (_OFTEN + relative.clamp_max(_MOST_OFTEN)).flatten(1), energy.shape[2]
        self._matrices: dict[int, torch.Tensor] = {}

    def degrade(self, maps: torch.Tensor) -> torch.Tensor:
        """Degrade square crops (B, n, H, H), a product along each axis."""
        side = maps.shape[-1]
        if side not in self._matrices:
            lines = torch.eye(side, dtype=torch.float64)[:, :, None].expand(-1, -1, side).contiguous()
            self._matrices[side] = self.sensor.degrade(lines)[:, :, 0].T.float().to(self.device)
        matrix = self._matrices[side]
        return matrix @ maps @ matrix.T

    def draw(self, scenes: int, crops: int) -> Crops:
        """Draw crops of some scenes, those of large errors more often, and with less weight."""
        drawn = torch.randperm(len(self.names), device=self.device)[:scenes]
        start = torch.multinomial(self.often[drawn], crops, replacement=True)
        weight = 1 / self.often[drawn].gather(1, start).flatten()
        start, scene = start.flatten(), drawn.repeat_interleave(crops)
        row, col = start // self.starts, start % self.starts

        def part(images: torch.Tensor, scale: int) -> torch.Tensor:
            pixel = torch.arange(self.side // self.ratio * scale, device=self.device)
            rows, cols = ((scale * at)[:, None] + pixel for at in (row, col))
            bands = torch.arange(images.shape[1], device=self.device)
            at = scene[:, None, None, None], bands[:, None, None], rows[:, None, :, None], cols[:, None, None, :]
            return images[at].float()

        of_image, of_msi = self.units[scene][:, :, None, None, None].unbind(1)
        return Crops(
            band_runs(part(self.image, self.ratio), IMAGE_RUNS) / of_image,
            band_runs(part(self.held_out, self.ratio), IMAGE_RUNS) / of_image,
            part(self.msi, self.ratio) / of_msi,
            self.contrast[scene],
            part(self.error, self.ratio),
            part(self.left_over, 1),
            weight / weight.mean(),
        )


def varied(crops: Crops, args: argparse.Namespace) -> Crops:
    """Change gain, contrast, the slope and bend of spectra, and how much bands of the MSI overlap."""

    def normal(strength: float) -> torch.Tensor:
        return strength * torch.randn(len(crops.weight), 1, device=crops.weight.device)

    gain, slope, bend = normal(args.gain), normal(args.curve), normal(args.curve)

    def curve(bands: int) -> torch.Tensor:
        at = torch.linspace(-1, 1, bands, device=gain.device)
        return (gain + slope * at + bend * (at.square() - 1 / 3)).exp()[:, :, None, None]

    factors, bands = curve(IMAGE_RUNS), crops.msi.shape[1]
    overlap = torch.rand(len(gain), bands, bands, device=gain.device)
    share = args.overlap * torch.rand(len(gain), 1, 1, device=gain.device)
    mixed = torch.lerp(torch.eye(bands, device=gain.device), overlap / overlap.sum(2, keepdim=True), share)
    return replace(
        crops,
        image=crops.image * factors,
        held_out=crops.held_out * factors,
        msi=torch.einsum("bij,bjhw->bihw", mixed, crops.msi * curve(bands)),
        contrast=crops.contrast * normal(args.contrast).exp(),
    )


def described(image: torch.Tensor, msi: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Return what the network receives of images in units of the mean radiance, channels last."""
    units = torch.ones(2, device=msi.device)
    return description(raw_description(image, msi, units), contrast).contiguous(memory_format=torch.channels_last)


def huber(error: torch.Tensor) -> torch.Tensor:
    """Return the square, beyond a limit linear."""
    size = error.abs()
    return torch.where(size < _LINEAR, error.square(), 2 * _LINEAR * size - _LINEAR**2)


def ridge(
    features: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, strength: torch.Tensor | float
) -> torch.Tensor:
    """Return weights (..., k, bands) of features (..., n, k) for targets (..., n, bands), by weight (..., n)."""
    weighted, total = features * weight[..., None], weight.sum(-1)[..., None, None]
    normal = weighted.transpose(-1, -2) @ features / total
    normal = normal + strength * torch.eye(features.shape[-1], device=features.device)
    return torch.linalg.solve(normal, weighted.transpose(-1, -2) @ targets / total)


def reliability(residual: torch.Tensor) -> torch.Tensor:
    """Return the weight of each pixel of (..., n, bands) in least squares."""
    return (1 + residual.square().mean(-1)).rsqrt()


class Learner:
    """A network in training.

    Args:
        network: with random weights.
        args: of the command.
    """

    def __init__(self, network: FeatureNetwork, args: argparse.Namespace) -> None:
        self.args, device = args, torch.device(args.device)
        start = {field.name: getattr(network, field.name) for field in fields(network)}
        self.network = FeatureNetwork(**{k: v.to(device).requires_grad_() for k, v in start.items()})
        self.log_ridge = torch.tensor(-3.0, device=device, requires_grad=True)
        self.parameters = [*vars(self.network).values(), self.log_ridge]
        self.average = [value.detach().clone() for value in self.parameters]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=args.rate, weight_decay=args.decay, betas=(0.9, 0.98), fused=device.type == "cuda"
        )
        self.steps = 0

    def averaged(self) -> FeatureNetwork:
        """Return the network of the moving average of the weights."""
        names = [field.name for field in fields(self.network)]
        return FeatureNetwork(**dict(zip(names, self.average[:-1], strict=True)))

    def step(self, scenes: Scenes, rate: float) -> torch.Tensor:
        """Take a step; return both losses relative to that without a prediction."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.losses(scenes)
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.steps += 1
        decay = min(_AVERAGE, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self.average, [one.detach() for one in self.parameters], 1 - decay)
        return losses.detach()

    def losses(self, scenes: Scenes) -> torch.Tensor:
        """Return the losses of the features' own prediction, and of weights fitted to LR pixels."""
        args, turn, flip = self.args, random.randrange(4), random.random() < 0.5
        with torch.no_grad():
            crops = varied(scenes.draw(args.scenes_per_step, args.crops), args)
            both = torch.cat([crops.image, crops.held_out]), crops.msi.repeat(2, 1, 1, 1)
            turned = (torch.rot90(one.flip(-1) if flip else one, turn, (-2, -1)) for one in both)
            inputs = described(*turned, crops.contrast.repeat(2, 1))
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
            features = self.network(inputs)
        features = torch.rot90(features.float(), -turn, (-2, -1))
        features = features.flip(-1) if flip else features
        groups = min(args.scenes_per_step, len(scenes.names))

        def pixels(images: torch.Tensor, margin: int) -> torch.Tensor:
            inside = images[:, :, margin:-margin, margin:-margin].flatten(2).transpose(1, 2)
            return inside.reshape(groups, -1, images.shape[1])

        count = len(crops.weight)
        wanted, error = (pixels(one, _MARGIN * scenes.ratio) for one in (features[:count], crops.error))
        support, left_over = pixels(scenes.degrade(features[count:]), _MARGIN), pixels(crops.left_over, _MARGIN)
        of_crops = crops.weight.reshape(groups, -1)
        weight = of_crops.repeat_interleave(error.shape[1] // of_crops.shape[1], 1)
        offset, deviation = support.mean(1, keepdim=True), support.std(1, keepdim=True) + 1e-3
        own = self.network.prediction(error.shape[2]).T * deviation.transpose(1, 2)
        standard = (support - offset) / deviation
        drawn = ridge(standard, left_over - standard @ own, reliability(left_over), self.log_ridge.exp()) + own
        low, high = (one.detach() for one in support.aminmax(dim=1, keepdim=True))
        limited = torch.minimum(torch.maximum(wanted, low), high)
        limited = (limited - offset) / deviation
        without = (huber(error).mean(2) * weight).mean()
        return torch.stack([(huber(limited @ one - error).mean(2) * weight).mean() / without for one in (own, drawn)])


_LOG_RIDGES = (-7.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0)
_FRACTIONS = (0.0, 0.5, 1.0)
_BLOCKS = 5  # of LR pixels along an axis, a fold each


@torch.no_grad()
def gain(network: FeatureNetwork, scenes: Scenes, number: int) -> tuple[float, float]:
    """Return what a whole scene gains, in dB: by weights fitted to its LR pixels, and by the features' own prediction.

    Quicker than the method itself, which fits the weights of all its features together.
    """
    of_image, of_msi = scenes.units[number]
    msi = scenes.msi[number].float() / of_msi

    def features(image: torch.Tensor) -> torch.Tensor:
        runs = band_runs(image.float(), IMAGE_RUNS) / of_image
        return network(described(runs[None], msi[None], scenes.contrast[number][None]))[0]

    degraded = scenes.degrade(features(scenes.held_out[number])[None])[0]
    at_lr, left_over = degraded.flatten(1).T, scenes.left_over[number].flatten(1).T
    weight = reliability(left_over)
    offset, deviation = at_lr.mean(0), at_lr.std(0) + 1e-3
    standard = (at_lr - offset) / deviation
    own = (network.prediction(left_over.shape[1]) * deviation).T
    block = [torch.arange(size, device=at_lr.device) * _BLOCKS // size for size in degraded.shape[1:]]
    fold = ((2 * block[0][:, None] + block[1]) % _BLOCKS).flatten()
    found, errors = [], []
    for strength in (math.exp(one) for one in _LOG_RIDGES):
        whole = ridge(standard, torch.cat([left_over, standard @ own], 1), weight, strength).chunk(2, 1)
        left = [torch.zeros_like(left_over) for _ in _FRACTIONS]
        for one in range(_BLOCKS):
            kept, out = fold != one, fold == one
            targets = torch.cat([left_over, standard @ own], 1)[kept]
            free, explained = ridge(standard[kept], targets, weight[kept], strength).chunk(2, 1)
            for some, fraction in zip(left, _FRACTIONS, strict=True):
                some[out] = left_over[out] - standard[out] @ (free + fraction * (own - explained))
        for some, fraction in zip(left, _FRACTIONS, strict=True):
            found.append(whole[0] + fraction * (own - whole[1]))
            errors.append((some.square() * weight[:, None]).sum(0))
    best = torch.stack(errors).argmin(0)
    weights = torch.stack(found)[best, :, torch.arange(len(best), device=best.device)].T
    low, high = at_lr.aminmax(dim=0)
    wanted = features(scenes.image[number]).flatten(1).T.clamp(low, high)
    wanted, error = (wanted - offset) / deviation, scenes.error[number].float().flatten(1).T
    before = error.square().mean(0)
    both = [float(10 * (before / (wanted @ one - error).square().mean(0)).log10().mean()) for one in (weights, own)]
    return both[0], both[1]


def train(tasks: dict[str, list[Task]], left_out: list[str], checkpoint: Path, args: argparse.Namespace) -> list[Any]:
    """Train for some time on scenes of each degradation but those left out; keep what was reached at every check.

    The time is that of the processor on one, and includes reading and checks. Continues where there is a checkpoint.
    Checks print the gain of the scenes left out. Returns what every check has reached.
    """
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    torch.backends.cudnn.benchmark = True
    clock = time.process_time if device.type == "cpu" else time.monotonic
    opened = clock()
    training = [Scenes([one for one in some if one.name not in left_out], device, args.crop) for some in tasks.values()]
    checked = {
        name: Scenes([one for one in some if one.name in left_out], device, args.crop)
        for name, some in list(tasks.items())[: args.checked]
        if left_out
    }
    network = FeatureNetwork.untrained(args.hidden, args.features, args.blocks)
    learner, done, history = Learner(network, args), 0.0, list[Any]()
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=device, weights_only=True)
        with torch.no_grad():
            torch._foreach_copy_(learner.parameters, stored["parameters"])
        learner.optimiser.load_state_dict(stored["optimiser"])
        learner.average, learner.steps = stored["average"], stored["steps"]
        done, history = stored["done"], stored["history"]
    began, last, losses = opened - done, done, []
    start = clock() - began
    print(f"{checkpoint.stem}: {clock() - opened:.0f} s for reading", flush=True)

    def check() -> None:
        averaged = learner.averaged()
        entry = {"seconds": clock() - began, "steps": learner.steps, "gains": {}}
        for name, scenes in checked.items():
            entry["gains"][name] = {one: gain(averaged, scenes, at) for at, one in enumerate(scenes.names)}
            means = torch.tensor(list(entry["gains"][name].values())).mean(0).tolist()
            print(f"{checkpoint.stem} {done:.0f} s, {name}: {means[0]:+.3f} dB, own {means[1]:+.3f}", flush=True)
        shipped = {field.name: getattr(averaged, field.name).detach().cpu().half() for field in fields(averaged)}
        history.append({**entry, "network": shipped})
        state = {"parameters": learner.parameters, "optimiser": learner.optimiser.state_dict()}
        progress = {"average": learner.average, "steps": learner.steps, "done": done, "history": history}
        save(checkpoint, {**state, **progress})

    while (done := clock() - began) < args.seconds:
        fraction = (done - start) / (args.seconds - start)
        warm_up = min(1.0, (fraction + 1e-3) / 0.04)
        rate = args.rate * warm_up * (0.02 + 0.49 * (1 + math.cos(math.pi * fraction)))
        losses.append(learner.step(random.choice(training), rate))
        if learner.steps % 200 == 0:
            means = torch.stack(losses).mean(0).tolist()
            losses = []
            print(f"{checkpoint.stem} {done:.0f} s, step {learner.steps}: {means[0]:.4f} {means[1]:.4f}", flush=True)
        if done - last > args.every:
            last = done
            check()
    check()
    return history
