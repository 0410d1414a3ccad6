"""Priors of the PSF by sensor."""

import math

import pytest

from hyperfuse.sensor.published import PsfPrior, psf_prior


@pytest.mark.parametrize("sensor", ["PRISMA", "prisma", "Tanager-1", "tanager"])
def test_what_is_published_is_the_prior_of_the_sensor(sensor):
    low, high = (0.05, 0.10) if sensor.lower() == "prisma" else (0.25, 0.49)
    prior = psf_prior({"sensor": sensor})
    # A Gaussian of sigma pixels passes exp(-2 (pi sigma / 2)^2) at half a cycle per pixel.
    assert math.exp(-2 * (math.pi * prior.width / 2) ** 2) == pytest.approx(math.sqrt(low * high))
    assert 0.1 < prior.log_deviation < 0.2
    assert f"{low:g} to {high:g}" in str(prior)
    assert "USGS Open-File Report 2021-1030" in str(prior)
    assert prior.psf((6.0, 3.0)).sigma == pytest.approx((6 * prior.width, 3 * prior.width))


@pytest.mark.parametrize("attributes", [{}, {"sensor": "EnMAP"}, {"sensor": "Sentinel-2A"}])
def test_other_sensors_keep_the_usual_modulation(attributes):
    assert psf_prior(attributes) == PsfPrior()
    assert str(psf_prior(attributes)) == "a Gaussian with a modulation of 0.3 at Nyquist"
    assert psf_prior(attributes).width == pytest.approx(0.494, abs=1e-3)
