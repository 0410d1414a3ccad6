"""The displacement field: a B-spline against scipy's, windows of it, folds, and files from anywhere."""

import math

import numpy as np
import pytest
import yaml
from scipy.interpolate import BSpline

from hyperfuse.errors import InputError
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import GaussianPsf

GAUSSIAN = GaussianPsf(sigma=(1.5, 1.2))


def field(seed=0, shape=(5, 7), spacing=(4.0, 3.5), origin=(-2.0, 1.0), size=0.5):
    values = np.random.default_rng(seed).normal(0, size, (2, *shape))
    return Displacement(values, spacing=spacing, origin=origin)


def along(values, position, spacing, origin):
    """One axis by scipy: control values repeated far beyond either end."""
    padded = np.concatenate([np.repeat(values[:1], 9, 0), values, np.repeat(values[-1:], 9, 0)])
    knots = origin + spacing * (np.arange(len(padded) + 4) - 9 - 2)
    at = np.clip(position, origin - 2 * spacing, origin + spacing * (len(values) + 1))
    return BSpline(knots, padded, 3)(at)


def test_it_is_the_tensor_product_of_splines():
    one = field()
    rows, cols = np.array([-40.0, -2.5, 0, 0.3, 7, 12.9, 99]), np.linspace(-9, 60, 12)
    found = one.at(rows, cols)
    for axis in (0, 1):
        lines = along(one.coefficients[axis], rows, one.spacing[0], one.origin[0])
        expected = along(lines.T, cols, one.spacing[1], one.origin[1]).T
        np.testing.assert_allclose(found[axis], expected, atol=1e-12)
    points = one.at_points(rows, cols[:7])
    np.testing.assert_allclose(points, found[:, np.arange(7), np.arange(7)], atol=1e-12)


def test_the_derivative_is_that_of_the_values():
    one, at, step = field(), np.linspace(-8, 30, 77), 1e-6
    numeric = (one.basis(at + step, 1) - one.basis(at - step, 1)).toarray() / (2 * step)
    np.testing.assert_allclose(one.basis(at, 1, derivative=True).toarray(), numeric, atol=1e-8)


def test_one_value_is_a_shift_and_far_away_nothing_changes():
    shift = Displacement(np.array([[[0.5]], [[-2.0]]]), (3, 3), (10, 10))
    np.testing.assert_allclose(
        shift.at([-99, 10, 1e5], [3, 4]), np.array([0.5, -2])[:, None, None] * np.ones((2, 3, 2))
    )
    one = field()
    np.testing.assert_allclose(one.at([-6.0, -7, -1e5], [1])[:, :, 0], np.repeat(one.at([-6.0], [1])[:, :, 0], 3, 1))


def test_a_window_sees_the_same_field():
    one = field()
    np.testing.assert_allclose(one.moved((3, 5)).at(np.arange(4), [0, 2]), one.at(np.arange(3, 7), [5, 7]), atol=1e-15)
    values = one.at(np.arange(2, 9), np.arange(1, 5))
    low_high = [(band.min(), band.max()) for band in values]
    np.testing.assert_allclose(one.bounds((2, 1), (7, 4)), low_high)
    assert one.largest((9, 8)) == pytest.approx(np.abs(one.at(np.arange(9), np.arange(8))).max())


def test_positions_of_a_sensor():
    sensor = Sensor(ratio=(3, 2.5), phase=(0.5, -1), psf=GAUSSIAN, displacement=field(size=0.3))
    y, x = sensor.positions((4, 5))
    moved = sensor.displacement.at(range(4), range(5))
    np.testing.assert_allclose(y, 0.5 + 3 * np.arange(4)[:, None] + moved[0])
    np.testing.assert_allclose(x, -1 + 2.5 * np.arange(5)[None] + moved[1])


@pytest.mark.parametrize("slope", [0.9, 1.2])
def test_a_field_that_folds_is_refused(slope):
    # Samples of a ratio of 3 that move 3 slope towards each other per LR pixel.
    ramp = Displacement(np.stack([np.zeros((6, 6)), -3 * slope * 2 * np.ones((6, 1)) * np.arange(6)]), (2, 2), (0, 0))
    if slope < 1:
        Sensor(ratio=3, psf=GAUSSIAN, displacement=ramp)
        return
    with pytest.raises(InputError, match="folds") as error:
        Sensor(ratio=3, psf=GAUSSIAN, displacement=ramp)
    assert error.value.parameter == "displacement"


def test_a_sensor_keeps_its_displacement_in_its_file(tmp_path):
    sensor = Sensor(ratio=3, psf=GAUSSIAN, displacement=field())
    sensor.save(tmp_path / "sensor.yaml")
    read = Sensor.load(tmp_path / "sensor.yaml")
    assert read.to_dict() == sensor.to_dict()
    np.testing.assert_array_equal(read.displacement.coefficients, sensor.displacement.coefficients)
    assert "displacement" not in Sensor(ratio=3, psf=GAUSSIAN).to_dict()


GOOD = {"coefficients": np.zeros((2, 3, 3)).tolist(), "spacing": [4, 4], "origin": [0, 0]}


@pytest.mark.parametrize(
    "change",
    [
        {"coefficients": [[1, 2], [3, 4]]},
        {"coefficients": [[[1, 2]], [[3]]]},
        {"coefficients": [[[math.nan]], [[0]]]},
        {"coefficients": [[[1e300]], [[0]]]},
        {"coefficients": "all"},
        {"coefficients": {"a": 1}},
        {"coefficients": np.zeros((2, 300, 300)).tolist()},
        {"coefficients": []},
        {"spacing": [0, 4]},
        {"spacing": [-1, 4]},
        {"spacing": 4},
        {"spacing": [1e-9, 4]},
        {"origin": ["x", 4]},
        {"origin": [math.inf, 4]},
        {"more": 1},
    ],
)
def test_what_no_displacement_is_gets_one_line(change, tmp_path):
    assert Displacement.from_dict(GOOD).to_dict() == GOOD
    values = {"ratio": 2, "psf": {"kind": "box", "width": [2, 2]}, "displacement": {**GOOD, **change}}
    (tmp_path / "sensor.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError) as error:
        Sensor.load(tmp_path / "sensor.yaml")
    assert "\n" not in str(error.value)
    assert "displacement" in str(error.value)
