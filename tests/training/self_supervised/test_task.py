"""A correction is applied as far as validation pixels confirm it."""

import pytest
import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.presets import mtf
from hyperfuse.statistics.folds import validation_blocks
from hyperfuse.training.self_supervised.task import HeldOutTask, correction, trusted_share

CPU = torch.device("cpu")


def task(error, kept):
    bands = error.shape[0]
    scale = error.flatten(1).square().mean(1).sqrt()
    return HeldOutTask([], error, torch.eye(bands), scale, kept, mtf(2))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_what_is_right_is_trusted_and_what_is_twice_too_large_by_half():
    error, kept = noise(3, 40, 40), validation_blocks((40, 40), 0.3, 0, CPU)
    assert trusted_share([task(error, kept)], [error]).min() > 0.9
    half = trusted_share([task(error, kept)], [2 * error])
    assert half.max() <= 0.501
    assert half.min() > 0.4


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_what_does_not_agree_with_kept_pixels_is_not_applied(sign):
    error, kept = noise(3, 40, 40), validation_blocks((40, 40), 0.3, 0, CPU)
    predicted = sign * error + (noise(3, 40, 40, seed=5) if sign == 0 else 0)
    assert trusted_share([task(error, kept)], [predicted]).max() < 0.1


def test_only_kept_pixels_count():
    error, kept = noise(2, 24, 24), validation_blocks((24, 24), 0.3, 0, CPU)
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
