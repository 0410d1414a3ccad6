"""What a caller specifies about a pair is checked, and says what is still open."""

import dataclasses

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.presets import create_sensor
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf
from hyperfuse.sensor.srf.srf import Srf

SENSOR = create_sensor("mtf", 3, Srf([[0.5, 0.5]]))


def test_nothing_specified_leaves_all_open():
    geometry = PairGeometry()
    assert geometry.ratio_pair is geometry.phase_pair is geometry.psf_at((2.0, 2.0)) is None
    described = (geometry.describes_position, geometry.describes_psf)
    assert described == (False, False)
    assert geometry.estimates_position
    assert not geometry.replace(align=False).estimates_position


def test_a_sensor_describes_all_that_it_holds():
    geometry = PairGeometry(sensor=SENSOR)
    described = (geometry.describes_position, geometry.describes_psf)
    assert described == (True, True)
    assert geometry.ratio_pair == (3.0, 3.0)
    assert geometry.phase_pair == (1.0, 1.0)
    assert geometry.psf_at((3.0, 3.0)) == SENSOR.psf


def test_single_fields_override_the_sensor():
    geometry = PairGeometry(sensor=SENSOR, ratio=4, phase=(0, 1.5), psf="box")
    assert geometry.ratio_pair == (4.0, 4.0)
    assert geometry.phase_pair == (0.0, 1.5)
    assert geometry.psf_at((4.0, 2.0)) == BoxPsf(width=(4.0, 2.0))
    assert PairGeometry(psf=GaussianPsf(sigma=(1, 2))).psf_at((3.0, 3.0)) == GaussianPsf(sigma=(1, 2))


@pytest.mark.parametrize("value", [2, 2.5, (2, 3), [2, 3], np.array([2.0, 3.0])])
def test_numbers_are_held_as_pairs(value):
    first, last = np.ravel(value)[0], np.ravel(value)[-1]
    assert PairGeometry(ratio=value).ratio == (first, last)
    assert PairGeometry(phase=value).phase == (first, last)


def test_a_geometry_is_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PairGeometry().ratio = 2
    with pytest.raises(InputError, match="too many positional arguments"):
        PairGeometry(SENSOR)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 0.5}, "ratio is 1 or more"),
        ({"ratio": (1, 2, 3)}, "the ratio is one number or a pair"),
        ({"ratio": "four"}, "the ratio is one number or a pair"),
        ({"phase": float("nan")}, "the phase is one number or a pair"),
        ({"psf": "sharp"}, "no PSF 'sharp'"),
        ({"psf": 1.5}, "psf is a GaussianPsf or a BoxPsf or a KernelPsf or text, got 1.5"),
        ({"srf": np.eye(2)}, "srf is a Srf or text, got ndarray"),
        ({"sensor": "mtf"}, "sensor is a Sensor"),
    ],
)
def test_what_describes_no_pair_is_refused(fields, message):
    with pytest.raises(InputError, match=message) as error:
        PairGeometry(**fields)
    assert error.value.parameter == next(iter(fields))
