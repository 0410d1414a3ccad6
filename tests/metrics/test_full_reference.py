"""PSNR, RMSE, SAM, ERGAS and CC against closed forms and other libraries; where those differ, a test says how."""

import math
import warnings

import numpy as np
import pytest
import sewar
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis, spectral_angle_mapper

from hyperfuse import Cube
from hyperfuse.errors import InputError
from hyperfuse.metrics import (
    cross_correlation,
    cross_correlation_per_band,
    ergas,
    psnr,
    psnr_per_band,
    rmse,
    rmse_per_band,
    sam_degrees,
    sam_map,
)

METRICS = (psnr, rmse, sam_degrees, lambda a, b, **mask: ergas(a, b, 4, **mask), cross_correlation)


def pair(bands=5, rows=17, cols=23, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.1, 1, (bands, rows, cols))
    return reference, reference + rng.normal(0, 0.05, reference.shape)


def rows_cols_bands(image):
    return np.ascontiguousarray(np.moveaxis(image, 0, -1))


def batch(image):
    return torch.from_numpy(image)[None]


# PSNR and RMSE


@pytest.mark.parametrize(("offset", "peak", "expected"), [(0.1, 1.0, 20.0), (0.001, 1.0, 60.0), (25.5, 255.0, 20.0)])
def test_psnr_of_a_constant_offset(offset, peak, expected):
    reference = pair()[0]
    assert psnr(reference, reference + offset, peak=peak) == pytest.approx(expected, abs=1e-9)


def test_psnr_is_averaged_over_bands_not_over_errors():
    reference = np.zeros((2, 4, 4))
    fused = np.stack([np.full((4, 4), 0.1), np.full((4, 4), 0.001)])
    np.testing.assert_allclose(psnr_per_band(reference, fused), [20, 60])
    assert psnr(reference, fused) == pytest.approx(40)


def test_sewar_takes_psnr_over_the_whole_cube_which_is_lower():
    reference, fused = pair()
    fused[0] = reference[0] + 0.4
    whole = sewar.psnr(rows_cols_bands(reference), rows_cols_bands(fused), MAX=1.0)
    assert whole == pytest.approx(-20 * math.log10(rmse(reference, fused)))
    assert whole < psnr(reference, fused) - 1


def test_rmse_is_that_of_sewar():
    reference, fused = pair()
    assert rmse(reference, fused) == pytest.approx(sewar.rmse(rows_cols_bands(reference), rows_cols_bands(fused)))
    bands = [sewar.rmse(a, b) for a, b in zip(reference, fused, strict=True)]
    np.testing.assert_allclose(rmse_per_band(reference, fused), bands)


# SAM


@pytest.mark.parametrize("degrees", [90.0, 30.0, 1e-3, 1e-9, 1e-12, 179.9])
def test_sam_of_a_rotated_spectrum(degrees):
    angle = np.deg2rad(degrees)
    reference = np.zeros((3, 6, 5))
    reference[0] = 0.7
    fused = np.zeros((3, 6, 5))
    fused[0], fused[1] = 2 * np.cos(angle), 2 * np.sin(angle)
    np.testing.assert_allclose(sam_map(reference, fused), degrees, rtol=1e-9)
    assert sam_degrees(reference, fused) == pytest.approx(degrees, rel=1e-9)


def test_arccosine_in_float32_loses_what_this_keeps():
    reference = np.ones((31, 4, 4), np.float32)
    fused = reference.copy()
    fused[0] += 1e-4
    expected = np.rad2deg(1e-4 * math.sqrt(30) / 31)
    assert sam_degrees(reference, fused) == pytest.approx(expected, rel=1e-3)
    theirs = math.degrees(spectral_angle_mapper(batch(fused), batch(reference)).item())
    assert abs(theirs - expected) > 0.1 * expected


def test_sam_leaves_zero_pixels_out_where_torchmetrics_gives_nan():
    reference, fused = pair()
    full = sam_map(reference, fused)
    reference[:, 3, 4] = 0
    fused[:, 7, 8] = 0
    angles = sam_map(reference, fused)
    assert np.argwhere(np.isnan(angles)).tolist() == [[3, 4], [7, 8]]
    assert sam_degrees(reference, fused) == pytest.approx(np.delete(full.ravel(), [3 * 23 + 4, 7 * 23 + 8]).mean())
    assert math.isnan(spectral_angle_mapper(batch(fused), batch(reference)).item())
    assert math.isnan(sam_degrees(np.zeros((2, 4, 4)), np.ones((2, 4, 4))))


