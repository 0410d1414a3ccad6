"""Train feature maps for the regression of residuals on scenes in folds, and score them on the scenes left out.

    python benchmarks/feature_training.py DATA OUT --seconds 400

DATA is a folder of CAVE or a file of packed scenes (`hyperfuse data pack`). Every fifth scene in alphabetical order makes
a fold, with an offset of the fold's number. In this order, each part continued where it was stopped:

1. Every scene is degraded and fused by the default without trained features, in parallel processes (OUT/prepared).
2. For each fold, and once for all scenes: two layers are trained on what the default's image lacks of the reference, in
   units of each band's residual. The loss is that of an output layer for all scenes (`--shared`), and of one that ridge
   regression solves for each scene in a batch from two thirds of its pixels, at the others, with the gradient through
   the solution (`--solved`; Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019). Gain,
   spectral curve, contrast and orientation are random. Checkpoints in OUT/fold-N.pt.
3. The scenes left out are fused with these features, and with those of weights that were not trained.

OUT gets `features.safetensors` (trained on all scenes; `--set features=FILE` of the method feinfn reads it), `scores.json`
and `scores.md`. `--ratio 8`, `--preset dhif` and `--score-only` score trained features on other degradations. On a CPU a
fold of 100 seconds is 11 million pixels.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

import hyperfuse as hf
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearModel
from hyperfuse.methods.feinfn.pretrained import save_features
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression
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
from hyperfuse.methods.local_linear.predictors import pooled_noise
from hyperfuse.progress import silent

SRF = "nikon-d700"
FOLDS, ALL = 5, "all"
_SCENES_PER_BATCH, _SUPPORT = 4, 2 / 3
_LARGEST = 10.0  # times a band's RMS: the largest residual that is learnt
_DELTA = 3.0  # beyond it the loss is linear


@dataclass(frozen=True)
class Task:
    """A scene and how it is degraded."""

    data: Path
    name: str
    ratio: int
    preset: str
    side: int | None
    folder: Path

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.folder / f"{self.name}-x{self.ratio}-{self.preset}.pt"


def prepare(task: Task) -> str:
    """Fuse a scene by the default without trained features, and keep what training and scoring need."""
    if task.file.exists():
        return f"{task.name}: kept"
    torch.set_num_threads(1)
    start, scene = time.process_time(), hf.open_dataset("cave", task.data).load(task.name)
    if task.side is not None:
        scene = scene.replace(data=np.ascontiguousarray(scene.data[:, : task.side, : task.side]))
    simulated = hf.simulate(scene, ratio=task.ratio, preset=task.preset, srf=SRF)
    hsi, msi = (torch.tensor(one.data) for one in (simulated.hsi, simulated.msi))
    pair = PairTensors(hsi, msi, simulated.sensor)
    model, fused = LinearModel.fit([pair], silent, regress=True)
    assert fused is not None
    # What scoring starts from: everything up to the regression.
    linear = fused if model.regression is None else replace(model, regression=None).apply(pair)
    agreeing = model.agreeing(pair)
    held_out = linear.held_out()
    kept = {
        "reference": torch.tensor(np.ascontiguousarray(scene.data)),
        "default": fused.image,
        "guided": linear.guided(),
        "held_out": held_out,
        "hsi": linear.hsi,
        "noise": pooled_noise([agreeing.hsi]),
        "noisy": model.with_noise(agreeing, linear.predictors, linear.hsi),
    }
    partial = task.file.with_suffix(".part")
    torch.save(kept, partial)
    partial.replace(task.file)
    gain = psnr(kept["default"], kept["reference"]) - psnr(linear.image, kept["reference"])
    return f"{task.name}: the regression adds {gain:.3f} dB, {time.process_time() - start:.0f} s"


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the mean over bands, in dB, for values in [0, 1]."""
    return float((-10 * (image.clamp(0, 1) - reference).square().mean((1, 2)).log10()).mean())


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


def train(files: list[Path], checkpoint: Path, seconds: float, args: argparse.Namespace) -> FeatureWeights:
    """Train for some seconds; continue from the checkpoint where there is one."""
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
    began, saved, support, source = clock() - done, done, round(_SUPPORT * args.batch / _SCENES_PER_BATCH), None
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
    with torch.no_grad():
        for value, mean in zip(network.parameters(), average, strict=True):
            value.copy_(mean)
    return network.weights()


