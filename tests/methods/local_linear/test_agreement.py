"""Pixels at which two images do not show the same are found, those of a usual pair are not."""

import pytest
import torch

import hyperfuse as hf
from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.local_linear.agreement import Agreement
from hyperfuse.sensor.presets import create_sensor

RATIO, SIDE = 4, 24


@pytest.fixture
def pair():
    """An HSI of 12 bands mixed of four materials, an MSI of three, both with little noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 4, SIDE, SIDE, generator=generator)
    shares = torch.nn.functional.interpolate(coarse, scale_factor=RATIO, mode="bicubic")[0].clamp_min(0.01)
    spectra = torch.rand(12, 4, generator=generator)
    truth = (spectra @ shares.flatten(1)).reshape(12, SIDE * RATIO, SIDE * RATIO)
    msi = truth.reshape(3, 4, *truth.shape[1:]).mean(1)
    sensor = create_sensor("mtf", RATIO)
    hsi = sensor.degrade(truth)
    return PairTensors(
        hsi + 0.002 * torch.randn(hsi.shape, generator=generator),
        msi + 0.002 * torch.randn(msi.shape, generator=generator),
        sensor,
    )


def test_a_pair_of_one_scene_agrees_everywhere(pair):
    found = Agreement.fit([pair])
    assert not found.differing(pair).any()
    assert found.agreeing(pair) is pair


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_is_no_disagreement(pair, noise):
    generator = torch.Generator().manual_seed(1)
    noisy = pair._replace(hsi=pair.hsi + noise * torch.randn(pair.hsi.shape, generator=generator))
    assert not Agreement.fit([noisy]).differing(noisy).any()


def test_outliers_and_a_cloud_in_the_hsi_are_replaced_by_what_the_msi_shows(pair):
    generator = torch.Generator().manual_seed(2)
    wrong = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    wrong[3, 5] = wrong[17, 20] = wrong[9:13, 8:12] = True
    hsi = torch.where(wrong, 8 * torch.rand(12, SIDE, SIDE, generator=generator), pair.hsi)
    changed = pair._replace(hsi=hsi)
    found = Agreement.fit([changed])
    differing = found.differing(changed)
    assert torch.equal(differing, wrong)
    mended = found.agreeing(changed).hsi
    assert torch.equal(mended[:, ~wrong], hsi[:, ~wrong])
    assert (mended - pair.hsi)[:, wrong].abs().mean() < 0.3 * pair.hsi.flatten(1).std(1).mean()


def test_a_cloud_in_the_msi_is_found(pair):
    msi = pair.msi.clone()
    msi[:, 40:56, 40:56] = 12.0
    changed = pair._replace(msi=msi)
    differing = Agreement.fit([changed]).differing(changed)
    assert differing[10:14, 10:14].all()
    assert not differing[[0, -1]].any()


def test_a_cloud_in_the_msi_does_not_make_bright_objects_differ():
    generator = torch.Generator().manual_seed(4)
    side = 32 * RATIO
    ground = 0.02 * (1 + 0.2 * torch.rand(1, side, side, generator=generator))
    truth = ground * torch.linspace(0.8, 1.2, 12)[:, None, None]
    brightness, basis = 0.2 + 0.3 * torch.rand(6, generator=generator), torch.rand(3, 12, generator=generator)
    for number in range(6):
        spectrum = brightness[number] * (torch.rand(3, generator=generator) @ basis)
        texture = 0.8 + 0.4 * torch.rand(1, 12, 12, generator=generator)
        row, col = 80 + 16 * (number // 3), 8 + 32 * (number % 3)
        truth[:, row : row + 12, col : col + 12] = spectrum[:, None, None] * texture
    msi, sensor = truth.reshape(3, 4, side, side).mean(1), create_sensor("mtf", RATIO)
    msi[:, 8:56, 40:88] = 1.0
    pair = PairTensors(sensor.degrade(truth), msi, sensor)
    differing = Agreement.fit([pair]).differing(pair)
    assert differing[3:13, 11:21].all()
    assert not differing[16:].any()


def test_few_pixels_cannot_tell(pair):
    small = pair._replace(hsi=pair.hsi[:, :3, :3], msi=pair.msi[:, :12, :12])
    assert Agreement.fit([small]) is None


def test_outliers_cost_only_where_they_are(pair):
    hsi = pair.hsi.clone()
    hsi[:, 6, 7] = hsi[:, 15, 18] = 9.0
    images = []
    for one in (pair.hsi, hsi):
        cube, msi = hf.Cube(data=one.numpy()), hf.Cube(data=pair.msi.numpy())
        images.append(hf.fuse(cube, msi, method="feinfn", sensor=pair.sensor, settings={"effort": "fast"}).data)
    away = torch.ones(SIDE, SIDE, dtype=torch.bool)
    away[3:10, 4:11] = away[12:19, 15:22] = False
    counts = away.repeat_interleave(RATIO, 0).repeat_interleave(RATIO, 1).numpy()
    assert abs(images[1] - images[0])[:, counts].mean() < 0.003