def test_sam_is_that_of_sewar_and_torchmetrics_in_degrees():
    reference, fused = pair()
    theirs = sewar.sam(rows_cols_bands(reference), rows_cols_bands(fused))
    assert sam_degrees(reference, fused) == pytest.approx(math.degrees(theirs))
    theirs = spectral_angle_mapper(batch(fused), batch(reference)).item()
    assert sam_degrees(reference, fused) == pytest.approx(math.degrees(theirs))


def test_sam_without_the_darkest_pixels():
    reference, fused = pair()
    reference[:, 0] *= 1e-3
    bright = np.linalg.norm(reference, axis=0) >= 0.01 * np.linalg.norm(reference, axis=0).max()
    assert not bright[0].any()
    assert bright[1:].all()
    assert sam_degrees(reference, fused, min_brightness=0.01) == pytest.approx(sam_map(reference, fused)[1:].mean())
    assert sam_degrees(reference, fused) != sam_degrees(reference, fused, min_brightness=0.01)


def test_sam_does_not_depend_on_how_the_image_is_chunked():
    reference, fused = pair(bands=300, rows=40, cols=60)
    literal = [
        np.arccos(
            reference[:, i, j]
            @ fused[:, i, j]
            / math.dist(reference[:, i, j], [0] * 300)
            / math.dist(fused[:, i, j], [0] * 300)
        )
        for i, j in ((0, 0), (6, 59), (7, 0), (39, 59))
    ]
    ours = sam_map(reference, fused)
    np.testing.assert_allclose([ours[0, 0], ours[6, 59], ours[7, 0], ours[39, 59]], np.rad2deg(literal))


# ERGAS


def test_ergas_by_hand():
    reference = np.stack([np.full((4, 4), 0.5), np.full((4, 4), 0.2)])
    fused = reference + np.array([0.1, 0.06]).reshape(2, 1, 1)
    # relative errors 0.2 and 0.3
    assert ergas(reference, fused, 4) == pytest.approx(100 / 4 * math.sqrt((0.04 + 0.09) / 2))
    assert ergas(reference, fused, 8) == pytest.approx(ergas(reference, fused, 4) / 2)
    assert ergas(reference, fused, (2, 8)) == pytest.approx(ergas(reference, fused, 4))


def test_ergas_is_that_of_sewar_and_torchmetrics():
    reference, fused = pair()
    theirs = sewar.ergas(rows_cols_bands(reference), rows_cols_bands(fused), r=1 / 4)
    assert ergas(reference, fused, 4) == pytest.approx(theirs)
    theirs = error_relative_global_dimensionless_synthesis(batch(fused), batch(reference), ratio=4).item()
    assert ergas(reference, fused, 4) == pytest.approx(theirs)


def test_ergas_of_a_band_of_mean_zero():
    reference = np.zeros((1, 4, 4))
    reference[0, 0] = [1, -1, 1, -1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ergas(reference, reference, 4) == 0
        assert ergas(reference, reference + 0.1, 4) == math.inf


@pytest.mark.parametrize("ratio", [0.5, 0, -4, math.nan, math.inf, (4, 0.5), (2, 2, 2), ()])
def test_ergas_refuses_a_ratio_below_one(ratio):
    with pytest.raises(InputError, match="ratio needs"):
        ergas(*pair(), ratio)


# Cross-correlation


def test_cross_correlation_is_that_of_numpy():
    reference, fused = pair()
    theirs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(reference, fused, strict=True)]
    np.testing.assert_allclose(cross_correlation_per_band(reference, fused), theirs)
    assert cross_correlation(reference, fused) == pytest.approx(np.mean(theirs))
    assert cross_correlation(reference, 1 - reference) == pytest.approx(-1)


def test_cross_correlation_of_a_constant_band_is_zero():
    reference, fused = pair()
    fused[1] = 0.1  # its mean over 391 pixels is not 0.1 in floating point
    assert cross_correlation_per_band(reference, fused)[1] == 0
    assert cross_correlation_per_band(fused, reference)[1] == 0


# Laws

IMAGES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0.01, 1)
)
LAWS = settings(max_examples=25, deadline=None)


@LAWS
@given(IMAGES)
def test_perfect(image):
    assert psnr(image, image) == math.inf
    assert rmse(image, image) == ergas(image, image, 4) == sam_degrees(image, image) == 0


