"""Hiding LR pixels: every one exactly once, never two neighbours; and trust only in what kept pixels confirm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.presets import mtf
from hyperfuse.training.self_supervised.task import (
    HeldOutTask,
    correction,
    hiding_patterns,
    keep_blocks,
    trusted_share,
)

CPU = torch.device("cpu")


@given(st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_every_pixel_is_hidden_once_and_its_neighbours_are_shown(rows, cols):
    patterns = hiding_patterns((rows, cols), CPU)
    assert torch.stack(patterns).sum(0).eq(1).all()
    for hidden in patterns:
        assert not (hidden[1:] & hidden[:-1]).any()
        assert not (hidden[:, 1:] & hidden[:, :-1]).any()
        assert not (hidden[1:, 1:] & hidden[:-1, :-1]).any()


def test_kept_blocks_have_about_the_share_and_come_back_by_seed():
    mask = keep_blocks((202, 199), 0.12, 3, CPU)
    assert mask.shape == (202, 199)
    assert 0.09 < mask.double().mean() < 0.15
    assert torch.equal(mask, keep_blocks((202, 199), 0.12, 3, CPU))
    assert not torch.equal(mask, keep_blocks((202, 199), 0.12, 4, CPU))
    assert mask[:4, :4].double().mean() in (0.0, 1.0)


def task(error, kept):
    bands = error.shape[0]
    scale = error.flatten(1).square().mean(1).sqrt()
    return HeldOutTask([], error, torch.eye(bands), scale, kept, mtf(2))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_what_is_right_is_trusted_and_what_is_twice_too_large_by_half():
    error, kept = noise(3, 40, 40), keep_blocks((40, 40), 0.3, 0, CPU)
    assert trusted_share([task(error, kept)], [error]).min() > 0.9
    half = trusted_share([task(error, kept)], [2 * error])
    assert half.max() <= 0.501
    assert half.min() > 0.4


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_what_does_not_agree_with_kept_pixels_is_not_applied(sign):
    error, kept = noise(3, 40, 40), keep_blocks((40, 40), 0.3, 0, CPU)
    predicted = sign * error + (noise(3, 40, 40, seed=5) if sign == 0 else 0)
    assert trusted_share([task(error, kept)], [predicted]).max() < 0.1


def test_only_kept_pixels_count():
    error, kept = noise(2, 24, 24), keep_blocks((24, 24), 0.3, 0, CPU)
    learnt_by_heart = torch.where(kept, -error, error)
    assert trusted_share([task(error, kept)], [learnt_by_heart]).max() == 0


def test_without_kept_pixels_nothing_is_trusted():
    error = noise(2, 6, 6)
    assert trusted_share([task(error, torch.zeros(6, 6, dtype=torch.bool))], [error]).max() == 0


def test_the_correction_is_the_network_less_its_upsampled_input():
    torch.manual_seed(0)
    network = FeINFN(3, 4, FeINFNOptions(width=8, encoder_blocks=1, hidden=(8,), decoder_width=8))
    hsi, guide = torch.rand(2, 3, 5, 6), torch.rand(2, 4, 15, 18)
    features = network.features(hsi, guide)
    torch.testing.assert_close(
        correction(network, hsi, guide), features.fused - features.upsampled, atol=1e-6, rtol=1e-5
    )


def test_components_become_bands():
    basis = torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, -1.0]])
    one = HeldOutTask([], torch.zeros(3, 2, 2), basis, torch.ones(3), torch.zeros(2, 2, dtype=torch.bool), mtf(2))
    found = one.expand(torch.ones(5, 2, 2, 2))
    assert found.shape == (5, 3, 2, 2)
    assert found[4, :, 1, 1].tolist() == [1.0, 3.0, -1.0]
