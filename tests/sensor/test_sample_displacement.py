"""Samples that lie off the centres of their pixels, by known offsets."""

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.estimation.sampling import PairPart, lr_positions, regular_positions
from hyperfuse.sensor.estimation.sensor import estimate_sensor
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.presets import mtf
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.register import register
from hyperfuse.sensor.sample_displacement import SampleDisplacement, with_offsets
from scenes import fractions, mixture, power_law_fields

RATIO = 4.0


@pytest.fixture
def offsets():
    """Up to half an LR pixel, in HR pixels."""
    return np.random.default_rng(3).uniform(-2, 2, (2, 20, 24)).astype(np.float32)


def test_samples_lie_at_their_offsets(offsets):
    sensor = mtf(RATIO).replace(displacement=with_offsets(None, offsets))
    regular = mtf(RATIO).positions((20, 24))
    assert np.allclose(sensor.positions((20, 24)), regular + offsets)
    image = torch.rand(2, 80, 96, dtype=torch.float64)
    shifted = mtf(RATIO).replace(phase=tuple(regular[:, 0, 0] + offsets[:, 7, 9]))
    assert torch.allclose(sensor.degrade(image)[:, 7, 9], shifted.degrade(image)[:, 7, 9])


def test_a_smooth_field_is_added_and_windows_see_the_same(offsets):
    smooth = Displacement(np.random.default_rng(5).normal(size=(2, 4, 4)), (8.0, 8.0), (0.0, 0.0))
    both = with_offsets(smooth, offsets)
    rows, cols = np.arange(20), np.arange(24)
    assert np.allclose(both.at(rows, cols), smooth.at(rows, cols) + offsets)
    window = both.moved((3, 5))
    assert np.allclose(window.at(rows[:10], cols[:10]), both.at(rows[3:13], cols[5:15]))
    pixels = np.array([[0, 0], [4, 7]])
    assert np.allclose(window.at_samples(pixels), both.at_samples(pixels + np.array([3, 5])))
    assert np.allclose(smooth.at_samples(pixels), smooth.at(pixels[:, 0], pixels[:, 1])[:, [0, 1], [0, 1]].T)
    assert np.array_equal(both.smooth.coefficients, smooth.coefficients)
    # Offsets are replaced, not added twice.
    again = with_offsets(both.smooth, offsets)
    assert np.allclose(again.at(rows, cols), both.at(rows, cols))
    assert with_offsets(None, offsets).smooth is None
    assert np.allclose(smooth.invert(rows, cols, (4, 4)), both.invert(rows, cols, (4, 4)))


def test_what_is_recorded(offsets):
    record = mtf(RATIO).replace(displacement=with_offsets(None, offsets)).to_record()
    size = np.sqrt(np.mean(np.square(offsets).sum(axis=0)))
    assert record["displacement"] == {
        "offsets_of_samples": {
            "rms": pytest.approx(size, abs=1e-4),
            "largest": pytest.approx(np.hypot(*offsets).max(), abs=1e-4),
        }
    }
    smooth = Displacement(np.ones((2, 3, 3)), (7.5, 7.5), (0.3, 0.3))
    record = with_offsets(smooth, offsets).to_record()
    assert record == {**smooth.to_record(), "offsets_of_samples": record["offsets_of_samples"]}
    # The offsets are stated by the image; a sensor in a file has the smooth part alone.
    read = Sensor.from_dict(mtf(RATIO).replace(displacement=with_offsets(None, offsets)).to_dict())
    assert not isinstance(read.displacement, SampleDisplacement)


def test_the_psf_and_the_position_are_estimated_at_the_samples(offsets):
    rng = np.random.default_rng(2)
    abundances = fractions(power_law_fields(rng, 4, 80, 96, 1.2))
    image = torch.from_numpy(mixture(rng.uniform(0.1, 1, (4, 12)), abundances))
    true = mtf(RATIO).replace(phase=(1.7, 1.2), displacement=with_offsets(None, offsets))
    hsi, msi = true.degrade(image, (20, 24)), image[::3]
    known = mtf(RATIO).replace(displacement=with_offsets(None, offsets))
    assert known.displacement.limits == pytest.approx((2, 2), abs=0.01)
    found = estimate_sensor([PairPart(hsi, msi, known)])
    assert np.allclose(found.sensor.offset, (1.7, 1.2), atol=0.03)
    ignored = estimate_sensor([PairPart(hsi, msi, mtf(RATIO))])
    assert not np.allclose(ignored.sensor.offset, (1.7, 1.2), atol=0.03)


def test_positions_of_samples(offsets):
    sensor = mtf(RATIO).replace(displacement=with_offsets(None, offsets))
    pixels = np.array([[2, 3], [5, 6]])
    moved = lr_positions(sensor, pixels) - regular_positions(sensor, pixels)
    assert np.allclose(moved, offsets[:, pixels[:, 0], pixels[:, 1]].T)


@pytest.mark.parametrize("wrong", [np.zeros((3, 4)), np.full((2, 3, 4), np.nan)])
def test_damaged_offsets(wrong):
    with pytest.raises(InputError, match=r"offsets of samples are finite numbers \(2, rows, cols\)"):
        with_offsets(None, wrong)


def test_between_samples_there_is_no_offset(offsets):
    with pytest.raises(InputError, match="at whole rows and columns"):
        with_offsets(None, offsets).at([0.5], [1])


def test_a_field_is_found_although_samples_lie_off_their_pixels():
    rng = np.random.default_rng(8)
    image = torch.from_numpy(mixture(rng.uniform(0.1, 1, (4, 12)), fractions(power_law_fields(rng, 4, 256, 256, 1.4))))
    offsets = rng.uniform(-2, 2, (2, 64, 64)).astype(np.float32)
    smooth = Displacement(rng.normal(size=(2, 3, 3)) * 3, (32.0, 32.0), (0.0, 0.0))
    hsi = mtf(RATIO).replace(displacement=with_offsets(smooth, offsets)).degrade(image)
    part = PairPart(hsi, image[::3], mtf(RATIO).replace(displacement=with_offsets(None, offsets)))
    found = register(PairComponents.of(part), 4.0)
    assert found.accepted
    lines = np.arange(6, 58)
    error = found.displacement((RATIO, RATIO)).at(lines, lines) + RATIO * np.reshape(found.shift, (2, 1, 1))
    error -= smooth.at(lines, lines)
    ignored = register(PairComponents.of(PairPart(hsi, image[::3], mtf(RATIO))), 4.0)
    assert np.sqrt(np.mean(error**2)) < 0.05
    if ignored.accepted and ignored.bends:
        worse = ignored.displacement((RATIO, RATIO)).at(lines, lines) + RATIO * np.reshape(ignored.shift, (2, 1, 1))
        assert np.sqrt(np.mean((worse - smooth.at(lines, lines)) ** 2)) > np.sqrt(np.mean(error**2))


def test_between_samples_the_smooth_part_is_inverted():
    smooth = Displacement(np.random.default_rng(0).uniform(-1, 1, (2, 4, 4)), spacing=(5, 5), origin=(-3, -3))
    both = with_offsets(smooth, np.full((2, 6, 7), 0.3))
    lines = (np.linspace(-1, 6, 9), np.linspace(0.2, 7, 8))
    np.testing.assert_array_equal(both.invert(*lines, (2.0, 3.0)), smooth.invert(*lines, (2.0, 3.0)))
