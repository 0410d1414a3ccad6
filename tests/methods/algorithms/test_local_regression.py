"""Local regression against a literal version in numpy, and the laws that hold for it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method
from hyperfuse.methods.algorithms.local_regression import LocalRegressionSettings
from hyperfuse.methods.local_linear import models as local_models
from hyperfuse.sensor.presets import mtf, uestc
from hyperfuse.statistics.noise import estimate_noise

METHOD = get_method("local-regression")
PLAIN = {"consistency": False}
GRID = [(window, ridge) for window in local_models.WINDOWS for ridge in local_models.RIDGES]


def pair(sensor, bands=4, msi_bands=2, fine=(20, 24), seed=0, varied=0.5):
    """A scene whose bands follow the MSI by weights that drift over the image."""
    rng = np.random.default_rng(seed)
    msi = gaussian_filter(rng.normal(size=(msi_bands, *fine)), (0, 1, 1))
    msi = msi / msi.std((1, 2), keepdims=True)
    drift = gaussian_filter(rng.normal(size=(bands, msi_bands, *fine)), (0, 0, 8, 8))
    weights = rng.normal(size=(bands, msi_bands, 1, 1)) + varied * drift / drift.std()
    truth = torch.from_numpy(2 + 0.1 * (weights * msi).sum(1))
    return truth, sensor.degrade(truth), torch.from_numpy(2 + 0.1 * msi)


def run(hsi, msi, sensor, **values):
    return METHOD(hsi, msi, sensor, METHOD.configure(**values))


def solve(x, y, weights, slopes, ridge):
    """Slopes and offset of one weighted ridge regression towards ``slopes``: (k + 1, bands)."""
    weights = weights / weights.sum()
    centre_x, centre_y = weights @ x, weights @ y
    a, b = x - centre_x, y - centre_y
    normal = a.T @ (weights[:, None] * a) + ridge * np.eye(x.shape[1])
    local = np.linalg.solve(normal, a.T @ (weights[:, None] * b) + ridge * slopes)
    return np.vstack([centre_y - centre_x @ local, local])


def literal(hsi, msi, sensor, grid):
    """The method pixel by pixel: (bands, H, W)."""
    bands, rows, cols = hsi.shape
    msi = msi.numpy()
    flat = msi.reshape(len(msi), -1)
    values, vectors = np.linalg.eigh(np.cov(flat, bias=True).reshape(len(msi), len(msi)))
    white = ((vectors / np.sqrt(values)).T @ (flat - flat.mean(1, keepdims=True))).reshape(-1, *msi.shape[1:])
    x = sensor.degrade(torch.from_numpy(white)).numpy().reshape(len(white), -1).T
    y = hsi.numpy().reshape(bands, -1).T
    design = np.column_stack([np.ones(len(x)), x])
    slopes = np.linalg.lstsq(design, y, rcond=None)[0][1:]
    i, j = np.divmod(np.arange(rows * cols), cols)
    distance = np.stack([i[:, None] - i, j[:, None] - j])
    models, measured = [], []
    for window, ridge in grid:
        weights = np.exp(-0.5 * (distance**2).sum(0) / window**2) * (np.abs(distance).max(0) <= int(4 * window))
        models.append(np.stack([solve(x, y, row, slopes, ridge) for row in weights]))
        errors = []
        for p in range(rows * cols):
            others = np.arange(rows * cols) != p
            model = solve(x[others], y[others], weights[p][others], slopes, ridge)
            errors.append((design[p] @ model - y[p]) ** 2)
        measured.append(np.mean(errors, axis=0))
    smallest = (1 - local_models._MIN_MODEL_FRACTION) * np.min(measured, axis=0)
    beyond_noise = np.array(measured) - np.minimum(estimate_noise(hsi).numpy() ** 2, smallest)
    scores = np.log(beyond_noise + 1e-12 * y.var(axis=0)).mean(axis=1)
    factors = np.exp(-local_models._SHARPNESS * (scores - scores.min()))
    factors[factors < local_models._MIN_WEIGHT] = 0
    mean = np.tensordot(factors / factors.sum(), np.stack(models), 1)  # (pixels, k + 1, bands)
    coefficients = mean.transpose(2, 1, 0).reshape(bands, -1, rows, cols)
    for axis in (0, 1):
        at = (np.arange(msi.shape[axis + 1]) - sensor.offset[axis]) / sensor.ratio[axis]
        coarse = np.arange(coefficients.shape[axis + 2])
        coefficients = np.apply_along_axis(
            lambda line, at=at, coarse=coarse: np.interp(at, coarse, line), axis + 2, coefficients
        )
    return coefficients[:, 0] + (coefficients[:, 1:] * white).sum(1), factors


@pytest.mark.parametrize(
    "sensor", [mtf(4), uestc(4), mtf((4, 3)).replace(phase=(0.0, 2.0))], ids=["mtf", "uestc", "axes"]
)
@pytest.mark.parametrize(("window", "ridge"), [(0.7, 1e-3), (2.0, 0.1)])
def test_one_window_and_ridge_is_the_literal_guided_filter(sensor, window, ridge):
    _, hsi, msi = pair(sensor)
    expected, _ = literal(hsi, msi, sensor, [(window, ridge)])
    np.testing.assert_allclose(run(hsi, msi, sensor, window=window, ridge=ridge, **PLAIN), expected, atol=1e-6)


@pytest.mark.parametrize(("varied", "msi_bands"), [(0.1, 1), (1.0, 2)])
def test_the_models_are_averaged_by_their_held_out_errors(varied, msi_bands):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor, msi_bands=msi_bands, varied=varied)
    expected, factors = literal(hsi, msi, sensor, GRID)
    assert 1 < np.count_nonzero(factors) < len(GRID)
    np.testing.assert_allclose(run(hsi, msi, sensor, **PLAIN), expected, atol=1e-6)


def test_many_bands_of_few_materials_are_fitted_like_few_bands():
    """They are fitted in their principal components, which for bands that depend on each other is the same."""
    sensor = mtf(4)
    truth, hsi, msi = pair(sensor, bands=4)
    mixing = torch.from_numpy(np.random.default_rng(1).random((50, 4)))
    spectra, expected = (torch.einsum("ab,brc->arc", mixing, image) for image in (hsi, truth))
    fused = run(spectra, msi, sensor, window=1.0, ridge=1e-2, **PLAIN)
    few = run(hsi, msi, sensor, window=1.0, ridge=1e-2, **PLAIN)
    torch.testing.assert_close(fused, torch.einsum("ab,brc->arc", mixing, few), atol=1e-6, rtol=0)
    chosen = run(spectra, msi, sensor)
    assert (chosen - expected).square().mean() < (fused - expected).square().mean()


def test_what_the_components_miss_comes_back_with_the_residual():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor, bands=40, fine=(48, 48))  # 40 bands that drift each on their own
    fused = run(hsi, msi, sensor)
    assert (hsi - sensor.degrade(fused)).square().mean() < 0.1 * hsi.var((1, 2)).mean()


def test_only_settings_that_are_not_given_are_chosen():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    for fixed in ({"window": 1.4}, {"ridge": 1e-2}):
        grid = [(w, r) for w, r in GRID if fixed.get("window", w) == w and fixed.get("ridge", r) == r]
        np.testing.assert_allclose(
            run(hsi, msi, sensor, **fixed, **PLAIN), literal(hsi, msi, sensor, grid)[0], atol=1e-6
        )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_any_mixture_of_the_msi_bands_serves_as_well(seed, entries):
    """Calibration, gains, offsets and band ratios of the MSI do not matter, only what its bands span."""
    sensor = mtf(4)
    _, hsi, msi = pair(sensor, seed=seed)
    mixing = 3 * torch.eye(2, dtype=torch.float64) + torch.tensor(entries, dtype=torch.float64).reshape(2, 2)
    if abs(torch.linalg.det(mixing)) < 0.5:
        mixing = 3 * torch.eye(2, dtype=torch.float64)
    mixed = torch.einsum("ab,brc->arc", mixing, msi) + 7
    torch.testing.assert_close(run(hsi, mixed, sensor), run(hsi, msi, sensor), atol=1e-5, rtol=0)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([1e-6, 1e-2, 1e4, -3.0]), st.floats(-10, 10))
def test_gain_and_offset_of_the_hsi_come_through(gain, offset):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    changed = run(gain * hsi + offset * gain, msi, sensor)
    torch.testing.assert_close(changed / gain - offset, run(hsi, msi, sensor), atol=1e-6, rtol=0)


def test_a_scene_that_follows_the_msi_in_the_same_way_everywhere_is_recovered():
    sensor = mtf(4)
    truth, hsi, msi = pair(sensor, varied=0.0)
    assert (run(hsi, msi, sensor, **PLAIN) - truth).abs().max() < 1e-6


def test_where_the_relation_drifts_it_beats_the_global_fit():
    sensor = mtf(4)
    truth, hsi, msi = pair(sensor, fine=(64, 64), varied=1.0)
    errors = [
        (get_method(name)(hsi, msi, sensor) - truth).square().mean() for name in ("bicubic", "regression", METHOD.name)
    ]
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


def test_consistency_is_enforced_by_default():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor, bands=1, varied=1.0)  # the noise of one band cannot be estimated
    residual = [(hsi - sensor.degrade(run(hsi, msi, sensor, consistency=flag))).abs().max() for flag in (True, False)]
    assert residual[0] < 1e-2 * residual[1]


def test_in_parts_it_is_the_same_as_at_once(monkeypatch):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor, bands=9)
    at_once = run(hsi, msi, sensor)
    monkeypatch.setattr("hyperfuse.methods.local_linear.windowed_ridge._SUM_BYTES", 4000)
    monkeypatch.setattr("hyperfuse.methods.local_linear.windowed_ridge._BLOCK_VALUES", 50)
    monkeypatch.setattr("hyperfuse.statistics.linear._SMALL_VALUES", 50)
    monkeypatch.setattr("hyperfuse.methods.local_linear.models._HR_BYTES", 9000)
    torch.testing.assert_close(run(hsi, msi, sensor), at_once, atol=1e-12, rtol=0)


def test_held_out_pixels_are_enough_where_there_are_many(monkeypatch):
    sensor = mtf(2)
    truth, hsi, msi = pair(sensor, fine=(64, 60), varied=1.0)
    monkeypatch.setattr("hyperfuse.methods.local_linear.models._HELD_OUT_PIXELS", 97)
    few = (run(hsi, msi, sensor) - truth).square().mean()
    monkeypatch.undo()
    assert few < 1.2 * (run(hsi, msi, sensor) - truth).square().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("msi_bands", "fine"), [(1, (4, 4)), (2, (4, 24)), (2, (24, 4)), (12, (12, 12)), (3, (8, 12))])
def test_tiny_images_and_more_msi_bands_than_lr_pixels_stay_in_range(dtype, msi_bands, fine):
    sensor = mtf(4)
    truth, hsi, msi = (image.to(dtype) for image in pair(sensor, msi_bands=msi_bands, fine=fine, varied=0.1))
    fused = run(hsi, msi, sensor)
    assert fused.dtype == dtype
    assert (fused - truth).abs().max() < 3 * (truth - truth.mean()).abs().max()


@pytest.mark.parametrize("level", [0.0, 0.1, 1e4])
def test_an_msi_without_contrast_adds_nothing(level):
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    hsi, flat = hsi.float(), torch.full_like(msi, level).float()
    fused = run(hsi, flat, sensor)
    assert fused.min() > hsi.min() - 0.5 * (hsi.max() - hsi.min())
    assert fused.max() < hsi.max() + 0.5 * (hsi.max() - hsi.min())


def test_dependent_msi_bands_change_nothing():
    sensor = mtf(4)
    _, hsi, msi = (image.float() for image in pair(sensor))
    doubled = torch.cat([msi, msi[:1], msi.sum(0, keepdim=True)])
    torch.testing.assert_close(run(hsi, doubled, sensor), run(hsi, msi, sensor), atol=2e-3, rtol=0)


@pytest.mark.parametrize("values", [{"window": 0.1}, {"window": 1000}, {"ridge": 0}, {"ridge": float("nan")}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(InputError, match=f"method 'local-regression': {next(iter(values))}: "):
        METHOD.configure(**values)
    assert METHOD.configure() == LocalRegressionSettings(window=None, ridge=None, consistency=True)


def test_progress_grows_to_one():
    sensor = mtf(4)
    _, hsi, msi = pair(sensor)
    seen = []
    METHOD(hsi, msi, sensor, progress=lambda fraction, message="": seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
