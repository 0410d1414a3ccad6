"""Windowed ridge regression against a literal solve per pixel, and its held-out errors against leaving pixels out."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.methods.local_linear.windowed_ridge import WindowedRidge


def images(seed, k, bands, rows, cols):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, rows, cols)), rng.normal(size=(bands, rows, cols)), rng.normal(size=(bands, k))


def literal_model(x, y, slopes, sigma, ridge, centre, leave_out=False, known=None):
    """Minimise the docstring's cost at one pixel by lstsq on weighted rows; (bands, k + 1), the offset first."""
    k, rows, cols = x.shape
    weights, design, targets = [], [], []
    for i in range(rows):
        for j in range(cols):
            dy, dx = i - centre[0], j - centre[1]
            if max(abs(dy), abs(dx)) > int(4 * sigma) or (leave_out and dy == dx == 0):
                continue
            if known is not None and not known[i, j]:
                continue
            weights.append(np.exp(-(dy**2 + dx**2) / (2 * sigma**2)))
            design.append([1, *x[:, i, j]])
            targets.append(y[:, i, j])
    root = np.sqrt(np.array(weights) / np.sum(weights))[:, None]
    prior = np.sqrt(ridge) * np.eye(k + 1)[1:]
    a = np.concatenate([root * np.array(design), prior])
    b = np.concatenate([root * np.array(targets), np.sqrt(ridge) * slopes.T])
    return np.linalg.lstsq(a, b, rcond=None)[0].T


CASES = [
    # seed, k, bands, rows, cols, sigma, ridge
    (0, 1, 1, 6, 5, 0.5, 1e-2),
    (1, 3, 4, 5, 7, 0.7, 1e-3),
    (2, 3, 2, 7, 6, 1.4, 1e-4),
    (3, 2, 3, 4, 4, 16.0, 1.0),
    (4, 2, 3, 1, 9, 1.0, 1e-2),
    (5, 2, 1, 9, 1, 2.0, 1e-2),
    (6, 6, 2, 3, 3, 1.0, 1e-1),  # more predictors than a window has pixels to spare
]


@pytest.mark.parametrize(("seed", "k", "bands", "rows", "cols", "sigma", "ridge"), CASES)
def test_the_model_of_every_pixel_is_the_literal_one(seed, k, bands, rows, cols, sigma, ridge):
    x, y, slopes = images(seed, k, bands, rows, cols)
    found = WindowedRidge(torch.from_numpy(x), sigma).blend(torch.from_numpy(y), torch.from_numpy(slopes), {ridge: 1.0})
    assert found.shape == (bands, k + 1, rows, cols)
    for i in range(rows):
        for j in range(cols):
            expected = literal_model(x, y, slopes, sigma, ridge, (i, j))
            np.testing.assert_allclose(found[:, :, i, j], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("seed", "k", "bands", "rows", "cols", "sigma", "ridge"), CASES)
def test_held_out_errors_are_those_of_leaving_pixels_out(seed, k, bands, rows, cols, sigma, ridge):
    x, y, slopes = images(seed, k, bands, rows, cols)
    ridges = (ridge, 10 * ridge)
    found = WindowedRidge(torch.from_numpy(x), sigma, step=2).held_out_errors(
        torch.from_numpy(y), torch.from_numpy(slopes), ridges
    )
    for row, amount in zip(found, ridges, strict=True):
        squares = []
        for i, j in itertools.product(range(0, rows, 2), range(0, cols, 2)):
            model = literal_model(x, y, slopes, sigma, amount, (i, j), leave_out=True)
            squares.append((model @ np.array([1, *x[:, i, j]]) - y[:, i, j]) ** 2)
        np.testing.assert_allclose(row, np.mean(squares, axis=0), rtol=1e-6)


def test_pixels_that_are_not_known_are_not_seen():
    x, y, slopes = images(9, 2, 3, 6, 7)
    known = np.random.default_rng(9).random((6, 7)) > 0.4
    y[:, ~known] = 1e6
    mask = torch.from_numpy(known.astype(float))
    model = WindowedRidge(torch.from_numpy(x), 1.0, mask)
    found = model.blend(torch.from_numpy(y), torch.from_numpy(slopes), {1e-2: 1.0})
    for i in range(6):
        for j in range(7):
            expected = literal_model(x, y, slopes, 1.0, 1e-2, (i, j), known=known)
            np.testing.assert_allclose(found[:, :, i, j], expected, rtol=1e-7, atol=1e-7)


