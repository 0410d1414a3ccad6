"""Training throughput: patches a second of our loop beside a plain step of the released program's form.

    python benchmarks/training.py --threads 2

Four 64x64 patches at x4 a step, 31 bands and RGB. *plain* is `tests/reference/plain_feinfn.py`'s literal form of the
released network under AdamW with L1 and a convolutional SSIM, on a batch that is already in memory: what it takes to
read and degrade patches is not counted against it. *ours* is `hyperfuse.training.train` as it is run, with patches cut
from scenes, augmented and degraded on the fly, gradient clipping, weight averaging and the log. Programs run in turns,
so that what is compared shares the machine's moods; the first step of each turn warms up and is left out. What is
printed are medians over all other steps, and the ratio to *plain*.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))

import plain_feinfn as plain

from hyperfuse.cube.cube import Cube
from hyperfuse.networks import create_network
from hyperfuse.training.configuration import TrainingConfig
from hyperfuse.training.loop import train
from hyperfuse.training.run_log import read_log
from recording import made_by

BANDS, MSI_BANDS, SIDE, RATIO, BATCH = 31, 3, 64, 4, 4
OURS = {
    "ours feinfn": ("feinfn", "float32"),
    "ours feinfn bf16": ("feinfn", "bfloat16"),
    "ours feinfn-release": ("feinfn-release", "float32"),
}


class RandomScenes:
    """Two scenes of noise in memory; what patches hold does not change the time they take."""

    names = ("one", "two")

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._cubes = {name: Cube(data=generator.random((BANDS, 160, 160), np.float32)) for name in self.names}

    def load(self, name: str) -> Cube:
        """Return a scene."""
        return self._cubes[name]

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (bands, rows, cols) of a scene."""
        return BANDS, 160, 160


def configuration(program: str, folder: Path, steps: int, device: str) -> TrainingConfig:
    """Return a run of so many steps, with all that our recipe turns on."""
    network, precision = OURS[program]
    return TrainingConfig.model_validate(
        {
            "output": folder / "run",
            "length": steps,
            "batch": BATCH,
            "precision": precision,
            "device": device,
            "network": {"name": network},
            "data": {"kind": "folder", "folder": ".", "train": ["one"], "validation": ["two"], "patch": SIDE},
            "degradation": {"preset": "uestc", "ratios": [RATIO], "width_jitter": 0.1, "phase_jitter": 0.05},
            "augmentation": {"symmetries": True, "random_starts": True, "gain": 0.3, "scales": [1, 1.5], "mix": 0.25},
            "losses": {"l1": 1.0, "ssim": 0.1},
            "optimiser": {"gradient_norm": 0.1},
            "average": {},
            "log": {"every": 1, "tensorboard": False},
        }
    )


def run_ours(program: str, steps: int, device: str) -> list[float]:
    """Train for some steps; return patches a second of each step but the first."""
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(program, Path(folder), steps + 1, device)
        train(config, RandomScenes())
        speeds = [entry["patches_per_second"] for entry in read_log(config.output) if "loss" in entry]
    return speeds[1:]


class Plain:
    """The released program's step, on one batch in memory."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        network = create_network("feinfn-release", hsi_bands=BANDS, msi_bands=MSI_BANDS).to(device)
        self._weights = dict(network.named_parameters())
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=0.0)
        self._hsi = torch.rand(BATCH, BANDS, SIDE // RATIO, SIDE // RATIO, device=device)
        self._msi = torch.rand(BATCH, MSI_BANDS, SIDE, SIDE, device=device)
        self._truth = torch.rand(BATCH, BANDS, SIDE, SIDE, device=device)
        self._device = device

    def step(self) -> float:
        """Return patches a second of one step."""
        start = time.perf_counter()
        self._optimiser.zero_grad()
        fused = plain.feinfn_release(self._weights, self._hsi, self._msi)
        loss = F.l1_loss(fused, self._truth) + 0.1 * (1 - plain_ssim(fused, self._truth))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._weights.values()), 1e-4)
        self._optimiser.step()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return BATCH / (time.perf_counter() - start)


def plain_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM by depthwise convolution with the 11x11 window, as it is usually written."""
    line = torch.exp(-((torch.arange(11.0, device=x.device) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2
    window = window.expand(x.shape[1], 1, 11, 11)
    mx, my, mxx, myy, mxy = (F.conv2d(image, window, groups=x.shape[1]) for image in (x, y, x * x, y * y, x * y))
    one = (2 * mx * my + 1e-4) * (2 * (mxy - mx * my) + 9e-4)
    return (one / ((mx**2 + my**2 + 1e-4) * (mxx - mx**2 + myy - my**2 + 9e-4))).mean()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each program in a turn")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--program", action="append", choices=list(OURS), help="repeatable; all unless given")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    programs = args.program or list(OURS)
    released = Plain(args.device)
    speeds: dict[str, list[float]] = {"plain": [], **{program: [] for program in programs}}
    for _ in range(args.turns):
        released.step()
        speeds["plain"] += [released.step() for _ in range(args.steps)]
        for program in programs:
            speeds[program] += run_ours(program, args.steps, args.device)
    middle = {program: statistics.median(values) for program, values in speeds.items()}
    lines = ["| program | patches a second | times plain |", "| --- | --- | --- |"]
    lines += [f"| {name} | {speed:.2f} | {speed / middle['plain']:.2f} |" for name, speed in middle.items()]
    print("\n".join(lines))
    if args.markdown:
        where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} threads"
        note = f"{where}, median of {args.turns * args.steps} steps of {BATCH} patches of 64x64, x4, 31 bands and RGB"
        call = f"python benchmarks/training.py --device {args.device} --threads {args.threads}"
        text = ["# Training throughput", "", note, "", *lines, *made_by(call, args.threads)]
        args.markdown.write_text("\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
