"""Noise of the scene and noise of a sensor look alike in the HSI alone; the MSI shows which it is."""

import numpy as np
import pytest
import torch

from hyperfuse.methods import PairTensors
from hyperfuse.methods.feinfn.scene_noise import averaging, is_in_scene
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.statistics.noise import noise_residual

SENSORS = pytest.mark.parametrize("sensor", [uestc(4), mtf(4)], ids=["narrow", "wide"])


def images(sensor, *, scene, own, size=96, bands=20):
    """Return an HSI and MSI of smooth spectra with noise in the scene, and noise of the HSI's own sensor."""
    rng = np.random.default_rng(0)
    fields = torch.from_numpy(rng.normal(size=(3, size, size)))
    smooth = torch.nn.functional.avg_pool2d(fields[None], 15, 1, 7)[0] * 15
    spectra = torch.from_numpy(rng.random((bands, 3)))
    clean = torch.einsum("bk,kyx->byx", spectra, smooth)
    reference = clean + scene * torch.from_numpy(rng.normal(size=clean.shape))
    hsi = sensor.degrade(reference)
    hsi = hsi + own * torch.from_numpy(rng.normal(size=hsi.shape))
    msi = reference.unflatten(0, (4, bands // 4)).mean(1)
    return PairTensors(hsi, msi, sensor), reference


@SENSORS
def test_noise_that_the_msi_shares_is_in_the_scene(sensor):
    assert is_in_scene(images(sensor, scene=0.05, own=0.0)[0])


@SENSORS
def test_noise_of_the_hsi_alone_is_not(sensor):
    assert not is_in_scene(images(sensor, scene=0.0, own=0.05)[0])


def test_too_few_pixels_say_nothing():
    pair, _ = images(uestc(4), scene=0.05, own=0.0)
    assert not is_in_scene(PairTensors(pair.hsi[:, :2, :2], pair.msi[:, :8, :8], pair.sensor))


def test_the_noise_of_the_scene_follows_from_its_average():
    pair, _ = images(uestc(4), scene=0.05, own=0.0)
    found = noise_residual(pair.hsi).square().mean((1, 2)) / averaging(pair)
    assert float(found.median()) == pytest.approx(0.05**2, rel=0.15)


def test_the_residual_shows_where_the_noise_is():
    pair, _ = images(uestc(4), scene=0.0, own=0.02)
    rng = np.random.default_rng(1)
    hsi = pair.hsi.clone()
    hsi[..., :12] += 0.1 * torch.from_numpy(rng.normal(size=hsi[..., :12].shape))
    residual = noise_residual(hsi).square().mean((0, 1))
    assert residual[:10].mean() == pytest.approx(0.1**2 + 0.02**2, rel=0.3)
    assert residual[14:].mean() == pytest.approx(0.02**2, rel=0.3)
