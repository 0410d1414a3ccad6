"""Networks trained from scratch on scenes that stay on a device: pairs, crops, optimiser, scores of whole scenes.

`paper_rows.py` trains with this. A scene is rotated or flipped before it is degraded, because the preset `uestc`
samples half a pixel off the centres of its blocks. AdamW with one cycle of the learning rate, gradients normalised, a
moving average of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hyperfuse.datasets.packed import read_packed
from hyperfuse.metrics import evaluate
from hyperfuse.networks import create_network
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.sensor.presets import uestc
from hyperfuse.sensor.srf.names import create_srf
from hyperfuse.training.captured import OptimisationStep, create_adam, set_rate
from hyperfuse.training.losses import weighted_loss
from hyperfuse.training.pixels import ImagePixels

PATCH, SRF, BANDS, MSI_BANDS = 64, "nikon-d700", 31, 3
METRICS = ("psnr_db", "sam_degrees", "ergas", "ssim")
LOSS = {"l1": 1.0, "ssim": 0.1}
# Far below a usual norm: in effect gradients are normalised, so that no batch moves the weights far.
GRADIENT_NORM = 1e-2

Fuse = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scenes:
    """Pairs with their references, channels last, so that crops are gathered in one operation each.

    Attributes:
        reference: (n, H, W, bands).
        msi: (n, H, W, msi_bands).
        hsi: (n, h, w, bands).
        ratio: of the pairs.
    """

    reference: torch.Tensor
    msi: torch.Tensor
    hsi: torch.Tensor
    ratio: int

    def crops(self, batch: int, scenes: torch.Tensor, patch: int = PATCH) -> tuple[torch.Tensor, ...]:
        """Gather random crops: (B, bands, p, p), (B, msi_bands, P, P) and (B, bands, P, P).

        ``scenes`` are the numbers of the pairs to take them from, int64 on the device.
        """
        device, small = self.hsi.device, patch // self.ratio
        scene = scenes[torch.randint(len(scenes), (batch,), device=device)]
        row, column = (torch.randint(n - small + 1, (batch,), device=device) for n in self.hsi.shape[1:3])
        hsi, msi, reference = self._pixels
        return (
            hsi.crops(scene, row, column, small),
            msi.crops(scene, self.ratio * row, self.ratio * column, self.ratio * small),
            reference.crops(scene, self.ratio * row, self.ratio * column, self.ratio * small),
        )

    @cached_property
    def _pixels(self) -> list[ImagePixels]:
        return [
            ImagePixels(x.flatten(0, 2), [(x.shape[1], x.shape[2])] * len(x))
            for x in (self.hsi, self.msi, self.reference)
        ]

    def pair(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return HSI, MSI and reference of a scene, a batch of one each."""
        hsi, msi, reference = (x[number : number + 1].permute(0, 3, 1, 2) for x in (self.hsi, self.msi, self.reference))
        return hsi, msi, reference

    @property
    def gibibytes(self) -> float:
        """Memory that they take."""
        return sum(x.numel() * x.element_size() for x in (self.reference, self.msi, self.hsi)) / 2**30


def read_scenes(file: Path, names: Sequence[str], side: int | None = None) -> dict[str, np.ndarray]:
    """Read scenes on several threads, of each the upper left ``side`` x ``side`` pixels."""
    with ThreadPoolExecutor(4) as pool:
        cubes = pool.map(lambda name: np.array(read_packed(file, name).data[:, :side, :side]), names)
        return dict(zip(names, cubes, strict=True))


