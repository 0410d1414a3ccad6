"""Swaths put on grids, against positions computed by hand."""

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.geometry.glt import place_by_table
from hyperfuse.io.geometry.placement import PlacedImage
from hyperfuse.io.geometry.swath import Swath, place_swaths, utm_crs
from hyperfuse.io.windows.memory import MemorySource

CRS = "EPSG:32633"
WEST, NORTH = 364_000.0, 5_810_000.0


def ground(x, y):
    """A value that shows where a sample was taken."""
    return (x - WEST) / 1000 + (y - NORTH)


def swath(rows=40, cols=30, pixel=60.0, turn=25.0, start=(0.0, 0.0), **changes):
    """A swath of samples ``pixel`` metres apart, rotated on the ground; its values state the ground position."""
    line, sample = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    across, along = pixel * (sample + start[1]), -pixel * (line + start[0])
    x, y = WEST + cos * across - sin * along, NORTH + sin * across + cos * along
    lon, lat = (np.reshape(one, x.shape) for one in transform(CRS, "EPSG:4326", x.ravel(), y.ravel()))
    cube = Cube(data=np.stack([x - WEST, y - NORTH]).astype(np.float64), history=({"step": "read"},))
    return Swath(
        MemorySource(cube), changes.pop("latitude", lat), changes.pop("longitude", lon), pixel=pixel, **changes
    )


def whole(image):
    return image.read(Window(0, 0, image.header.rows, image.header.cols))


def centres(header):
    a, _, c, _, e, f = header.transform[:6]
    return c + a * (np.arange(header.cols) + 0.5), f + e * (np.arange(header.rows) + 0.5)


def test_each_pixel_shows_the_nearest_sample():
    image = place_swaths([swath()])
    cube = whole(image)
    assert cube.crs == CRS
    assert cube.transform.a == -cube.transform.e == 60
    assert cube.transform.c % 60 == cube.transform.f % 60 == 0
    x, y = centres(cube)
    away = np.hypot(cube.data[0] + WEST - x, cube.data[1] + NORTH - y[:, None])
    shown = cube.valid[0]
    assert away[shown].max() <= 45
    source = swath().image.read(Window(0, 0, 40, 30)).data.reshape(2, -1)
    grid = np.stack(np.broadcast_arrays(x - WEST, y[:, None] - NORTH)).reshape(2, -1, 1)
    nearest = np.hypot(*(grid - source[:, None, :])).min(axis=1).reshape(away.shape)
    assert np.allclose(away[shown], nearest[shown], atol=0.01)
    assert np.array_equal(shown, nearest <= 45)
    offsets = 60 * image.offsets[:, shown]
    assert np.allclose(offsets[0], -(cube.data[1] + NORTH - y[:, None])[shown], atol=0.02)
    assert np.allclose(offsets[1], (cube.data[0] + WEST - x)[shown], atol=0.02)
    step = cube.history[-1]
    assert step["residual_rms_m"] == pytest.approx(np.sqrt(np.mean(nearest[shown] ** 2)), abs=0.01)
    assert step["orthorectified"] == "by latitude and longitude, nearest sample within 45 m"
    assert step["grid"] == "EPSG:32633, pixels of 60 m"


def test_the_grid_lies_on_the_corners_of_the_other_image_and_around_it():
    like = Grid(30, 40, Affine(10, 0, WEST + 1003, 0, -10, NORTH - 1004), CRS)
    cube = whole(place_swaths([swath(120, 120, turn=0.0)], like))
    assert (cube.transform.c - like.transform.c) % 10 == (cube.transform.f - like.transform.f) % 10 == 0
    assert cube.resolution == (60, 60)
    x, y = centres(cube)
    assert x[0] - 30 <= like.transform.c - 15 * 60 <= like.transform.c + 400 + 15 * 60 <= x[-1] + 30
    assert len(x) < 45 + 64
    assert len(y) <= 64 + 6
    assert cube.history[-1]["grid"].endswith("on the corners of the other image")


