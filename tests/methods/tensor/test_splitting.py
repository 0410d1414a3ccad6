"""The alternation on a problem with a known answer: soft thresholding of an image that is measured directly."""

import torch

from hyperfuse.methods.tensor.iterations import Iterations
from hyperfuse.methods.tensor.splitting import alternate
from hyperfuse.methods.tensor.sylvester import PeriodicSampling, SylvesterSolver
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import KernelPsf


def problem(priors, penalty):
    """``|Y - X|^2 + |Z - X|^2`` at a ratio of 1 without blur, two channels of which the MSI measures one."""
    generator = torch.Generator().manual_seed(0)
    hsi, msi = (torch.randn(bands, 6, 6, generator=generator, dtype=torch.float64) for bands in (2, 1))
    sensor = Sensor(ratio=(1, 1), psf=KernelPsf(weights=((1,),)), boundary="circular")
    sampling = PeriodicSampling.of(sensor, (6, 6))
    response = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    solver = SylvesterSolver(response.T @ response + priors * penalty * torch.eye(2, dtype=torch.float64), sampling)
    data = (response.T @ msi.flatten(1)).reshape(2, 6, 6) + hsi
    return hsi, msi, solver, data


def soft(threshold):
    return lambda image: image.sign() * (image.abs() - threshold).clamp_min(0)


def test_it_finds_the_minimum_of_a_convex_problem():
    """With ``w |X|_1``: the mean of the measurements, thresholded by w over twice their number."""
    weight, penalty = 0.3, 0.5
    hsi, msi, solver, data = problem(1, penalty)
    steps = Iterations(200)
    found = alternate(solver, data, hsi, [soft(weight / (2 * penalty))], penalty, steps)
    expected = torch.stack([soft(weight / 4)((hsi[0] + msi[0]) / 2), soft(weight / 2)(hsi[1])])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    changes = steps.details()["change"]
    assert changes[-1] < 1e-10
    assert steps.details()["split"][-1] < 1e-9


def test_several_priors_add_up():
    penalty = 0.5
    hsi, _, solver, data = problem(3, penalty)
    weights = (0.1, 0.15, 0.05)
    found = alternate(solver, data, hsi, [soft(one / (2 * penalty)) for one in weights], penalty, Iterations(300))
    _, _, single, _ = problem(1, penalty)
    expected = alternate(single, data, hsi, [soft(0.3 / (2 * penalty))], penalty, Iterations(300))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_it_leaves_its_arguments_and_ends_with_the_time():
    hsi, _, solver, data = problem(1, 0.5)
    copies = hsi.clone(), data.clone()
    now = iter(range(1000))
    steps = Iterations(100, budget_seconds=20, clock=lambda: float(next(now)))
    found = alternate(solver, data, hsi, [soft(0.1)], 0.5, steps)
    assert steps.details()["end"] == "budget"
    assert 1 <= steps.details()["iterations"] < 20
    assert bool(torch.isfinite(found).all())
    assert torch.equal(hsi, copies[0])
    assert torch.equal(data, copies[1])
