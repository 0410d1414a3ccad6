"""Train `feinfn` from scratch on packed scenes for a given wall time, everything on one device, and score it.

    python benchmarks/feinfn_train.py scenes.pack OUT --seconds 360

The paper's row (CAVE x4, preset `uestc`, Nikon D700): crops of 64x64 of the 16 scenes that are not held out, in eight
orientations. A scene is rotated or flipped before it is degraded, because the preset samples half a pixel off the
centres of its blocks. AdamW with one cycle of the learning rate over the wall time, gradients normalised, a moving
average of the weights. The four scenes held out, every fifth in alphabetical order, are scored whole. OUT gets
`train.json` (all numbers), `scores.md` and `model/`, which `hyperfuse.from_pretrained` reads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from hyperfuse.datasets.packed import read_index, read_packed
from hyperfuse.metrics import evaluate
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import save_pretrained
from hyperfuse.sensor.presets import uestc
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.losses import weighted_loss

RATIO, PATCH = 4, 64
SRF = "nikon-d700"
ORIENTATIONS = 8
HELD_OUT_EVERY = 5
METRICS = ("psnr_db", "sam_degrees", "ergas", "ssim")
LOSS = {"l1": 1.0, "ssim": 0.1}


@dataclass(frozen=True)
class Scenes:
    """Pairs with their references, channels last, so that crops are gathered in one operation each.

    Attributes:
        reference: (n, H, W, bands).
        msi: (n, H, W, msi_bands).
        hsi: (n, h, w, bands).
    """

    reference: torch.Tensor
    msi: torch.Tensor
    hsi: torch.Tensor

    def crops(self, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gather random crops: (B, bands, p, p), (B, msi_bands, P, P) and (B, bands, P, P)."""
        device, small = self.hsi.device, PATCH // RATIO
        scene = torch.randint(self.hsi.shape[0], (batch, 1, 1), device=device)
        row, column = (torch.randint(n - small + 1, (batch, 1, 1), device=device) for n in self.hsi.shape[1:3])

        def window(images: torch.Tensor, scale: int) -> torch.Tensor:
            pixel = torch.arange(scale * small, device=device)
            rows, columns = scale * row + pixel.view(1, -1, 1), scale * column + pixel.view(1, 1, -1)
            return images[scene, rows, columns].permute(0, 3, 1, 2)

        return window(self.hsi, 1), window(self.msi, RATIO), window(self.reference, RATIO)


def read_scenes(file: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Read scenes on several threads."""
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda name: read_packed(file, name).data, names), strict=True))


def make_pairs(cubes: list[np.ndarray], device: torch.device, orientations: int) -> Scenes:
    """Degrade scenes in some of their orientations."""
    bands = cubes[0].shape[0]
    srf = create_srf(SRF, bands, wavelengths=np.linspace(400.0, 700.0, bands))
    sensor = uestc(RATIO, srf)
    parts: tuple[list[torch.Tensor], ...] = ([], [], [])
    for cube in cubes:
        upright = torch.as_tensor(cube).to(device)
        for turn in range(orientations):
            image = torch.rot90(upright, turn % 4, (1, 2))
            image = (image.flip(2) if turn >= 4 else image).contiguous()
            for part, one in zip(parts, (image, sensor.respond(image), sensor.degrade(image)), strict=True):
                part.append(one.permute(1, 2, 0))
    reference, msi, hsi = (torch.stack(part).contiguous() for part in parts)
    return Scenes(reference, msi, hsi)


def score(
    fuse: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], scenes: Scenes, names: list[str]
) -> dict[str, dict[str, float]]:
    """Score whole scenes by the metrics of the paper's tables."""

    def score_one(number: int) -> dict[str, float]:
        hsi, msi = (x[number : number + 1].permute(0, 3, 1, 2) for x in (scenes.hsi, scenes.msi))
        with torch.no_grad():
            fused = fuse(hsi, msi)[0].float().cpu().numpy()
        reference = scenes.reference[number].permute(2, 0, 1).cpu().numpy()
        scores: Any = evaluate(reference, fused, RATIO, peak=1.0, clip=True)
        return {metric: float(scores[metric]) for metric in METRICS}

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(names, pool.map(score_one, range(len(names))), strict=True))
    found["mean"] = {metric: float(np.mean([scores[metric] for scores in found.values()])) for metric in METRICS}
    return found


