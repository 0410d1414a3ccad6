"""The presets, built literally from what the literature's code does, in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from hyperfuse.errors import InputError
from hyperfuse.sensor.presets import create_sensor, list_presets
from hyperfuse.sensor.srf.srf import srf_boxes


def scene(rows, cols):
    return np.random.default_rng(0).uniform(0, 1, (2, rows, cols))


def gaussian_kernel(size, sigma):
    """A size x size Gaussian that sums to 1, its centre between pixels where the size is even."""
    offsets = np.arange(size) - (size - 1) / 2
    profile = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def circular_convolution(band, kernel, centre):
    """out[m, n] = sum_ij kernel[i, j] band[m - i + centre, n - j + centre], indices modulo the size."""
    rows, cols = band.shape
    result = np.zeros_like(band)
    for m in range(rows):
        for n in range(cols):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    result[m, n] += kernel[i, j] * band[(m - i + centre) % rows, (n - j + centre) % cols]
    return result


def degraded(preset, ratio, image):
    return create_sensor(preset, ratio).degrade(torch.as_tensor(image)).numpy()


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_uestc(ratio):
    image = scene(3 * ratio, 2 * ratio)
    kernel = gaussian_kernel(3, 0.5)
    blurred = np.stack([circular_convolution(band, kernel, 1) for band in image])
    expected = blurred[:, ratio // 2 :: ratio, ratio // 2 :: ratio]
    np.testing.assert_allclose(degraded("uestc", ratio, image), expected, atol=1e-12)


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 8])
def test_dhif(ratio):
    image = scene(3 * ratio, 2 * ratio)
    kernel = gaussian_kernel(ratio, 2.0)
    blurred = np.stack([circular_convolution(band, kernel, ratio // 2) for band in image])
    first = ratio // 2 - 1
    expected = blurred[:, first::ratio, first::ratio]
    np.testing.assert_allclose(degraded("dhif", ratio, image), expected, atol=1e-12)


@pytest.mark.parametrize("ratio", [2, 4, 8])
def test_dhif_samples_are_centred_on_their_blocks_at_even_ratios(ratio):
    assert create_sensor("dhif", ratio).offset == ((ratio - 1) / 2, (ratio - 1) / 2)


@pytest.mark.parametrize("ratio", [3, 5])
def test_mtf_at_odd_ratios_is_scipy_and_slicing(ratio):
    sigma = 0.494 * ratio
    image = scene(6 * ratio + 1, 5 * ratio)
    blurred = np.stack([ndimage.gaussian_filter(band, sigma, mode="reflect", truncate=12) for band in image])
    expected = blurred[:, ratio // 2 :: ratio, ratio // 2 :: ratio]
    # Cut at 4 sigma here and practically nowhere there: below one in ten thousand.
    np.testing.assert_allclose(degraded("mtf", ratio, image), expected[:, :6], atol=3e-4)


@pytest.mark.parametrize("ratio", [2, 4, 3.2, (3, 2.5)])
def test_mtf_is_centred_with_sigma_proportional_to_the_ratio(ratio):
    sensor = create_sensor("mtf", ratio)
    pair = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    assert sensor.ratio == pair
    assert sensor.offset == pytest.approx([(r - 1) / 2 for r in pair])
    assert sensor.psf.sigma == pytest.approx([r * math.sqrt(2 * math.log(1 / 0.3)) / math.pi for r in pair])
    assert sensor.psf.sigma == pytest.approx([0.494 * r for r in pair], rel=1e-3)
    assert (sensor.boundary, sensor.psf.radius) == ("reflect", None)


@pytest.mark.parametrize("ratio", [2, 4, 5])
def test_mtf_leaves_three_tenths_of_a_wave_at_nyquist_of_the_lr_grid(ratio):
    # The impulse response, gathered from what one LR sample reads.
    sensor = create_sensor("mtf", ratio)
    size = 16 * ratio
    one = torch.zeros(16, 16, dtype=torch.float64)
    one[8, 8] = 1
    weights = sensor.degrade_adjoint(one, (size, size)).numpy().sum(0)
    assert abs(np.fft.fft(weights)[8]) == pytest.approx(0.3, abs=1e-3)  # 8 cycles in 16 pixels


@pytest.mark.parametrize("ratio", [4, 4.0, np.int64(4), np.float32(4), (4, 4)])
@pytest.mark.parametrize("preset", ["dhif", "mtf", "uestc"])
def test_any_number_type_is_a_ratio(preset, ratio):
    srf = srf_boxes(2, 5)
    sensor = create_sensor(preset, ratio, srf)
    assert sensor.ratio == (4, 4)
    assert sensor.srf is srf


def test_names():
    assert list_presets() == ["dhif", "mtf", "uestc"]
    with pytest.raises(InputError, match="no preset 'uesct'; did you mean 'uestc'"):
        create_sensor("uesct", 4)


@pytest.mark.parametrize("preset", ["uestc", "dhif"])
@pytest.mark.parametrize("ratio", [3.2, (2, 4)])
def test_presets_of_whole_ratios_point_to_mtf_for_others(preset, ratio):
    with pytest.raises(InputError, match=r"defined for whole ratios, the same in y and x.*use mtf"):
        create_sensor(preset, ratio)


@pytest.mark.parametrize("preset", ["dhif", "mtf", "uestc"])
@pytest.mark.parametrize("ratio", [0.5, 0, -4, float("nan"), float("inf"), (2, float("nan")), "four"])
def test_a_ratio_that_is_none_is_refused(preset, ratio):
    with pytest.raises(InputError, match="ratio"):
        create_sensor(preset, ratio)


def test_dhif_starts_at_two():
    with pytest.raises(InputError, match="dhif starts at a ratio of 2"):
        create_sensor("dhif", 1)
