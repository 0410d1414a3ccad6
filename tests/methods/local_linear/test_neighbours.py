"""Models over similar pixels: against a literal loop, blind to held-out pixels, better than a window that mixes."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.contract.method import WHOLE, PairTensors
from hyperfuse.methods.local_linear.models import LocalModels
from hyperfuse.methods.local_linear.neighbours import _COUNT, _RIDGE, PixelBank, SimilarPixels, _predict
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening
from hyperfuse.sensor.presets import uestc
from hyperfuse.statistics.folds import held_out_patterns


def materials(size=64, seed=0):
    """Two materials of unlike spectra, patches of one within the other, and an MSI that distinguishes them."""
    rng = np.random.default_rng(seed)
    which = rng.random((size // 4, size // 4)).repeat(4, 0).repeat(4, 1) > 0.5
    shade = 0.5 + 0.5 * rng.random((size, size))
    spectra = np.array([[0.9, 0.2, 0.7, 0.1, 0.5], [0.1, 0.8, 0.3, 0.9, 0.4]])
    slopes = np.array([[0.5, -0.3, 0.2, 0.4, -0.1], [-0.4, 0.5, 0.3, -0.2, 0.6]])
    image = np.moveaxis(spectra[which.astype(int)] + shade[..., None] * slopes[which.astype(int)], -1, 0)
    msi = np.stack([which + 0.1 * shade, shade])
    return torch.from_numpy(image), torch.from_numpy(msi)


def case():
    sensor = uestc(4)
    image, msi = materials()
    hsi = sensor.degrade(image)
    return image, hsi, Predictors.of(PairTensors(hsi, msi, sensor), Whitening.fit([msi]))


def literal(values, position, weight, predictors, targets, slopes, skip=None):
    """One pixel's prediction, written out."""
    x = predictors.coarse.flatten(1).T.numpy()
    y = targets.flatten(1).T.numpy()
    rows, columns = targets.shape[-2:]
    grid = np.array([(r, c) for r in range(rows) for c in range(columns)], float)
    distance = np.sqrt(((x - values) ** 2).sum(1) + weight**2 * ((grid - position) ** 2).sum(1))
    if skip is not None:
        distance[skip] = np.inf
    near = np.argsort(distance, kind="stable")[:_COUNT]
    weights = np.exp(-2 * (distance[near] / (distance[near].max() + 1e-9)) ** 2)
    weights /= weights.sum()
    mean_x, mean_y = weights @ x[near], weights @ y[near]
    centred = x[near] - mean_x
    normal = (weights[:, None] * centred).T @ centred + _RIDGE * np.eye(x.shape[1])
    local = np.linalg.solve(normal, (weights[:, None] * centred).T @ (y[near] - mean_y) + _RIDGE * slopes)
    return mean_y + (values - mean_x) @ local


def global_slopes(predictors, targets):
    x = predictors.coarse.flatten(1).T.numpy()
    design = np.hstack([np.ones((len(x), 1)), x])
    return np.linalg.lstsq(design, targets.flatten(1).T.numpy(), rcond=None)[0][1:]


def similar_pixels(weight, hsi, predictors):
    return SimilarPixels(weight, torch.ones(len(hsi), dtype=hsi.dtype), PixelBank.of([hsi], [predictors]))


def local_models(hsi, predictors):
    return LocalModels.fit([hsi], [predictors], torch.zeros(len(hsi), dtype=hsi.dtype))


@pytest.mark.parametrize("weight", [0.03, 0.3])
def test_predictions_are_those_of_a_literal_loop(weight):
    _, hsi, predictors = case()
    slopes = global_slopes(predictors, hsi)
    neighbours = similar_pixels(weight, hsi, predictors).search_hr(hsi, predictors)
    found = _predict(neighbours, torch.from_numpy(slopes.T), None)
    values, positions = predictors.fine.flatten(1).T.numpy(), predictors.positions(fine=True).numpy()
    start = predictors.positions(fine=False)[0].numpy()  # the literal loop counts from the first LR pixel
    for pixel in (0, 77, 1500, 4095):
        expected = literal(values[pixel], positions[pixel] - start, weight, predictors, hsi, slopes)
        np.testing.assert_allclose(found[pixel], expected, atol=1e-5)


def test_a_pixel_never_predicts_itself():
    _, hsi, predictors = case()
    neighbours = similar_pixels(0.1, hsi, predictors).search_lr(hsi, predictors)[1]
    assert not (neighbours.index == torch.arange(len(neighbours.index))[:, None]).any()
    slopes = global_slopes(predictors, hsi)
    found = _predict(neighbours, torch.from_numpy(slopes.T), None)
    values, positions = predictors.coarse.flatten(1).T.numpy(), predictors.positions(fine=False).numpy()
    for pixel in (0, 100, 255):
        expected = literal(values[pixel], positions[pixel] - positions[0], 0.1, predictors, hsi, slopes, skip=pixel)
        np.testing.assert_allclose(found[pixel], expected, atol=1e-5)


