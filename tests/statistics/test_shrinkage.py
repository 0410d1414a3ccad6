"""A correction that is right at high radiance and noise at low radiance is applied where it is right."""

import numpy as np
import pytest
import torch

from hyperfuse.statistics.shrinkage import RadianceShrinkage


def case(bands=4, size=40, seed=0):
    rng = np.random.default_rng(seed)
    magnitude = np.tile(np.linspace(0.01, 1.0, size), (size, 1))
    estimate = torch.from_numpy(np.ones((bands, 1, 1)) * magnitude)
    change = torch.from_numpy(rng.normal(size=(bands, size, size)))
    return estimate, change


def test_a_right_correction_is_applied_in_full():
    estimate, change = case()
    shrinkage = RadianceShrinkage.fit(estimate, change, estimate + change)
    assert (shrinkage.factor > 0.999).all()
    torch.testing.assert_close(shrinkage.of(estimate), torch.ones_like(estimate[0]))


def test_noise_at_low_radiance_is_shrunk_and_what_is_right_at_high_radiance_is_not():
    estimate, change = case()
    dark = estimate.norm(dim=0) < 0.5
    missing = torch.where(dark, change.flip(2), change)
    shrinkage = RadianceShrinkage.fit(estimate, change, estimate + missing).of(estimate)
    assert shrinkage[:, :6].max() < 0.2
    assert shrinkage[:, 20:].min() > 0.9
    assert (shrinkage[:, 1:] - shrinkage[:, :-1]).abs().max() < 0.5  # from class to class without a step


def test_twice_too_large_is_halved_and_a_wrong_sign_is_nothing():
    estimate, change = case()
    half = RadianceShrinkage.fit(estimate, 2 * change, estimate + change)
    assert half.factor.tolist() == pytest.approx([0.5] * len(half.factor))
    assert RadianceShrinkage.fit(estimate, -change, estimate + change).factor.max() == 0


@pytest.mark.parametrize("size", [1, 3, 5])
def test_few_pixels_make_one_class(size):
    estimate, change = case(size=size)
    shrinkage = RadianceShrinkage.fit(estimate, change, estimate + change)
    assert len(shrinkage.factor) == 1
    assert shrinkage.of(estimate).shape == (size, size)
