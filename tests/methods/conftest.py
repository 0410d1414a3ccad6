from dataclasses import dataclass

import pytest
import torch

from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import gaussian_from_mtf
from scenes import gaussian_responses, patches_of_materials


@dataclass(frozen=True)
class Pair:
    """What a method is given, and the image that it should find."""

    reference: torch.Tensor
    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor


@pytest.fixture
def make_pair():
    """A function that simulates a pair from a structured scene."""

    def make(bands=12, msi_bands=3, shape=(48, 48), ratio=4, dtype=torch.float32, seed=0, scale=1.0, **sensor):
        reference = scale * torch.as_tensor(patches_of_materials(bands, *shape, seed=seed))
        ratios = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        options = {"psf": gaussian_from_mtf(0.3, ratios), "srf": gaussian_responses(msi_bands, bands), **sensor}
        model = Sensor(ratio=ratios, **options)
        hsi, msi = model.degrade(reference), model.respond(reference)
        return Pair(reference.to(dtype), hsi.to(dtype), msi.to(dtype), model)

    return make
