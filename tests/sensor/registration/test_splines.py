"""Cubic B-spline fields: what they reproduce, and normal equations against dense ones."""

import numpy as np
import pytest

from hyperfuse.sensor.registration.images import spline_values
from hyperfuse.sensor.registration.splines import Field, NormalEquations, SplineGrid

RNG = np.random.default_rng(0)
SHAPE = (21, 34)
ROWS, COLS = np.arange(21.0), np.arange(34.0)


def affine():
    y, x = np.meshgrid(ROWS, COLS, indexing="ij")
    return np.stack([1.5 + 0.02 * y - 0.1 * x, -0.3 + 0.05 * y + 0.01 * x])


def bent(seed=0, spacing=8.0):
    grid = SplineGrid.over(SHAPE, spacing)
    return Field(grid, np.random.default_rng(seed).normal(size=(2, *grid.shape)))


@pytest.mark.parametrize("spacing", [np.inf, 16.0, 5.0])
def test_an_affine_field_is_reproduced(spacing):
    field = SplineGrid.over(SHAPE, spacing).fit(affine(), np.ones(SHAPE), ROWS, COLS, 1e-9)
    np.testing.assert_allclose(field.at(ROWS, COLS), affine(), atol=1e-4)
    points = np.array([[3.3, 7.1], [20.0, 0.0]])
    expected = np.stack(
        [1.5 + 0.02 * points[:, 0] - 0.1 * points[:, 1], -0.3 + 0.05 * points[:, 0] + 0.01 * points[:, 1]]
    )
    np.testing.assert_allclose(field.at_points(points), expected.T, atol=1e-4)


def test_a_displacement_is_the_field_in_hr_pixels():
    field = bent()
    found = field.displacement((3.0, 4.0)).at(ROWS, COLS)
    np.testing.assert_allclose(found, field.at(ROWS, COLS) * np.reshape([3.0, 4.0], (2, 1, 1)), atol=1e-12)
    again = Field.of(field.displacement((1.0, 1.0)))
    np.testing.assert_allclose(again.at(ROWS, COLS), field.at(ROWS, COLS), atol=1e-12)


def test_equations_solve_and_multiply_as_dense_ones():
    grid = SplineGrid.over((9, 12), 5.0)
    rows, cols = np.arange(9.0), np.arange(12.0)
    slopes = RNG.normal(size=(2, 9, 12))
    goal = RNG.normal(size=(9, 12))
    y, x = slopes
    system = NormalEquations.of(grid, rows, cols, y * y, y * x, x * x, slopes * goal)
    along_y, along_x = grid.bases(rows, cols)
    both = np.einsum("ir,jc->ijrc", along_y, along_x)
    design = np.stack([both * y[..., None, None], both * x[..., None, None]], axis=2).reshape(108, -1)
    dense = design.T @ design
    step = RNG.normal(size=(2, *grid.shape))
    np.testing.assert_allclose(system.times(step).ravel(), dense @ step.ravel(), atol=1e-10)
    bending = grid.penalty_blocks.times(step)
    assert np.sum(bending * step) > 0
    solved = system.solve(0.7)
    unsolved = system.times(solved) + 0.7 * grid.penalty_blocks.times(solved) - system.right
    assert np.abs(unsolved).max() < 1e-5
    assert system.quadratic(solved) < 0


def test_the_penalty_is_that_of_the_bending():
    grid = SplineGrid.over((41, 41), 10.0)
    rows = np.arange(41.0)
    y, x = np.meshgrid(rows, rows, indexing="ij")
    field = grid.fit(np.stack([0.01 * y * y, 0.02 * y * x]), np.ones((41, 41)), rows, rows, 1e-12)
    bending = float(np.sum(field.coefficients * grid.penalty_blocks.times(field.coefficients)))
    # Of 40x40 LR pixels: second derivatives 0.02, and twice 0.02; of first ones the integral over 80**2.
    first = (0.02**2 * 40**4 / 3 + 0.02**2 * 2 * 40**4 / 3) / 80**2
    assert bending == pytest.approx(1600 * (0.02**2 + 2 * 0.02**2) + first, rel=1e-4)


def test_one_field_after_another():
    first, second = bent(1), Field.constant(SHAPE, (0.5, -1.0))
    both = first.then(second, SHAPE)
    moved = first.at(np.clip(ROWS + 0.5, 0, 20), np.clip(COLS - 1.0, 0, 33)) + np.reshape([0.5, -1.0], (2, 1, 1))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    coarse = both.grid.fit(moved, np.ones(SHAPE), ROWS, COLS, 1e-6)
    np.testing.assert_allclose(both.at(ROWS, COLS)[inner], coarse.at(ROWS, COLS)[inner], atol=0.1)


def test_binned_fields_are_enlarged():
    field = bent()
    large = field.enlarged(2)
    rows, cols = 2 * ROWS + 0.5, 2 * COLS + 0.5
    np.testing.assert_allclose(large.at(rows, cols), 2 * field.at(ROWS, COLS), atol=1e-12)


def test_slopes_are_those_of_the_splines():
    coefficients = RNG.normal(size=(2, 12, 15)).astype(np.float32)
    y, x = RNG.uniform(-1, 12, 40), RNG.uniform(-1, 15, 40)
    _, slopes = spline_values(coefficients, y, x)
    for axis, (dy, dx) in enumerate(((1e-4, 0.0), (0.0, 1e-4))):
        high, low = (spline_values(coefficients, y + s * dy, x + s * dx)[0] for s in (1, -1))
        np.testing.assert_allclose(slopes[axis], (high - low) / 2e-4, atol=1e-5)


def test_a_field_is_made_constant_beyond_the_image():
    field = bent()
    level = field.constant_beyond(SHAPE, 1e-3)
    np.testing.assert_allclose(level.at(ROWS, COLS), field.at(ROWS, COLS), atol=0.1)
    far = level.displacement((1.0, 1.0)).at([-40.0, -60.0], COLS)
    np.testing.assert_allclose(far[:, 0], far[:, 1], atol=1e-9)