def test_pixels_are_whole_numbers_of_those_of_the_other_image():
    for fine, expected in ((3.0, 60.0), (7.0, 63.0), (50.0, 60.0), (2.5, 60.0)):
        like = Grid(9, 9, Affine(fine, 0, WEST, 0, -fine, NORTH), CRS)
        assert place_swaths([swath()], like).header.resolution == (expected, expected)
    # A grid of degrees is none for samples in metres.
    like = Grid(9, 9, Affine(1e-4, 0, 13, 0, -1e-4, 52), "EPSG:4326")
    assert place_swaths([swath()], like).header.crs == CRS
    south = Grid(9, 9, Affine(10, 0, 3_000_000, 0, -10, 3_000_000), "EPSG:3035")
    assert place_swaths([swath()], south).header.crs == "EPSG:3035"


def test_windows_are_parts_of_the_whole(monkeypatch):
    from hyperfuse.io.geometry import placement

    monkeypatch.setattr(placement, "_BLOCK_VALUES", 100)
    image = place_swaths([swath()])
    cube = whole(image)
    for window in (Window(3, 5, 11, 7), Window(0, 0, 1, 1), Window(20, 10, 15, 20)):
        part = image.read(window)
        assert np.array_equal(part.data, cube.crop(*window).data, equal_nan=True)
        assert part.transform == cube.crop(*window).transform
    assert not image.may_hold_data(Window(0, 0, 1, 1))
    assert image.may_hold_data(Window(20, 20, 3, 3))


def test_parts_of_one_overpass_have_no_seam():
    apart = [swath(25, 30), swath(15, 30, start=(25, 0))]
    one, two = whole(place_swaths([swath()])), whole(place_swaths(apart))
    assert np.allclose(one.data, two.data, atol=0.05, equal_nan=True)
    assert one.transform == two.transform


def test_every_other_pixel():
    image = place_swaths([swath()])
    cube, few = whole(image), whole(image.every(4))
    rows, cols = (((np.arange(-(-full // 4)) + 0.5) * full / -(-full // 4)).astype(int) for full in cube.shape[1:])
    assert np.array_equal(few.data, cube.data[:, rows[:, None], cols], equal_nan=True)


def test_pixels_without_a_position():
    plain = swath()
    lat, lon = plain.latitude.copy(), plain.longitude.copy()
    lat[0], lon[0] = -9999, -9999
    lat[1, :5] = np.nan
    lat[2], lon[2] = 0, 0
    assert swath(latitude=lat, longitude=lon).placed.sum() == 38 * 30 - 5
    with pytest.raises(InputError, match="no pixel has a latitude and longitude"):
        place_swaths([swath(latitude=lat * 0, longitude=lon * 0)])
    with pytest.raises(InputError, match=r"latitude has the shape \(3, 3\), its image 40 x 30 pixels"):
        swath(latitude=np.zeros((3, 3)))


def test_the_size_of_pixels_is_measured_where_it_is_not_stated():
    plain = swath()
    cube = whole(place_swaths([Swath(plain.image, plain.latitude, plain.longitude)]))
    assert cube.resolution == (60, 60)


def test_zones():
    assert utm_crs(np.array([-33.0]), np.array([151.0])) == "EPSG:32756"
    assert utm_crs(np.array([10.0, 10.0]), np.array([179.9, -179.8])) == "EPSG:32601"
    assert utm_crs(np.array([86.0]), np.array([0.0])) == "EPSG:32661"
    assert utm_crs(np.array([-86.0]), np.array([0.0])) == "EPSG:32761"


def test_other_bands_are_no_part_of_the_same_image():
    other = Swath(MemorySource(Cube(data=np.zeros((3, 40, 30)))), swath().latitude, swath().longitude)
    with pytest.raises(InputError, match="other bands or units than the first"):
        place_swaths([swath(), other])


def test_a_table_counts_from_1_and_negative_numbers_fill_holes():
    values = np.arange(12.0).reshape(1, 3, 4)
    sample = np.array([[0, 1, 4], [-2, 3, 0]])
    line = np.array([[0, 1, 1], [-3, 2, 2]])
    grid = Grid(2, 3, Affine(5, 2, 0, 2, -5, 100), CRS)
    image = PlacedImage([MemorySource(Cube(data=values))], place_by_table(sample, line, (3, 4), grid))
    cube = whole(image)
    assert np.array_equal(cube.data[0], [[np.nan, 0, 3], [9, 6, np.nan]], equal_nan=True)
    assert cube.transform == grid.transform
    for wrong in (sample + 4, line[:1], sample * 0):
        with pytest.raises(InputError, match="its lookup table"):
            place_by_table(wrong, line, (3, 4), grid)
