"""Responses recovered from spectra and what an MSI shows of them: exact without noise, compact with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.radiometry import RadiometricModel
from hyperfuse.sensor.estimation.srf import fit_srf

PIXELS = np.argwhere(np.ones((24, 24), np.bool_))
WAVES = np.linspace(400.0, 1000.0, 40)


def spectra(seed=0, noise=0.0):
    """Mixtures of ten materials with wide and narrow features."""
    rng = np.random.default_rng(seed)
    centres, widths = rng.uniform(400, 1000, (10, 6)), rng.uniform(20, 150, (10, 6))
    bumps = np.exp(-((WAVES - centres[..., None]) ** 2) / (2 * widths[..., None] ** 2))
    materials = 0.1 + np.einsum("mk,mkw->mw", rng.random((10, 6)), bumps)
    pixels = rng.dirichlet(np.ones(10) * 0.5, len(PIXELS)) @ materials
    return pixels, pixels + noise * rng.standard_normal(pixels.shape)


def gaussian(centre, fwhm):
    row = np.exp(-4 * np.log(2) * ((WAVES - centre) / fwhm) ** 2)
    return row / row.sum()


def box(low, high):
    row = ((low <= WAVES) & (high >= WAVES)).astype(float)
    return row / row.sum()


TRUE = np.stack([gaussian(480, 70), gaussian(560, 40), box(640, 700), box(780, 900)])


def test_without_noise_the_msi_is_explained_and_the_centres_are_found():
    clean, _ = spectra()
    found = fit_srf(clean, clean @ TRUE.T, PIXELS, WAVES)
    assert (found.explained > 0.999).all()
    np.testing.assert_allclose(found.matrix @ WAVES, TRUE @ WAVES, atol=8)
    np.testing.assert_allclose(found.gain, 1, atol=0.01)
    np.testing.assert_allclose(found.offset, 0, atol=0.01)


def test_under_noise_responses_stay_where_they_are():
    clean, noisy = spectra(noise=0.01)
    msi = clean @ TRUE.T + 0.003 * np.random.default_rng(1).standard_normal((len(clean), 4))
    found = fit_srf(noisy, msi, PIXELS, WAVES)
    np.testing.assert_allclose(found.matrix @ WAVES, TRUE @ WAVES, atol=25)
    far = np.abs(WAVES - (TRUE @ WAVES)[:, None]) > 200
    assert (found.matrix * far).sum(axis=1).max() < 0.05
    assert (found.explained > 0.9).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_rows_are_responses_whatever_the_targets(seed):
    rng = np.random.default_rng(seed)
    found = fit_srf(rng.random((576, 12)), rng.standard_normal((576, 2)), PIXELS)
    assert (found.matrix >= 0).all()
    np.testing.assert_allclose(found.matrix.sum(axis=1), 1)
    assert (found.gain >= 0).all()
    assert np.isfinite(found.offset).all()


def test_gain_and_offset_are_found():
    clean, noisy = spectra(noise=0.003)
    gain, offset = np.array([1.3, 0.5, 1.0, 6.0]), np.array([0.1, 0.0, 0.0, 0.4])
    found = fit_srf(noisy, gain * (clean @ TRUE.T) + offset, PIXELS, WAVES)
    made = found.gain * (clean @ found.matrix.T) + found.offset
    np.testing.assert_allclose(made, gain * (clean @ TRUE.T) + offset, rtol=0.03)
    np.testing.assert_allclose(found.gain, gain, rtol=0.12)
    assert found.models[0].gain
    assert found.models[3] is RadiometricModel.GAIN_AND_OFFSET
    assert found.models[2] is RadiometricModel.IDENTICAL


def test_bands_in_any_order_give_the_same_responses():
    clean, noisy = spectra(noise=0.01)
    shuffled = np.random.default_rng(3).permutation(len(WAVES))
    expected = fit_srf(noisy, clean @ TRUE.T, PIXELS, WAVES)
    found = fit_srf(noisy[:, shuffled], clean @ TRUE.T, PIXELS, WAVES[shuffled])
    np.testing.assert_allclose(found.matrix, expected.matrix[:, shuffled], atol=1e-4)


def test_bands_beyond_the_msi_get_no_weight():
    clean, noisy = spectra(noise=0.005)
    found = fit_srf(noisy, clean @ TRUE[:2].T, PIXELS, WAVES)
    assert found.matrix[:, WAVES > 760].sum(axis=1).max() < 0.02


def test_an_msi_band_that_the_hsi_does_not_explain_is_reported():
    clean, noisy = spectra(noise=0.005)
    strange = np.random.default_rng(5).random(len(clean))
    found = fit_srf(noisy, np.stack([clean @ TRUE[0], strange], axis=1), PIXELS, WAVES)
    assert found.explained[0] > 0.95
    assert found.explained[1] < 0.3


def test_one_hsi_band_and_flat_targets():
    found = fit_srf(np.random.default_rng(0).random((576, 1)), np.ones((576, 2)), PIXELS)
    assert found.matrix.tolist() == [[1.0], [1.0]]
    assert found.explained.tolist() == [0.0, 0.0]


def test_too_few_pixels_are_refused():
    with pytest.raises(InputError, match="too few"):
        fit_srf(np.ones((9, 3)), np.ones((9, 1)), PIXELS[:9])


def test_responses_that_are_known_beforehand_are_kept_up_to_a_gain():
    clean, noisy = spectra(noise=0.01)
    msi = 0.8 * clean @ TRUE.T + 0.003 * np.random.default_rng(1).standard_normal((len(clean), 4))
    prior = TRUE.copy()
    prior[3] = np.nan
    found = fit_srf(noisy, msi, PIXELS, WAVES, prior)
    assert found.kept.tolist() == [True, True, True, False]
    np.testing.assert_allclose(found.matrix[:3], TRUE[:3], atol=2e-3)
    np.testing.assert_allclose(found.gain, 0.8, atol=0.02)
    free = fit_srf(noisy, msi, PIXELS, WAVES)
    assert not free.kept.any()
    np.testing.assert_allclose(found.matrix[3], free.matrix[3])
    assert np.abs(found.matrix - TRUE)[:3].sum() < 0.2 * np.abs(free.matrix - TRUE)[:3].sum()


def test_the_pair_corrects_what_is_known_wrongly():
    clean, noisy = spectra(noise=0.001)
    wrong = np.stack([gaussian(540, 70), gaussian(560, 40), box(700, 760), box(780, 900)])
    found = fit_srf(noisy, clean @ TRUE.T, PIXELS, WAVES, wrong)
    assert found.kept.tolist() == [False, True, False, True]
    np.testing.assert_allclose(found.matrix @ WAVES, TRUE @ WAVES, atol=15)
