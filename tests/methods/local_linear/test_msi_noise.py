"""The noise of an MSI: known noise is found, and texture is not taken for it where the HSI explains it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hyperfuse.methods.local_linear.msi_noise import estimate_msi_noise
from hyperfuse.sensor.presets import mtf, uestc


def pair(sensor, hsi_bands=12, msi_bands=6, size=96, msi_noise=0.0, hsi_noise=0.0, texture=1.0, seed=0):
    """Six materials of some texture, their MSI and LR-HSI, each with white noise."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(6, size, size)), (0, 8, 8))
    materials = smooth / smooth.std() + texture * gaussian_filter(rng.normal(size=(6, size, size)), (0, 0.7, 0.7))
    truth = torch.from_numpy(np.einsum("bk,krc->brc", rng.random((hsi_bands, 6)), materials))
    responses = torch.from_numpy(rng.random((msi_bands, hsi_bands)) / hsi_bands)
    msi = torch.einsum("mb,brc->mrc", responses, truth)
    hsi = sensor.degrade(truth)
    msi = msi + msi_noise * torch.from_numpy(rng.normal(size=msi.shape))
    return hsi + hsi_noise * torch.from_numpy(rng.normal(size=hsi.shape)), msi


@pytest.mark.parametrize("sensor", [uestc(4), mtf(4)], ids=["narrow", "wide"])
@pytest.mark.parametrize("bands", [3, 6])
def test_noise_of_a_smooth_scene_is_found(sensor, bands):
    hsi, msi = pair(sensor, msi_bands=bands, msi_noise=0.05, hsi_noise=0.05, texture=0.0)
    found = estimate_msi_noise(hsi, msi, sensor)
    np.testing.assert_allclose(found, 0.05, rtol=0.15)


@pytest.mark.parametrize("sensor", [uestc(4), mtf(4)], ids=["narrow", "wide"])
@pytest.mark.parametrize("bands", [1, 3, 6])
def test_texture_of_a_clean_pair_is_no_noise(sensor, bands):
    hsi, msi = pair(sensor, msi_bands=bands)
    found = estimate_msi_noise(hsi, msi, sensor)
    texture = (msi[:, 1:, 1:] - msi[:, :-1, :-1]).std()
    assert (found < 0.03 * texture).all()


def test_bands_of_different_noise_are_distinguished():
    sensor = uestc(4)
    hsi, msi = pair(sensor, msi_bands=6)
    levels = torch.tensor([0.01, 0.02, 0.05, 0.1, 0.02, 0.01], dtype=torch.float64)
    noise = torch.from_numpy(np.random.default_rng(5).normal(size=msi.shape))
    found = estimate_msi_noise(hsi, msi + levels[:, None, None] * noise, sensor)
    np.testing.assert_allclose(found, levels, rtol=0.25)


def test_texture_that_only_the_msi_shows_is_bounded_by_quiet_places():
    """Half of the scene is flat: the noise is found there although the HSI explains nothing."""
    sensor = mtf(4)
    rng = np.random.default_rng(7)
    msi = torch.from_numpy(rng.normal(size=(1, 96, 96)))
    msi[:, :48] = 0.02 * msi[:, :48]
    hsi = torch.from_numpy(rng.normal(size=(5, 24, 24)))
    assert float(estimate_msi_noise(hsi, msi, sensor)[0]) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_small_pairs_have_an_estimate(size):
    sensor = uestc(4)
    hsi, msi = pair(sensor, size=size)
    found = estimate_msi_noise(hsi, msi, sensor)
    assert found.shape == (6,)
    assert torch.isfinite(found).all()


def test_of_images_too_small_for_an_estimate_nothing_counts_as_noise():
    from hyperfuse.sensor.presets import create_sensor

    noise = estimate_msi_noise(torch.rand(5, 1, 1), torch.rand(2, 4, 4), create_sensor("mtf", 4))
    assert torch.equal(noise, torch.zeros(2))
