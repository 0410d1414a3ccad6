"""SSIM and UIQI against scikit-image, sewar, torchmetrics and a literal double loop."""

import math

import numpy as np
import pytest
import sewar
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from sewar.utils import Filter
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from hyperfuse.errors import InputError
from hyperfuse.metrics import ssim, ssim_per_band, uiqi, uiqi_per_band


def pair(bands=3, rows=40, cols=33, seed=0):
    rng = np.random.default_rng(seed)
    reference = uniform_filter(rng.random((bands, rows, cols)), (0, 5, 5))
    return reference, np.clip(reference + rng.normal(0, 0.05, reference.shape), 0, 1)


def skimage_ssim(a, b, peak):
    """On a range of 255; radius int(3.5 sigma + 0.5) = 5 makes its window 11x11, and it crops that radius itself."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return structural_similarity(a * 255 / peak, b * 255 / peak, full=True, **settings)


@pytest.mark.parametrize("peak", [1.0, 0.37, 8000.0])
@pytest.mark.parametrize("size", [(11, 11), (11, 40), (40, 33), (90, 700)])
def test_ssim_is_that_of_scikit_image_on_a_range_of_255(peak, size):
    reference, fused = (image * peak for image in pair(2, *size))
    theirs = [skimage_ssim(a, b, peak) for a, b in zip(reference, fused, strict=True)]
    np.testing.assert_allclose(ssim_per_band(reference, fused, peak=peak), [mean for mean, _ in theirs], rtol=1e-9)
    cropped = [full[5:-5, 5:-5].mean() for _, full in theirs]
    assert ssim(reference, fused, peak=peak) == pytest.approx(np.mean(cropped), rel=1e-9)


def test_ssim_is_that_of_sewar_with_gaussian_weights():
    reference, fused = (np.ascontiguousarray(np.moveaxis(image, 0, -1)) for image in pair())
    weights = {"fltr": Filter.GAUSSIAN, "sigma": 1.5, "ws": 11}
    theirs = sewar.ssim(reference, fused, ws=11, MAX=1.0, fltr_specs=weights, mode="valid")[0]
    assert ssim(*pair()) == pytest.approx(theirs)
    uniform = sewar.ssim(reference, fused, ws=11, MAX=1.0)[0]  # its default weights all pixels of a window equally
    assert abs(uniform - theirs) > 1e-3


def test_torchmetrics_ssim_pads_the_border_and_is_the_same_inside():
    reference, fused = pair()
    full, values = structural_similarity_index_measure(
        torch.from_numpy(fused)[None], torch.from_numpy(reference)[None], data_range=1.0, return_full_image=True
    )
    assert ssim(reference, fused) == pytest.approx(values[..., 5:-5, 5:-5].mean().item())
    assert abs(full.item() - ssim(reference, fused)) > 1e-3


def literal_uiqi(x, y, size=8):
    total = []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size].ravel(), y[i : i + size, j : j + size].ravel()
            covariance = np.cov(a, b)
            contrast = covariance[0, 0] + covariance[1, 1]
            luminance = a.mean() ** 2 + b.mean() ** 2
            quality = 1.0
            if contrast > 0:
                quality *= 2 * covariance[0, 1] / contrast
            if luminance > 0:
                quality *= 2 * a.mean() * b.mean() / luminance
            total.append(quality)
    return np.mean(total)


def test_uiqi_is_the_literal_double_loop():
    reference, fused = pair(3, 30, 17)
    fused[1] = 1 - reference[1]
    reference[2, :12, :12], fused[2, :12, :12] = 0.25, 0.5
    reference[2, 15:, :10], fused[2, 15:, :10] = 0, 0
    expected = [literal_uiqi(a, b) for a, b in zip(reference, fused, strict=True)]
    np.testing.assert_allclose(uiqi_per_band(reference, fused), expected, rtol=1e-9)
    assert uiqi(reference, fused) == pytest.approx(np.mean(expected))
    assert expected[1] < 0


def test_uiqi_of_constant_windows():
    flat = np.full((1, 9, 12), 0.1)
    assert uiqi(flat, flat) == 1
    assert uiqi(flat, 3 * flat) == pytest.approx(2 * 3 / (1 + 9))
    assert uiqi(0 * flat, 0 * flat) == 1
    assert uiqi(flat, pair(1, 9, 12)[0]) == pytest.approx(0, abs=1e-9)


def test_uiqi_stays_in_range_where_variances_drown_in_rounding():
    rng = np.random.default_rng(0)
    images = 1e6 + 1e-4 * rng.random((100, 2, 1, 8, 8))  # a variance of 1e-9 next to squares of 1e12
    assert all(-1 <= uiqi(reference, fused) <= 1 for reference, fused in images)


def test_sewar_uqi_mixes_means_with_sums():
    """Its filter gives window means, its formula wants sums: N E[xy] - E[x] E[y] stands where the covariance should."""
    x, y = (image[0] for image in pair(1))
    mean = {key: uniform_filter(value, 8) for key, value in {"x": x, "y": y, "xy": x * y, "s": x * x + y * y}.items()}
    product, squares = mean["x"] * mean["y"], mean["x"] ** 2 + mean["y"] ** 2
    as_written = 4 * (64 * mean["xy"] - product) * product / ((64 * mean["s"] - squares) * squares)
    assert sewar.uqi(x, y) == pytest.approx(as_written[4:-4, 4:-4].mean())
    assert abs(sewar.uqi(x, y) - uiqi(x, y)) > 0.1
    with_sums = 4 * (mean["xy"] - product) * product / ((mean["s"] - squares) * squares)
    assert with_sums[4:-3, 4:-3].mean() == pytest.approx(uiqi(x, y))


# Laws


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000))
def test_perfect_symmetric_and_blind_to_a_common_scale(seed, scale):
    reference, fused = pair(2, 15, 18, seed)
    assert ssim(reference, reference) == pytest.approx(1, abs=1e-12)
    assert uiqi(reference, reference) == pytest.approx(1, abs=1e-12)
    assert ssim(fused, reference) == pytest.approx(ssim(reference, fused))
    assert uiqi(fused, reference) == pytest.approx(uiqi(reference, fused))
    assert ssim(scale * reference, scale * fused, peak=scale) == pytest.approx(ssim(reference, fused))
    assert uiqi(scale * reference, scale * fused) == pytest.approx(uiqi(reference, fused))
    assert -1 <= uiqi(reference, fused) < 1
    assert -1 <= ssim(reference, fused) < 1


@pytest.mark.parametrize(("metric", "size"), [(ssim_per_band, 11), (uiqi_per_band, 8)])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_only_windows_of_scored_pixels_count(metric, size, garbage):
    reference, fused = pair(2, 60, 33)
    mask = np.ones((60, 33), bool)
    mask[20, 4] = mask[35:37, 30] = False
    a, b = np.where(mask, reference, garbage), np.where(mask, fused, -garbage)
    windows = [
        metric(reference[:, i : i + size, j : j + size], fused[:, i : i + size, j : j + size])
        for i in range(60 - size + 1)
        for j in range(33 - size + 1)
        if mask[i : i + size, j : j + size].all()
    ]
    np.testing.assert_allclose(metric(a, b, mask=mask), np.mean(windows, axis=0), rtol=1e-9)


@pytest.mark.parametrize(("metric", "size"), [(ssim, 11), (uiqi, 8)])
def test_an_image_without_a_window_is_refused(metric, size):
    image = pair(1, size - 1, 50)[0]
    with pytest.raises(InputError, match=f"no window of {size}x{size}"):
        metric(image, image)
    image = pair(1, size, 2 * size)[0]
    mask = np.ones(image.shape[1:], bool)
    mask[0, size - 1] = mask[1, 2 * size - 2] = False
    with pytest.raises(InputError, match=f"no window of {size}x{size}"):
        metric(image, image, mask=mask)
    mask[0, size - 1] = True
    assert metric(image, image, mask=mask) == pytest.approx(1)
