"""How the networks of a table or figure are trained: the recipe in full, or a short one for quick experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.reproduce.data import ExperimentData
from hyperfuse.errors import InputError
from hyperfuse.training.configuration import TrainingConfig, load_config

_RECIPE = "feinfn-cave-x4.yaml"
_RELEASED = "feinfn-release-cave-x4.yaml"

# Sizes by name; "base" is that of tables and figures that do not compare sizes. Short trainings start with slower and
# wider wavelets than the published 30 and 10, from which they learn little.
_QUICK = {"latent": 32, "gabor_frequency": 3.0, "gabor_scale": 1.0}
QUICK_SIZES: Mapping[str, dict[str, Any]] = {
    "small": {"width": 16, "encoder_blocks": 1, "hidden": [32, 16], "decoder_width": 16, **_QUICK},
    "base": {"width": 32, "encoder_blocks": 2, "hidden": [64, 32], "decoder_width": 32, **_QUICK},
    "large": {"width": 48, "encoder_blocks": 2, "hidden": [96, 48], "decoder_width": 48, **_QUICK},
}
FULL_SIZES: Mapping[str, dict[str, Any]] = {
    "small": {"width": 32, "hidden": [64, 32], "decoder_width": 32},
    "medium": {"width": 64, "hidden": [128, 64], "decoder_width": 64},
    "base": {},
}


@dataclass(frozen=True)
class Budget:
    """Training of each network in a quick experiment.

    Attributes:
        steps: of the optimiser.
        batch: patches per step.
        patch: side of a patch in HR pixels.
        validations: how often the weights are scored during the training.
    """

    steps: int = 1000
    batch: int = 4
    patch: int = 32
    validations: int = 10


def quick_config(
    data: ExperimentData, ratio: int, options: Mapping[str, Any], budget: Budget, common: Mapping[str, Any]
) -> TrainingConfig:
    """Return the short recipe: one rise and fall of the learning rate, rotated and flipped patches from anywhere.

    ``options`` are those of the network; ``common`` holds output, seed and device.
    """
    interval = max(1, budget.steps // budget.validations)
    return TrainingConfig.model_validate(
        {
            **common,
            "resume": True,
            "length": budget.steps,
            "batch": budget.batch,
            "network": {"name": "feinfn", "options": dict(options)},
            "data": {
                "kind": "folder",
                "folder": data.name,
                "train": list(data.train),
                "validation": list(data.validation),
                "test": list(data.test),
                "patch": budget.patch,
                "stride": max(1, budget.patch // 2),
                "srf": data.srf,
            },
            "degradation": {"preset": "uestc", "ratios": [ratio]},
            "augmentation": {"symmetries": True, "random_starts": True},
            "losses": {"l1": 1.0, "ssim": 0.1},
            # At twice this rate some variants do not learn.
            "optimiser": {"learning_rate": 1e-3, "weight_decay": 1e-4, "gradient_norm": 0.1},
            "schedule": {"name": "one-cycle", "rise": 0.2, "minimum": 1e-5},
            "average": {"decay": 0.98},
            "validation": {"every": interval},
            "checkpoints": {"every": max(1, budget.steps // 2), "keep": 1},
            "log": {"every": interval, "tensorboard": False},
        }
    )


def full_config(
    data: ExperimentData, ratio: int, network: str, options: Mapping[str, Any], common: Mapping[str, Any]
) -> TrainingConfig:
    """Return a recipe of ``configs/`` for a data set, a ratio and a network with its options; see :func:`quick_config`.

    Raises:
        InputError: the recipes are not where this package expects them.
    """
    recipe = recipe_file(_RELEASED if network == "feinfn-release" else _RECIPE)
    values = load_config(recipe).model_dump() | {**common, "resume": True}
    values["data"] |= {"kind": data.name, "folder": data.folder}
    values["degradation"] |= {"ratios": (ratio,)}
    values["network"] = {"name": network, "options": {**values["network"]["options"], **options}}
    return TrainingConfig.model_validate(values).with_names(data.train, data.validation, data.test)


def recipe_file(name: str) -> Path:
    """Return the path of a recipe of ``configs/``, in the package or next to its source.

    Raises:
        InputError: it is in neither.
    """
    package = Path(__file__).parents[2]
    for folder in (package / "configs", package.parents[1] / "configs", Path("configs")):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the recipe configs/{name} is missing; run this in a clone of the source, or pass quick=True")
