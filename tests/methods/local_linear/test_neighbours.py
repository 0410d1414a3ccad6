"""Models over the nearest pixels: against a literal loop, blind to what is hidden, better than a window that mixes."""

import numpy as np
import pytest
import torch

from hyperfuse.methods.local_linear.models import LocalModels, Predictors
from hyperfuse.methods.local_linear.neighbours import _NEIGHBOURS, _RIDGE, NeighbourModels, _find, _positions, _predict
from hyperfuse.sensor.presets import uestc


def materials(size=64, seed=0):
    """Two materials of unlike spectra, spots of one within the other, and an MSI that tells them apart by colour."""
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
    return image, hsi, Predictors.whiten(msi, sensor, tuple(hsi.shape[-2:]))


def literal(colour, position, place, predictors, targets, slopes, skip=None):
    """One pixel's prediction, written out."""
    x = predictors.coarse.flatten(1).T.numpy()
    y = targets.flatten(1).T.numpy()
    rows, columns = targets.shape[-2:]
    grid = np.array([(r, c) for r in range(rows) for c in range(columns)], float)
    distance = np.sqrt(((x - colour) ** 2).sum(1) + place**2 * ((grid - position) ** 2).sum(1))
    if skip is not None:
        distance[skip] = np.inf
    near = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
    weight = np.exp(-2 * (distance[near] / (distance[near].max() + 1e-9)) ** 2)
    weight /= weight.sum()
    mean_x, mean_y = weight @ x[near], weight @ y[near]
    centred = x[near] - mean_x
    normal = (weight[:, None] * centred).T @ centred + _RIDGE * np.eye(x.shape[1])
    local = np.linalg.solve(normal, (weight[:, None] * centred).T @ (y[near] - mean_y) + _RIDGE * slopes)
    return mean_y + (colour - mean_x) @ local


def global_slopes(predictors, targets):
    x = predictors.coarse.flatten(1).T.numpy()
    design = np.hstack([np.ones((len(x), 1)), x])
    return np.linalg.lstsq(design, targets.flatten(1).T.numpy(), rcond=None)[0][1:]


@pytest.mark.parametrize("place", [0.03, 0.3])
def test_predictions_are_those_of_a_literal_loop(place):
    _, hsi, predictors = case()
    slopes = global_slopes(predictors, hsi)
    positions = _positions(predictors, hsi, fine=True)
    fine = _find(predictors, predictors.fine, positions, place, own=True)
    found = _predict(fine, hsi, predictors, None)
    colours = predictors.fine.flatten(1).T.numpy()
    for pixel in (0, 77, 1500, 4095):
        expected = literal(colours[pixel], positions[pixel], place, predictors, hsi, slopes)
        np.testing.assert_allclose(found[pixel], expected, atol=1e-5)


def test_held_out_predictions_have_not_seen_their_pixel():
    _, hsi, predictors = case()
    coarse = _find(predictors, predictors.coarse, _positions(predictors, hsi, fine=False), 0.1, own=False)
    assert not (coarse.index == torch.arange(len(coarse.index))[:, None]).any()
    slopes = global_slopes(predictors, hsi)
    positions = _positions(predictors, hsi, fine=False)
    found = _predict(coarse, hsi, predictors, None)
    for pixel in (0, 100, 255):
        colour = predictors.coarse.flatten(1).T.numpy()[pixel]
        expected = literal(colour, positions[pixel], 0.1, predictors, hsi, slopes, skip=pixel)
        np.testing.assert_allclose(found[pixel], expected, atol=1e-5)


def test_hidden_pixels_have_no_influence():
    _, hsi, predictors = case()
    local = LocalModels.choose(hsi, predictors)
    models = NeighbourModels.choose(hsi, predictors, local.held_out(hsi, predictors))
    known = torch.ones(hsi.shape[-2:], dtype=torch.bool)
    known[::2, ::2] = False
    spoilt = torch.where(known, hsi, 100.0)
    image = torch.zeros(5, 64, 64, dtype=hsi.dtype)
    torch.testing.assert_close(
        models.blend(image, spoilt, predictors, known), models.blend(image, hsi, predictors, known)
    )


def test_materials_that_a_window_mixes_stay_apart():
    image, hsi, predictors = case()
    local = LocalModels.choose(hsi, predictors)
    held_out, plain = local.held_out(hsi, predictors), local.apply(hsi, predictors)
    models = NeighbourModels.choose(hsi, predictors, held_out)
    assert models.share.mean() > 0.5
    better = models.blend(plain, hsi, predictors, None)
    assert (better - image).square().mean() < 0.3 * (plain - image).square().mean()
    unseen = models.blend_held_out(held_out, hsi, predictors)
    assert (unseen - hsi).square().mean() < 0.3 * (held_out - hsi).square().mean()


def test_where_they_do_not_help_there_are_none():
    _, hsi, predictors = case()
    assert NeighbourModels.choose(hsi, predictors, hsi) is None
    assert NeighbourModels.choose(hsi[:, :6, :6], predictors, hsi[:, :6, :6]) is None
