"""Held-out regression on spectra, and spectra without the noise of single bands."""

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.fit import HeldOutFit, principal_images, without_noise

RNG = np.random.default_rng(0)
PIXELS = np.argwhere(np.ones((16, 20), np.bool_))


def test_predictions_are_ridge_regressions_on_the_other_folds():
    spectra, targets = RNG.random((320, 7)), RNG.random((320, 3))
    fit = HeldOutFit(spectra, PIXELS, ridge=1e-3)
    found = fit.residual(targets)
    standard = (spectra - spectra.mean(0)) / spectra.std(0)
    folds = (PIXELS[:, 0] // 4 % 2) * 2 + PIXELS[:, 1] // 4 % 2
    expected = np.empty_like(targets)
    for fold in range(4):
        known = folds != fold
        x, mean = standard[known] - standard[known].mean(0), targets[known].mean(0)
        stiff = 1e-3 * np.linalg.eigvalsh(x.T @ x).max() * np.eye(7)
        weights = np.linalg.solve(x.T @ x + stiff, x.T @ (targets[known] - mean))
        expected[~known] = targets[~known] - mean - (standard[~known] - standard[known].mean(0)) @ weights
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_the_residual_is_linear_in_the_targets():
    fit = HeldOutFit(RNG.random((320, 7)), PIXELS)
    one, other = RNG.random((320, 2)), RNG.random((320, 2))
    np.testing.assert_allclose(
        fit.residual(2 * one - 3 * other), 2 * fit.residual(one) - 3 * fit.residual(other), atol=1e-10
    )


def test_what_is_explained_and_what_is_not():
    spectra = RNG.random((320, 7))
    combined, noise = spectra @ RNG.random(7), RNG.random(320)
    constant = np.full(320, 3.0)
    fractions = HeldOutFit(spectra, PIXELS, 1e-9).unexplained(np.stack([combined, noise, constant], axis=1))
    assert fractions[0] < 1e-6
    assert fractions[1] > 0.95
    assert fractions[2] == pytest.approx(1)


def test_a_stiffer_fit_is_chosen_where_there_is_noise():
    spectra = RNG.random((320, 60))
    clean = spectra @ RNG.random(60)
    noisy = clean + 5 * RNG.standard_normal(320)
    assert HeldOutFit.choose(spectra, PIXELS, clean[:, None]).ridge < 1e-6
    assert HeldOutFit.choose(spectra, PIXELS, noisy[:, None]).ridge >= 1e-2


def test_constant_bands_do_no_harm():
    spectra = np.concatenate([RNG.random((320, 3)), np.ones((320, 1))], axis=1)
    assert np.isfinite(HeldOutFit(spectra, PIXELS).residual(RNG.random((320, 2)))).all()


def test_too_few_pixels_are_refused():
    with pytest.raises(InputError, match="too few"):
        HeldOutFit(RNG.random((20, 3)), PIXELS[:20])
    with pytest.raises(InputError, match="one block"):
        HeldOutFit(RNG.random((40, 3)), np.zeros((40, 2), np.int64))


def test_components_have_unit_variance_and_none_is_noise():
    pixels = RNG.random((500, 2)) @ RNG.random((2, 5)) + 1e-6 * RNG.random((500, 5))
    matrix = principal_images(pixels, 4)
    assert matrix.shape == (5, 2)
    np.testing.assert_allclose((pixels @ matrix).std(0), 1)
    assert principal_images(np.ones((50, 3)), 4).shape == (3, 1)


def test_noise_of_single_bands_is_taken_out():
    waves = np.linspace(0, 1, 40)
    materials = np.stack([np.exp(-((waves - centre) ** 2) / 0.02) for centre in (0.2, 0.5, 0.8)])
    clean = RNG.dirichlet(np.ones(3), 900) @ materials
    noisy = clean + 0.02 * RNG.standard_normal(clean.shape)
    residual = without_noise(noisy, np.arange(40)) - clean
    assert np.square(residual).mean() < 0.15 * np.square(noisy - clean).mean()
    np.testing.assert_allclose(without_noise(clean, np.arange(40)), clean, atol=1e-4)


def test_the_order_of_the_bands_does_not_matter():
    clean = RNG.random((300, 3)) @ RNG.random((3, 20))
    noisy = clean + 0.01 * RNG.standard_normal(clean.shape)
    shuffled = RNG.permutation(20)
    order = np.argsort(shuffled)
    expected = without_noise(noisy, np.arange(20))
    np.testing.assert_allclose(without_noise(noisy[:, shuffled], order), expected[:, shuffled], atol=1e-9)
