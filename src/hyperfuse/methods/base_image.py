"""A registered method as the base of a training run: the network learns its residual."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import torch

from hyperfuse.methods.contract.registry import get_method
from hyperfuse.runtime.cache import cache_folder
from hyperfuse.runtime.memory import free_bytes
from hyperfuse.runtime.threads import usable_threads
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.base_images import BaseImages, Inputs
from hyperfuse.training.examples import Base
from hyperfuse.training.sections import BaseSection

# Of the free memory, what processes that make images may take together; and what each takes in addition to its image.
_MEMORY_FRACTION, _PROGRAM = 0.5, 350e6


def create_base(section: BaseSection, *, parallel: bool = False) -> Base:
    """Return the base that a training configuration names.

    Args:
        section: of the configuration.
        parallel: whether several processes make the images, one per core as far as memory admits. They import the main
            script, which then has its calls under ``if __name__ == "__main__":``.

    Raises:
        InputError: no such method, or settings that it does not take.
    """
    make = _MethodImage(section.method, section.settings)
    method = get_method(section.method)
    method.configure(**section.settings)
    described = f" {json.dumps(section.settings, sort_keys=True)}" if section.settings else ""
    name = f"{method.name}{described}"
    images = BaseImages(
        name, make, cache_folder() / "bases" if section.cache else None, make.workers if parallel else _alone
    )
    return Base(name, images, section.guidance, section.versions, section.scale)


def _alone(inputs: Inputs) -> int:
    return 1


@dataclass(frozen=True)
class _MethodImage:
    """Makes images of a method, also in other processes."""

    method: str
    settings: dict[str, Any]

    def __call__(self, hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
        method = get_method(self.method)
        with torch.no_grad():
            return method(hsi, msi, sensor, method.configure(**self.settings))

    def workers(self, inputs: Inputs) -> int:
        """Return how many processes may make such images: one per core, as far as memory admits."""
        needed = get_method(self.method).capabilities.bytes_per_pixel
        bands, rows, cols = inputs.shape
        image = rows * cols * (needed.hsi_band * bands + needed.msi_band * inputs.msi.shape[0])
        cores = usable_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, min(cores, int(_MEMORY_FRACTION * free_bytes() / (_PROGRAM + image))))
