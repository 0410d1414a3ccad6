"""FUSE against the dense normal equations of its model, and what its prior does."""

import numpy as np
import pytest
import torch

from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.algorithms import fuse_sylvester
from hyperfuse.sensor.estimation.noise import pixel_noise
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import KernelPsf
from hyperfuse.statistics.noise import estimate_noise
from scenes import gaussian_responses

METHOD = get_method("fuse-sylvester")
LOPSIDED = KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0)))
BANDS, SIDE = 5, 12


@pytest.fixture
def pair():
    """Noise around smooth bands: a scene for which no step is trivial."""
    generator = torch.Generator().manual_seed(0)
    y, x = np.mgrid[:SIDE, :SIDE] / 4.0
    smooth = np.stack([np.sin((1 + b / 4) * x + b) + np.cos(y * (1 + b / 7)) for b in range(BANDS)]) / 4 + 1
    scene = torch.from_numpy(smooth) + 0.05 * torch.rand(BANDS, SIDE, SIDE, generator=generator, dtype=torch.float64)
    sensor = Sensor(ratio=(3, 3), phase=(1, 2), psf=LOPSIDED, srf=gaussian_responses(2, BANDS), boundary="circular")
    hsi = sensor.degrade(scene) + 0.01 * torch.randn(BANDS, 4, 4, generator=generator, dtype=torch.float64)
    return PairTensors(hsi, sensor.respond(scene), sensor)


@pytest.mark.parametrize("prior", ["details", "image"])
@pytest.mark.parametrize("components", [2, 5])
def test_it_solves_the_dense_normal_equations(pair, prior, components):
    hsi, msi, sensor = pair.hsi.numpy(), pair.msi.numpy(), pair.sensor
    fused = METHOD(*pair[:3], {"components": components, "prior": prior}).numpy()
    noise_h = np.maximum(estimate_noise(pair.hsi).numpy(), 1e-3 * np.sqrt((hsi**2).mean()))
    noise_m = np.maximum(np.sqrt(pixel_noise(pair.msi)), 1e-3 * np.sqrt((msi**2).mean()))
    # The leading components of the spectra in units of their noise, made orthonormal.
    vectors = np.linalg.svd(hsi.reshape(BANDS, -1) / noise_h[:, None])[0][:, :components]
    spectra = np.linalg.qr(noise_h[:, None] * vectors)[0]
    low = np.einsum("bk,brc->krc", spectra, hsi)
    mean = sensor.upsample(torch.from_numpy(low), (SIDE, SIDE)).numpy()
    differences = low - low.mean((1, 2), keepdims=True)
    if prior == "details":
        for k, r, c in np.ndindex(*low.shape):
            around = low[k, max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            differences[k, r, c] = low[k, r, c] - around.mean()
    flat = differences.reshape(components, -1)
    covariance = flat @ flat.T / flat.shape[1] + 1e-10 * (low**2).mean() * np.eye(components)
    pixels = torch.eye(SIDE * SIDE, dtype=torch.float64).reshape(-1, SIDE, SIDE)
    sampling = sensor.degrade(pixels).reshape(SIDE * SIDE, -1).numpy().T  # (samples, pixels)
    # One matrix per term: unknowns are the components of all pixels, component by component.
    to_hsi, to_msi = np.kron(spectra, sampling), np.kron(sensor.srf.matrix @ spectra, np.eye(SIDE * SIDE))
    weights_h, weights_m = np.repeat(noise_h**-2.0, 16), np.repeat(noise_m**-2.0, SIDE * SIDE)
    precision = np.kron(np.linalg.inv(covariance), np.eye(SIDE * SIDE))
    normal = to_hsi.T * weights_h @ to_hsi + to_msi.T * weights_m @ to_msi + precision
    right = to_hsi.T @ (weights_h * hsi.ravel()) + to_msi.T @ (weights_m * msi.ravel()) + precision @ mean.ravel()
    expected = np.einsum("bk,kp->bp", spectra, np.linalg.solve(normal, right).reshape(components, -1))
    np.testing.assert_allclose(fused, expected.reshape(fused.shape), rtol=0, atol=1e-7 * np.abs(expected).max())


def test_components_are_those_above_noise_and_recorded(pair):
    outcome = METHOD.fuse(pair)
    assert 1 <= outcome.details["components"] <= BANDS
    assert METHOD.fuse(pair, {"components": 2}).details["components"] == 2


def test_an_empty_scene_stays_empty(pair):
    fused = METHOD(torch.zeros_like(pair.hsi), torch.zeros_like(pair.msi), pair.sensor)
    assert not bool(fused.any())


def test_noise_that_an_image_cannot_resolve_is_not_trusted():
    image = torch.full((2, 3, 3), 4.0)
    assert fuse_sylvester.least_noise(torch.tensor([0.0, 1.0]), image).tolist() == [0.004, 1.0]
