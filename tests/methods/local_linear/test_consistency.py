"""Restoring consistency against dense linear algebra on tiny images: the same Gaussian model, written out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import multivariate_normal

from hyperfuse.methods.local_linear.consistency import enforce_consistency
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.statistics.noise import estimate_noise

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
RING = ((0.0, 1.0, 0.0), (1.0, 0.5, 1.0), (0.0, 1.0, 0.0))
DIAGONAL = tuple(tuple(float(i == j) for j in range(5)) for i in range(5))
CORNER = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0))

SENSORS = {
    "gaussian": mtf(3),
    "circular": uestc(4),
    "box": Sensor(ratio=(2, 2), psf=BoxPsf(width=(2, 2))),
    "axes": Sensor(ratio=(4, 2), psf=GaussianPsf(sigma=(1.5, 0.8)), phase=(1.0, 0.0)),
    "fraction": Sensor(ratio=(2.5, 2.5), psf=GaussianPsf(sigma=(1.0, 1.0)), phase=(0.3, 0.9)),
}


def dense_operator(sensor, fine, coarse):
    """Column by column, what the sensor makes of an image that is 1 in one pixel."""
    units = torch.eye(fine[0] * fine[1], dtype=torch.float64).reshape(-1, *fine)
    return sensor.degrade(units, coarse).flatten(1).T.numpy()


def dense_prior(sensor, fine, length):
    y, x = np.divmod(np.arange(fine[0] * fine[1]), fine[1])
    y, x = y / sensor.ratio[0], x / sensor.ratio[1]
    return np.exp(-(np.abs(y[:, None] - y) + np.abs(x[:, None] - x)) / length)


def dense_ratios(gain, residual, noise):
    """Noise over prior variance: the prior explains what the residual has beyond noise, a twentieth at least."""
    total = (residual**2).mean(1)
    return noise * gain / np.maximum(total - noise, 0.05 * total) + 1e-5 * gain


def dense_length(operator, sensor, fine, residual, noise):
    """The length of highest likelihood, every band at its own best prior variance."""
    scores = []
    for length in LENGTHS:
        signal = operator @ dense_prior(sensor, fine, length) @ operator.T
        score = 0.0
        for band, ratio in zip(residual, dense_ratios(np.diag(signal).mean(), residual, noise), strict=True):
            covariance = signal + ratio * np.eye(len(band))
            variance = band @ np.linalg.solve(covariance, band) / len(band)
            score += multivariate_normal(cov=variance * covariance).logpdf(band)
        scores.append(score)
    return LENGTHS[int(np.argmax(scores))]


def dense_components(residual, deviation):
    """Principal components in units of the noise that are not noise, their noise variance, and the way back."""
    unit = np.maximum(deviation, 1e-3 * np.sqrt((residual**2).mean(1)))
    directions, strengths, _ = np.linalg.svd(residual / unit[:, None], full_matrices=False)
    noise = directions.T**2 @ (deviation / unit) ** 2
    bands, pixels = residual.shape
    variances = strengths**2 / pixels
    keep = variances > np.maximum(1.05 * (1 + np.sqrt(bands / pixels)) ** 2 * noise, 1e-12 * variances.max())
    directions = directions[:, keep]
    return directions.T @ (residual / unit[:, None]), noise[keep], unit[:, None] * directions


def dense_correction(sensor, fused, hsi, modelled_by=None):
    """C A' (A C A' + N)^-1 r; ``modelled_by`` is the sensor whose likelihood chooses the length and the ratios."""
    fine, coarse = fused.shape[1:], hsi.shape[1:]
    operator = dense_operator(sensor, fine, coarse)
    model = operator if modelled_by is None else dense_operator(modelled_by, fine, coarse)
    residual = hsi.numpy().reshape(len(hsi), -1) - fused.numpy().reshape(len(fused), -1) @ operator.T
    residual, noise, back = dense_components(residual, estimate_noise(hsi).numpy())
    length = dense_length(model, sensor, fine, residual, noise)
    prior = dense_prior(sensor, fine, length)
    ratios = dense_ratios(np.diag(model @ prior @ model.T).mean(), residual, noise)
    change = [
        prior @ operator.T @ np.linalg.solve(operator @ prior @ operator.T + ratio * np.eye(len(band)), band)
        for band, ratio in zip(residual, ratios, strict=True)
    ]
    return (back @ np.stack(change)).reshape(fused.shape), length


def problem(sensor, bands=1, fine=(12, 10), smooth=0.0, noise=0.0, seed=0):
    """An image, what the sensor measures of it, and a poor guess of it, in float64."""
    rng = np.random.default_rng(seed)
    mixing = rng.random((bands, 2))
    truth = np.einsum("bk,krc->brc", mixing, gaussian_filter(rng.normal(size=(2, *fine)), (0, smooth, smooth)))
    hsi = sensor.degrade(torch.from_numpy(truth))
    hsi = hsi + noise * hsi.std() * torch.from_numpy(rng.normal(size=hsi.shape))
    return torch.from_numpy(truth), hsi, torch.zeros(truth.shape, dtype=torch.float64)


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("smooth", [0.0, 2.5])
def test_the_correction_is_that_of_dense_algebra(name, smooth):
    _, hsi, fused = problem(SENSORS[name], smooth=smooth)
    expected, _ = dense_correction(SENSORS[name], fused, hsi)
    found = enforce_consistency(fused, hsi, SENSORS[name])
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["gaussian", "axes"])
@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_noise_is_weighted_as_by_dense_algebra(name, noise):
    _, hsi, fused = problem(SENSORS[name], bands=4, fine=(15, 18), smooth=2, noise=noise)
    assert (estimate_noise(hsi) > 0).all()
    expected, _ = dense_correction(SENSORS[name], fused, hsi)
    found = enforce_consistency(fused, hsi, SENSORS[name])
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_rough_and_smooth_errors_get_lengths_of_their_own():
    """The cases above are worth something: the likelihood does distinguish lengths, and another gives another image."""
    chosen = set()
    for smooth in (0.0, 1.0, 2.5, 5.0):
        _, hsi, fused = problem(SENSORS["box"], smooth=smooth)
        chosen.add(dense_correction(SENSORS["box"], fused, hsi)[1])
    assert len(chosen) >= 3


@pytest.mark.parametrize("weights", [RING, DIAGONAL, CORNER], ids=["ring", "diagonal", "corner"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_psf_that_is_not_separable_is_solved_as_well(weights, noise):
    sensor = Sensor(ratio=(3, 3), psf=KernelPsf(weights=weights))
    kernel = np.array(weights)
    marginals = np.outer(kernel.sum(1), kernel.sum(0))
    modelled_by = sensor.replace(psf=KernelPsf(weights=tuple(map(tuple, marginals.tolist()))))
    _, hsi, fused = problem(sensor, bands=3 if noise else 1, fine=(15, 12), smooth=1.5, noise=noise)
    expected, _ = dense_correction(sensor, fused, hsi, modelled_by)
    found = enforce_consistency(fused, hsi, sensor)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_separable_kernel_is_solved_like_the_gaussian_it_is():
    gaussian = Sensor(ratio=(3, 3), psf=GaussianPsf(sigma=(1.0, 1.0), radius=(2.0, 2.0)))
    profile = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel = gaussian.replace(psf=KernelPsf(weights=tuple(map(tuple, np.outer(profile, profile).tolist()))))
    _, hsi, fused = problem(gaussian)
    torch.testing.assert_close(enforce_consistency(fused, hsi, kernel), enforce_consistency(fused, hsi, gaussian))


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_clean_hsi_is_met_and_the_image_comes_nearer_to_the_truth(name, dtype):
    sensor = SENSORS[name]
    truth, hsi, fused = (image.to(dtype) for image in problem(sensor, bands=3, fine=(20, 20), smooth=2))
    found = enforce_consistency(fused, hsi, sensor)
    assert found.dtype == dtype
    before, after = ((hsi - sensor.degrade(image)).abs().max() for image in (fused, found))
    assert after < 3e-4 * before
    assert (found - truth).square().sum() < 0.5 * (fused - truth).square().sum()


def test_an_image_that_agrees_already_is_left_alone():
    sensor = SENSORS["box"]
    truth, hsi, _ = problem(sensor, bands=2)
    torch.testing.assert_close(enforce_consistency(truth, hsi, sensor), truth, atol=1e-12, rtol=0)
    constant = torch.full((2, 8, 8), 0.3)
    assert (enforce_consistency(constant, sensor.degrade(constant), sensor) - constant).abs().max() < 1e-6


@pytest.mark.parametrize("psf", [GaussianPsf(sigma=(1.2, 1.2)), KernelPsf(weights=DIAGONAL)], ids=["one", "many"])
def test_the_noise_of_a_noisy_hsi_is_not_chased(psf):
    """From nothing, the measurement is smoothed; an image that is right already is hardly touched."""
    rng = np.random.default_rng(4)
    sensor = Sensor(ratio=(3, 3), psf=psf)
    spectra = torch.from_numpy(rng.random((24, 3)))
    materials = torch.from_numpy(gaussian_filter(rng.normal(size=(3, 60, 60)), (0, 6, 6)))
    truth = torch.einsum("bk,krc->brc", spectra, materials / materials.std())
    clean = sensor.degrade(truth)
    noise = 0.1 * torch.from_numpy(rng.normal(size=clean.shape))
    from_nothing = sensor.degrade(enforce_consistency(torch.zeros_like(truth), clean + noise, sensor))
    assert (from_nothing - clean).std() < 0.85 * noise.std()
    from_truth = sensor.degrade(enforce_consistency(truth, clean + noise, sensor))
    assert (from_truth - clean).std() < 0.25 * noise.std()


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1e-8, 1e-4, 1e4, 1e8]), st.sampled_from(["gaussian", "axes"]))
def test_the_unit_of_the_values_does_not_matter(scale, name):
    _, hsi, fused = problem(SENSORS[name], bands=3, fine=(16, 18), noise=0.1)
    found = enforce_consistency(fused, hsi, SENSORS[name])
    scaled = enforce_consistency(scale * fused, scale * hsi, SENSORS[name])
    torch.testing.assert_close(scaled / scale, found, rtol=1e-7, atol=1e-9)


def test_a_level_added_to_both_stays():
    sensor = SENSORS["gaussian"]
    _, hsi, fused = problem(sensor, bands=3, fine=(15, 18), noise=0.1)
    torch.testing.assert_close(
        enforce_consistency(fused + 5, hsi + 5, sensor), enforce_consistency(fused, hsi, sensor) + 5
    )


def test_many_bands_are_corrected_in_parts_like_all_at_once(monkeypatch):
    for sensor in (SENSORS["gaussian"], Sensor(ratio=(3, 3), psf=KernelPsf(weights=RING))):
        _, hsi, fused = problem(sensor, bands=7, fine=(12, 12))
        at_once = enforce_consistency(fused, hsi, sensor)
        with monkeypatch.context() as patch:
            patch.setattr("hyperfuse.methods.local_linear.consistency._CHUNK", 3)
            patch.setattr("hyperfuse.methods.local_linear.consistency._SOLVER_CHUNK", 3)
            torch.testing.assert_close(enforce_consistency(fused, hsi, sensor), at_once, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fine", [(3, 3), (3, 12), (12, 3)])
def test_the_smallest_images_are_met(fine):
    sensor = SENSORS["gaussian"]
    _, hsi, fused = problem(sensor, bands=2, fine=fine)
    found = enforce_consistency(fused, hsi, sensor)
    assert (sensor.degrade(found) - hsi).abs().max() < 1e-3 * hsi.abs().max()


def test_what_lies_beyond_the_border_does_not_reach_the_centre():
    """At the border the HSI of a larger scene holds light from beyond the image: that must not spread inwards."""
    sensor, generator = mtf(4), torch.Generator().manual_seed(0)
    materials = torch.rand(60, 4, generator=generator)
    fields = np.random.default_rng(0).normal(size=(4, 176, 176))
    wide = torch.einsum("bk,krc->brc", materials, torch.from_numpy(gaussian_filter(fields, (0, 1, 1))).float())
    hsi = sensor.degrade(wide, (44, 44))[:, 2:-2, 2:-2]
    hsi = hsi + 1e-3 * torch.randn(hsi.shape, generator=generator)
    truth = wide[:, 8:-8, 8:-8]
    result = enforce_consistency(truth, hsi, sensor)
    border = (hsi - sensor.degrade(truth, (40, 40)))[:, 0].std()
    assert border > 5e-3
    assert (result - truth)[:, 16:-16, 16:-16].abs().max() < 1e-5
