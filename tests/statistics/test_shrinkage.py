"""Trust by brightness: a correction that is right in the light and noise in the dark is applied where it is right."""

import numpy as np
import pytest
import torch

from hyperfuse.statistics.shrinkage import BrightnessTrust


def case(bands=4, size=40, seed=0):
    rng = np.random.default_rng(seed)
    level = np.tile(np.linspace(0.01, 1.0, size), (size, 1))
    estimate = torch.from_numpy(np.ones((bands, 1, 1)) * level)
    change = torch.from_numpy(rng.normal(size=(bands, size, size)))
    return estimate, change


def test_a_right_correction_is_trusted_everywhere():
    estimate, change = case()
    trust = BrightnessTrust.fit(estimate, change, estimate + change)
    assert (trust.share > 0.999).all()
    torch.testing.assert_close(trust.of(estimate), torch.ones_like(estimate[0]))


def test_noise_in_the_dark_is_not_trusted_and_what_is_right_in_the_light_is():
    estimate, change = case()
    dark = estimate.norm(dim=0) < 0.5
    missing = torch.where(dark, change.flip(2), change)
    trust = BrightnessTrust.fit(estimate, change, estimate + missing).of(estimate)
    assert trust[:, :6].max() < 0.2
    assert trust[:, 20:].min() > 0.9
    assert (trust[:, 1:] - trust[:, :-1]).abs().max() < 0.5  # from class to class without a step


def test_twice_too_large_is_halved_and_a_wrong_sign_is_nothing():
    estimate, change = case()
    half = BrightnessTrust.fit(estimate, 2 * change, estimate + change)
    assert half.share.tolist() == pytest.approx([0.5] * len(half.share))
    assert BrightnessTrust.fit(estimate, -change, estimate + change).share.max() == 0


@pytest.mark.parametrize("size", [1, 3, 5])
def test_few_pixels_make_one_class(size):
    estimate, change = case(size=size)
    trust = BrightnessTrust.fit(estimate, change, estimate + change)
    assert len(trust.share) == 1
    assert trust.of(estimate).shape == (size, size)
