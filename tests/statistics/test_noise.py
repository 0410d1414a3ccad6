"""Noise estimation: known noise is found, clean images have none, structure is not taken for it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from hyperfuse.statistics.noise import QUIET_ENERGY_OF_UNIT_NOISE, estimate_noise, quiet_energy


def mixed(bands=31, rows=40, cols=44, materials=3, seed=0):
    """A smooth scene of a few materials with smooth spectra, up to 1, float64."""
    rng = np.random.default_rng(seed)
    abundances = np.abs(gaussian_filter(rng.normal(size=(materials, rows, cols)), (0, 2, 2)))
    spectra = 0.2 + np.abs(gaussian_filter(rng.normal(size=(bands, materials)), (3, 0)))
    scene = np.einsum("bk,krc->brc", spectra, abundances)
    return scene / scene.max()


def noisy(scene, snr_db, seed=1):
    sigma = np.sqrt((scene**2).mean((1, 2)) * 10 ** (-np.broadcast_to(snr_db, len(scene)) / 10))
    return scene + sigma[:, None, None] * np.random.default_rng(seed).normal(size=scene.shape), sigma


def estimate(scene):
    return estimate_noise(torch.from_numpy(scene)).numpy()


@pytest.mark.parametrize("snr_db", [20, 30, 40])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_known_noise_is_found_within_a_fifth(snr_db, seed):
    image, sigma = noisy(mixed(bands=64, rows=64, cols=64, seed=seed), snr_db, seed)
    np.testing.assert_allclose(estimate(image), sigma, rtol=0.2)


def test_every_band_has_its_own_noise():
    decibels = np.where(np.arange(64) % 2, 40, 25)
    image, sigma = noisy(mixed(bands=64, rows=64, cols=64), decibels)
    np.testing.assert_allclose(estimate(image), sigma, rtol=0.25)


@pytest.mark.parametrize(("bands", "materials"), [(12, 4), (8, 6), (5, 3), (31, 8)])
@pytest.mark.parametrize("snr_db", [20, 35])
def test_the_noise_of_the_bands_that_predict_is_not_counted(bands, materials, snr_db):
    """With few bands per material, the residual of a band holds as much noise of the others as of its own."""
    image, sigma = noisy(mixed(bands=bands, materials=materials, rows=80, cols=80), snr_db)
    np.testing.assert_allclose(estimate(image), sigma, rtol=0.2)


def test_a_clean_image_has_none():
    scene = mixed()
    assert (estimate(scene) < 1e-7 * scene.std((1, 2))).all()
    single = estimate_noise(torch.from_numpy(scene).float())
    assert single.dtype == torch.float32
    assert (single.numpy() < 1e-6 * scene.std((1, 2))).all()


def test_of_a_smooth_pattern_of_one_band_alone_little_is_taken_for_noise():
    """What remains is chance: the other bands' noise fits the pattern, each with a weight of 1 / pixels."""
    scene = mixed(rows=64, cols=64)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    pattern = 0.1 * x * y + 0.15 * y**2  # no other band has it
    scene[7] += pattern
    image, sigma = noisy(scene, 40)
    chance = pattern.var() * 31 / 64**2
    assert estimate(image)[7] < 1.2 * np.sqrt(sigma[7] ** 2 + chance) < 0.2 * pattern.std()
    np.testing.assert_allclose(np.delete(estimate(image), 7), np.delete(sigma, 7), rtol=0.3)


@settings(max_examples=25, deadline=None)
@given(st.floats(-8, 8), st.floats(-3, 3))
def test_the_estimate_is_in_the_units_of_the_image(exponent, offset):
    image, _ = noisy(mixed(bands=6, rows=12, cols=12), 30)
    scale = 10.0**exponent
    np.testing.assert_allclose(estimate(scale * (image + offset)), scale * estimate(image), rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)), st.booleans(), st.booleans())
def test_order_of_bands_and_orientation_do_not_matter(order, flip, turn):
    image, _ = noisy(mixed(bands=6, rows=12, cols=14), 30)
    other = image[list(order)]
    other = other[:, ::-1] if flip else other
    other = other.transpose(0, 2, 1) if turn else other
    np.testing.assert_allclose(estimate(np.ascontiguousarray(other)), estimate(image)[list(order)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 20, 20), (4, 2, 20), (4, 20, 2), (4, 1, 1)])
def test_where_noise_cannot_be_distinguished_from_signal_there_is_none(shape):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    assert estimate_noise(image).tolist() == [0.0] * shape[0]


def test_constant_bands_have_none_and_disturb_no_other():
    image, _ = noisy(mixed(bands=8), 30)
    with_constants = np.concatenate([image, np.full((1, *image.shape[1:]), 0.5), np.zeros((1, *image.shape[1:]))])
    found = estimate(with_constants)
    np.testing.assert_allclose(found[:8], estimate(image), rtol=1e-2)  # two bands more count as degrees of freedom
    assert found[8:].max() < 1e-12
    assert estimate(np.full((4, 8, 8), 0.7)).tolist() == [0.0] * 4


def test_white_noise_alone_is_all_noise():
    image = np.random.default_rng(3).normal(size=(6, 50, 50)) * 0.01
    np.testing.assert_allclose(estimate(image), image.std((1, 2)), rtol=0.1)
    assert (estimate(image) <= image.std((1, 2)) * (1 + 1e-12)).all()


def test_with_fewer_pixels_than_bands_noise_is_still_found():
    rng = np.random.default_rng(8)
    smooth = gaussian_filter(rng.normal(size=(3, 12, 12)), (0, 3, 3))
    clean = np.einsum("bk,krc->brc", gaussian_filter(rng.normal(size=(180, 3)), (4, 0)), smooth / smooth.std())
    found = estimate_noise(torch.from_numpy(clean + 0.05 * rng.normal(size=clean.shape)))
    assert float(found.square().mean().sqrt()) == pytest.approx(0.05, rel=0.15)


def test_the_energy_of_quiet_blocks_of_white_noise_is_the_constant():
    noise = torch.randn(1, 1600, 1600, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(quiet_energy(noise)) == pytest.approx(QUIET_ENERGY_OF_UNIT_NOISE, rel=1e-9)
    assert float(quiet_energy(3 * noise)) == pytest.approx(9 * QUIET_ENERGY_OF_UNIT_NOISE, rel=1e-9)
