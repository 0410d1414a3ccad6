"""Linear synthesis against numpy's lstsq, cov and corrcoef, and its behaviour where those fail."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.statistics.linear import (
    RIDGE,
    apply_linear,
    correlation,
    covariance,
    fit_linear,
    injection_gains,
    invert_small,
    solve_small,
)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def plain_fit(x, y, weights=None):
    root = np.ones(x[0].size) if weights is None else np.sqrt(weights.ravel())
    design = np.column_stack([np.ones(x[0].size), *(band.ravel() for band in x)])
    return np.linalg.lstsq(design * root[:, None], (y.reshape(len(y), -1) * root).T, rcond=None)[0].T


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(1, 5), bands=st.integers(1, 4), rows=st.integers(3, 9), weighted=st.booleans(), seed=st.integers(0, 9)
)
def test_fit_is_least_squares(k, bands, rows, weighted, seed):
    x, y = random(k, rows, 7, seed=seed), random(bands, rows, 7, seed=seed + 100)
    x = x * torch.logspace(-3, 4, k)[:, None, None] + 50  # bands in units of their own
    weights = random(rows, 7, seed=3).abs() if weighted else None
    expected = plain_fit(x.numpy(), y.numpy(), None if weights is None else weights.numpy())
    made = fit_linear(x, y, weights)
    assert made.dtype == torch.float64
    np.testing.assert_allclose(
        apply_linear(made, x).numpy(), np.einsum("bk,khw->bhw", expected[:, 1:], x) + expected[:, :1, None], atol=1e-6
    )


def test_pixels_of_weight_zero_do_not_count():
    x, y = random(2, 6, 6), random(3, 6, 6, seed=1)
    weights = torch.ones(6, 6, dtype=torch.float64)
    weights[:, 4:] = 0
    spoiled = y.clone()
    spoiled[:, :, 4:] = 1e6
    expected = fit_linear(x[:, :, :4].contiguous(), y[:, :, :4].contiguous())
    torch.testing.assert_close(fit_linear(x, spoiled, weights), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(fit_linear(x, y, 7 * weights), fit_linear(x, y, weights))


def test_blocks_of_pixels_add_up():
    x, y = random(2, 150, 171), random(2, 150, 171, seed=1)  # more than one block
    np.testing.assert_allclose(fit_linear(x, y).numpy(), plain_fit(x.numpy(), y.numpy()), atol=1e-6)
    expected = np.cov(np.concatenate([x.flatten(1), y.flatten(1)]), bias=True)[:2, 2:]
    np.testing.assert_allclose(covariance(x, y).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_share_the_weight_and_stay_small(dtype):
    x = random(1, 20, 20, dtype=dtype)
    y = 3 * x + 1
    made = fit_linear(torch.cat([x, x, x]), y)
    torch.testing.assert_close(made, torch.tensor([[1.0, 1, 1, 1]], dtype=torch.float64), atol=1e-5, rtol=0)
    near = torch.cat([x, x * (1 + 1e-7), x + 1e-6 * random(1, 20, 20, seed=2, dtype=dtype)])
    noisy = y + 0.1 * random(1, 20, 20, seed=3, dtype=dtype)
    bound = 0.5 * RIDGE**-0.5 * float(noisy.std() / x.std())
    assert float(fit_linear(near, noisy)[0, 1:].abs().max()) < bound


def test_more_predictors_than_pixels_has_a_solution_that_fits():
    x, y = random(30, 3, 4), random(2, 3, 4, seed=1)
    made = fit_linear(x, y)
    assert torch.isfinite(made).all()
    torch.testing.assert_close(apply_linear(made, x), y, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("magnitude", [0.0, 0.3, 1e4])
def test_a_predictor_constant_up_to_rounding_is_left_out(magnitude, dtype):
    constant = torch.full((1, 9, 9), magnitude, dtype=dtype)
    constant += (
        magnitude * torch.finfo(dtype).eps * torch.randint(-1, 2, (1, 9, 9), generator=torch.Generator().manual_seed(0))
    )
    x, y = torch.cat([constant, random(1, 9, 9, dtype=dtype)]), random(2, 9, 9, seed=1, dtype=dtype)
    made = fit_linear(x, y)
    assert made[:, 1].tolist() == [0, 0]
    np.testing.assert_allclose(made[:, [0, 2]], fit_linear(x[1:], y), atol=1e-12)


def test_large_values_with_small_contrast_are_fitted():
    x = 1e4 + random(2, 12, 12)
    y = 1e4 + 2 * x[:1] - x[1:]
    made = fit_linear(x, y)
    np.testing.assert_allclose(made[0, 1:], [2, -1], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_apply_keeps_the_type_and_computes_the_sum(dtype):
    coefficients, x = random(5, 4), random(3, 6, 7, seed=1)
    made = apply_linear(coefficients, x.to(dtype))
    assert made.dtype == dtype
    expected = np.einsum("bk,khw->bhw", coefficients[:, 1:], x) + coefficients[:, :1, None].numpy()
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-5 if dtype == torch.float32 else 1e-12)


def test_correlation_is_numpy_corrcoef_and_zero_for_constants():
    a, b = random(3, 8, 9), random(2, 8, 9, seed=1)
    expected = np.corrcoef(np.concatenate([a.flatten(1), b.flatten(1)]))[:3, 3:]
    np.testing.assert_allclose(correlation(a, b).numpy(), expected, atol=1e-12)
    a[1] = 0.7
    assert correlation(a, b)[1].tolist() == [0, 0]


def test_gains_are_slopes_and_zero_for_constant_images():
    covariances, variances = torch.tensor([2.0, 3.0, 1e-16]).double(), torch.tensor([4.0, 1.0, 1e-16]).double()
    made = injection_gains(covariances, variances, torch.tensor([1.0, 1.0, 1.0]), torch.float32)
    assert made.tolist() == [0.5, 3.0, 0.0]
    assert injection_gains(covariances[2:], variances[2:], torch.tensor([1e-8]), torch.float32).tolist() == [1.0]


@pytest.mark.parametrize(
    ("x", "y", "weights", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(1, 4, 3), None, "do not fit; both are"),
        (torch.zeros(3, 4), torch.zeros(1, 3, 4), None, "do not fit; both are"),
        (torch.zeros(2, 3, 4), torch.zeros(1, 3, 4), torch.ones(12), "weights of the shape"),
        (torch.zeros(2, 3, 4), torch.zeros(1, 3, 4), torch.zeros(3, 4), "0 or more, and not all 0"),
        (torch.zeros(2, 3, 4), torch.zeros(1, 3, 4), -torch.ones(3, 4), "0 or more, and not all 0"),
    ],
)
def test_what_does_not_fit_is_refused(x, y, weights, message):
    with pytest.raises(InputError, match=message):
        fit_linear(x, y, weights)


@pytest.mark.parametrize(("k", "right_sides", "values"), [(1, 1, 2**16), (4, 2, 2**16), (6, 6, 100)])
def test_small_systems_are_solved_pixel_by_pixel(monkeypatch, k, right_sides, values):
    monkeypatch.setattr("hyperfuse.statistics.linear._SMALL_VALUES", values)
    factors, right = random(17, k, k + 1, seed=k), random(17, k, right_sides, seed=k + 1)
    systems = factors @ factors.mT + 1e-6 * torch.eye(k, dtype=torch.float64)
    found = solve_small(systems.permute(1, 2, 0), right.permute(1, 2, 0))
    torch.testing.assert_close(found.permute(2, 0, 1), torch.linalg.solve(systems, right), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("k", "values"), [(1, 2**16), (4, 2**16), (6, 100)])
def test_small_systems_are_inverted_pixel_by_pixel(monkeypatch, k, values):
    monkeypatch.setattr("hyperfuse.statistics.linear._SMALL_VALUES", values)
    factors = random(17, k, k + 1, seed=k)
    systems = factors @ factors.mT + 1e-6 * torch.eye(k, dtype=torch.float64)
    found = invert_small(systems.permute(1, 2, 0))
    torch.testing.assert_close(found.permute(2, 0, 1), torch.linalg.inv(systems), rtol=1e-8, atol=1e-8)