def test_held_out_pixels_have_no_influence():
    _, hsi, predictors = case()
    local = local_models(hsi, predictors)
    models = local.with_similar_pixels([local.on(hsi, predictors)])
    known = torch.ones(hsi.shape[-2:], dtype=torch.bool)
    known[::2, ::2] = False
    spoilt = torch.where(known, hsi, 100.0)
    torch.testing.assert_close(models.on(spoilt, predictors).apply(known), models.on(hsi, predictors).apply(known))


def test_materials_that_a_window_mixes_remain_separate():
    image, hsi, predictors = case()
    local = local_models(hsi, predictors)
    plain = local.on(hsi, predictors)
    models = local.with_similar_pixels([local.on(hsi, predictors)])
    assert models.similar.factor.mean() > 0.5
    better = models.on(hsi, predictors)
    assert (better.apply() - image).square().mean() < 0.3 * (plain.apply() - image).square().mean()
    assert (better.held_out() - hsi).square().mean() < 0.3 * (plain.held_out() - hsi).square().mean()


def test_where_they_do_not_help_there_are_none():
    _, hsi, predictors = case()
    slopes = torch.from_numpy(global_slopes(predictors, hsi).T)
    assert SimilarPixels.fit([hsi], [predictors], [hsi], slopes) is None
    tiny = Predictors(predictors.fine[:, :24, :24], predictors.coarse[:, :6, :6], predictors.sensor)
    assert SimilarPixels.fit([hsi[:, :6, :6]], [tiny], [hsi[:, :6, :6]], slopes) is None


def halves(hsi, predictors):
    """Cut a scene into its left and right half, which overlap by two LR columns."""
    result, last = [], predictors.fine.shape[-1] - 1
    for columns in (slice(0, 9), slice(7, 16)):
        fine = slice(4 * columns.start, 4 * columns.stop)
        extent = (-1.0, 1.0, 2 * fine.start / last - 1, 2 * (fine.stop - 1) / last - 1)
        window = Predictors(predictors.fine[..., fine], predictors.coarse[..., columns], predictors.sensor, extent)
        result.append((hsi[..., columns], window))
    return zip(*result, strict=True)


def test_a_bank_holds_every_pixel_of_overlapping_samples_once_at_its_position_in_the_scene():
    _, hsi, predictors = case()
    bank = PixelBank.of(*halves(hsi, predictors))
    assert predictors.extent == WHOLE
    found = {tuple(position.tolist()): values for position, values in zip(bank.positions, bank.targets, strict=True)}
    assert len(found) == len(bank.positions) == 16 * 16
    for position, values in zip(predictors.positions(fine=False), hsi.flatten(1).T, strict=True):
        assert torch.equal(found[tuple(position.tolist())], values)


def test_a_window_uses_the_similar_pixels_of_the_whole_scene():
    """Both halves fused with the bank are like the whole: neighbours are the same, wherever they lie."""
    _, hsi, predictors = case()
    whole = similar_pixels(0.03, hsi, predictors)
    slopes = torch.from_numpy(global_slopes(predictors, hsi).T)
    expected = _predict(whole.search_hr(hsi, predictors), slopes, None).T.reshape(5, 64, 64)
    known = ~held_out_patterns((16, 16))[1]
    without = _predict(whole.search_hr(hsi, predictors), slopes, known).T.reshape(5, 64, 64)
    held_out = _predict(whole.search_lr(hsi, predictors)[1], slopes, None).T.reshape(5, 16, 16)
    images, windows = halves(hsi, predictors)
    model = SimilarPixels(0.03, torch.ones(5, dtype=hsi.dtype), PixelBank.of(images, windows))
    for image, window, columns in zip(images, windows, (slice(0, 9), slice(7, 16)), strict=True):
        inside, neighbours = slice(4 * columns.start, 4 * columns.stop), model.search_hr(image, window)
        torch.testing.assert_close(_predict(neighbours, slopes, None).T.reshape(5, 64, 36), expected[..., inside])
        fine = _predict(neighbours, slopes, known[:, columns]).T.reshape(5, 64, 36)
        torch.testing.assert_close(fine, without[..., inside])
        coarse = _predict(model.search_lr(image, window)[1], slopes, None).T.reshape(5, 16, 9)
        torch.testing.assert_close(coarse, held_out[..., columns])
