"""Closed forms against torch's step-by-step schedules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from hyperfuse.training.schedules import constant, cosine, one_cycle, steps


def stepped(steps, rate, make):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_constant():
    assert {constant(2e-4)(patches) for patches in range(0, 100, 7)} == {2e-4}


def test_cosine_that_rises_again_is_torchs_annealing():
    expected = stepped(100, 2e-4, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=30, eta_min=1e-5))
    schedule = cosine(2e-4, 1e-5, period=30 * 8, unit=8)
    assert [schedule(8 * step) for step in range(100)] == pytest.approx(expected, rel=1e-9)


def test_cosine_that_restarts_is_torchs_warm_restarts():
    expected = stepped(100, 2e-4, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=30, eta_min=1e-5))
    schedule = cosine(2e-4, 1e-5, period=30, unit=1, after="restart")
    assert [schedule(step) for step in range(100)] == pytest.approx(expected, rel=1e-9)


def test_cosine_that_stays():
    schedule = cosine(1.0, 0.1, period=50, unit=1, after="stay")
    assert [schedule(step) for step in (0, 25, 50, 51, 1000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])


def test_a_rate_per_epoch_changes_at_epochs_only():
    schedule = cosine(1.0, 0.0, period=300 * 3920, unit=3920)
    assert schedule(3919) == schedule(0) == 1.0
    assert schedule(3920) == schedule(2 * 3920 - 1) < 1.0


def test_steps_are_torchs():
    expected = stepped(100, 3e-4, lambda o: lr_scheduler.MultiStepLR(o, milestones=[10, 40, 41], gamma=0.4))
    schedule = steps(3e-4, 0.4, at=[8 * 41, 8 * 10, 8 * 40])
    assert [schedule(8 * step) for step in range(100)] == pytest.approx(expected, rel=1e-9)


def test_one_cycle_is_torchs():
    steps, rise = 101, 0.3
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch counts the top as the last step of the rise: step 30 of 0 to 100 here.
    scheduler = lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=1.0,
        total_steps=steps,
        pct_start=(rise * (steps - 1) + 1) / steps,
        div_factor=25,
        final_div_factor=4,
        cycle_momentum=False,
    )
    expected = [scheduler.get_last_lr()[0]]
    for _ in range(steps - 1):
        optimiser.step()
        scheduler.step()
        expected.append(scheduler.get_last_lr()[0])
    schedule = one_cycle(1.0, 0.01, start=0.04, rise=rise, length=steps * 6, unit=6)
    assert [schedule(6 * step) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 50), st.integers(1, 400), st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_one_cycle_stays_between_its_ends(unit, steps, rise):
    schedule = one_cycle(1.0, 1e-3, start=0.04, rise=rise, length=steps * unit, unit=unit)
    rates = [schedule(step * unit) for step in range(steps)]
    assert min(rates) >= 1e-3 - 1e-12
    assert max(rates) <= 1.0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps > 1:
        assert rates[0] == pytest.approx(0.04)
        assert rates[-1] == pytest.approx(1e-3)
