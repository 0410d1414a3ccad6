"""Outliers of an MSI are replaced; what the HSI shows as well is not, however small."""

import pytest
import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import MsiByHsi
from hyperfuse.methods.local_linear.msi_outliers import COMPONENTS, MsiOutliers
from hyperfuse.sensor.presets import create_sensor

RATIO, SIDE = 4, 24


def scene(seed=0):
    """An image of 12 bands mixed of four materials."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 4, SIDE, SIDE, generator=generator)
    fractions = torch.nn.functional.interpolate(coarse, scale_factor=RATIO, mode="bicubic")[0].clamp_min(0.01)
    spectra = torch.rand(12, 4, generator=generator)
    return (spectra @ fractions.flatten(1)).reshape(12, SIDE * RATIO, SIDE * RATIO)


def seen(truth, preset="mtf", noise=0.002):
    """The pair of an image, with little noise."""
    generator = torch.Generator().manual_seed(1)
    sensor, msi = create_sensor(preset, RATIO), truth.reshape(3, 4, *truth.shape[1:]).mean(1)
    hsi = sensor.degrade(truth)
    return PairTensors(
        hsi + noise * torch.randn(hsi.shape, generator=generator),
        msi + noise * torch.randn(msi.shape, generator=generator),
        sensor,
    )


def with_outliers(pair, fraction=0.01):
    generator = torch.Generator().manual_seed(2)
    wrong = torch.rand(pair.msi.shape[1:], generator=generator) < fraction
    values = 2 * pair.msi.max() * torch.rand(pair.msi.shape, generator=generator)
    return pair._replace(msi=torch.where(wrong, values, pair.msi)), wrong


def find(pair):
    return MsiOutliers.fit([pair], MsiByHsi.fit([pair], COMPONENTS))


@pytest.mark.parametrize(("preset", "fraction"), [("mtf", 0.01), ("uestc", 0.03)])
def test_outliers_are_replaced_and_nothing_else(preset, fraction):
    """Under the narrow PSF the HSI sees but one of sixteen pixels well."""
    pair = seen(scene(), preset)
    changed, wrong = with_outliers(pair, fraction)
    found = find(changed)
    mended = found.mended(changed).msi
    error = (mended - pair.msi).square().mean(0)
    replaced = (mended != changed.msi).any(0)
    assert (replaced & wrong).sum() > 0.8 * wrong.sum()
    assert (replaced & ~wrong).sum() <= 0.1 * wrong.sum()
    before = (changed.msi - pair.msi).square().mean(0)
    assert error.mean() < 0.02 * before.mean()
    assert found.fraction == pytest.approx(float(replaced.double().mean()), rel=0.1)


def test_a_band_may_be_wrong_alone():
    pair = seen(scene())
    msi = pair.msi.clone()
    msi[1, 30, 41] = msi[0, 50, 60] = 6.0
    changed = pair._replace(msi=msi)
    mended = find(changed).mended(changed).msi
    assert (mended != msi).any(0).nonzero().tolist() == [[30, 41], [50, 60]]
    assert (mended - pair.msi)[:, [30, 50], [41, 60]].abs().max() < 0.5


@pytest.mark.parametrize("preset", ["mtf", "uestc"])
@pytest.mark.parametrize("noise", [0.0, 0.002, 0.05])
def test_objects_of_one_pixel_stay(preset, noise):
    """Lamps and glints are in both images."""
    truth = scene()
    generator = torch.Generator().manual_seed(3)
    for row, col in torch.randint(4, SIDE * RATIO - 4, (40, 2), generator=generator).tolist():
        truth[:, row, col] = 5 * torch.rand(12, generator=generator)
    assert find(seen(truth, preset, noise)) is None


def test_changes_and_outliers_of_the_hsi_are_none_of_the_msi():
    pair = seen(scene())
    hsi, msi = pair.hsi.clone(), pair.msi.clone()
    hsi[:, 5, 6] = hsi[:, 15, 18] = 9.0
    msi[:, 60:76, 20:36] = 4.0
    assert find(pair._replace(hsi=hsi)) is None
    assert find(pair._replace(msi=msi)) is None


def test_outliers_are_found_in_windows_as_in_the_scene():
    changed, wrong = with_outliers(seen(scene()))
    found = find(changed)
    whole = found.mended(changed).msi
    part = changed._replace(hsi=changed.hsi[:, :16], msi=changed.msi[:, : 16 * RATIO])
    inner = (slice(None), slice(12, 12 * RATIO), slice(12, -12))  # at its border a window sees light from beyond
    masks = [(image[inner] != changed.msi[inner]).any(0) for image in (found.mended(part).msi, whole)]
    assert (masks[0] != masks[1]).sum() <= 0.1 * wrong[inner[1:]].sum()