def psnr_of(fuse: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], scenes: Scenes) -> float:
    """Return the mean PSNR of whole scenes, computed on the device: per band, then per scene, then over scenes."""
    values = []
    for number in range(scenes.hsi.shape[0]):
        hsi, msi, reference = (
            x[number : number + 1].permute(0, 3, 1, 2) for x in (scenes.hsi, scenes.msi, scenes.reference)
        )
        with torch.no_grad():
            errors = (fuse(hsi, msi).clamp(0, 1) - reference).square().mean((0, 2, 3))
        values.append(float((-10 * errors.log10()).mean()))
    return sum(values) / len(values)


class Trainer:
    """Network, optimiser and moving average.

    Args:
        network: to train, on its device.
        rate: the highest learning rate.
        decay: of the moving average.
        compiled: whether loss and network are compiled together.
    """

    def __init__(self, network: Any, rate: float, decay: float, *, compiled: bool) -> None:
        self.network, self.rate, self.decay = network, rate, decay
        self.parameters = list(network.parameters())
        on_gpu = self.parameters[0].device.type == "cuda"
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=1e-4, fused=on_gpu)
        self.average = [p.detach().clone() for p in self.parameters]
        self.good = [p.clone() for p in self.average]
        loss = weighted_loss(LOSS)

        def total(hsi: torch.Tensor, msi: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            return loss(network(hsi, msi), reference)

        self.loss = torch.compile(total, dynamic=False) if compiled else total
        self.steps, self.best = 0, math.inf

    def step(self, crops: tuple[torch.Tensor, torch.Tensor, torch.Tensor], done: float) -> torch.Tensor:
        """Take a step at the fraction ``done`` of the time; return the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * one_cycle(done)
        value = self.loss(*crops)
        self.optimiser.zero_grad()
        value.backward()
        # Far below a usual norm: in effect gradients are normalised, so that no batch moves the weights far.
        torch.nn.utils.clip_grad_norm_(self.parameters, 1e-2)
        self.optimiser.step()
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return value.detach()

    def keep(self, value: float) -> bool:
        """Remember the weights; or, where the loss is not finite or has jumped, restore the last good ones.

        After a restoration the optimiser starts anew, with half the learning rate.

        Args:
            value: mean loss since the last call.

        Returns:
            Whether the weights are good.
        """
        good = math.isfinite(value) and value < 3 * self.best
        good = good and all(bool(torch.isfinite(p).all()) for p in self.average)
        with torch.no_grad():
            if good:
                self.best = min(self.best, value)
                torch._foreach_copy_(self.good, self.average)
            else:
                torch._foreach_copy_(self.average, self.good)
                torch._foreach_copy_(self.parameters, self.good)
                self.optimiser.state.clear()
                self.rate *= 0.5
        return good

    def averaged(self) -> Any:
        """Return a copy of the network with averaged weights."""
        network = create_network(
            self.network.name,
            hsi_bands=self.network.hsi_bands,
            msi_bands=self.network.msi_bands,
            **self.network.options.model_dump(),
        ).to(self.parameters[0].device)
        with torch.no_grad():
            torch._foreach_copy_(list(network.parameters()), self.average)
        return network.eval()


def one_cycle(done: float, warm_up: float = 0.05, last: float = 0.01) -> float:
    """Return the learning rate as a fraction of the highest one."""
    if done < warm_up:
        return 0.05 + 0.95 * done / warm_up
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up))))


def bicubic(hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
    """Return the HSI resampled to the MSI's grid, the image that a network starts from."""
    return F.interpolate(hsi, size=msi.shape[-2:], mode="bicubic", align_corners=False)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Read, train, save at intervals; return the record."""
    start, device = time.monotonic(), torch.device(args.device)
    on_gpu = device.type == "cuda"
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True
    names = sorted(read_index(args.data).scenes)
    held_out = names[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    training = [name for name in names if name not in held_out][: args.scenes]
    cubes = read_scenes(args.data, [*training, *held_out])
    cubes = {name: cube[:, : args.side, : args.side] for name, cube in cubes.items()}
    scenes = make_pairs([cubes[name] for name in training], device, ORIENTATIONS)
    validation = make_pairs([cubes[name] for name in held_out], device, 1)
    torch.set_float32_matmul_precision("high")  # not before: pairs are made in full precision
    pixels = sum(x.numel() * x.element_size() for x in (scenes.reference, scenes.msi, scenes.hsi))
    print(f"{len(training)} scenes on {device}: {pixels / 2**30:.1f} GiB, {time.monotonic() - start:.1f} s", flush=True)

    options = {} if args.width is None else {"width": args.width, "encoder_blocks": 1, "decoder_width": args.width}
    precision = "bfloat16" if on_gpu else "float32"
    network = create_network(args.network, hsi_bands=31, msi_bands=3, precision=precision, **options).to(device)
    network.zero_output_layer()
    trainer = Trainer(network, args.rate, args.decay, compiled=args.compiled)
    baseline = psnr_of(bicubic, validation)
    record: dict[str, Any] = {
        "network": args.network,
        "options": network.options.model_dump(mode="json"),
        "held_out": held_out,
        "training": training,
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "batch": args.batch,
        "rate": args.rate,
        "loss": LOSS,
        "bicubic_psnr_db": baseline,
        "restored": [],
        "log": [],
    }
    print(f"held out: {', '.join(held_out)}; bicubic {baseline:.2f} dB", flush=True)

    began, deadline = time.monotonic(), start + args.seconds
    checked, losses = began, []
    while (now := time.monotonic()) < deadline:
        losses.append(trainer.step(scenes.crops(args.batch), (now - began) / max(deadline - began, 1e-9)))
        if len(losses) < args.check and (trainer.steps > 1 or not on_gpu):
            continue
        mean = float(torch.stack(losses).mean())  # waits for the device
        losses = []
        if not trainer.keep(mean):
            record["restored"].append(trainer.steps)
            print(f"step {trainer.steps}: loss {mean:.3g}; back to the last good weights, half the rate", flush=True)
        if time.monotonic() - checked > args.every:
            checked = time.monotonic()
            averaged = trainer.averaged()
            entry = {
                "seconds": checked - began,
                "steps": trainer.steps,
                "patches": trainer.steps * args.batch,
                "loss": mean,
                "psnr_db": psnr_of(averaged, validation),
            }
            record["log"].append(entry)
            print(" ".join(f"{k} {v:.5g}" for k, v in entry.items()), flush=True)
            save(averaged, record, args.output)
            averaged = None
    record.update(
        steps=trainer.steps,
        patches=trainer.steps * args.batch,
        seconds=time.monotonic() - began,
        patches_per_second=trainer.steps * args.batch / (time.monotonic() - began),
    )
    if on_gpu:
        record["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    averaged = trainer.averaged()
    save(averaged, record, args.output)
    print(f"{record['patches']} patches, {record['patches_per_second']:.0f} per second", flush=True)

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    record["training_psnr_db"] = psnr_of(averaged, Scenes(*(x[::ORIENTATIONS] for x in vars(scenes).values())))
    record["scores"] = {"feinfn": {}, "bicubic": {}}
    save(averaged, record, args.output)
    exact = create_network(args.network, hsi_bands=31, msi_bands=3, **options).to(device).eval()
    exact.load_state_dict(averaged.state_dict())
    record["scores"] = {
        "feinfn": score(exact, validation, held_out),
        "bicubic": score(bicubic, validation, held_out),
    }
    save(exact, record, args.output)
    return record


def save(network: Any, record: dict[str, Any], folder: Path) -> None:
    """Write the weights and the record; a full disk or the like must not end the training."""
    try:
        save_pretrained(network, folder / "model")
        (folder / "train.json").write_text(json.dumps(record, indent=1))
    except Exception as error:  # whatever it is, what was trained goes on
        print(f"saving failed: {error}", flush=True)


def table(record: dict[str, Any]) -> str:
    """Return the scores of the held-out scenes as Markdown."""
    lines = [
        f"{record['network']} trained from scratch for {record['seconds']:.0f} s on {record['device']}: "
        f"{record['patches']} patches of 64x64 ({record['patches_per_second']:.0f} per second) of "
        f"{len(record['training'])} scenes, {len(record['held_out'])} held out; CAVE x4, preset uestc",
        f"PSNR of the training scenes {record['training_psnr_db']:.2f} dB",
        "",
        "| scene | method | PSNR, dB | SAM, degrees | ERGAS | SSIM |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in [*record["held_out"], "mean"]:
        for method, scores in record["scores"].items():
            values = [scores[name][metric] for metric in METRICS]
            lines.append(f"| {name} | {method} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a file of packed scenes (hyperfuse data pack)")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument("--seconds", type=float, default=360.0, help="wall time, reading included [360]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--network", default="feinfn", choices=["feinfn", "feinfn-release"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4, help="the highest learning rate [3e-4]")
    parser.add_argument("--decay", type=float, default=0.998, help="of the moving average [0.998]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between validations [30]")
    parser.add_argument("--check", type=int, default=50, help="steps between checks of the loss [50]")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--width", type=int, help="of a small network, to try this script out")
    parser.add_argument("--scenes", type=int, help="training scenes at most, to try this script out")
    parser.add_argument("--side", type=int, help="side of the part of a scene that is used, to try this script out")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    record = train(args)
    text = table(record)
    (args.output / "scores.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
