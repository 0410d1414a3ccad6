"""Sensors with displaced samples: literal loops as oracle, exact adjoints and gradients, the limit of none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.sensor import scattered
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf

KERNEL = KernelPsf(weights=((1, 2, 0), (0, 5, 3), (-1, 1, 4), (2, 0, 7)))
PSFS = (GaussianPsf(sigma=(1.3, 0.7)), BoxPsf(width=(2.5, 4)), KERNEL)


def field(seed=0, size=0.8, shape=(5, 6)):
    values = np.random.default_rng(seed).uniform(-size, size, (2, *shape))
    return Displacement(values, spacing=(4.0, 5.0), origin=(-3.0, -2.0))


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def unfolded(n, size, boundary):
    """The pixel that index n beyond a border repeats, one reflection after another."""
    while boundary == "reflect" and not 0 <= n < size:
        n = -1 - n if n < 0 else 2 * size - 1 - n
    return n % size


def literal(sensor, image, shape):
    """Every sample by loops over pixels far beyond the border, each seen where it would lie without displacement."""
    rows, cols = image.shape
    made, step = np.zeros(shape), 1e-6
    positions = sensor.positions(shape)
    for i, j in np.ndindex(*shape):
        near = [sensor.displacement.at_points([i + a * step, i - a * step], [j + b * step, j - b * step])
                for a, b in ((1, 0), (0, 1))]  # fmt: skip
        slopes = np.stack([(one[:, 0] - one[:, 1]) / (2 * step) for one in near], axis=1) / sensor.ratio
        back = np.linalg.inv(np.eye(2) + slopes)
        total = value = 0.0
        for n in range(-2 * rows, 3 * rows):
            for m in range(-2 * cols, 3 * cols):
                y, x = back @ (np.array([n, m]) - positions[:, i, j])
                weight = sum(float(one.y.at(np.array(y)) * one.x.at(np.array(x))) for one in sensor.psf.factors())
                total += weight
                value += weight * float(image[unfolded(n, rows, sensor.boundary), unfolded(m, cols, sensor.boundary)])
        made[i, j] = value / total
    return made


@pytest.mark.parametrize("psf", PSFS)
@pytest.mark.parametrize("boundary", ["reflect", "circular"])
def test_degrade_is_the_psf_around_every_position(psf, boundary):
    sensor = Sensor(ratio=(2.5, 2), phase=(0.4, 1.1), psf=psf, boundary=boundary, displacement=field())
    image, shape = noise(7, 8), (2, 3)
    np.testing.assert_allclose(sensor.degrade(image, shape).numpy(), literal(sensor, image, shape), atol=1e-8)


def test_a_warped_image_is_degraded_as_the_ground_was():
    """Ground of waves, and its warped image: sampled at displaced positions it gives what the ground gives."""
    plain = Sensor(ratio=4, psf=GaussianPsf(sigma=(2.0, 2.0)))
    sensor = plain.replace(displacement=field(5, 2.5, (6, 6)))
    rows, cols = sensor.inverse_positions((64, 64))

    def waves(y, x):
        return torch.as_tensor(np.sin(0.35 * y + 0.2 * x) + np.cos(0.3 * x - 0.1 * y))

    ground, warped = waves(*np.indices((64, 64))), waves(1.5 + 4 * rows, 1.5 + 4 * cols)
    inner = (slice(5, -5), slice(5, -5))
    error = (sensor.degrade(warped) - plain.degrade(ground))[inner]
    assert float(error.abs().max()) < 0.01
    unstretched = torch.as_tensor(
        [[float(plain.replace(phase=(y, x)).degrade(warped, (1, 1))) for y, x in line]
         for line in np.moveaxis(sensor.positions((16, 16)), 0, -1)]
    )  # fmt: skip
    assert float(error.abs().mean()) < 0.2 * float((unstretched - plain.degrade(ground))[inner].abs().mean())


@settings(max_examples=40, deadline=None)
@given(
    psf=st.sampled_from(PSFS),
    ratio=st.tuples(st.floats(1, 4), st.floats(1, 4)),
    size=st.tuples(st.integers(5, 20), st.integers(5, 20)),
    boundary=st.sampled_from(["reflect", "circular"]),
    seed=st.integers(0, 99),
)
def test_no_displacement_is_the_limit_and_the_adjoint_is_exact(psf, ratio, size, boundary, seed):
    regular = Sensor(ratio=ratio, psf=psf, boundary=boundary)
    zero = regular.replace(displacement=Displacement(np.zeros((2, 3, 3)), (4, 4), (0, 0)))
    shape = regular.lr_shape(size)
    x, y = noise(2, *size, seed=seed), noise(2, *shape, seed=seed + 1)
    torch.testing.assert_close(zero.degrade(x), regular.degrade(x), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(zero.degrade_adjoint(y, size), regular.degrade_adjoint(y, size), atol=1e-12, rtol=1e-12)
    for kernel in ("linear", "cubic"):
        torch.testing.assert_close(
            zero.upsample(y, size, kernel), regular.upsample(y, size, kernel), atol=1e-12, rtol=1e-12
        )
    moved = regular.replace(displacement=field(seed, 0.3))
    left, right = (moved.degrade(x) * y).sum(), (x * moved.degrade_adjoint(y, size)).sum()
    scale = moved.degrade(x).norm() * y.norm() + x.norm() * moved.degrade_adjoint(y, size).norm()
    assert abs(float(left - right)) <= 1e-13 * float(scale)


@pytest.mark.parametrize("size", [0.5, 1.2])
def test_positions_are_inverted(size):
    sensor = Sensor(ratio=(3, 2.5), phase=(1, 0.2), psf=PSFS[0], displacement=field(3, size))
    row, col = sensor.inverse_positions((30, 24)).reshape(2, -1)
    moved = sensor.displacement.at_points(row, col)
    y, x = np.indices((30, 24)).reshape(2, -1)
    np.testing.assert_allclose(1 + 3 * row + moved[0], y, atol=1e-6)
    np.testing.assert_allclose(0.2 + 2.5 * col + moved[1], x, atol=1e-6)


def test_a_field_near_folding_is_inverted_too():
    # Displacements of several LR pixels that change within few.
    values = np.zeros((2, 9, 9))
    values[1] = 3.0 * 3 * np.array([0, 0, 0.5, 1.2, 1, 0.05, 0, 0, 0])
    sensor = Sensor(ratio=3, psf=PSFS[0], displacement=Displacement(values, (3, 3), (-1, -1)))
    row, col = sensor.inverse_positions((60, 66)).reshape(2, -1)
    found = 1 + 3 * col + sensor.displacement.at_points(row, col)[1]
    np.testing.assert_allclose(found, np.indices((60, 66))[1].ravel(), atol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_upsampling_interpolates_at_the_inverse_positions(kernel):
    sensor = Sensor(ratio=(3, 2.5), psf=PSFS[0], displacement=field(1, 0.9))
    shape = (12, 10)
    row, col = sensor.inverse_positions((36, 25))
    ramp = torch.as_tensor(2.0 * np.arange(12)[:, None] - 0.5 * np.arange(10)[None])
    inside = (row >= 1) & (row <= shape[0] - 2) & (col >= 1) & (col <= shape[1] - 2)
    found = sensor.upsample(ramp, (36, 25), kernel).numpy()
    np.testing.assert_allclose(found[inside], (2 * row - 0.5 * col)[inside], atol=1e-10)


def test_gradients_are_those_of_the_adjoint():
    sensor = Sensor(ratio=2, psf=KERNEL, displacement=field(2, 0.5))
    x = noise(2, 8, 10).requires_grad_()
    y = noise(2, 4, 5, seed=1)
    (sensor.degrade(x) * y).sum().backward()
    torch.testing.assert_close(x.grad, sensor.degrade_adjoint(y, (8, 10)))
    with torch.inference_mode():
        sensor.upsample(y, (8, 10))
    z = y.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: sensor.upsample(image, (8, 10)), z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_and_leading_dimensions_are_kept(dtype):
    sensor = Sensor(ratio=2, psf=KERNEL, displacement=field(2, 0.5))
    image = noise(3, 2, 8, 10).to(dtype)
    made = sensor.degrade(image)
    assert (made.dtype, tuple(made.shape)) == (dtype, (3, 2, 4, 5))
    close = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(made.double(), sensor.degrade(image.double()), atol=close, rtol=close)
    assert sensor.degrade(image[0, 0]).shape == (4, 5)


def test_matrices_too_large_to_keep_are_made_in_parts(monkeypatch):
    sensor = Sensor(ratio=2, psf=KERNEL, displacement=field(2, 0.5))
    x, y = noise(3, 20, 22), noise(3, 10, 11, seed=1)

    def made():
        fresh = sensor.replace()
        return fresh.degrade(x), fresh.degrade_adjoint(y, (20, 22)), fresh.upsample(y, (20, 22))

    whole = made()
    monkeypatch.setattr(scattered, "_KEPT", 100)
    monkeypatch.setattr(scattered, "_AT_ONCE", 300)
    monkeypatch.setattr(scattered, "_VALUES", 500)
    for one, other in zip(made(), whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=1e-14)


def test_a_psf_beyond_the_image_is_refused_as_without_displacement():
    sensor = Sensor(ratio=2, psf=GaussianPsf(sigma=(50, 50)), displacement=field(2, 0.5))
    with pytest.raises(InputError, match="PSF reaches"):
        sensor.degrade(noise(8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same():
    sensor = Sensor(ratio=2, psf=KERNEL, displacement=field(2, 0.5))
    x, y = noise(3, 8, 10), noise(3, 4, 5, seed=1)
    torch.testing.assert_close(sensor.degrade(x.cuda()).cpu(), sensor.degrade(x))
    torch.testing.assert_close(sensor.degrade_adjoint(y.cuda(), (8, 10)).cpu(), sensor.degrade_adjoint(y, (8, 10)))
    torch.testing.assert_close(sensor.upsample(y.cuda(), (8, 10)).cpu(), sensor.upsample(y, (8, 10)))
