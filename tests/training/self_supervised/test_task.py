"""A correction is applied as far as validation pixels confirm it."""

import pytest
import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.sensor.presets import mtf
from hyperfuse.statistics.folds import validation_blocks
from hyperfuse.training.self_supervised.task import HeldOutTask, correction, shrinkage_factor

CPU = torch.device("cpu")


def task(error, validation):
    bands = error.shape[0]
    scale = error.flatten(1).square().mean(1).sqrt()
    return HeldOutTask([], error, torch.eye(bands), scale, validation, mtf(2))


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_factor_is_one_for_a_right_correction_and_half_for_one_twice_too_large():
    error, validation = noise(3, 40, 40), validation_blocks((40, 40), 0.3, 0, CPU)
    assert shrinkage_factor([task(error, validation)], [error]).min() > 0.9
    half = shrinkage_factor([task(error, validation)], [2 * error])
    assert half.max() <= 0.501
    assert half.min() > 0.4


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_a_correction_that_contradicts_validation_pixels_is_not_applied(sign):
    error, validation = noise(3, 40, 40), validation_blocks((40, 40), 0.3, 0, CPU)
    predicted = sign * error + (noise(3, 40, 40, seed=5) if sign == 0 else 0)
    assert shrinkage_factor([task(error, validation)], [predicted]).max() < 0.1


def test_only_validation_pixels_determine_the_factor():
    error, validation = noise(2, 24, 24), validation_blocks((24, 24), 0.3, 0, CPU)
    memorised = torch.where(validation, -error, error)
    assert shrinkage_factor([task(error, validation)], [memorised]).max() == 0


def test_without_validation_pixels_the_factor_is_zero():
    error = noise(2, 6, 6)
    assert shrinkage_factor([task(error, torch.zeros(6, 6, dtype=torch.bool))], [error]).max() == 0


def test_the_correction_is_the_network_less_its_upsampled_input():
    torch.manual_seed(0)
    network = FeINFN(3, 4, FeINFNOptions(width=8, encoder_blocks=1, hidden=(8,), decoder_width=8))
    hsi, guidance = torch.rand(2, 3, 5, 6), torch.rand(2, 4, 15, 18)
    features = network.features(hsi, guidance)
    torch.testing.assert_close(
        correction(network, hsi, guidance), features.fused - features.upsampled, atol=1e-6, rtol=1e-5
    )


def test_components_become_bands():
    basis = torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, -1.0]])
    one = HeldOutTask([], torch.zeros(3, 2, 2), basis, torch.ones(3), torch.zeros(2, 2, dtype=torch.bool), mtf(2))
    found = one.expand(torch.ones(5, 2, 2, 2))
    assert found.shape == (5, 3, 2, 2)
    assert found[4, :, 1, 1].tolist() == [1.0, 3.0, -1.0]
