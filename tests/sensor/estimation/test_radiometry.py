"""Gain and offset of bands with known responses, pixels that changed, differences that are smooth."""

import numpy as np
import pytest

from hyperfuse.sensor.estimation.radiometry import (
    RadiometricModel,
    changed_pixels,
    excess,
    fit_radiometry,
    smooth_fraction,
)

PIXELS = np.argwhere(np.ones((32, 32), np.bool_))
RNG = np.random.default_rng(0)


def test_gain_and_offset_are_claimed_only_where_they_differ():
    x = RNG.random((1024, 3)) + 0.5
    noise = 0.02 * RNG.standard_normal(x.shape)
    found = fit_radiometry(x, x * [1.0, 1.2, 0.7] + [0.0, 0.0, 0.3] + noise, PIXELS)
    assert found.models == (RadiometricModel.IDENTICAL, RadiometricModel.GAIN, RadiometricModel.GAIN_AND_OFFSET)
    np.testing.assert_allclose(found.gain, [1.0, 1.2, 0.7], rtol=0.02)
    np.testing.assert_allclose(found.offset, [0.0, 0.0, 0.3], atol=0.02)
    assert (found.explained > 0.98).all()


def test_radiometry_of_constant_bands():
    found = fit_radiometry(np.ones((1024, 1)), np.full((1024, 1), 3.0), PIXELS)
    assert found.gain[0] * 1 + found.offset[0] == pytest.approx(3, abs=1e-6)
    assert found.explained.tolist() == [0.0]


def test_changed_pixels_are_found_and_edges_are_not():
    edge = (PIXELS[:, 1] > 15).astype(float)
    spectra = np.stack([edge, 0.5 * edge], axis=1) + 0.01 * RNG.random((1024, 2))
    targets = spectra @ np.array([[1.0, 0.3], [0.2, 0.8]]) + 0.001 * RNG.standard_normal((1024, 2))
    assert not changed_pixels(spectra, targets, PIXELS).any()
    cloud = (PIXELS < 6).all(axis=1)
    targets[cloud] += 2
    found = changed_pixels(spectra, targets, PIXELS)
    assert found[cloud].mean() > 0.9
    assert found[~cloud].mean() < 0.02


def test_haze_is_smooth_and_noise_is_not():
    haze = 0.1 * np.sin(PIXELS[:, 0] / 10) + 0.01 * RNG.standard_normal(1024)
    noise = RNG.standard_normal(1024)
    fractions = smooth_fraction(np.stack([haze, noise], axis=1), PIXELS)
    assert fractions[0] > 0.6
    assert fractions[1] < 0.1


def test_excess_counts_in_standard_errors_over_blocks():
    blocks = np.repeat(np.arange(64), 16)
    errors = 1 + 0.5 * RNG.standard_normal(1024)
    best = np.ones(1024)
    summed = (errors - best).reshape(64, 16).sum(1)
    assert excess(errors, best, blocks) == pytest.approx(summed.mean() / (summed.std(ddof=1) / 8))
    assert excess(best, best, blocks) == 0
    assert excess(best + 1, best, blocks) == np.inf
    assert excess(best - 1, best, blocks) == -np.inf
