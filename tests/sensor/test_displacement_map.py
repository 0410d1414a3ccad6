"""Displacement maps: kept in a file exactly, and seen from other pixels of the same ground."""

import json

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap, metres_per_pixel
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.psf import BoxPsf

RATIO = (3.0, 4.0)
TRANSFORM = Affine(40.0, 0.0, 500_000.0, 0.0, -30.0, 5_800_000.0)
GRID = Grid(20, 24, TRANSFORM, "EPSG:32633")


@pytest.fixture
def stated():
    return Sensor(ratio=RATIO, psf=BoxPsf(width=RATIO), phase=(1.0, 1.5))


@pytest.fixture
def made():
    field = Displacement(np.random.default_rng(0).normal(size=(2, 5, 6)), spacing=(6.0, 7.0), origin=(-2.0, -3.5))
    return DisplacementMap(grid=GRID, ratio=RATIO, shift=(1.25, -2.5), scale=(0.001, -0.002), displacement=field)


def test_it_leads_from_one_sensor_to_the_other(stated, made):
    found = made.apply(stated)
    shape = (GRID.rows, GRID.cols)
    np.testing.assert_allclose(made.vectors, found.positions(shape) - stated.positions(shape), atol=1e-10)
    again = DisplacementMap.between(stated, found, GRID)
    np.testing.assert_allclose(again.vectors, made.vectors, atol=1e-10)


def test_a_file_holds_it_exactly(made, tmp_path):
    made.write(tmp_path / "map.tif")
    loaded = DisplacementMap.load(tmp_path / "map.tif")
    assert np.array_equal(loaded.vectors, made.vectors)
    assert loaded.grid == made.grid
    shown = read(tmp_path / "map.tif")
    assert shown.units == "m"
    assert shown.band_names == ("along rows", "along columns")
    # Pixels of the MSI are 10 m along rows and along columns.
    np.testing.assert_allclose(shown.data, made.vectors * 10.0, rtol=1e-6)
    assert PairGeometry(displacement=tmp_path / "map.tif").displacement_map.shift == made.shift
    assert not PairGeometry(displacement=made).estimates_position
    with pytest.raises(InputError, match="exists already"):
        made.write(tmp_path / "map.tif")
    made.write(tmp_path / "map.tif", overwrite=True)


def test_a_part_of_the_scene_with_other_pixels(made):
    part = made.on(Grid(8, 10, TRANSFORM @ Affine.translation(5, 7), GRID.crs), RATIO)
    np.testing.assert_allclose(part.vectors, made.vectors[:, 7:15, 5:15], atol=1e-10)
    # Twice as many pixels of the MSI per pixel of the HSI.
    other = made.on(GRID, (6.0, 8.0))
    np.testing.assert_allclose(other.vectors, 2 * made.vectors, atol=1e-10)
    # An HSI with a third of the pixels: its centres are every third of these.
    coarse = made.on(Grid(6, 8, TRANSFORM @ Affine.scale(3), GRID.crs), (9.0, 12.0))
    np.testing.assert_allclose(coarse.vectors, made.vectors[:, 1:19:3, 1:24:3], atol=1e-10)
    same = made.on(GRID, RATIO)
    assert np.array_equal(same.displacement.coefficients, made.displacement.coefficients)
    assert (same.shift, same.scale) == (made.shift, made.scale)


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [
        (TRANSFORM @ Affine.translation(100, 0), "EPSG:32633", "elsewhere"),
        (TRANSFORM @ Affine.rotation(5), "EPSG:32633", "rotated"),
        (TRANSFORM @ Affine.scale(1, -1), "EPSG:32633", "rotated"),
        (TRANSFORM, "EPSG:32632", "in another CRS"),
        (None, None, "of 20 x 24 pixels, this one has 20 x 24 without a position"),
    ],
)
def test_another_scene_is_refused(made, transform, crs, message):
    with pytest.raises(InputError, match=message) as refused:
        made.on(Grid(20, 24, transform, crs), RATIO)
    assert refused.value.parameter == "displacement"


def test_without_a_position_the_size_must_be_the_same(made, tmp_path):
    bare = DisplacementMap(grid=Grid(20, 24, None, None), ratio=RATIO, shift=(1.0, 2.0))
    bare.write(tmp_path / "bare.tif")
    assert read(tmp_path / "bare.tif").units == "HR pixels"
    assert DisplacementMap.load(tmp_path / "bare.tif").on(Grid(20, 24, None, None), RATIO).shift == (1.0, 2.0)
    with pytest.raises(InputError, match="this one has 20 x 25 without a position"):
        bare.on(Grid(20, 25, None, None), RATIO)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "[]",
        json.dumps({"ratio": [3, 3], "shift": [0, 0], "field": None}),
        json.dumps({"ratio": [0, 3], "shift": [0, 0], "scale": [0, 0], "field": None}),
        '{"ratio": [3, 3], "shift": [NaN, 0], "scale": [0, 0], "field": null}',
        json.dumps({"ratio": [3, 3], "shift": [0, 0, 1], "scale": [0, 0], "field": None}),
    ],
)
def test_another_file_is_refused(tmp_path, text):
    write(tmp_path / "x.tif", Cube(data=np.zeros((2, 3, 4)), attributes={} if text is None else {"displacement": text}))
    with pytest.raises(InputError, match=r"x\.tif: holds no displacement") as refused:
        DisplacementMap.load(tmp_path / "x.tif")
    assert refused.value.parameter == "displacement"


def test_a_field_that_is_none_is_named(tmp_path):
    field = {"spacing": [1, 1], "origin": [0, 0], "coefficients": [[1]]}
    text = json.dumps({"ratio": [3, 3], "shift": [0, 0], "scale": [0, 0], "field": field})
    write(tmp_path / "x.tif", Cube(data=np.zeros((2, 3, 4)), attributes={"displacement": text}))
    with pytest.raises(InputError, match=r"x\.tif: the coefficients of a displacement are \(2, rows, cols\)"):
        DisplacementMap.load(tmp_path / "x.tif")


def test_degrees_are_metres_on_the_ground():
    grid = Grid(100, 100, Affine(0.001, 0, 10.0, 0, -0.001, 60.05), "EPSG:4326")
    height, width = metres_per_pixel(grid)
    assert height == pytest.approx(111.32)
    assert width == pytest.approx(55.66, rel=1e-6)
    assert metres_per_pixel(Grid(3, 3, Affine.identity(), None)) is None
