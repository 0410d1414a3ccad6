"""The solver against dense matrices, and the sampling against the sensor."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.methods.tensor.sylvester import PeriodicSampling, SylvesterSolver
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf

LOPSIDED = KernelPsf(weights=((0, 1, 2, 0), (1, 6, 3, 1), (0, 2, 3, 0)))
SENSORS = {
    "box": ((4, 4), None, BoxPsf(width=(4, 4))),
    "odd": ((4, 4), (0.0, 3.0), KernelPsf(weights=((1, 2, 1), (2, 5, 2), (1, 2, 1)))),
    "lopsided": ((4, 4), (1.0, 2.0), LOPSIDED),
    "between pixels": ((3, 2), (0.3, 1.7), GaussianPsf(sigma=(1.1, 0.8))),
}


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=SENSORS)
def sensor(request):
    ratio, phase, psf = SENSORS[request.param]
    return Sensor(ratio=ratio, phase=phase, psf=psf, boundary="circular")


def test_sampling_is_the_sensors(sensor):
    image, samples = random(3, 12, 12), None
    sampling = PeriodicSampling.of(sensor.replace(boundary="reflect"), (12, 12))
    samples = sampling.forward(image)
    torch.testing.assert_close(samples, sensor.degrade(image), rtol=0, atol=1e-13)
    other = random(*samples.shape, seed=1)
    assert float((samples * other).sum()) == pytest.approx(float((image * sampling.adjoint(other)).sum()), rel=1e-12)
    torch.testing.assert_close(sampling.adjoint(other), sensor.degrade_adjoint(other, (12, 12)), rtol=0, atol=1e-13)


def test_the_solution_is_that_of_the_dense_equation(sensor):
    """(BS)(BS)^T and the channels as one matrix of 720 unknowns."""
    n, fine = 5, (12, 12)
    sampling = PeriodicSampling.of(sensor, fine)
    mixing = random(n, n, seed=2)
    channels = mixing @ mixing.T + 0.01 * torch.eye(n, dtype=torch.float64)
    right = random(n, *fine, seed=3)
    pixels = torch.eye(144, dtype=torch.float64).reshape(144, *fine)
    spatial = sensor.degrade_adjoint(sensor.degrade(pixels), fine).reshape(144, 144)
    dense = torch.kron(channels, torch.eye(144, dtype=torch.float64)) + torch.kron(
        torch.eye(n, dtype=torch.float64), spatial.T.contiguous()
    )
    expected = torch.from_numpy(np.linalg.solve(dense.numpy(), right.flatten().numpy())).reshape(right.shape)
    before = right.clone()
    found = SylvesterSolver(channels, sampling).solve(right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))
    assert torch.equal(right, before)


def test_a_ramp_through_a_box_is_the_mean_of_blocks():
    ramp = torch.arange(144.0, dtype=torch.float64).reshape(1, 12, 12)
    samples = PeriodicSampling.of(Sensor(ratio=(4, 4), psf=BoxPsf(width=(4, 4))), (12, 12)).forward(ramp)
    torch.testing.assert_close(samples, ramp.reshape(1, 3, 4, 3, 4).mean((2, 4)), rtol=0, atol=1e-11)


def test_what_cannot_be_solved_is_refused():
    psf = BoxPsf(width=(2, 2))
    with pytest.raises(InputError, match="needs whole ratios"):
        PeriodicSampling.of(Sensor(ratio=(2.5, 2), psf=psf), (10, 10))
    with pytest.raises(InputError, match="not a multiple of the ratio"):
        PeriodicSampling.of(Sensor(ratio=(4, 4), psf=psf), (12, 10))
    sampling = PeriodicSampling.of(Sensor(ratio=(2, 2), psf=psf), (8, 8))
    with pytest.raises(InputError, match="not positive definite"):
        SylvesterSolver(torch.zeros(3, 3, dtype=torch.float64), sampling)
