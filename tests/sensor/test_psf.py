"""Point spread functions: weights in closed form, kernels, and the text forms of the command line."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hyperfuse.errors import InputError
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import (
    BoxPsf,
    GaussianPsf,
    KernelPsf,
    Psf,
    convolution_psf,
    create_psf,
    gaussian_from_fwhm,
    gaussian_from_mtf,
)

ASYMMETRIC = KernelPsf(weights=((1, 2, 0), (0, 5, 3), (-1, 1, 4), (2, 0, 7)))


def weights_of(psf, phase, size=15):
    """The weights that one LR sample at ``phase`` gives to the HR pixels around it."""
    sensor = Sensor(ratio=(1, 1), phase=phase, psf=psf)
    return sensor.degrade_adjoint(torch.ones(1, 1, dtype=torch.float64), (size, size)).numpy()


def outer(weight, phase, size=15):
    """Normalised separable weights, from a function of the offset along one axis."""
    rows = np.array([weight(n - phase[0], 0) for n in range(size)])
    cols = np.array([weight(n - phase[1], 1) for n in range(size)])
    return np.outer(rows / rows.sum(), cols / cols.sum())


@pytest.mark.parametrize("phase", [(7, 7), (6.5, 7.25)])
def test_gaussian_weights(phase):
    sigma = (1.3, 0.8)

    def weight(offset, axis):
        return math.exp(-(offset**2) / (2 * sigma[axis] ** 2)) if abs(offset) <= 4 * sigma[axis] else 0.0

    np.testing.assert_allclose(weights_of(GaussianPsf(sigma=sigma), phase), outer(weight, phase), atol=1e-12)


def test_gaussian_is_cut_at_its_radius():
    made = weights_of(GaussianPsf(sigma=(2, 2), radius=(1, 2)), (7, 7))
    assert np.argwhere(made.sum(1) > 0).ravel().tolist() == [6, 7, 8]
    assert np.argwhere(made.sum(0) > 0).ravel().tolist() == [5, 6, 7, 8, 9]


def test_a_narrow_gaussian_between_two_pixels_takes_both():
    made = weights_of(GaussianPsf(sigma=(0.1, 0.1)), (6.5, 7))
    assert made[6:8, 7] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(("phase", "width"), [((7, 7), (3, 4)), ((6.5, 7.2), (4, 2.5)), ((7.3, 6.9), (0.4, 1.0))])
def test_box_weights_pixels_by_the_covered_part(phase, width):
    def weight(offset, axis):
        low, high = max(offset - 0.5, -width[axis] / 2), min(offset + 0.5, width[axis] / 2)
        return max(0.0, high - low)

    np.testing.assert_allclose(weights_of(BoxPsf(width=width), phase), outer(weight, phase), atol=1e-12)


@pytest.mark.parametrize(("shape", "phase"), [((3, 5), (7, 7)), ((4, 2), (6.5, 7.5)), ((1, 1), (7, 7))])
def test_kernel_is_a_correlation_about_its_centre(shape, phase):
    kernel = np.random.default_rng(3).uniform(0.1, 1, shape)
    expected = np.zeros((15, 15))
    top, left = (round(p - (n - 1) / 2) for p, n in zip(phase, shape, strict=True))
    expected[top : top + shape[0], left : left + shape[1]] = kernel / kernel.sum()
    psf = KernelPsf(weights=tuple(map(tuple, kernel.tolist())))
    np.testing.assert_allclose(weights_of(psf, phase), expected, atol=1e-12)


def test_kernel_between_pixels_is_interpolated_linearly():
    kernel = np.asarray(ASYMMETRIC.weights) / np.sum(ASYMMETRIC.weights)
    expected = np.zeros((15, 15))
    for shift, share in ((0, 0.75), (1, 0.25)):  # 4 rows centred at 6.5 lie on pixels; 6.75 is a quarter further
        expected[5 + shift : 9 + shift, 6:9] += share * kernel
    np.testing.assert_allclose(weights_of(ASYMMETRIC, (6.75, 7)), expected, atol=1e-12)


@pytest.mark.parametrize(("size", "phase"), [(9, (7, 7)), (8, (6.5, 6.5))])
def test_a_gaussian_given_as_a_kernel_is_the_gaussian(size, phase):
    offsets = np.arange(size) - (size - 1) / 2
    profile = np.exp(-0.5 * (offsets / 1.1) ** 2)
    kernel = KernelPsf(weights=tuple(map(tuple, np.outer(profile, profile).tolist())))
    gaussian = GaussianPsf(sigma=(1.1, 1.1), radius=((size - 1) / 2, (size - 1) / 2))
    np.testing.assert_allclose(weights_of(kernel, phase), weights_of(gaussian, phase), atol=1e-12)
    assert len(kernel.factors()) == 1


@settings(max_examples=25, deadline=None)
@given(
    psf=st.one_of(
        st.builds(GaussianPsf, sigma=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3))),
        st.builds(BoxPsf, width=st.tuples(st.floats(0.1, 6), st.floats(0.1, 6))),
        st.just(ASYMMETRIC),
    ),
    phase=st.tuples(st.floats(-2, 9), st.floats(-2, 9)),
    ratio=st.floats(1, 5),
)
def test_every_psf_keeps_a_constant_at_any_position(psf, phase, ratio):
    image = torch.full((1, 11, 9), 0.7, dtype=torch.float64)
    made = Sensor(ratio=(ratio, ratio), phase=phase, psf=psf).degrade(image)
    np.testing.assert_allclose(made.numpy(), 0.7, atol=1e-9)


def test_fwhm_is_where_the_gaussian_halves():
    sigma = gaussian_from_fwhm((3.0, 5.0)).sigma
    assert [math.exp(-((w / 2) ** 2) / (2 * s**2)) for w, s in zip((3, 5), sigma, strict=True)] == pytest.approx(
        [0.5, 0.5]
    )


@pytest.mark.parametrize("mtf", [0.05, 0.3, 0.7])
def test_mtf_is_the_modulation_of_a_wave_at_nyquist_of_the_lr_grid(mtf):
    psf = gaussian_from_mtf(mtf, (4.0, 4.0), radius=(30.0, 30.0))
    profile = weights_of(psf, (32, 32), 64).sum(0)
    assert abs(np.fft.fft(profile)[8]) == pytest.approx(mtf, rel=1e-6)  # 8 cycles in 64 pixels: 1 / (2 * 4)


@pytest.mark.parametrize("mtf", [0, 1, -0.3, 1.5, float("nan")])
def test_a_modulation_out_of_range_is_refused(mtf):
    with pytest.raises(InputError, match="between 0 and 1"):
        gaussian_from_mtf(mtf, (4, 4))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sigma:1.5", GaussianPsf(sigma=(1.5, 1.5))),
        ("sigma:1.5,2", GaussianPsf(sigma=(1.5, 2))),
        ("fwhm:3", gaussian_from_fwhm((3, 3))),
        ("fwhm:3,4", gaussian_from_fwhm((3, 4))),
        ("mtf:0.3", gaussian_from_mtf(0.3, (3.2, 2))),
        ("box", BoxPsf(width=(3.2, 2))),
        ("box:4", BoxPsf(width=(4, 4))),
        ("box:4,5", BoxPsf(width=(4, 5))),
    ],
)
def test_text_forms(text, expected):
    assert create_psf(text, (3.2, 2)) == expected


@pytest.mark.parametrize(
    "text",
    ["-", "gauss", "sigma", "sigma:0", "sigma:-1", "sigma:a", "sigma:1,2,3", "sigma:nan", "sigma:2,nan", "fwhm:inf"],
)
def test_other_text_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"no PSF .*; write sigma:1\.5") as caught:
        create_psf(text, (2, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("psf", [GaussianPsf(sigma=(1, 2)), GaussianPsf(sigma=(1, 2), radius=(1, 1))])
@pytest.mark.parametrize("other", [BoxPsf(width=(2, 3)), ASYMMETRIC])
def test_plain_values_come_back_as_the_same_psf(psf, other):
    adapter = TypeAdapter(Psf)
    for one in (psf, other):
        assert adapter.validate_python(one.model_dump(mode="json", exclude_none=True)) == one


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianPsf(sigma=(0, 1)),
        lambda: GaussianPsf(sigma=(math.inf, 1)),
        lambda: GaussianPsf(sigma=(1, 1), radius=(1, 0)),
        lambda: GaussianPsf(sigma=(1, 1), width=3),
        lambda: BoxPsf(width=(1, -1)),
        lambda: BoxPsf(width=(1, math.nan)),
        lambda: KernelPsf(weights=()),
        lambda: KernelPsf(weights=((1, 2), (3,))),
        lambda: KernelPsf(weights=((1, -1),)),
        lambda: KernelPsf(weights=((1, math.nan),)),
    ],
)
def test_values_that_make_no_psf_are_refused(make):
    with pytest.raises(ValidationError):
        make()


@pytest.mark.parametrize("phase", [(7, 7), (6.3, 7.5)])
def test_a_kernel_averaged_over_a_box_is_a_weighted_sum_of_boxes(phase):
    kernel, width = np.random.default_rng(3).uniform(0.1, 1, (3, 4)), (2.5, 3.0)
    psf = KernelPsf(weights=tuple(map(tuple, kernel.tolist())), box=width)
    boxes = [
        kernel[row, col] * weights_of(BoxPsf(width=width), (phase[0] + row - 1, phase[1] + col - 1.5))
        for row in range(3)
        for col in range(4)
    ]
    np.testing.assert_allclose(weights_of(psf, phase), sum(boxes) / kernel.sum(), atol=1e-12)
    assert Sensor.from_dict(Sensor(ratio=(2, 2), psf=psf).to_dict()).psf == psf


def test_a_kernel_of_a_convolution_is_flipped_and_has_no_terms_of_rounding():
    profile = np.exp(-0.5 * np.arange(-5, 6) ** 2)
    kernel = np.outer(profile, np.roll(profile, 1)).astype(np.float32)
    psf = convolution_psf(kernel)
    assert len(psf.factors()) == 1
    np.testing.assert_allclose(psf.weights, kernel[::-1, ::-1] / kernel.sum(), atol=1e-7)
    for wrong in (profile, np.full((2, 2), np.nan), np.array([[1.0, -1.0]])):
        with pytest.raises(InputError, match="a kernel is a finite image"):
            convolution_psf(wrong)
