"""The MSI as predictors: whitened over a scene, and positions of a window counted over it."""

import pytest
import torch

from hyperfuse.methods.contract.method import WHOLE
from hyperfuse.methods.local_linear.predictors import Predictors, Whitening, pooled
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import GaussianPsf


def test_whitened_samples_have_unit_covariance_together():
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(3, 9, size, generator=generator, dtype=torch.float64).cumsum(0) + 5 for size in (20, 40)]
    whitening = Whitening.fit(images)
    components = pooled([whitening(image) for image in images]).flatten(1)
    torch.testing.assert_close(components.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(torch.cov(components, correction=0), torch.eye(3, dtype=torch.float64))


def test_components_without_contrast_are_dropped():
    image = torch.rand(2, 8, 8)
    assert Whitening.fit([torch.cat([image, image[:1]])])(torch.cat([image, image[:1]])).shape[0] == 2
    constant = Whitening.fit([torch.full((3, 8, 8), 0.5)])
    assert torch.equal(constant(torch.full((3, 8, 8), 0.7)), torch.zeros(1, 8, 8))


@pytest.mark.parametrize(("ratio", "phase"), [((4, 4), None), ((2, 3), (0.0, 2.0))])
def test_positions_of_a_window_are_those_of_its_pixels_in_the_scene(ratio, phase):
    sensor = create_sensor("mtf", ratio).replace(phase=phase)
    rows, cols = 10 * ratio[0], 12 * ratio[1]
    scene = Predictors(torch.zeros(1, rows, cols), torch.zeros(1, 10, 12), sensor, WHOLE)
    # LR rows 3 to 7 and columns 2 to 11.
    top, left = 3 * ratio[0], 2 * ratio[1]
    extent = (2 * top / (rows - 1) - 1, 2 * (8 * ratio[0] - 1) / (rows - 1) - 1, 2 * left / (cols - 1) - 1, 1.0)
    window = Predictors(torch.zeros(1, 5 * ratio[0], cols - left), torch.zeros(1, 5, 10), sensor, extent)
    for fine, first in ((False, (3, 2)), (True, (top, left))):
        shapes = [(one.fine if fine else one.coarse).shape[1:] for one in (scene, window)]
        whole, part = (
            one.positions(fine=fine).reshape(*shape, 2) for one, shape in zip((scene, window), shapes, strict=True)
        )
        inside = whole[first[0] : first[0] + part.shape[0], first[1] : first[1] + part.shape[1]]
        torch.testing.assert_close(part, inside)


@pytest.mark.parametrize(("ratio", "phase"), [((4.0, 4.0), None), ((2.5, 3.2), (0.7, 1.1))])
def test_the_part_that_lr_pixels_see_gives_those_pixels(ratio, phase):
    sensor = Sensor(ratio=ratio, phase=phase, psf=GaussianPsf(sigma=(1.5, 1.5)))
    shape, fine = (9, 11), torch.rand(2, 41, 45, generator=torch.Generator().manual_seed(0))
    whole = Predictors(fine, sensor.degrade(fine, shape).double(), sensor, (-0.5, 0.5, 0.0, 1.0))
    for rows, cols in ((slice(0, 4), slice(0, 11)), (slice(3, 7), slice(5, 8)), (slice(8, 9), slice(10, 11))):
        part, where = whole.seen_by(rows, cols, 2)
        assert part.shape == (rows.stop - rows.start, cols.stop - cols.start)
        torch.testing.assert_close(part.degrade(fine[:, *where]).double(), whole.coarse[:, rows, cols])
        positions = whole.positions(fine=False).reshape(*shape, 2)[rows, cols].flatten(0, 1)
        torch.testing.assert_close(part.positions(fine=False), positions)
