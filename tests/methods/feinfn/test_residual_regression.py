"""Residuals regressed on patches: found where the MSI holds them, left alone where it does not."""

import pytest
import torch

from hyperfuse.methods.contract.state import from_state, to_state
from hyperfuse.methods.feinfn import residual_regression
from hyperfuse.methods.feinfn.patch_features import Description, GuidedImage, PatchEncoding, leading_components
from hyperfuse.methods.feinfn.residual_regression import ResidualRegression, _at_lr
from hyperfuse.methods.feinfn.trained_features import IMAGE_RUNS, band_runs
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.statistics import shrinkage

RATIO, SHAPE = 4, (24, 28)


@pytest.fixture
def window():
    """A textured MSI of two bands, and an image of three bands."""
    generator = torch.Generator().manual_seed(0)
    rows, cols = SHAPE[0] * RATIO, SHAPE[1] * RATIO
    coarse = torch.rand(1, 2, rows // 8, cols // 8, generator=generator)
    msi = torch.nn.functional.interpolate(coarse, size=(rows, cols), mode="bicubic", align_corners=False)[0]
    contrast = torch.rand(1, 1, rows // 12, cols // 12, generator=generator)
    contrast = torch.nn.functional.interpolate(contrast, size=(rows, cols), mode="bilinear")[0]
    msi = (msi + 0.4 * contrast * torch.rand(2, rows, cols, generator=generator)).clamp_min(0.01)
    sensor = create_sensor("uestc", RATIO)
    fine = Whitening.fit([msi])(msi)
    predictors = Predictors(fine, sensor.degrade(fine, SHAPE).double(), sensor)
    return GuidedImage(torch.stack([msi[0], msi[1], msi.mean(0)]), msi, predictors)


def fit(window, residual, network=None):
    lr = window.predictors.degrade(residual)
    hsis = [window.predictors.degrade(window.image) + lr]
    return ResidualRegression.fit([(window, lr)], hsis, torch.zeros(3), trained=network)


def test_trained_features_are_regressed_on_with_the_others(window, feature_network):
    components = leading_components([window.predictors.degrade(window.image)])
    encoding = PatchEncoding.fit(components, [Description.of(window, components, runs=True)], feature_network)
    runs = band_runs(window.image, IMAGE_RUNS)
    features = torch.cat([maps for _, maps in encoding.trained.maps(runs, window.msi, 1, slice(None))])
    residual = 0.1 * (features[12:15] - features[12:15].mean((1, 2), keepdim=True))
    before, after = (
        float((fit(window, residual, some).predict(window) - residual).square().mean())
        for some in (None, feature_network)
    )
    assert after < 0.5 * before


def test_a_regression_on_trained_features_is_stored(window, feature_network):
    found = fit(window, 0.1 * window.msi[:1].roll(1, 0).expand(3, -1, -1), feature_network)
    stored = from_state(ResidualRegression, to_state(found))
    assert torch.equal(stored.predict(window), found.predict(window))


def test_an_error_that_depends_on_the_patch_is_predicted(window):
    msi = window.msi[0]
    edge = 0.1 * (msi.roll(1, 0) + msi.roll(-1, 0) - 2 * msi).abs()
    residual = torch.stack([edge, -edge, 0.05 * (window.msi[1] - 0.5).square()])
    residual = residual - residual.mean((1, 2), keepdim=True)
    found = fit(window, residual)
    predicted = found.predict(window)
    for truth, band, fraction in zip(residual, predicted, (0.6, 0.6, 0.2), strict=True):
        assert float((band - truth).var()) < fraction * float(truth.var())
    assert found.gain_db > 4


def test_a_border_that_shows_what_lies_beyond_the_image_does_not_decide_the_rest(window):
    residual = 0.1 * (window.msi[:1].roll(1, 1) - window.msi[:1]).expand(3, -1, -1)
    lr = window.predictors.degrade(residual)
    beyond = lr.clone()
    beyond[:, [0, -1]] += 0.1 * torch.randn(3, 2, SHAPE[1], generator=torch.Generator().manual_seed(5))
    inner = (slice(None), slice(2 * RATIO, -2 * RATIO), slice(None))
    errors = []
    for seen in (lr, beyond):
        hsi = window.predictors.degrade(window.image) + seen
        found = ResidualRegression.fit([(window, seen)], [hsi], torch.zeros(3))
        assert found is not None
        errors.append(float((found.predict(window) - residual)[inner].square().mean()))
    assert errors[1] < 0.11 * float(residual[inner].square().mean())


@pytest.mark.parametrize("trained", [False, True])
def test_noise_is_not_predicted(window, trained, feature_network):
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    hsi = window.predictors.degrade(window.image)
    samples, deviation = [(window, 0.01 * noise)], torch.full((3,), 0.01)
    found = ResidualRegression.fit(samples, [hsi + 0.01 * noise], deviation, None, feature_network if trained else None)
    if found is not None:
        change = window.predictors.degrade(found.predict(window))
        assert float(change.square().mean()) < 0.02 * 0.01**2


def test_few_pixels_are_not_regressed_on(window):
    assert fit(window, window.image) is not None
    rows = slice(0, 8 * RATIO)
    part = window.predictors
    small = Predictors(part.fine[:, rows, :32], part.coarse[:, :8, :8], part.sensor, part.extent)
    few = GuidedImage(window.image[:, rows, :32], window.msi[:, rows, :32], small)
    assert fit(few, few.image) is None


def test_a_window_has_the_residual_of_the_scene(window):
    found = fit(window, 0.1 * window.msi[:1].roll(1, 0).expand(3, -1, -1))
    whole = found.predict(window)
    part = window.predictors
    rows, cols = slice(20, 60), slice(12, 80)
    inside = Predictors(part.fine[:, rows, cols], part.coarse[:, 5:15, 3:20], part.sensor, part.extent)
    alone = found.predict(GuidedImage(window.image[:, rows, cols], window.msi[:, rows, cols], inside))
    torch.testing.assert_close(alone[:, 2:-2, 2:-2], whole[:, rows, cols][:, 2:-2, 2:-2], atol=1e-5, rtol=1e-4)


def test_samples_of_a_scene_count_together(window, monkeypatch):
    monkeypatch.setattr(shrinkage, "_CLASSES", 1)  # of radiance: their number grows with that of pixels
    lr = window.predictors.degrade(0.1 * window.msi[:1].square().expand(3, -1, -1))
    hsi = window.predictors.degrade(window.image) + lr
    once, twice = (ResidualRegression.fit([(window, lr)] * n, [hsi] * n, torch.zeros(3)) for n in (1, 2))
    torch.testing.assert_close(once.weights, twice.weights, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(once.predict(window), twice.predict(window), atol=2e-4, rtol=1e-2)


def test_strips_give_what_the_whole_gives(window, monkeypatch):
    found = fit(window, 0.1 * window.msi[:1].roll(1, 0).expand(3, -1, -1))
    whole = found.predict(window)
    monkeypatch.setattr(residual_regression, "_STRIP_PIXELS", 11 * window.image.shape[2])
    torch.testing.assert_close(found.predict(window), whole, atol=1e-6, rtol=1e-4)


def test_of_a_noisy_hsi_the_image_itself_is_no_feature(window):
    lr = window.predictors.degrade(0.1 * window.msi[:1].roll(1, 0).expand(3, -1, -1))
    hsi = window.predictors.degrade(window.image) + lr
    clean, noisy = (ResidualRegression.fit([(window, lr)], [hsi], torch.full((3,), one)) for one in (0.0, 1.0))
    assert (clean.encoding.components.basis.shape[1], noisy.encoding.components.basis.shape[1]) == (3, 0)
    changed = window._replace(image=window.image.flip(1))
    assert torch.equal(noisy.encoding.describe(changed).components, noisy.encoding.describe(window).components)


@pytest.mark.parametrize("trained", [False, True])
def test_features_at_lr_are_those_of_the_whole_window_degraded(window, trained, feature_network):
    components = leading_components([window.predictors.degrade(window.image)])
    description = Description.of(window, components, runs=trained)
    encoding = PatchEncoding.fit(components, [description], feature_network if trained else None)
    assert (encoding.trained is not None) == trained
    expected = [window.predictors.degrade(maps).flatten(1) for _, maps in encoding.maps(description)]
    torch.testing.assert_close(_at_lr(encoding, description), torch.cat(expected), atol=2e-6, rtol=1e-5)


def test_threads_change_nothing_but_rounding(window):
    lr = window.predictors.degrade(0.1 * window.msi[:1].square().expand(3, -1, -1))
    hsi, found = window.predictors.degrade(window.image) + lr, []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(ResidualRegression.fit([(window, lr)], [hsi], torch.zeros(3)).predict(window))
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)
