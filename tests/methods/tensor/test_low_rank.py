"""What weights and thresholds are worth in pairs of other sizes, units and noise."""

import pytest
import torch

from hyperfuse.methods import PairTensors
from hyperfuse.methods.tensor.low_rank import Defaults, GroupedPair, PatchRankSettings, usable_response
from hyperfuse.methods.tensor.shrinkage import shrink_singular_values
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf
from hyperfuse.sensor.srf.srf import srf_boxes
from scenes import patches_of_materials

DEFAULTS = Defaults(weight=0.5, groups=3, values=120, patches=10, largest=8)


def make_pair(bands=6, shape=(40, 40), noise=0.0, scale=1.0):
    reference = scale * torch.as_tensor(patches_of_materials(bands, *shape), dtype=torch.float64)
    sensor = Sensor(ratio=(4, 4), psf=BoxPsf(width=(4, 4)), srf=srf_boxes(3, bands), boundary="circular")
    generator = torch.Generator().manual_seed(0)
    images = (sensor.degrade(reference), sensor.respond(reference))
    hsi, msi = (one + noise * torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in images)
    return PairTensors(hsi, msi, sensor)


def grouped(pair, **values):
    return GroupedPair.of(pair, (8, 4, False), PatchRankSettings(**values), DEFAULTS)


def test_the_weight_follows_bands_and_mean_group():
    found = grouped(make_pair())  # 9 x 9 patches in 8 clusters of 10 each
    assert found.weight == pytest.approx(0.5 * 6 * 81 / 8 / 120)
    assert grouped(make_pair(bands=12)).weight == pytest.approx(2 * found.weight)
    assert grouped(make_pair(), groups=4).weight == pytest.approx(2 * found.weight)
    assert max(len(one) for one in found.groups.members) <= 8
    assert grouped(make_pair(), weight=0.1).weight == 0.1


def test_the_unit_is_that_of_the_hsi():
    one, other = grouped(make_pair()), grouped(make_pair(scale=1e4))
    assert float(one.pair.hsi.max()) == pytest.approx(1.0)
    assert other.peak == pytest.approx(1e4 * one.peak)
    torch.testing.assert_close(one.pair.msi, other.pair.msi, rtol=0, atol=1e-12)
    like = torch.zeros(1, dtype=torch.float32)
    assert float(other.restored(other.pair.msi, like).max()) == pytest.approx(other.peak * float(other.pair.msi.max()))
    assert other.restored(other.pair.msi, like).dtype == torch.float32


def test_the_authors_numbers_are_used_as_they_are():
    found = grouped(make_pair(scale=2.0), defaults="authors")
    assert (found.weight, found.peak, found.noise, len(found.groups.members)) == (0.5, 1.0, 0.0, 3)


def test_nothing_that_noise_reaches_remains():
    noisy = grouped(make_pair(shape=(96, 96), noise=0.05))
    assert noisy.noise * noisy.peak == pytest.approx(0.05, rel=0.4)
    assert grouped(make_pair(shape=(96, 96))).noise < 0.1 * noisy.noise
    matrix = noisy.noise * torch.randn(64, 400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shrink = noisy.shrinkage(1e-3)
    left, _ = shrink_singular_values(matrix, shrink(1e-9, 64, 400, 1.0))
    assert float(left.abs().max()) == 0.0
    structure = 100 * noisy.noise * torch.ones(64, 400, dtype=torch.float64)
    kept, _ = shrink_singular_values(structure + matrix, shrink(1e-9, 64, 400, 1.0))
    assert float((kept - structure).norm()) < 0.1 * float(structure.norm())


def test_responses_to_bands_of_zeros_go_to_the_others():
    pair = make_pair()
    hsi = pair.hsi.clone()
    hsi[1] = 0
    response = usable_response(pair._replace(hsi=hsi))
    expected = torch.as_tensor(pair.sensor.srf.matrix).clone()
    expected[0] = torch.tensor([1.0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(response, expected)
    nothing = usable_response(pair._replace(hsi=torch.zeros_like(hsi)))
    assert not bool(nothing.any())