def test_models_of_several_ridges_are_blended_and_predict_pixels_left_out():
    x, y, slopes = images(10, 2, 3, 5, 6)
    tensors = torch.from_numpy(y), torch.from_numpy(slopes)
    model = WindowedRidge(torch.from_numpy(x), 1.4)
    weights = {1e-3: 0.25, 1e-1: 0.5}
    blended = sum(weight * model.blend(*tensors, {ridge: 1.0}) for ridge, weight in weights.items())
    torch.testing.assert_close(model.blend(*tensors, weights), blended)
    predicted = model.predictions(*tensors, weights)[1]
    for i in range(5):
        for j in range(6):
            models = sum(
                weight * literal_model(x, y, slopes, 1.4, ridge, (i, j), leave_out=True)
                for ridge, weight in weights.items()
            )
            np.testing.assert_allclose(predicted[:, i, j], models @ np.array([1, *x[:, i, j]]), rtol=1e-7, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 4.0]), st.sampled_from([1e-4, 1e-2, 1.0]))
def test_targets_that_follow_the_global_model_are_found_at_any_window_and_ridge(seed, sigma, ridge):
    x, y, slopes = images(seed, 3, 2, 5, 6)
    offset = y[:, :1, :1]
    linear = np.einsum("bk,krc->brc", slopes, x) + offset
    model = WindowedRidge(torch.from_numpy(x), sigma)
    found = model.blend(torch.from_numpy(linear), torch.from_numpy(slopes), {ridge: 1.0}).numpy()
    np.testing.assert_allclose(found[:, 0], np.broadcast_to(offset, y.shape), atol=1e-9)
    np.testing.assert_allclose(found[:, 1:], np.broadcast_to(slopes[..., None, None], (2, 3, 5, 6)), atol=1e-9)
    errors = model.held_out_errors(torch.from_numpy(linear), torch.from_numpy(slopes), (ridge,))
    assert float(errors.max()) < 1e-16


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(-5, 5))
def test_models_are_linear_in_the_targets(seed, a, b):
    x, y, slopes = images(seed, 2, 2, 5, 4)
    model = WindowedRidge(torch.from_numpy(x), 1.0)
    first, second = (model.blend(*map(torch.from_numpy, pair), {1e-2: 1.0}) for pair in ((y, slopes), (y**2, slopes)))
    mixed = map(torch.from_numpy, (a * y + b * y**2, (a + b) * slopes))
    both = model.blend(*mixed, {1e-2: 1.0})
    np.testing.assert_allclose(both, a * first + b * second, atol=1e-8)


def test_a_strong_ridge_keeps_the_global_slopes_and_a_wide_window_the_whole_image():
    x, y, slopes = images(7, 2, 3, 6, 5)
    tensors = torch.from_numpy(y), torch.from_numpy(slopes)
    strong = WindowedRidge(torch.from_numpy(x), 1.0).blend(*tensors, {1e8: 1.0})
    np.testing.assert_allclose(strong[:, 1:], np.broadcast_to(slopes[..., None, None], (3, 2, 6, 5)), atol=1e-6)
    wide = WindowedRidge(torch.from_numpy(x), 1e4).blend(*tensors, {1e-10: 1.0})
    design = np.column_stack([np.ones(30), x.reshape(2, -1).T])
    whole = np.linalg.lstsq(design, y.reshape(3, -1).T, rcond=None)[0].T
    np.testing.assert_allclose(wide, np.broadcast_to(whole[..., None, None], (3, 3, 6, 5)), atol=1e-5)


def test_one_pixel_alone_is_modelled_by_the_global_slopes():
    x, y, slopes = (torch.from_numpy(array) for array in images(8, 2, 3, 1, 1))
    model = WindowedRidge(x, 1.0)
    found = model.blend(y, slopes, {1e-3: 1.0})[:, :, 0, 0]
    torch.testing.assert_close(found[:, 1:], slopes)
    torch.testing.assert_close(found[:, 0] + slopes @ x[:, 0, 0], y[:, 0, 0])
    assert torch.isfinite(model.held_out_errors(y, slopes, (1e-3,))).all()
