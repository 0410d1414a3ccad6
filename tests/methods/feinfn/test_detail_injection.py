"""Details beyond the HSI's resolution: kept where models are right about them, shrunk or added to elsewhere."""

import pytest
import torch

from hyperfuse.methods.feinfn.detail_injection import Details
from hyperfuse.methods.local_linear.models import Predictors
from hyperfuse.sensor import create_sensor

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


def test_a_model_that_is_right_is_left_alone(sensor):
    msi = textures(2, 0, smooth=False)
    image = torch.stack([msi[0] + 0.5 * msi[1], 2 * msi[1]])
    hsi = degraded(sensor, image)
    details = Details.fit(hsi, hsi, predictors(sensor, msi))
    torch.testing.assert_close(details.share, torch.ones(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(details.correct(image, predictors(sensor, msi)), image, atol=1e-4, rtol=0)


def test_details_that_a_band_does_not_have_are_taken_out(sensor):
    msi, truth = textures(1, 1, smooth=False), textures(1, 2, smooth=True)
    wrong = truth + 0.5 * msi  # large shapes right, details invented
    details = Details.fit(degraded(sensor, wrong), degraded(sensor, truth), predictors(sensor, msi))
    corrected = details.correct(wrong, predictors(sensor, msi))
    assert float((corrected - truth).square().mean()) < 0.1 * float((wrong - truth).square().mean())


def test_details_that_a_model_misses_are_added(sensor):
    msi, large = textures(3, 3, smooth=False), textures(1, 4, smooth=True)
    truth = large + 0.4 * msi[:1] - 0.2 * msi[2:]
    details = Details.fit(degraded(sensor, large), degraded(sensor, truth), predictors(sensor, msi))
    corrected = details.correct(large, predictors(sensor, msi))
    assert float((corrected - truth).square().mean()) < 0.1 * float((large - truth).square().mean())
    torch.testing.assert_close(details.slopes, torch.tensor([[0.4, 0.0, -0.2]]), atol=0.05, rtol=0)


def test_chance_adds_next_to_nothing(sensor):
    """Noise of the HSI agrees with no detail of the MSI."""
    msi, noise = textures(4, 5, smooth=False), textures(6, 6, smooth=False)
    hsi = degraded(sensor, noise)
    details = Details.fit(torch.zeros_like(hsi), hsi, predictors(sensor, msi))
    assert float(details.slopes.abs().max()) < 0.1
    assert torch.equal(details.share, torch.ones(6))  # of nothing, nothing need be taken out


def test_units_do_not_matter(sensor):
    msi, large = textures(2, 7, smooth=False), textures(2, 8, smooth=True)
    truth = large + 0.3 * msi
    fits = [
        Details.fit(degraded(sensor, factor * large), degraded(sensor, factor * truth), predictors(sensor, msi))
        for factor in (1.0, 10000.0)
    ]
    torch.testing.assert_close(fits[1].share, fits[0].share)
    torch.testing.assert_close(fits[1].slopes, 10000 * fits[0].slopes, rtol=1e-4, atol=1e-2)


def test_too_few_pixels_teach_nothing(sensor):
    hsi, msi, image = torch.rand(2, 6, 6), torch.rand(1, 24, 24), torch.rand(2, 24, 24)
    given = Predictors(msi, sensor.degrade(msi, (6, 6)).double(), sensor)
    assert torch.equal(Details.fit(0 * hsi, hsi, given).correct(image, given), image)
