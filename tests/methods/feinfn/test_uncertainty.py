"""Expected errors: they follow the errors there are, and grow with what makes a pair hard."""

import numpy as np
import pytest
import torch

from hyperfuse.methods import PairTensors, get_method
from hyperfuse.methods.local_linear.consistency import correlation_length, enforce_consistency, model_error
from hyperfuse.methods.local_linear.denoising import denoise, remaining_error
from hyperfuse.sensor.presets import mtf, uestc

METHOD = get_method("feinfn")


def fused(pair, **settings):
    return METHOD.fuse(
        PairTensors(pair.hsi, pair.msi, pair.sensor), METHOD.configure(steps=0, uncertainty=True, **settings)
    )


def test_it_is_given_when_asked_and_costs_nothing_of_the_image(make_pair):
    pair = make_pair()
    plain = METHOD.fuse(PairTensors(pair.hsi, pair.msi, pair.sensor), METHOD.configure(steps=0))
    outcome = fused(pair)
    assert plain.uncertainty is None
    assert torch.equal(outcome.image, plain.image)
    assert outcome.uncertainty.shape == outcome.image.shape
    assert (outcome.uncertainty > 0).all()


def test_larger_expected_errors_go_with_larger_errors(make_pair):
    pair = make_pair(shape=(96, 96))
    # One corner in which the MSI holds nothing of what the HSI records.
    rng = np.random.default_rng(3)
    odd = torch.zeros_like(pair.reference)
    odd[:, :40, :40] = 0.1 * torch.from_numpy(rng.normal(size=(len(odd), 10, 10))).to(odd).kron(
        torch.ones(4, 4).to(odd)
    )
    outcome = METHOD.fuse(
        PairTensors(pair.hsi + pair.sensor.degrade(odd), pair.msi, pair.sensor),
        METHOD.configure(steps=0, uncertainty=True),
    )
    error = (outcome.image - pair.reference - odd).square()
    inside, outside = (
        outcome.uncertainty[:, 8:32, 8:32].square().mean(),
        outcome.uncertainty[:, 56:, 56:].square().mean(),
    )
    assert inside > 10 * outside
    assert 0.2 < inside / error[:, 8:32, 8:32].mean() < 5


@pytest.mark.parametrize("sensor", [uestc(4), mtf(4)], ids=["narrow", "wide"])
def test_the_error_model_is_that_of_random_fields_of_its_kind(sensor):
    """Fields of the assumed covariance: how much of them remains at LR, and after consistency is enforced."""
    size, length = 48, 2.0
    rng = np.random.default_rng(0)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) / 4
    root = np.linalg.cholesky(np.exp(-distance / length) + 1e-9 * np.eye(size))
    fields = torch.from_numpy(root @ rng.normal(size=(64, size, size)) @ root.T)
    low = sensor.degrade(fields)
    found = correlation_length(low, torch.zeros(len(low)), sensor, (size, size))
    assert found == length
    model = model_error(found, sensor, (size, size), tuple(low.shape[1:]), low.device)
    assert model.at_lr == pytest.approx(float(low.square().mean()), rel=0.1)
    remaining = (
        torch.cat(
            [
                (enforce_consistency(torch.zeros_like(f[None]), sensor.degrade(f[None]), sensor) - f[None])
                for f in fields[:16]
            ]
        )
        .square()
        .mean(0)
    )
    assert float(model.remaining.mean()) == pytest.approx(float(remaining.mean()), rel=0.15)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_error_that_denoising_leaves_is_known_without_the_clean_image(level):
    rng = np.random.default_rng(1)
    clean = torch.from_numpy(np.kron(rng.random((3, 12, 12)), np.ones((1, 8, 8))))
    noisy = clean + level * torch.from_numpy(rng.normal(size=clean.shape))
    noise = torch.full((3,), level, dtype=clean.dtype)
    true = (denoise(noisy, noise) - clean).square().flatten(1).mean(1)
    torch.testing.assert_close(remaining_error(noisy, noise), true, rtol=0.3, atol=0)
    assert remaining_error(noisy, torch.zeros_like(noise)).tolist() == [0.0] * 3