def make_pairs(cubes: Sequence[np.ndarray], ratio: int, device: torch.device, orientations: int) -> Scenes:
    """Degrade scenes in some orientations: those of scene ``n`` begin at ``n * orientations``, upright first."""
    srf = create_srf(SRF, BANDS, wavelengths=np.linspace(400.0, 700.0, BANDS))
    sensor = uestc(ratio, srf)
    bands, rows, cols = cubes[0].shape
    shapes = (rows, cols, bands), (rows, cols, MSI_BANDS), (rows // ratio, cols // ratio, bands)
    # Filled in place: stacked, they would take twice the memory for a while, and on a CPU for good.
    reference, msi, hsi = (torch.empty(len(cubes) * orientations, *shape, device=device) for shape in shapes)
    for number, cube in enumerate(cubes):
        upright = torch.as_tensor(cube).to(device)
        for turn in range(orientations):
            image = torch.rot90(upright, turn % 4, (1, 2))
            image = (image.flip(2) if turn >= 4 else image).contiguous()
            parts = image, sensor.respond(image), sensor.degrade(image)
            for whole, part in zip((reference, msi, hsi), parts, strict=True):
                whole[number * orientations + turn] = part.permute(1, 2, 0)
    return Scenes(reference, msi, hsi, ratio)


@contextmanager
def exact_products() -> Iterator[None]:
    """Float32 products in full within it, as pairs and scores need; in TF32 outside."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True


def fused_images(fuse: Fuse, scenes: Scenes) -> list[np.ndarray]:
    """Fuse whole scenes, one after the other on the device; return the images on the host."""
    images = []
    for number in range(len(scenes.hsi)):
        hsi, msi, _ = scenes.pair(number)
        with torch.no_grad():
            images.append(fuse(hsi, msi)[0].float().cpu().numpy())
    return images


def scores_of(images: Sequence[np.ndarray], scenes: Scenes, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score images of whole scenes by the metrics of the paper's tables: about a second of a processor for each."""
    found = {}
    for number, (name, image) in enumerate(zip(names, images, strict=True)):
        reference = scenes.pair(number)[2][0].cpu().numpy()
        scores: Any = evaluate(reference, image, scenes.ratio, peak=1.0, clip=True)
        found[name] = {metric: float(scores[metric]) for metric in METRICS}
    return found


def psnr_of(fuse: Fuse, scenes: Scenes) -> float:
    """Return the mean PSNR of whole scenes, computed on the device: per band, then per scene, then over scenes."""
    values = []
    for number in range(len(scenes.hsi)):
        hsi, msi, reference = scenes.pair(number)
        with torch.no_grad():
            errors = (fuse(hsi, msi).clamp(0, 1) - reference).square().mean((0, 2, 3))
        values.append((-10 * errors.log10()).mean())
    return float(torch.stack(values).mean())


def bicubic(hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
    """Return the HSI resampled to the MSI's grid, the image that a network starts from."""
    return resample(hsi, (msi.shape[-2], msi.shape[-1]))


def one_cycle(done: float, warm_up: float = 0.05, last: float = 0.01) -> float:
    """Return the learning rate as a fraction of the highest one.

    Example:
        >>> [round(one_cycle(done), 3) for done in (0.0, 0.05, 0.525, 1.0)]
        [0.05, 1.0, 0.505, 0.01]
    """
    if done < warm_up:
        return 0.05 + 0.95 * done / warm_up
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up))))


class Trainer:
    """Network, optimiser and moving average.

    Args:
        network: to train, on its device.
        rate: the highest learning rate.
        decay: of the moving average.
    """

    def __init__(self, network: Any, rate: float, decay: float) -> None:
        self.network, self.rate, self.decay = network, rate, decay
        self.parameters = list(network.parameters())
        on_gpu = self.parameters[0].device.type == "cuda"
        self.optimiser = create_adam(torch.optim.AdamW, self.parameters, rate, recorded=on_gpu, weight_decay=1e-4)
        loss = weighted_loss(LOSS)
        self.optimise = OptimisationStep(
            lambda hsi, msi, reference: loss(network(hsi, msi), reference),
            self.parameters,
            self.optimiser,
            gradient_norm=GRADIENT_NORM,
            recorded=on_gpu,
            note=lambda text: print(text, flush=True),
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.good = [p.clone() for p in self.average]
        self.steps, self.best = 0, math.inf

    def step(self, crops: tuple[torch.Tensor, ...], done: float) -> torch.Tensor:
        """Take a step at the fraction ``done`` of the training; return the loss."""
        set_rate(self.optimiser, self.rate * one_cycle(done))
        value, _ = self.optimise(*crops)
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return value

    def keep(self, value: float) -> bool:
        """Remember the weights; or, where the loss is not finite or has jumped, restore the last good ones.

        After a restoration the optimiser starts anew, with half the learning rate.

        Args:
            value: mean loss since the last call.

        Returns:
            Whether the weights are good.
        """
        good = math.isfinite(value) and value < 2 * self.best
        good = good and bool(torch.stack([torch.isfinite(p).all() for p in self.average]).all())
        with torch.no_grad():
            if good:
                self.best = min(self.best, value)
                torch._foreach_copy_(self.good, self.average)
            else:
                torch._foreach_copy_(self.average, self.good)
                torch._foreach_copy_(self.parameters, self.good)
                for state in self.optimiser.state.values():  # in place: a recorded step has its addresses
                    for number in state.values():
                        number.zero_()
                self.rate *= 0.5
        return good

    def averaged(self, precision: str | None = None) -> Any:
        """Return a copy of the network with averaged weights; ``precision`` replaces the one of its products."""
        options = self.network.options.model_dump() | ({} if precision is None else {"precision": precision})
        network = create_network(self.network.name, hsi_bands=BANDS, msi_bands=MSI_BANDS, **options)
        network = network.to(self.parameters[0].device)
        with torch.no_grad():
            torch._foreach_copy_(list(network.parameters()), self.average)
        return network.eval()

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes up."""
        names = [name for name, _ in self.network.named_parameters()]
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": dict(zip(names, self.average, strict=True)),
            "numbers": {"steps": self.steps, "best": self.best, "rate": self.rate},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        with torch.no_grad():
            torch._foreach_copy_(self.average, list(state["average"].values()))
            torch._foreach_copy_(self.good, self.average)
        self.steps, self.best, self.rate = (state["numbers"][key] for key in ("steps", "best", "rate"))
