"""Pixels at the end of a range are found; bright ones that were measured are not taken for them."""

import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.scenes.saturation import saturated, saturation_note


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(0.5, 0.2, (3, 40, 50)).astype(np.float32)


def test_clipped_pixels_are_found(image):
    image[1] = np.minimum(image[1], 0.8)
    found = saturated([Cube(data=image)])[0]
    np.testing.assert_array_equal(found, image[1] == np.float32(0.8))
    assert saturation_note("MSI", [Cube(data=image)]).startswith(
        f"{found.mean():.1%} of the MSI's pixels are saturated"
    )


def test_measured_values_are_not(image):
    assert not saturated([Cube(data=image)])[0].any()
    assert saturation_note("HSI", [Cube(data=image)]) == ""


def test_coarse_steps_are_not_mistaken_for_an_end(image):
    """Integers repeat values everywhere; only an accumulation at the maximum counts."""
    steps = np.round(np.clip(image, 0, 2) * 20) / 20
    assert not saturated([Cube(data=steps.astype(np.float32))])[0].any()


def test_gaps_and_constant_bands_do_not_count(image):
    image[0] = 1.0
    valid = np.ones((3, 40, 50), dtype=bool)
    valid[:, :10] = False
    image[2, :10] = 7.0
    assert not saturated([Cube(data=image, valid=valid)])[0].any()