def score(file: Path, weights: FeatureWeights) -> tuple[float, float]:
    """Return the PSNR of the default's image without trained features and with them, before data consistency."""
    kept = torch.load(file, weights_only=False)
    found = ResidualRegression.fit([kept["held_out"]], [kept["hsi"]], kept["noise"], kept["noisy"], weights)
    guided = kept["guided"]
    image = guided.image if found is None else found.predict(guided) + guided.image
    return psnr(kept["default"], kept["reference"]), psnr(image, kept["reference"])


def untrained(args: argparse.Namespace) -> FeatureWeights:
    """Return weights of which nothing was trained."""
    torch.manual_seed(args.seed)
    return Features(args.hidden, args.features, 1).weights()


def table(scores: dict[str, Any]) -> list[str]:
    """Return the scores as Markdown."""
    lines = [
        "| scene | fold | default (dB) | trained features | the same, not trained |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in scores.items():
        gains = [f"{row[part] - row['default']:+.3f}" for part in ("trained", "untrained")]
        lines.append(f"| {name} | {row['fold']} | {row['default']:.3f} | {' | '.join(gains)} |")
    gains = {part: [row[part] - row["default"] for row in scores.values()] for part in ("trained", "untrained")}
    means = " | ".join(f"{np.mean(some):+.3f} ({min(some):+.3f} to {max(some):+.3f})" for some in gains.values())
    return [*lines, f"| mean | | {np.mean([row['default'] for row in scores.values()]):.3f} | {means} |"]


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of CAVE, or a file of packed scenes")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument("--seconds", type=float, default=400, help="of training, over all folds and all scenes [400]")
    parser.add_argument(
        "--fold", action="append", choices=[*map(str, range(FOLDS)), ALL], help="repeatable [all of them]"
    )
    parser.add_argument("--score-only", action="store_true", help="with the checkpoints that are there")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare scenes [cores]")
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--preset", default="uestc", choices=["uestc", "dhif", "mtf"])
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--features", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8192, help="pixels, of four scenes [8192]")
    parser.add_argument("--pixels", type=int, default=60000, help="of each scene [60000]")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate [2e-3]")
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights [1e-2]")
    parser.add_argument("--shared", type=float, default=1.0, help="weight of the loss of the output layer [1]")
    parser.add_argument("--solved", type=float, default=1.0, help="weight of the loss of solved layers [1]")
    parser.add_argument("--gain", type=float, default=0.2, help="deviation of the logarithm of the radiance [0.2]")
    parser.add_argument("--curve", type=float, default=0.1, help="deviation of slope and bend of spectra [0.1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=60, help="seconds [60]")
    parser.add_argument("--scenes", type=int, help="at most, to try this script out")
    parser.add_argument("--side", type=int, help="side of the part of a scene that is used, to try this script out")
    return parser.parse_args()


def main() -> None:
    """Prepare, train, score."""
    args = parsed()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    folder = args.output / "prepared"
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(hf.open_dataset("cave", args.data).names)[: args.scenes]
    tasks = [Task(args.data, name, args.ratio, args.preset, args.side, folder) for name in names]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(prepare, tasks):
            print(line, flush=True)
    folds = args.fold or [*map(str, range(FOLDS)), ALL]
    scores: dict[str, Any] = {}
    for fold in folds:
        left_out = [] if fold == ALL else tasks[int(fold) :: FOLDS]
        checkpoint = args.output / f"fold-{fold}.pt"
        files = [task.file for task in tasks if task not in left_out]
        # At the end of the time that its checkpoint has reached, nothing is trained.
        weights = train(files, checkpoint, 0.0 if args.score_only else args.seconds / len(folds), args)
        if fold == ALL:
            save_features(weights, args.output / "features.safetensors")
        for task in left_out:
            default, trained = score(task.file, weights)
            row = {"fold": fold, "default": default, "trained": trained}
            scores[task.name] = {**row, "untrained": score(task.file, untrained(args))[1]}
            print(
                task.name,
                {key: one if key == "fold" else round(one, 3) for key, one in scores[task.name].items()},
                flush=True,
            )
    if scores:
        record = {"arguments": {key: str(value) for key, value in vars(args).items()}, "scores": scores}
        suffix = f"x{args.ratio}-{args.preset}"
        (args.output / f"scores-{suffix}.json").write_text(json.dumps(record, indent=1) + "\n")
        lines = table(scores)
        (args.output / f"scores-{suffix}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
