"""Fitting to a pair: an error that the guidance explains is learnt; steps, seed and time are respected."""

import time

import pytest
import torch

from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.options import FeINFNOptions
from hyperfuse.progress import silent
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.statistics.folds import held_out_patterns, validation_blocks
from hyperfuse.training.self_supervised.fit import PairFitOptions, fit_to_pair
from hyperfuse.training.self_supervised.patches import PairPatches
from hyperfuse.training.self_supervised.task import HeldOutTask, MaskedPair, correction

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    options = FeINFNOptions(
        width=8, encoder_blocks=1, hidden=(16, 8), latent=8, decoder_width=8, gabor_frequency=3.0, gabor_scale=1.0
    )
    return FeINFN(2, 3, options)


def explained_task(sensor, lr=(20, 20)):
    """Return a task in which the error is a function of the guidance that a network can learn."""
    fine = tuple(round(cells * ratio) for cells, ratio in zip(lr, sensor.ratio, strict=True))
    # Smooth enough for the blurred error to tell what happens at HR.
    guidance = torch.randn(1, 3, *lr, generator=torch.Generator().manual_seed(1))
    guidance = 2 * torch.nn.functional.interpolate(guidance, size=fine, mode="bicubic")[0]
    truth = torch.stack([0.5 * guidance[0], torch.tanh(guidance[1])])
    error = sensor.degrade(truth, lr)
    pairs = [MaskedPair(mask, torch.zeros(2, *lr), guidance) for mask in held_out_patterns(lr, CPU)]
    scale = error.flatten(1).square().mean(1).sqrt()
    return HeldOutTask(pairs, error, torch.eye(2), scale, validation_blocks(lr, 0.1, 0, CPU), sensor), truth


@pytest.mark.parametrize(
    ("sensor", "lr"), [(uestc(4), (20, 20)), (mtf(2.5), (24, 21)), (mtf((2, 3)), (17, 20))], ids=["x4", "x2.5", "2,3"]
)
def test_an_error_that_the_guidance_explains_is_learnt_at_hr(sensor, lr):
    task, truth = explained_task(sensor, lr)
    fitted = network()
    fit = fit_to_pair(fitted, [task], PairFitOptions(120, learning_rate=1e-2, patch=8, batch=4), silent)
    assert fit.steps == 120
    assert fit.losses[-1] < 0.6 * fit.losses[0]
    with torch.no_grad():
        found = correction(fitted, task.pairs[0].hsi[None], task.pairs[0].guidance[None])[0]
    assert (found - truth).square().mean() < 0.6 * truth.square().mean()


def test_the_same_seed_gives_the_same_network_and_another_does_not():
    states = []
    for seed in (0, 0, 1):
        one = network()
        fit_to_pair(one, [explained_task(uestc(4))[0]], PairFitOptions(3, patch=8, batch=2, seed=seed), silent)
        states.append(torch.cat([parameter.flatten() for parameter in one.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_time_ends_the_fit():
    start = time.monotonic()
    fit = fit_to_pair(network(), [explained_task(uestc(4))[0]], PairFitOptions(10**9, 0.5, patch=8, batch=2), silent)
    assert 0 < fit.steps < 10**9
    assert time.monotonic() - start < 20  # generous: a loaded machine is slow to notice


def test_validation_pixels_have_no_influence_on_the_steps():
    task, _ = explained_task(uestc(4))
    changed = HeldOutTask(
        task.pairs,
        torch.where(task.validation, 1e3, task.error),
        task.basis,
        task.band_scale,
        task.validation,
        task.sensor,
    )
    weights = []
    for one in (task, changed):
        fitted = network()
        # Without checks: they select weights by the validation pixels.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hyperfuse.training.self_supervised.fit._CHECK_BATCHES", 0)
            fit_to_pair(fitted, [one], PairFitOptions(3, patch=8, batch=2), silent)
        weights.append(torch.cat([parameter.flatten() for parameter in fitted.parameters()]))
    assert torch.equal(*weights)


def test_progress_rises_and_reports_the_loss():
    reported = []
    fit_to_pair(
        network(),
        [explained_task(uestc(4))[0]],
        PairFitOptions(25, patch=8, batch=1),
        lambda fraction, message="": reported.append((fraction, message)),
    )
    fractions = [fraction for fraction, _ in reported]
    assert fractions == sorted(fractions)
    assert all("loss" in message for _, message in reported)


def interrupted_after(monkeypatch, steps):
    """Make the fit see Ctrl-C after some steps."""
    original, taken = PairPatches.draw, []

    def draw(self, generator, *, validation=False):
        if not validation:
            taken.append(1)
            if len(taken) > steps:
                raise KeyboardInterrupt
        return original(self, generator, validation=validation)

    monkeypatch.setattr(PairPatches, "draw", draw)


def test_ctrl_c_ends_with_the_best_so_far_only_if_asked(monkeypatch):
    task, _ = explained_task(uestc(4))
    interrupted_after(monkeypatch, 40)
    fitted = network()
    fit = fit_to_pair(fitted, [task], PairFitOptions(60, learning_rate=1e-2, patch=8, batch=4, keep_best=True), silent)
    assert (fit.steps, fit.end) == (40, "interrupted")
    assert fit.validation_losses[1] < fit.validation_losses[0]
    assert not fitted.training
    interrupted_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        fit_to_pair(network(), [task], PairFitOptions(60, patch=8, batch=4), silent)


def test_a_fit_that_learns_nothing_that_holds_ends_early():
    task, _ = explained_task(uestc(4))
    noise = torch.randn(task.error.shape, generator=torch.Generator().manual_seed(9))
    hopeless = HeldOutTask(task.pairs, noise, task.basis, task.band_scale, task.validation, task.sensor)
    fit = fit_to_pair(network(), [hopeless], PairFitOptions(200, learning_rate=1e-2, patch=8, batch=2), silent)
    assert fit.end in ("nothing learnt", "steps")
    if fit.end == "nothing learnt":
        assert fit.steps < 120
        assert fit.validation_losses[1] >= fit.validation_losses[0]
