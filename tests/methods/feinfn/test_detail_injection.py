"""Details beyond the HSI's resolution: unchanged where models are right about them, shrunk or added elsewhere."""

import pytest
import torch

from hyperfuse.methods.feinfn.detail_injection import DetailInjection
from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.sensor.presets import create_sensor

SHAPE, RATIO = (24, 28), 4


def textures(count, seed, *, smooth):
    """Return random images, white or with nothing beyond a few LR pixels."""
    generator = torch.Generator().manual_seed(seed)
    rows, cols = SHAPE[0] * RATIO, SHAPE[1] * RATIO
    if not smooth:
        return torch.randn(count, rows, cols, generator=generator)
    coarse = torch.randn(1, count, SHAPE[0] // 6, SHAPE[1] // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(rows, cols), mode="bicubic", align_corners=False)[0]


@pytest.fixture
def sensor():
    return create_sensor("mtf", RATIO)


def degraded(sensor, image):
    return sensor.degrade(image, SHAPE)


def predictors(sensor, msi):
    return Predictors(msi, degraded(sensor, msi).double(), sensor)


def fit(held_out, hsi, window):
    return DetailInjection.fit([held_out], [hsi], [window])


def test_a_model_that_is_right_is_not_changed(sensor):
    msi = textures(2, 0, smooth=False)
    image = torch.stack([msi[0] + 0.5 * msi[1], 2 * msi[1]])
    hsi = degraded(sensor, image)
    injection = fit(hsi, hsi, predictors(sensor, msi))
    torch.testing.assert_close(injection.gain, torch.ones(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(injection.correct(image, predictors(sensor, msi)), image, atol=1e-4, rtol=0)


def test_details_that_a_band_does_not_have_are_removed(sensor):
    msi, truth = textures(1, 1, smooth=False), textures(1, 2, smooth=True)
    wrong = truth + 0.5 * msi  # large shapes right, details invented
    injection = fit(degraded(sensor, wrong), degraded(sensor, truth), predictors(sensor, msi))
    corrected = injection.correct(wrong, predictors(sensor, msi))
    assert float((corrected - truth).square().mean()) < 0.1 * float((wrong - truth).square().mean())


def test_details_that_a_model_misses_are_added(sensor):
    msi, large = textures(3, 3, smooth=False), textures(1, 4, smooth=True)
    truth = large + 0.4 * msi[:1] - 0.2 * msi[2:]
    injection = fit(degraded(sensor, large), degraded(sensor, truth), predictors(sensor, msi))
    corrected = injection.correct(large, predictors(sensor, msi))
    assert float((corrected - truth).square().mean()) < 0.1 * float((large - truth).square().mean())
    torch.testing.assert_close(injection.slopes, torch.tensor([[0.4, 0.0, -0.2]]), atol=0.05, rtol=0)


def test_chance_adds_next_to_nothing(sensor):
    """Noise of the HSI agrees with no detail of the MSI."""
    msi, noise = textures(4, 5, smooth=False), textures(6, 6, smooth=False)
    hsi = degraded(sensor, noise)
    injection = fit(torch.zeros_like(hsi), hsi, predictors(sensor, msi))
    assert float(injection.slopes.abs().max()) < 0.1
    assert torch.equal(injection.gain, torch.ones(6))


def test_units_do_not_matter(sensor):
    msi, large = textures(2, 7, smooth=False), textures(2, 8, smooth=True)
    truth = large + 0.3 * msi
    fits = [
        fit(degraded(sensor, factor * large), degraded(sensor, factor * truth), predictors(sensor, msi))
        for factor in (1.0, 10000.0)
    ]
    torch.testing.assert_close(fits[1].gain, fits[0].gain)
    torch.testing.assert_close(fits[1].slopes, 10000 * fits[0].slopes, rtol=1e-4, atol=1e-2)


def test_too_few_pixels_change_nothing(sensor):
    hsi, msi, image = torch.rand(2, 6, 6), torch.rand(1, 24, 24), torch.rand(2, 24, 24)
    given = Predictors(msi, sensor.degrade(msi, (6, 6)).double(), sensor)
    assert torch.equal(fit(0 * hsi, hsi, given).correct(image, given), image)
