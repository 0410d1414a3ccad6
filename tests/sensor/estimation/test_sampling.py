"""Sampling through a PSF anywhere, the noise that it passes, and which LR pixels lie on the MSI."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.sensor.estimation.noise import noise_gain, pixel_noise
from hyperfuse.sensor.estimation.sampling import (
    PairPart,
    from_each,
    lr_positions,
    psf_deviation,
    sample_through,
    side_by_side,
)
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf

KERNEL = KernelPsf(weights=((1, 2, 0), (0, 5, 3), (1, 1, 4)))
PSFS = st.one_of(
    st.builds(GaussianPsf, sigma=st.tuples(st.floats(0.4, 3), st.floats(0.4, 3))),
    st.builds(BoxPsf, width=st.tuples(st.floats(1, 6), st.floats(1, 6))),
    st.just(KERNEL),
)

# None reaches the border of the small image below, which would fold its weights.
NARROW = st.one_of(
    st.builds(GaussianPsf, sigma=st.tuples(st.floats(0.4, 1.8), st.floats(0.4, 1.8))),
    st.builds(BoxPsf, width=st.tuples(st.floats(1, 6), st.floats(1, 6))),
    st.just(KERNEL),
)


def noise(shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def every(shape):
    return np.argwhere(np.ones(shape, np.bool_))


@settings(max_examples=25, deadline=None)
@given(psf=PSFS, ratio=st.floats(1, 5), phase=st.tuples(st.floats(-1, 3), st.floats(-1, 3)))
def test_on_a_grid_it_is_the_sensor(psf, ratio, phase):
    sensor = Sensor(ratio=ratio, psf=psf, phase=phase)
    image = noise((3, 19, 23))
    shape = sensor.lr_shape((19, 23))
    expected = sensor.degrade(image, shape).flatten(1).T.numpy()
    found = sample_through(image, lr_positions(sensor, every(shape)), psf)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_plane_has_its_slopes():
    rows, cols = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    image = (2 + 0.3 * rows - 0.7 * cols)[None].double()
    positions = np.array([[15.2, 17.9], [12.5, 20.0]])
    values, along_y, along_x = sample_through(image, positions, GaussianPsf(sigma=(1.5, 1.5)), gradient=True)
    np.testing.assert_allclose(values[:, 0], 2 + 0.3 * positions[:, 0] - 0.7 * positions[:, 1], atol=2e-3)
    np.testing.assert_allclose(along_y[:, 0], 0.3, atol=1e-3)
    np.testing.assert_allclose(along_x[:, 0], -0.7, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(psf=NARROW, y=st.floats(8, 12), x=st.floats(8, 12))
def test_noise_gain_is_the_sum_of_squared_weights(psf, y, x):
    # The weights of every pixel, one at a time: what the PSF makes of an image of one bright pixel.
    pixels = torch.eye(21 * 21, dtype=torch.float64).reshape(21 * 21, 21, 21)
    position = np.array([[y, x]])
    weights = sample_through(pixels, position, psf)[0]
    assert noise_gain(position, psf)[0, 0] == pytest.approx(float(np.square(weights).sum()), rel=1e-9)


def test_noise_gain_knows_its_slopes():
    psf, position, step = GaussianPsf(sigma=(0.5, 0.6)), np.array([[10.3, 11.8]]), 1e-4
    _, by_y, by_x = noise_gain(position, psf, step=1e-3)
    for axis, slope in ((0, by_y), (1, by_x)):
        move = np.eye(2)[axis] * step
        literal = (noise_gain(position + move, psf)[0] - noise_gain(position - move, psf)[0]) / (2 * step)
        np.testing.assert_allclose(slope, literal, rtol=1e-3)


@pytest.mark.parametrize("deviation", [0.01, 0.1])
def test_noise_is_distinguished_from_a_smooth_image_with_edges(deviation):
    rows, cols = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    image = (torch.sin(rows / 9) + (cols > 64) + torch.cos(cols / 15))[None].double()
    found = pixel_noise(image + deviation * noise((1, 128, 128)))
    assert found[0] == pytest.approx(deviation**2, rel=0.35)
    assert pixel_noise(image)[0] < 1e-4


def test_small_images_have_no_noise_estimate():
    assert pixel_noise(noise((2, 8, 30))).tolist() == [0, 0]


def test_inner_pixels_keep_off_borders_and_gaps():
    sensor = Sensor(ratio=4, psf=GaussianPsf(sigma=(2, 2)))
    valid = torch.ones(40, 48, dtype=torch.bool)
    valid[20, 22] = False
    hsi_valid = torch.ones(10, 12, dtype=torch.bool)
    hsi_valid[3, 3] = False
    part = PairPart(torch.zeros(1, 10, 12), torch.zeros(1, 40, 48), sensor, hsi_valid, valid)
    found = part.inner_pixels(4.0)
    expected = []
    for i in range(10):
        for j in range(12):
            y, x = 1.5 + 4 * i, 1.5 + 4 * j
            inside = 3.5 <= y <= 35.5 and 3.5 <= x <= 43.5
            near = abs(y - 20) < 4.5 and abs(x - 22) < 4.5
            if inside and not near and (i, j) != (3, 3):
                expected.append((i, j))
    assert [tuple(pixel) for pixel in found.tolist()] == expected
    assert len(part.inner_pixels(0.0, 17)) == 17


@pytest.mark.parametrize("psf", [GaussianPsf(sigma=(1.3, 1.3)), BoxPsf(width=(4, 4)), KERNEL])
def test_deviation_of_a_psf(psf):
    pixels = torch.eye(41 * 41, dtype=torch.float64).reshape(41 * 41, 41, 41)
    weights = sample_through(pixels, np.array([[20.0, 20.0]]), psf)[0].reshape(41, 41)
    steps = np.arange(41) - 20.0
    literal = max(float(weights.sum(1) @ steps**2), float(weights.sum(0) @ steps**2)) ** 0.5
    # A box is sampled by whole pixels, which adds their own width.
    assert psf_deviation(Sensor(ratio=4, psf=psf)) == pytest.approx(literal, rel=0.12)


def test_a_margin_is_halved_until_enough_pixels_remain():
    part = PairPart(torch.zeros(1, 10, 12), torch.zeros(1, 40, 48), Sensor(ratio=4, psf=GaussianPsf(sigma=(2, 2))))
    np.testing.assert_array_equal(part.enough_pixels(16.0), part.inner_pixels(4.0))
    with pytest.raises(InputError, match="only 9 LR pixels lie on the MSI; 36 are needed"):
        PairPart(torch.zeros(1, 3, 3), torch.zeros(1, 12, 12), part.sensor).enough_pixels(4.0)


def test_parts_that_are_too_small_are_left_out_until_none_remains():
    sizes = (10, 3, 12)
    psf = GaussianPsf(sigma=(2, 2))
    parts = [PairPart(torch.zeros(1, n, n), torch.zeros(1, 4 * n, 4 * n), Sensor(ratio=4, psf=psf)) for n in sizes]
    assert [len(one) for one in from_each(parts, lambda part: part.enough_pixels(0.0))] == [100, 144]
    with pytest.raises(InputError, match="only 9"):
        from_each(parts[1:2], lambda part: part.enough_pixels(0.0))


def test_blocks_of_several_parts_do_not_touch():
    parts = [every((10, 7)) + 1, every((3, 3)), every((17, 4))]
    found = side_by_side(parts)
    np.testing.assert_array_equal(found[: len(parts[0])], parts[0])
    ends = np.cumsum([len(one) for one in parts])
    blocks = [set(map(tuple, one // 8)) for one in np.split(found, ends[:-1])]
    assert not any(first & second for first, second in itertools.pairwise(blocks))
    np.testing.assert_array_equal(found % 8, np.concatenate(parts) % 8)
