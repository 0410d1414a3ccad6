"""How the networks of a table or figure are trained: the recipe in full, or a short one for ``--quick``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.reproduce.data import Material
from hyperfuse.errors import InputError
from hyperfuse.training.config_files import load_config
from hyperfuse.training.configuration import TrainingConfig

_RECIPE = "feinfn-cave-x4.yaml"
_RELEASED = "feinfn-release-cave-x4.yaml"

# Sizes by name; "base" is what tables and figures are made with unless sizes are what they compare. Short trainings
# start with slower and wider wavelets than the published 30 and 10, of which they learn little.
_SHORT = {"latent": 32, "gabor_frequency": 3.0, "gabor_scale": 1.0}
QUICK_SIZES: Mapping[str, dict[str, Any]] = {
    "small": {"width": 16, "encoder_blocks": 1, "hidden": [32, 16], "decoder_width": 16, **_SHORT},
    "base": {"width": 32, "encoder_blocks": 2, "hidden": [64, 32], "decoder_width": 32, **_SHORT},
    "large": {"width": 48, "encoder_blocks": 2, "hidden": [96, 48], "decoder_width": 48, **_SHORT},
}
FULL_SIZES: Mapping[str, dict[str, Any]] = {
    "small": {"width": 32, "hidden": [64, 32], "decoder_width": 32},
    "medium": {"width": 64, "hidden": [128, 64], "decoder_width": 64},
    "base": {},
}


@dataclass(frozen=True)
class Budget:
    """What ``--quick`` spends on each network.

    Attributes:
        steps: of the optimiser.
        batch: patches a step.
        patch: side of a patch in HR pixels.
        validations: how often the weights are scored on the way.
    """

    steps: int = 1000
    batch: int = 4
    patch: int = 32
    validations: int = 10


def quick_config(
    material: Material, ratio: int, options: Mapping[str, Any], budget: Budget, output: Path, device: str, seed: int
) -> TrainingConfig:
    """Return the short recipe: one rise and fall of the learning rate, turned patches from anywhere."""
    return TrainingConfig.model_validate(
        {
            "output": output,
            "resume": True,
            "seed": seed,
            "length": budget.steps,
            "batch": budget.batch,
            "device": device,
            "network": {"name": "feinfn", "options": dict(options)},
            "data": {
                "kind": "folder",
                "folder": material.name,
                "train": list(material.train),
                "validation": list(material.validation),
                "test": list(material.test),
                "patch": budget.patch,
                "stride": max(1, budget.patch // 2),
                "srf": material.srf,
            },
            "degradation": {"preset": "uestc", "ratios": [ratio]},
            "augmentation": {"symmetries": True, "random_starts": True},
            "losses": {"l1": 1.0, "ssim": 0.1},
            # At twice this rate some variants stay where they start.
            "optimiser": {"learning_rate": 1e-3, "weight_decay": 1e-4, "gradient_norm": 0.1},
            "schedule": {"name": "one-cycle", "rise": 0.2, "minimum": 1e-5},
            "average": {"decay": 0.98},
            "validation": {"every": max(1, budget.steps // budget.validations)},
            "checkpoints": {"every": max(1, budget.steps // 2), "keep": 1},
            "log": {"every": max(1, budget.steps // budget.validations), "tensorboard": False},
        }
    )


def full_config(
    material: Material,
    ratio: int,
    network: str,
    options: Mapping[str, Any],
    folder: Path,
    output: Path,
    device: str,
    seed: int,
) -> TrainingConfig:
    """Return a recipe of ``configs/`` for a data set, a ratio and the switches of a network.

    Raises:
        InputError: the recipes are not where this package looks for them.
    """
    recipe = recipe_file(_RELEASED if network == "feinfn-release" else _RECIPE)
    values = load_config(recipe).model_dump()
    values |= {"resume": True, "output": output, "seed": seed, "device": device}
    values["data"] |= {"kind": material.name, "folder": folder}
    values["degradation"] |= {"ratios": (ratio,)}
    values["network"] = {"name": network, "options": {**values["network"]["options"], **options}}
    changed = TrainingConfig.model_validate(values)
    return changed.with_names(material.train, material.validation, material.test)


def recipe_file(name: str) -> Path:
    """Return where a recipe of ``configs/`` is: in the package, or beside its source.

    Raises:
        InputError: in neither place.
    """
    package = Path(__file__).parents[2]
    for folder in (package / "configs", package.parents[1] / "configs", Path("configs")):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the recipe configs/{name} is not here; run this in a clone of the source, or with --quick")