@LAWS
@given(IMAGES, st.integers(0, 2**32 - 1))
def test_sam_ignores_brightness(image, seed):
    rng = np.random.default_rng(seed)
    fused = rng.uniform(0.01, 1, image.shape)
    gain = rng.uniform(0.01, 100, image.shape[1:])
    np.testing.assert_allclose(sam_map(image, gain * fused), sam_map(image, fused), atol=1e-9)
    np.testing.assert_allclose(sam_map(fused, image), sam_map(image, fused), atol=1e-9)


@LAWS
@given(IMAGES, st.floats(0.1, 1000))
def test_scaling_of_image_and_peak(image, scale):
    fused = image[:, ::-1, ::-1] + 0.01
    ours = psnr(image, fused), ergas(image, fused, 4), sam_degrees(image, fused)
    scaled = (
        psnr(scale * image, scale * fused, peak=scale),
        ergas(scale * image, scale * fused, 4),
        sam_degrees(scale * image, scale * fused),
    )
    np.testing.assert_allclose(scaled, ours, atol=1e-9)
    assert psnr(image, fused, peak=scale) == pytest.approx(psnr(image, fused) + 20 * math.log10(scale), abs=1e-9)
    assert rmse(scale * image, scale * fused) == pytest.approx(scale * rmse(image, fused))


@LAWS
@given(IMAGES, st.integers(0, 2**32 - 1))
def test_order_of_pixels_does_not_matter(image, seed):
    rng = np.random.default_rng(seed)
    fused = image + rng.uniform(-0.01, 0.01, image.shape)
    order = rng.permutation(image[0].size)
    a, b = (x.reshape(len(x), -1)[:, order].reshape(x.shape) for x in (image, fused))
    for metric in METRICS:
        assert metric(a, b) == pytest.approx(metric(image, fused), abs=1e-9)


@LAWS
@given(st.integers(0, 2**32 - 1), st.sampled_from([math.nan, math.inf, -1e30, 0.0]))
def test_pixels_outside_the_mask_have_no_influence(seed, garbage):
    rng = np.random.default_rng(seed)
    reference, fused = rng.uniform(0.1, 1, (2, 3, 7, 9))
    mask = rng.random((7, 9)) < 0.7
    mask[0, 0] = True
    a, b = np.where(mask, reference, garbage), np.where(mask, fused, -garbage)
    picked = reference[:, mask][:, None], fused[:, mask][:, None]
    for metric in METRICS:
        assert metric(a, b, mask=mask) == pytest.approx(metric(*picked))


# What is accepted


def test_tensors_cubes_integers_and_other_orders_in_memory_are_accepted():
    reference, fused = (image.astype(np.float32) for image in pair())
    for metric in METRICS:
        expected = metric(reference, fused)
        assert metric(torch.from_numpy(reference), torch.from_numpy(fused).requires_grad_()) == expected
        assert metric(Cube(data=reference), fused) == expected
        swapped = (np.asfortranarray(image) for image in (reference, fused))
        assert metric(*swapped) == pytest.approx(expected, rel=1e-12)
    assert rmse(torch.ones(2, 4, 4, dtype=torch.bfloat16), np.zeros((2, 4, 4), np.uint8)) == 1
    assert psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8), peak=255) == 0  # not 1 by wrapping around
    mask = torch.zeros(17, 23, dtype=torch.bool)
    mask[3:5] = True
    assert rmse(reference, fused, mask=mask) == pytest.approx(rmse(reference[:, 3:5], fused[:, 3:5]))


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input_is_refused(metric):
    reference, fused = pair()
    with pytest.raises(InputError, match=r"\(5, 17, 23\).*\(5, 17, 22\)"):
        metric(reference, fused[..., 1:])
    broken = fused.copy()
    broken[2, 5, 6] = np.nan
    with pytest.raises(InputError, match="the fused image holds NaN or infinite values, the first at row 5, column 6"):
        metric(reference, broken)
    with pytest.raises(InputError, match="the reference holds NaN"):
        metric(broken, fused)
    for mask, message in (
        (np.ones((17, 22), bool), "mask has the shape"),
        (np.ones((17, 23)), "needs booleans"),
        (np.zeros((17, 23), bool), "no pixel"),
    ):
        with pytest.raises(InputError, match=message):
            metric(reference, fused, mask=mask)
    with pytest.raises(InputError, match="needs real numbers"):
        metric(reference.astype(complex), fused)
    with pytest.raises(InputError, match=r"needs \(bands, rows, cols\)"):
        metric(reference[None], fused[None])


@pytest.mark.parametrize("peak", [0, -1, math.nan, math.inf])
def test_psnr_refuses_a_peak_that_is_not_positive(peak):
    with pytest.raises(InputError, match="peak needs a positive number"):
        psnr(*pair(), peak=peak)
