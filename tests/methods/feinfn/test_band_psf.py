"""PSF per band: bands that were shifted or blurred on purpose are corrected, others are not changed."""

import numpy as np
import pytest
import torch
from scipy.ndimage import fourier_shift, gaussian_filter

from hyperfuse.methods.contract.method import WHOLE
from hyperfuse.methods.feinfn.band_psf import _KERNELS, _TERMS, BandPsf, _DegradedTerms
from hyperfuse.methods.local_linear.predictors import Predictors
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.sensor.psf import GaussianPsf, KernelPsf
from hyperfuse.statistics.shrinkage import RadianceShrinkage


def scene(bands=3, size=96):
    rng = np.random.default_rng(1)
    return np.stack([gaussian_filter(rng.normal(size=(size, size)), 1.5, mode="wrap") for _ in range(bands)])


def moved(band, dy, dx):
    return np.fft.ifft2(fourier_shift(np.fft.fft2(band), (dy, dx))).real


def fit(image, hsi, held_out, sensor):
    return BandPsf.fit([image], [hsi], [held_out], [Predictors(image, hsi.double(), sensor)])


def terms(band, kernel, extent=WHOLE):
    """Return what each term of a kernel adds to a band."""
    count = len(_KERNELS[kernel])
    unit = RadianceShrinkage(torch.tensor([1.0]), torch.tensor([1.0]))
    psf = BandPsf([kernel] * count, list(torch.eye(count, dtype=band.dtype)), unit)
    return psf.correct(band.expand(count, -1, -1), extent) - band


def test_derivatives_of_a_polynomial_are_exact():
    y, x = np.mgrid[0:15, 0:17].astype(float)
    band = torch.from_numpy(2 + 3 * x - y + 0.5 * x**2 + 2 * y**2 + 0.25 * x * y)
    dx, dy, dxx, dyy, dxy = (one[5:-5, 5:-5].numpy() for one in terms(band, 1))
    inner = np.s_[5:-5, 5:-5]
    np.testing.assert_allclose(dx, (3 + x + 0.25 * y)[inner], atol=1e-9)
    np.testing.assert_allclose(dy, (-1 + 4 * y + 0.25 * x)[inner], atol=1e-9)
    np.testing.assert_allclose(dxx, 1.0, atol=1e-9)
    np.testing.assert_allclose(dyy, 4.0, atol=1e-9)
    np.testing.assert_allclose(dxy, 0.25, atol=1e-9)


def test_a_shift_that_grows_with_the_position_has_its_own_features():
    band = torch.from_numpy(scene(1)[0])
    plain, positional = terms(band, 1), terms(band, 2)
    assert positional.shape[0] == plain.shape[0] + 4
    torch.testing.assert_close(positional[:5], plain)
    assert positional[5, 0].allclose(-plain[0, 0])  # y is -1 in the first row
    assert positional[6, :, -1].allclose(plain[0, :, -1])  # x is 1 in the last column


def test_a_part_of_a_scene_counts_positions_over_the_scene():
    band = torch.from_numpy(scene(1)[0])
    whole = terms(band, 2)
    # Columns 48 to 95 of 96, whose centres lie from 1/95 to 1.
    part = terms(band[:, 48:], 2, (-1.0, 1.0, 1 / 95, 1.0))
    torch.testing.assert_close(part[:, :, 8:], whole[:, :, 56:])


@pytest.mark.parametrize("extent", [WHOLE, (-0.5, 0.1, 0.2, 1.0)])
@pytest.mark.parametrize(
    "psf", [GaussianPsf(sigma=(1.2, 1.5)), KernelPsf(weights=((0.0, 0.1, 0.0), (0.3, 0.4, 0.1), (0.0, 0.1, 0.0)))]
)
def test_terms_at_lr_are_those_of_the_image_degraded(psf, extent):
    sensor = Sensor(ratio=(3.0, 3.0), psf=psf)
    band = torch.from_numpy(scene(1, 60)[0])
    coarse = sensor.degrade(band[None]).double()
    window = Predictors(band[None], coarse, sensor, extent)
    found = _DegradedTerms.of(window, tuple(range(len(_TERMS))))(band)
    torch.testing.assert_close(found, sensor.degrade(terms(band, 3, extent)).flatten(1))


@pytest.mark.parametrize("change", ["shift", "blur"])
def test_a_band_with_another_psf_is_corrected_and_the_others_are_not(change):
    sensor = uestc(4)
    image = scene()
    truth = image.copy()
    truth[1] = moved(image[1], 0.3, -0.2) if change == "shift" else gaussian_filter(image[1], 0.6, mode="wrap")
    hsi = sensor.degrade(torch.from_numpy(truth))
    estimate = torch.from_numpy(image)
    psf = fit(estimate, hsi, sensor.degrade(estimate), sensor)
    assert psf.choices[0] == psf.choices[2] == 0
    assert psf.choices[1] > 0
    corrected = psf.correct(estimate).numpy()
    np.testing.assert_array_equal(corrected[[0, 2]], image[[0, 2]])
    before, after = (np.square(one[1] - truth[1])[8:-8, 8:-8].mean() for one in (image, corrected))
    assert after < 0.05 * before


def test_noise_is_not_mistaken_for_a_psf():
    sensor = mtf(3)
    image = torch.from_numpy(scene())
    clean = sensor.degrade(image)
    noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=clean.dtype)
    psf = fit(image, clean + noise, clean, sensor)
    assert psf.choices == [0, 0, 0]


def test_a_change_beyond_a_pixel_is_not_corrected():
    # A band of reversed contrast would need weights far beyond a pixel.
    sensor = mtf(4)
    image = torch.from_numpy(scene())
    sharp = image - 12 * torch.from_numpy(np.stack([gaussian_filter(band, 1, mode="wrap") for band in scene()]))
    psf = fit(image, sensor.degrade(sharp), sensor.degrade(image), sensor)
    largest = max((float(weight.abs().max()) for weight in psf.weights if weight.numel()), default=0.0)
    assert largest <= 0.9
