"""Pairs that continue periodically: the same pair where nothing is missing, else reflected at the borders."""

import pytest
import torch

from hyperfuse.methods.contract.method import PairTensors
from hyperfuse.methods.tensor.periodic import PeriodicPair
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf


def smooth(rows, cols):
    y, x = torch.meshgrid(torch.arange(rows).double() / rows, torch.arange(cols).double() / cols, indexing="ij")
    return torch.stack([0.5 + 0.3 * torch.sin(3 * y + 2 * x), 0.2 + y * x])


def make(shape=(24, 32), ratio=4, lr=None, **options):
    sensor = Sensor(ratio=(ratio, ratio), psf=GaussianPsf(sigma=(1.2, 1.2)), **options)
    image = smooth(*shape)
    return PairTensors(sensor.degrade(image, lr), image, sensor)


@pytest.mark.parametrize("phase", [(2.0, 1.5), (-0.5, -0.5)])
def test_a_periodic_pair_of_whole_lr_pixels_is_the_pair_itself(phase):
    pair = make(boundary="circular", phase=phase)
    found = PeriodicPair.of(pair)
    assert found.hsi is pair.hsi
    assert found.msi is pair.msi
    torch.testing.assert_close(found.sampling.forward(found.msi), pair.hsi, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.upsampled(), pair.sensor.upsample(pair.hsi, (24, 32)))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((24, 32), {}),
        ((27, 33), {}),
        ((24, 32), {"phase": (0.0, 3.0)}),
        ((25, 30), {"phase": (-1.0, 5.0), "lr": (7, 7)}),
        ((27, 33), {"boundary": "circular"}),
        ((4, 5), {"lr": (1, 1)}),
    ],
)
def test_any_pair_is_extended_so_that_its_own_samples_are_those_of_its_pixels(shape, options):
    pair = make(shape, **options)
    found = PeriodicPair.of(pair)
    assert found.sampling.fine == tuple(4 * size for size in found.sampling.coarse) == tuple(found.msi.shape[1:])
    torch.testing.assert_close(found.cut(found.msi), pair.msi, rtol=0, atol=0)
    # Samples whose support lies in the image are exactly those of the pair; at the border the image is its reflection.
    top, left = found.inside[0].start // 4, found.inside[1].start // 4
    rows, cols = pair.hsi.shape[1:]
    samples = found.sampling.forward(found.msi)[:, top : top + rows, left : left + cols]
    torch.testing.assert_close(found.hsi[:, top : top + rows, left : left + cols], pair.hsi, rtol=0, atol=0)
    if pair.sensor.boundary == "reflect":
        torch.testing.assert_close(samples, pair.hsi, rtol=0, atol=1e-12)
    else:
        torch.testing.assert_close(samples[:, 2:-2, 2:-2], pair.hsi[:, 2:-2, 2:-2], rtol=0, atol=1e-12)
