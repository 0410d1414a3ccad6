"""A registered method as the base of a training run: the network learns its residual."""

from __future__ import annotations

import json

import torch

from hyperfuse.methods.contract.registry import get_method
from hyperfuse.runtime.cache import cache_folder
from hyperfuse.sensor.model import Sensor
from hyperfuse.training.base_images import BaseImages
from hyperfuse.training.examples import Base
from hyperfuse.training.sections import BaseSection


def create_base(section: BaseSection) -> Base:
    """Return the base that a training configuration names.

    Raises:
        InputError: no such method, or settings that it does not take.
    """
    method = get_method(section.method)
    settings = method.configure(**section.settings)

    def image(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> torch.Tensor:
        with torch.no_grad():
            return method(hsi, msi, sensor, settings)

    described = f" {json.dumps(section.settings, sort_keys=True)}" if section.settings else ""
    name = f"{method.name}{described}"
    images = BaseImages(name, image, cache_folder() / "bases" if section.cache else None)
    return Base(name, images, section.guidance, section.versions, section.scale)
