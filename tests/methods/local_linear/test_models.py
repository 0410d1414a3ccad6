"""Local models of a scene: what samples have in common, and pixels that are held out of a fit."""

import pytest
import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.models import LocalModels
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening
from hyperfuse.methods.local_linear.windowed_ridge import WindowedRidge
from hyperfuse.statistics.noise import estimate_noise


def sample(make_pair, bands=12, **options):
    pair = make_pair(bands=bands, dtype=torch.float64, **options)
    tensors = PairTensors(pair.hsi, pair.msi, pair.sensor)
    return pair.hsi, Predictors.of(tensors, Whitening.fit([pair.msi])), estimate_noise(pair.hsi)


@pytest.mark.parametrize("bands", [12, 40])
def test_a_sample_given_twice_counts_once(make_pair, bands):
    hsi, predictors, noise = sample(make_pair, bands)
    once = LocalModels.fit([hsi], [predictors], noise)
    twice = LocalModels.fit([hsi] * 2, [predictors] * 2, noise)
    assert (once.subspace is None) == (bands == 12)
    assert {window: list(ridges) for window, ridges in once.weights.items()} == {
        window: list(ridges) for window, ridges in twice.weights.items()
    }
    images = [models.on(hsi, predictors).apply() for models in (once, twice)]
    torch.testing.assert_close(*images, rtol=1e-5, atol=1e-7)


def test_weights_and_slopes_are_means_over_samples(make_pair):
    samples = [sample(make_pair, seed=seed) for seed in (0, 1)]
    hsis, predictors, noises = zip(*samples, strict=True)
    models = LocalModels.fit(hsis, predictors, noises[0])
    assert sum(weight for ridges in models.weights.values() for weight in ridges.values()) == pytest.approx(1)
    alone = [LocalModels.fit([hsi], [one], noise).slopes for hsi, one, noise in samples]
    assert not torch.allclose(models.slopes, alone[0], rtol=1e-3)
    assert bool((models.slopes - alone[0]).norm() < (alone[1] - alone[0]).norm())


@pytest.mark.parametrize("bands", [12, 40])
def test_held_out_pixels_of_a_whole_scene_have_no_influence(make_pair, bands):
    hsi, predictors, noise = sample(make_pair, bands)
    models = LocalModels.fit([hsi], [predictors], noise)
    known = torch.ones(predictors.shape, dtype=torch.bool)
    known[1::2, ::2] = False
    spoilt = torch.where(known, hsi, 100.0)
    images = [models.on(image, predictors).apply(known) for image in (hsi, spoilt)]
    torch.testing.assert_close(*images)


def test_held_out_predictions_are_those_of_fits_without_the_pixel(make_pair):
    hsi, predictors, noise = sample(make_pair)
    window = LocalModels.fit([hsi], [predictors], noise, windows=(1.0,), ridges=(1e-2,)).on(hsi, predictors)
    spoilt = hsi.clone()
    spoilt[:, 5, 6] = 100.0
    other = window.models.on(spoilt, predictors).held_out()[:, 5, 6]
    torch.testing.assert_close(window.held_out()[:, 5, 6], other)


def test_the_influence_of_a_pixel_on_itself_is_its_prediction_minus_that_without_it(make_pair):
    hsi, predictors, noise = sample(make_pair)
    plain = LocalModels.fit([hsi], [predictors], noise, windows=(1.0,), ridges=(1e-2,)).on(hsi, predictors)
    coefficients = WindowedRidge(predictors.coarse, 1.0).blend(hsi, plain.models.slopes, {1e-2: 1.0})
    fitted = coefficients[:, 0] + (coefficients[:, 1:] * predictors.coarse).sum(1)
    torch.testing.assert_close(plain.own_influence(), fitted - plain.held_out())


def test_similar_pixels_count_themselves_in_their_influence(make_pair):
    """A pixel with another measurement moves its own prediction in proportion; the one without it stays."""
    hsi, predictors, noise = sample(make_pair)
    models = LocalModels.fit([hsi], [predictors], noise)
    models = models.with_similar_pixels([models.on(hsi, predictors)])
    changed = hsi.clone()
    changed[:, 5, 6] += 0.1
    before, after = (models.on(image, predictors) for image in (hsi, changed))
    torch.testing.assert_close(before.held_out()[:, 5, 6], after.held_out()[:, 5, 6])
    moved = (after.own_influence() - before.own_influence())[:, 5, 6]
    assert bool((moved > 0).all())
    assert bool((moved < 0.1).all())
