"""Weights of pixels next to clouds, and gains that vary slowly."""

import numpy as np
import pytest

from hyperfuse.sensor.registration.images import PairImages
from hyperfuse.sensor.registration.robust import PixelWeights, local_gain

SHAPE = (40, 44)


def images(blur=0.0):
    hsi, msi = np.zeros((1, *SHAPE), np.float32), np.zeros((1, *SHAPE), np.float32)
    made = PairImages.of(hsi, np.ones(SHAPE, np.float32), msi, np.ones(SHAPE, np.float32), (0.0, 0.0), (1.0, 1.0))
    return made if blur == 0 else made.blurred(blur)


def test_a_cloud_has_no_weight_and_its_surroundings_keep_theirs():
    energy = np.random.default_rng(0).chisquare(3, SHAPE) / 3
    cloud = np.zeros(SHAPE, np.bool_)
    cloud[14:24, 10:22] = True
    energy[cloud] = 400.0
    weights, slope = PixelWeights(images(), np.ones(energy.size)), np.full(energy.size, 100.0)
    for _ in range(5):
        weight = weights.update(energy.ravel(), slope, 0.0).reshape(SHAPE)
    next_to_it = np.zeros(SHAPE, np.bool_)
    next_to_it[11:27, 7:25] = True
    next_to_it[12:26, 8:24] = False
    far = np.zeros(SHAPE, np.bool_)
    far[:, 32:] = True
    assert weight[cloud].max() < 0.01 * weight[far].mean()
    assert weight[next_to_it].mean() > 0.4 * weight[far].mean()


def test_noisier_ground_has_less_weight():
    energy = np.random.default_rng(0).chisquare(3, SHAPE) / 3
    energy[:, 22:] *= 4
    weights = PixelWeights(images(), np.ones(energy.size))
    for _ in range(5):
        weight = weights.update(energy.ravel(), np.full(energy.size, 1e4), 0.0).reshape(SHAPE)
    assert weight[:, 26:].mean() == pytest.approx(weight[:, :18].mean() / 4, rel=0.3)


def test_a_slow_gain_is_found_and_none_in_blurred_images():
    prediction = np.random.default_rng(0).normal(size=(2, *SHAPE))
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]] / 40
    gain, offset = 0.1 * row - 0.2 * col, 0.3 * col
    values = (prediction * (1 + gain) + offset).reshape(2, -1)
    flat, weight = prediction.reshape(2, -1), np.ones(gain.size)
    residual = values - flat
    added = local_gain(flat, values, weight, images())
    assert np.square(residual - added).mean() < 0.1 * np.square(residual).mean()
    blurred = images(2.0)
    size = blurred.hsi_weight.size
    assert not local_gain(np.ones((1, size)), np.zeros((1, size)), np.ones(size), blurred).any()
