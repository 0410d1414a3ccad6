"""Operators along one axis, against literal loops, numpy.pad, numpy.interp and torch's antialiased bicubic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hyperfuse.errors import InputError
from hyperfuse.sensor.axis import AxisOperator, AxisProfile, fold, interpolation_operator, sampling_operator

RATIOS = st.one_of(st.integers(1, 5).map(float), st.floats(1.0, 5.0))
BOUNDARIES = st.sampled_from(["reflect", "circular"])
PAD_MODE = {"reflect": "symmetric", "circular": "wrap"}


def profile(offset):
    return np.cos(0.8 * offset) + 0.1 * offset  # not symmetric, below 0 in places


def sample_literally(x, size_out, ratio, phase, radius, normalise, boundary):
    reach = int(np.ceil(radius + abs(phase) + ratio * size_out)) + len(x)
    padded = np.pad(x, reach, mode=PAD_MODE[boundary])
    result = []
    for i in range(size_out):
        centre = phase + ratio * i
        value = total = 0.0
        for n in range(-reach, len(x) + reach):
            if abs(n - centre) <= radius:
                value += profile(n - centre) * padded[n + reach]
                total += profile(n - centre)
        result.append(value / total if normalise else value)
    return np.array(result)


@settings(max_examples=40, deadline=None)
@given(
    size_in=st.integers(1, 23),
    size_out=st.integers(1, 7),
    ratio=RATIOS,
    phase=st.floats(-3.0, 6.0),
    radius=st.sampled_from([0.77, 1.31, 2.9]),
    normalise=st.booleans(),
    boundary=BOUNDARIES,
    seed=st.integers(0, 99),
)
def test_sampling_is_the_literal_sum(size_in, size_out, ratio, phase, radius, normalise, boundary, seed):
    x = np.random.default_rng(seed).standard_normal(size_in)
    axis_profile = AxisProfile(profile, radius, normalise)
    operator = sampling_operator(size_in, size_out, axis_profile, ratio=ratio, phase=phase, boundary=boundary)
    made = operator(torch.as_tensor(x)[None, None], -1)[0, 0].numpy()
    np.testing.assert_allclose(
        made, sample_literally(x, size_out, ratio, phase, radius, normalise, boundary), atol=1e-10
    )


def test_the_radius_is_inclusive():
    box = AxisProfile(np.ones_like, 2, normalise=False)
    operator = sampling_operator(9, 1, box, ratio=1, phase=4, boundary="reflect")
    assert operator.matrix.toarray().tolist() == [[0, 0, 1, 1, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_fold_agrees_with_numpy_pad_far_outside(size, boundary):
    reach = 4 * size + 3
    index = np.arange(-reach, size + reach)
    assert fold(index, size, boundary).tolist() == np.pad(np.arange(size), reach, mode=PAD_MODE[boundary]).tolist()


@settings(max_examples=25, deadline=None)
@given(size_in=st.integers(1, 300), size_out=st.integers(1, 300), density=st.floats(0, 0.3), seed=st.integers(0, 99))
def test_blocks_make_the_whole_product_along_both_axes(size_in, size_out, density, seed):
    rng = np.random.default_rng(seed)
    matrix = sparse.random(size_out, size_in, density, "csr", random_state=rng)
    operator = AxisOperator(matrix)
    assert (operator.size_in, operator.size_out) == (size_in, size_out)
    x = rng.standard_normal((2, 3, size_in))
    expected = x @ matrix.toarray().T
    np.testing.assert_allclose(operator(torch.as_tensor(x), -1).numpy(), expected, atol=1e-10)
    transposed = torch.as_tensor(x.transpose(0, 2, 1))
    np.testing.assert_allclose(operator(transposed, -2).numpy(), expected.transpose(0, 2, 1), atol=1e-10)
    y = rng.standard_normal((2, 3, size_out))
    np.testing.assert_allclose(operator.transposed(torch.as_tensor(y), -1).numpy(), y @ matrix.toarray(), atol=1e-10)


def test_dtype_is_unchanged_and_gradients_flow():
    operator = sampling_operator(12, 4, AxisProfile(profile, 2), ratio=2.7, phase=1.1, boundary="circular")
    x = torch.rand(2, 12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    single = operator(x.float(), -2)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), operator(x, -2), atol=1e-6, rtol=0)
    assert torch.autograd.gradcheck(lambda image: operator(image, -2), x.requires_grad_())


def test_use_in_inference_mode_does_not_spoil_later_training():
    operator = interpolation_operator(6, 12, ratio=2, phase=0.5, kernel="cubic")
    x = torch.ones(1, 6, 6)
    with torch.inference_mode():
        operator(x, -1)
    x.requires_grad_()
    operator(x, -1).sum().backward()
    assert x.grad is not None


def test_wrong_size_is_refused():
    operator = interpolation_operator(6, 12, ratio=2, phase=0.5, kernel="linear")
    with pytest.raises(InputError, match="reads 6 samples along axis -1, got 5"):
        operator(torch.zeros(1, 6, 5), -1)


def test_a_psf_that_misses_every_pixel_is_refused():
    def narrow(offset):
        return np.exp(-0.5 * (offset / 0.01) ** 2)

    with pytest.raises(InputError, match="falls between its centres; widen it"):
        sampling_operator(8, 4, AxisProfile(narrow, 0.5), ratio=2, phase=0.5, boundary="reflect")


@settings(max_examples=30, deadline=None)
@given(size_in=st.integers(1, 12), size_out=st.integers(1, 60), ratio=RATIOS, phase=st.floats(-4.0, 4.0))
def test_linear_is_numpy_interp_with_the_ends_repeated(size_in, size_out, ratio, phase):
    values = np.random.default_rng(size_in).standard_normal(size_in)
    operator = interpolation_operator(size_in, size_out, ratio=ratio, phase=phase, kernel="linear")
    positions = phase + ratio * np.arange(size_in)
    made = operator(torch.as_tensor(values)[None, None], -1)[0, 0].numpy()
    np.testing.assert_allclose(made, np.interp(np.arange(size_out), positions, values), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    size_in=st.integers(5, 15),
    ratio=RATIOS,
    phase=st.floats(-2.0, 4.0),
    curve=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2)),
)
def test_cubic_returns_a_quadratic_in_place(size_in, ratio, phase, curve):
    positions = phase + ratio * np.arange(size_in)
    size_out = int(positions[-1]) + 3
    operator = interpolation_operator(size_in, size_out, ratio=ratio, phase=phase, kernel="cubic")
    made = operator(torch.as_tensor(np.polyval(curve, positions))[None, None], -1)[0, 0].numpy()
    fine = np.arange(size_out)
    inside = (fine >= positions[1]) & (fine <= positions[-2])  # all four neighbours are there
    assert inside.any()
    np.testing.assert_allclose(made[inside], np.polyval(curve, fine[inside]), atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(
    size_in=st.integers(1, 9),
    size_out=st.integers(1, 40),
    ratio=RATIOS,
    phase=st.floats(-4.0, 4.0),
    kernel=st.sampled_from(["linear", "cubic"]),
)
def test_weights_of_every_output_sum_to_one(size_in, size_out, ratio, phase, kernel):
    matrix = interpolation_operator(size_in, size_out, ratio=ratio, phase=phase, kernel=kernel).matrix
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_cubic_agrees_with_torch_away_from_the_ends(ratio):
    # Torch's antialiased bicubic is Keys' kernel with a = -1/2 (its plain one has a = -3/4).
    image = torch.rand(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    size = 9 * ratio
    expected = torch.nn.functional.interpolate(image, size=(size, size), mode="bicubic", antialias=True)
    operator = interpolation_operator(9, size, ratio=ratio, phase=(ratio - 1) / 2, kernel="cubic")
    made = operator(operator(image, -1), -2)
    inner = slice(2 * ratio, -2 * ratio)
    torch.testing.assert_close(made[..., inner, inner], expected[..., inner, inner], atol=1e-9, rtol=0)
