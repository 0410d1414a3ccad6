"""HySure against a general solver of its convex problem, its steps, and its end."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hyperfuse.methods import PairTensors, get_method
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import KernelPsf
from hyperfuse.statistics.noise import estimate_noise
from scenes import gaussian_responses

METHOD = get_method("hysure")
LOPSIDED = KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0)))
BANDS, SIDE, COMPONENTS = 4, 6, 2


@pytest.fixture
def pair():
    """A step edge and noise: what the penalty is about."""
    generator = torch.Generator().manual_seed(0)
    scene = 0.1 * torch.rand(BANDS, SIDE, SIDE, generator=generator, dtype=torch.float64)
    scene[:, :, SIDE // 2 :] += torch.linspace(0.2, 0.8, BANDS, dtype=torch.float64)[:, None, None]
    sensor = Sensor(ratio=(2, 2), phase=(0, 1), psf=LOPSIDED, srf=gaussian_responses(2, BANDS), boundary="circular")
    return PairTensors(sensor.degrade(scene), sensor.respond(scene), sensor)


def basis_of(hsi):
    noise = estimate_noise(hsi).numpy()
    unit = np.maximum(noise, 1e-300)
    vectors = np.linalg.svd(hsi.numpy().reshape(BANDS, -1) / unit[:, None])[0][:, :COMPONENTS]
    return np.linalg.qr(unit[:, None] * vectors)[0]


def cost_of(pair, variation, msi_weight, smooth=0.0):
    """The function that is to be minimised, of an image in the subspace, in units of the peak."""
    peak = max(float(pair.hsi.max()), float(pair.msi.max()))
    basis = torch.from_numpy(basis_of(pair.hsi / peak))

    def cost(components):
        image = torch.einsum("bk,krc->brc", basis, components)
        misfit = (pair.hsi / peak - pair.sensor.degrade(image)).square().sum() / 2
        misfit = misfit + msi_weight * (pair.msi / peak - pair.sensor.respond(image)).square().sum() / 2
        edges = sum((components.roll(-1, axis) - components).square().sum(0) for axis in (1, 2))
        return misfit + variation * (edges + smooth).sqrt().sum()

    return cost, basis, peak


@pytest.mark.parametrize(("variation", "msi_weight"), [(0.02, 1.0), (0.005, 0.3)])
def test_it_reaches_the_minimum_that_a_general_solver_finds(pair, variation, msi_weight):
    settings = {"components": COMPONENTS, "variation": variation, "msi_weight": msi_weight, "iterations": 2000}
    fused = METHOD(*pair[:3], settings)
    cost, basis, peak = cost_of(pair, variation, msi_weight, smooth=1e-12)
    shape = (COMPONENTS, SIDE, SIDE)

    def objective(values):
        unknown = torch.from_numpy(values).reshape(shape).requires_grad_(True)
        value = cost(unknown)
        value.backward()
        return float(value.detach()), unknown.grad.numpy().ravel()

    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(objective, np.zeros(np.prod(shape)), jac=True, method="L-BFGS-B", options=options)
    ours = torch.einsum("bk,brc->krc", basis, fused / peak)
    assert float(cost(ours)) == pytest.approx(found.fun, rel=1e-4)
    expected = torch.einsum("bk,krc->brc", basis, torch.from_numpy(found.x).reshape(shape)) * peak
    assert float((fused - expected).abs().max()) < 5e-3 * float(expected.abs().max())


def test_without_variation_it_is_least_squares(pair):
    """As many MSI bands as components: the images determine every pixel."""
    settings = {"components": COMPONENTS, "variation": 0.0, "iterations": 2000}
    fused = METHOD(*pair[:3], settings)
    peak = max(float(pair.hsi.max()), float(pair.msi.max()))
    basis = basis_of(pair.hsi / peak)
    pixels = torch.eye(SIDE * SIDE, dtype=torch.float64).reshape(-1, SIDE, SIDE)
    sampling = pair.sensor.degrade(pixels).reshape(SIDE * SIDE, -1).numpy().T
    system = np.vstack([np.kron(basis, sampling), np.kron(pair.sensor.srf.matrix @ basis, np.eye(SIDE * SIDE))])
    measured = np.concatenate([pair.hsi.numpy().ravel(), pair.msi.numpy().ravel()])
    expected = basis @ np.linalg.lstsq(system, measured, rcond=None)[0].reshape(COMPONENTS, -1)
    np.testing.assert_allclose(fused.numpy(), expected.reshape(fused.shape), rtol=0, atol=1e-6)


def test_a_strong_penalty_removes_all_edges(pair):
    fused = METHOD(*pair[:3], {"components": 1, "variation": 100.0, "iterations": 500})
    assert float(fused.std((1, 2)).max()) < 1e-3


def test_iterations_end_at_a_tolerance_or_with_the_budget(pair):
    ended = METHOD.fuse(pair, {"tolerance": 1e-2}).details
    assert ended["end"] == "converged"
    assert ended["iterations"] < 200
    hurried = METHOD.fuse(pair, {"budget_seconds": 1e-6})
    assert (hurried.details["end"], hurried.details["iterations"]) == ("budget", 1)
    assert bool(torch.isfinite(hurried.image).all())
    assert len(METHOD.fuse(pair).details["change"]) == 40
