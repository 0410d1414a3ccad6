"""Scenes of CAVE, degraded and fused by the default method: what features are trained on and scored with."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import hyperfuse as hf
from hyperfuse.datasets.packed import read_index, read_packed
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearModel
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork
from hyperfuse.methods.local_linear.predictors import pooled_noise
from hyperfuse.progress import silent
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf


@dataclass(frozen=True)
class Degradation:
    """How pairs are made of scenes.

    Attributes:
        ratio: HR pixels per LR pixel.
        preset: PSF and phase.
        srf: of the MSI.
        shrink: a scene's pixels are means of as many, along each axis.
    """

    ratio: int
    preset: str = "uestc"
    srf: str = "nikon-d700"
    shrink: int = 1


DEGRADATIONS = {
    "x4": Degradation(4),
    "x8": Degradation(8),
    "dhif-x4": Degradation(4, "dhif"),
    "small-x4": Degradation(4, shrink=2),
    "four-bands-x4": Degradation(4, srf="gaussian:450/40,530/50,600/50,660/40"),
}


@dataclass(frozen=True)
class Task:
    """A scene that is prepared.

    Attributes:
        data: a folder of CAVE, or a file of packed scenes.
        name: of the scene.
        degradation: its name.
        side: of the part that is used; None for all.
        folder: for all files.
        scored: whether what scoring needs is kept too.
    """

    data: Path
    name: str
    degradation: str
    side: int | None
    folder: Path
    scored: bool

    @property
    def file(self) -> Path:
        """What training needs."""
        return self.folder / f"{self.name}-{self.degradation}.pt"

    @property
    def pair(self) -> Path:
        """What scoring needs."""
        return self.folder / f"{self.name}-{self.degradation}-pair.pt"

    @property
    def done(self) -> bool:
        """Whether all files are there."""
        return self.file.exists() and (not self.scored or self.pair.exists())


def scene_names(data: Path) -> list[str]:
    """Return the names of the scenes of a folder or file, in alphabetical order."""
    return sorted(read_index(data).scenes if data.is_file() else hf.open_dataset("cave", data).names)


def prepare(task: Task) -> str:
    """Fuse a scene by the default without trained features, and keep what training and scoring need."""
    if task.done:
        return f"{task.name}, {task.degradation}: kept"
    torch.set_num_threads(1)
    start, degradation = time.process_time(), DEGRADATIONS[task.degradation]
    packed = task.data.is_file()
    scene = read_packed(task.data, task.name) if packed else hf.open_dataset("cave", task.data).load(task.name)
    image = torch.tensor(np.ascontiguousarray(scene.data[:, : task.side, : task.side]))
    if degradation.shrink > 1:
        image = F.avg_pool2d(image, degradation.shrink)
    # Neither hf.simulate nor, for a packed file, hf.open_dataset: they need libraries of formats, which a machine with
    # a GPU may lack.
    srf = create_srf(degradation.srf, scene.bands, wavelengths=np.linspace(400.0, 700.0, scene.bands))
    sensor = create_sensor(degradation.preset, degradation.ratio, srf)
    pair = PairTensors(sensor.degrade(image), sensor.respond(image), sensor)
    model, fused = LinearModel.fit([pair], silent, regress=True)
    assert fused is not None
    # What scoring starts from: everything up to the regression.
    linear = fused if model.regression is None else replace(model, regression=None).apply(pair)
    agreeing, held_out = model.agreeing(pair), linear.held_out()
    noise, noisy = pooled_noise([agreeing.hsi]), model.with_noise(agreeing, linear.predictors, linear.hsi)
    save(
        task.file,
        {
            "image": linear.image.half(),
            "held_out": held_out[0].image.half(),
            "msi": linear.guided().msi.half(),
            "left_over": ResidualRegression.left_over(held_out, linear.hsi, noise, noisy),
            "error": (image - fused.image).half(),
            "sensor": sensor.replace(srf=None),
        },
    )
    if task.scored:
        guided = linear.guided()
        kept = {"reference": image, "default": fused.image, "guided": guided, "held_out": held_out}
        save(task.pair, {**kept, "hsi": linear.hsi, "noise": noise, "noisy": noisy})
    gain = psnr(fused.image, image) - psnr(linear.image, image)
    seconds = time.process_time() - start
    return f"{task.name}, {task.degradation}: the regression adds {gain:.3f} dB, {seconds:.0f} s"


def save(file: Path, kept: dict[str, object]) -> None:
    """Write a file whole or not at all."""
    partial = file.with_suffix(".part")
    torch.save(kept, partial)
    partial.replace(file)


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the mean over bands, in dB, for values in [0, 1]."""
    return float((-10 * (image.clamp(0, 1) - reference).square().mean((1, 2)).log10()).mean())


def score(pair: Path, networks: dict[str, FeatureNetwork]) -> dict[str, float]:
    """Return the PSNR of the default's image without trained features and with some, before data consistency."""
    torch.set_num_threads(1)
    kept = torch.load(pair, weights_only=False)
    guided, reference = kept["guided"], kept["reference"]
    found = {"default": psnr(kept["default"], reference)}
    for name, network in networks.items():
        fitted = ResidualRegression.fit([kept["held_out"]], [kept["hsi"]], kept["noise"], kept["noisy"], network)
        found[name] = psnr(guided.image if fitted is None else fitted.predict(guided) + guided.image, reference)
    return found
