"""Non-negative least squares against SciPy's active set, and laws that any such step keeps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from hyperfuse.methods.algorithms import nonnegative
from hyperfuse.methods.algorithms.nonnegative import lower_nonnegative

UPDATES = ("accelerated", "multiplicative")


def problem(seed, rows=8, unknowns=4, columns=6):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.rand(rows, unknowns, generator=generator, dtype=torch.float64)
    target = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    start = torch.rand(unknowns, columns, generator=generator, dtype=torch.float64)
    return factor, target, start


def cost(factor, target, found, total_weight=0.0):
    return float((target - factor @ found).square().sum() + total_weight * (1 - found.sum(0)).square().sum())


@pytest.mark.parametrize(("updates", "iterations"), [("accelerated", 3000), ("multiplicative", 100_000)])
def test_reaches_the_minimum_that_an_active_set_finds(updates, iterations):
    factor, target, start = problem(3)
    expected = np.stack([nnls(factor.numpy(), column)[0] for column in target.numpy().T], axis=1)
    assert (expected == 0).any()  # else the constraint is not put to the test
    found = lower_nonnegative(factor, target, start, iterations, updates=updates)
    assert cost(factor, target, found) == pytest.approx(cost(factor, target, torch.from_numpy(expected)), rel=1e-7)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("updates", UPDATES)
def test_total_weight_is_a_row_of_ones(updates):
    factor, target, start = problem(1)
    ones = torch.full((1, 1), 7.0**0.5, dtype=torch.float64)
    stacked = torch.cat([factor, ones.expand(1, factor.shape[1])]), torch.cat([target, ones.expand(1, 6)])
    found = lower_nonnegative(factor, target, start, 40, total_weight=7.0, updates=updates)
    torch.testing.assert_close(found, lower_nonnegative(*stacked, start, 40, updates=updates))


@given(seed=st.integers(0, 10_000), updates=st.sampled_from(UPDATES), weight=st.sampled_from([0.0, 0.5]))
@settings(max_examples=25, deadline=None)
def test_lowers_the_cost_and_stays_non_negative(seed, updates, weight):
    factor, target, start = problem(seed)
    found = lower_nonnegative(factor, target, start, 60, total_weight=weight, updates=updates)
    assert float(found.min()) >= 0
    assert cost(factor, target, found, weight) <= cost(factor, target, start, weight)


def test_acceleration_gets_lower_than_multiplication_in_as_many_iterations():
    factor, target, start = problem(5, rows=6, unknowns=5, columns=200)
    reached = [cost(factor, target, lower_nonnegative(factor, target, start, 30, updates=u)) for u in UPDATES]
    assert reached[0] < reached[1]


@pytest.mark.parametrize("updates", UPDATES)
def test_blocks_of_columns_do_not_change_the_result(updates, monkeypatch):
    factor, target, start = problem(2, columns=50)
    start[:, 30:] *= 100.0
    whole = lower_nonnegative(factor, target, start, 20, updates=updates)
    monkeypatch.setattr(nonnegative, "_BLOCK_COLUMNS", 7)
    torch.testing.assert_close(lower_nonnegative(factor, target, start, 20, updates=updates), whole)


def test_the_start_remains_where_nothing_determines_the_unknowns():
    start = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    before = start.clone()
    found = lower_nonnegative(torch.zeros(2, 3), torch.ones(2, 4), start, 10)
    torch.testing.assert_close(found, before, rtol=0, atol=0)
    found.zero_()
    torch.testing.assert_close(start, before, rtol=0, atol=0)
