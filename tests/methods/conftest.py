import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from hyperfuse.sensor import Sensor, Srf, gaussian_from_mtf

# The oracles are plain modules, not part of the package.
sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))


@dataclass(frozen=True)
class Pair:
    """What a method is given, and the image that it should find."""

    reference: torch.Tensor
    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor


def make_scene(bands, rows, cols, seed=0):
    """Five materials with smooth spectra in patches, shaded and textured: (bands, rows, cols) in [0, 1]."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter1d(rng.uniform(0, 1, (5, bands + 20)), 4, axis=1)[:, 10 : 10 + bands]
    spectra = 0.1 + 0.6 * (spectra - spectra.min()) / np.ptp(spectra)
    fields = np.stack([gaussian_filter(rng.standard_normal((rows, cols)), 3, mode="wrap") for _ in range(5)])
    patches = gaussian_filter(np.eye(5)[fields.argmax(0)], (0.5, 0.5, 0))
    shade = gaussian_filter(rng.standard_normal((rows, cols)), 8, mode="wrap")
    texture = gaussian_filter(rng.standard_normal((rows, cols)), 0.7, mode="wrap")
    brightness = 1 + 0.15 * shade / shade.std() + 0.1 * texture / texture.std()
    image = np.einsum("rcm,mb->brc", patches, spectra) * np.clip(brightness, 0.3, 1.7)
    return torch.as_tensor(image / image.max())


def make_responses(msi_bands, hsi_bands):
    """Overlapping Gaussian responses, evenly spread; a single one is panchromatic."""
    centres = (np.arange(msi_bands) + 0.5) * hsi_bands / msi_bands - 0.5
    width = max(0.6 * hsi_bands / msi_bands, 0.5)
    matrix = np.exp(-0.5 * ((np.arange(hsi_bands)[None] - centres[:, None]) / width) ** 2)
    return Srf(matrix / matrix.sum(1, keepdims=True))


@pytest.fixture
def make_pair():
    """A function that simulates a pair from a structured scene."""

    def make(bands=12, msi_bands=3, shape=(48, 48), ratio=4, dtype=torch.float32, seed=0, scale=1.0, **sensor):
        reference = scale * make_scene(bands, *shape, seed=seed)
        ratios = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        options = {"psf": gaussian_from_mtf(0.3, ratios), "srf": make_responses(msi_bands, bands), **sensor}
        model = Sensor(ratio=ratios, **options)
        hsi, msi = model.degrade(reference), model.respond(reference)
        return Pair(reference.to(dtype), hsi.to(dtype), msi.to(dtype), model)

    return make
