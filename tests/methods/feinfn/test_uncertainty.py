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


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_errors_lie_within_the_expected_ones_as_often_as_they_should(make_pair, noise):
    pair = make_pair(shape=(96, 96))
    generator = torch.Generator().manual_seed(0)
    hsi, msi = (
        one + noise * one.std() * torch.randn(one.shape, generator=generator).to(one) for one in (pair.hsi, pair.msi)
    )
    outcome = METHOD.fuse(PairTensors(hsi, msi, pair.sensor), METHOD.configure(uncertainty=True))
    ratio = (outcome.image - pair.reference).abs() / outcome.uncertainty
    assert 0.55 < float((ratio < 1).float().mean()) < 0.85
    assert 0.85 < float((ratio < 1.96).float().mean()) < 0.99


def test_saturated_pixels_are_less_certain(make_pair):
    pair = make_pair(shape=(96, 96))
    top = pair.msi.flatten(1).quantile(0.9, dim=1)[:, None, None]
    msi = torch.minimum(pair.msi, top)
    outcome = METHOD.fuse(PairTensors(pair.hsi, msi, pair.sensor), METHOD.configure(uncertainty=True))
    saturated = (msi == top).any(0)
    variance = outcome.uncertainty.square().mean(0)
    assert variance[saturated].mean() > 2 * variance[~saturated].mean()


def test_windows_of_a_scene_share_the_model_of_its_samples(make_pair):
    """A window that is a sample, and the same as part of two samples, are predicted by one model."""
    pair = make_pair(shape=(64, 64))
    whole = PairTensors(pair.hsi, pair.msi, pair.sensor)
    settings = METHOD.configure(uncertainty=True)
    model = METHOD.fit([whole, whole], settings)
    restored = METHOD.restore(model.state())
    first, again = (one.apply(whole).uncertainty for one in (model, restored))
    torch.testing.assert_close(first, again)
    single = METHOD.fuse(whole, settings).uncertainty
    assert 0.9 < float((first.square().mean() / single.square().mean()).sqrt()) < 1.1
