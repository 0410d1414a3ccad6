"""One model for a scene: stored and restored nothing changes, and windows are fused like the whole."""

import math
import time

import numpy as np
import pytest
import torch

from hyperfuse.methods import get_method
from hyperfuse.methods.contract.method import WHOLE, PairTensors, covered_fraction
from hyperfuse.methods.feinfn import correction
from hyperfuse.methods.local_linear.predictors import pooled
from hyperfuse.scenes.tiling.plan import TilePlan
from hyperfuse.sensor.presets import create_sensor

METHODS = (("local-regression", {}), ("feinfn", {"effort": "fast"}))
RATIO = 4


def scene(bands, side=96, noise=0.002, modulation=0.3):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:side, :side] / 9.0
    abundances = np.stack([1 + np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-2, 2, (5, 3))]) + 0.1
    abundances[1] *= 1 + 2 * (rng.random((side, side)) > 0.9)
    abundances /= abundances.sum(0)
    spectra = np.cumsum(rng.normal(size=(bands, 5)), axis=0) / 20 + rng.uniform(0.3, 0.5, 5)
    truth = torch.from_numpy(np.einsum("bk,krc->brc", spectra, abundances).astype(np.float32))
    sensor = create_sensor(f"mtf:{modulation}" if modulation != 0.3 else "mtf", RATIO)
    groups = np.array_split(np.arange(bands), 4)
    msi = torch.stack([truth[group].mean(0) for group in groups])
    hsi = sensor.degrade(truth, (side // RATIO, side // RATIO))
    generator = torch.Generator().manual_seed(0)
    hsi, msi = (image + noise * torch.randn(image.shape, generator=generator) for image in (hsi, msi))
    return hsi, msi, sensor, truth


def psnr(image, truth):
    return -10 * math.log10(float((image - truth).square().double().mean()))


@pytest.mark.parametrize("bands", [12, 40])
@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_a_restored_model_gives_the_same_image_of_its_sample(name, settings, bands):
    hsi, msi, sensor, truth = scene(bands)
    method = get_method(name)
    options = method.configure(**settings)
    pair = PairTensors(hsi, msi, sensor)
    alone = method.fuse(pair, options).image
    shared = method.restore(method.fit([pair], options).state()).apply(pair).image
    assert psnr(alone, truth) > 30
    assert torch.equal(alone, shared)
    # The model is used: that of another scene makes a difference.
    other = method.restore(method.fit([PairTensors(hsi.flip(1), msi, sensor)], options).state())
    assert float((alone - other.apply(pair).image).abs().max()) > 2e-3


def tile(image, window):
    rows, cols = slice(window.row, window.row + window.rows), slice(window.col, window.col + window.cols)
    return image[:, rows, cols].contiguous()


def extent(window, msi):
    rows, cols = (2 / (size - 1) for size in msi.shape[1:])
    return (
        rows * window.row - 1,
        rows * (window.row + window.rows - 1) - 1,
        cols * window.col - 1,
        cols * (window.col + window.cols - 1) - 1,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_tiles_lose_less_than_a_tenth_of_a_decibel(name, settings):
    hsi, msi, sensor, truth = scene(40, side=192)
    method = get_method(name)
    options = method.configure(**settings)
    whole = method(hsi, msi, sensor, options)
    plan = TilePlan.of(tuple(hsi.shape[1:]), tuple(msi.shape[1:]), sensor, 64, 8)
    tiles = [
        (one, PairTensors(tile(hsi, one.lr), tile(msi, one.hr), one.sensor(sensor), extent(one.hr, msi)))
        for one in plan.tiles()
    ]
    model = method.fit([sample for _, sample in tiles[::3]], options)
    joined = torch.zeros_like(truth)
    for one, sample in tiles:
        y, x = (slice(core.core[0], core.core[1]) for core in (one.y, one.x))
        inside = (slice(None), slice(y.start - one.hr.row, y.stop - one.hr.row),
                  slice(x.start - one.hr.col, x.stop - one.hr.col))  # fmt: skip
        joined[:, y, x] = model.apply(sample).image[inside]
    assert psnr(joined, truth) > psnr(whole, truth) - 0.1


def test_pixels_are_pooled():
    hsi, *_ = scene(12)
    assert pooled([hsi, hsi[:, :3]]).shape == (12, 1, 24 * 24 + 3 * 24)


def test_a_budget_holds_for_fitting_and_for_applying_to_the_whole_scene(monkeypatch):
    """Samples that cover a sixteenth of a scene: applying to it must be reserved before the network is fitted."""
    hsi, msi, sensor, _ = scene(12, side=64)
    method = get_method("feinfn")
    sample = PairTensors(hsi, msi, sensor, (-1.0, -0.5, -1.0, -0.5))
    limits = []

    def fit(images, encoding, start, options, limit, progress):
        limits.append(limit)
        return correction.CorrectionFit(None, [], correction._NO_TIME)

    monkeypatch.setattr("hyperfuse.methods.feinfn.method.fit_correction", fit)
    begin = time.monotonic()
    method.fit([sample._replace(extent=WHOLE)], method.configure(budget_seconds=600))
    method.fit([sample, sample._replace(extent=(0.5, 1.0, 0.5, 1.0))], method.configure(budget_seconds=600))
    taken = time.monotonic() - begin
    whole, parts = limits
    assert whole.passes == 1
    assert parts.passes == pytest.approx(16)
    assert begin < parts.deadline < whole.deadline < begin + 600 + taken


def test_the_fraction_of_a_scene_that_samples_cover():
    sample = PairTensors(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), create_sensor("mtf", 1))
    assert covered_fraction([sample]) == 1.0
    quarters = [sample._replace(extent=(-1.0, 0.0, first, first + 0.5)) for first in (-1.0, 0.25)]
    assert covered_fraction(quarters) == pytest.approx(0.25)
    row = sample._replace(extent=(-1.0, -1.0, -1.0, 0.0))  # a scene of one row
    assert covered_fraction([row]) == pytest.approx(0.5)
    assert covered_fraction([sample, sample]) == 1.0
