"""Scenes of CAVE, degraded and fused by the default method: what features are trained on and scored with."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import hyperfuse as hf
from hyperfuse.datasets.packed import read_index, read_packed
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.feinfn.linear_part import LinearModel
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression
from hyperfuse.methods.feinfn.trained_features import FeatureNetwork
from hyperfuse.methods.local_linear.predictors import pooled_noise
from hyperfuse.metrics import psnr
from hyperfuse.progress import silent
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.srf.names import create_srf

SRF = "nikon-d700"


@dataclass(frozen=True)
class Task:
    """A scene that is prepared.

    Attributes:
        data: a folder of CAVE, or a file of packed scenes.
        name: of the scene.
        ratio: HR pixels per LR pixel.
        preset: PSF and phase.
        side: of the part that is used; None for all.
        folder: of what is kept.
    """

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


def scene_names(data: Path) -> list[str]:
    """Return the names of the scenes of a folder or file, in alphabetical order."""
    return sorted(read_index(data).scenes if data.is_file() else hf.open_dataset("cave", data).names)


def prepare(task: Task) -> str:
    """Fuse a scene by the default without trained features, and keep what training and scoring need."""
    if task.file.exists():
        return f"{task.name}: kept"
    torch.set_num_threads(1)
    start, packed = time.process_time(), task.data.is_file()
    scene = read_packed(task.data, task.name) if packed else hf.open_dataset("cave", task.data).load(task.name)
    image = torch.tensor(np.ascontiguousarray(scene.data[:, : task.side, : task.side]))
    # Neither hf.simulate nor, for a packed file, hf.open_dataset: they need libraries of formats, which a machine with
    # a GPU may lack.
    srf = create_srf(SRF, scene.bands, wavelengths=np.linspace(400.0, 700.0, scene.bands))
    sensor = create_sensor(task.preset, task.ratio, srf)
    pair = PairTensors(sensor.degrade(image), sensor.respond(image), sensor)
    model, fused = LinearModel.fit([pair], silent, regress=True)
    assert fused is not None
    # What scoring starts from: everything up to the regression.
    linear = fused if model.regression is None else replace(model, regression=None).apply(pair)
    agreeing, held_out = model.agreeing(pair), linear.held_out()
    noise, noisy = pooled_noise([agreeing.hsi]), model.with_noise(agreeing, linear.predictors, linear.hsi)
    kept = {"reference": image, "default": fused.image, "guided": linear.guided(), "held_out": held_out}
    save(task.file, {**kept, "hsi": linear.hsi, "noise": noise, "noisy": noisy})
    gain = psnr(image, fused.image.clamp(0, 1)) - psnr(image, linear.image.clamp(0, 1))
    seconds = time.process_time() - start
    return f"{task.name}: the regression adds {gain:.3f} dB, {seconds:.0f} s"


def save(file: Path, kept: dict[str, object]) -> None:
    """Write a file whole or not at all."""
    with replacing(file) as scratch:
        torch.save(kept, scratch)


def score(file: Path, networks: dict[str, FeatureNetwork]) -> dict[str, float]:
    """Return the PSNR of the default's image without trained features and with some, before data consistency."""
    torch.set_num_threads(1)
    kept = torch.load(file, weights_only=False)
    guided, reference = kept["guided"], kept["reference"]
    found = {"default": psnr(reference, kept["default"].clamp(0, 1))}
    for name, network in networks.items():
        fitted = ResidualRegression.fit([kept["held_out"]], [kept["hsi"]], kept["noise"], kept["noisy"], network)
        image = guided.image if fitted is None else fitted.predict(guided) + guided.image
        found[name] = psnr(reference, image.clamp(0, 1))
    return found
