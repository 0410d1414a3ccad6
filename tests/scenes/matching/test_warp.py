"""An MSI in another coordinate system, rotated or mirrored is resampled onto a grid parallel to the HSI's."""

import math

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform as warp_points
from scipy import ndimage

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.warped import WarpedSource
from hyperfuse.scenes.matching.grid import match_pair
from hyperfuse.scenes.matching.warp import parallel_grid, rotated_grid

UTM33, UTM32 = "EPSG:32633", "EPSG:32632"
HSI_GRID = (30.0, 0.0, 420000.0, 0.0, -30.0, 4000000.0)


def landscape(x, y):
    """Something smooth over metres of zone 33."""
    return 3 + np.sin((x - 420000) / 70) + np.cos((y - 4000000) / 90) + 0.5 * np.sin((x + y) / 120)


def image(transform, rows, cols, bands, crs=UTM33, values=landscape):
    row, col = np.indices((rows, cols)) + 0.5
    a, b, c, d, e, f = tuple(transform)[:6]
    data = values(a * col + b * row + c, d * col + e * row + f)
    return Cube(data=np.stack([data * (k + 1) for k in range(bands)]).astype(np.float32), transform=transform, crs=crs)


def rotated_transform(degrees, size=10.0, corner=(419800.0, 4000000.0)):
    cos, sin = math.cos(math.radians(degrees)) * size, math.sin(math.radians(degrees)) * size
    return (cos, sin, corner[0], sin, -cos, corner[1])


HSI = image(HSI_GRID, 20, 25, 6)


def resampled(msi, grid):
    """The MSI on a grid, and what is noted about it."""
    if grid is None:
        return msi, None
    whole = WarpedSource(MemorySource(msi), grid.grid).read(Window(0, 0, grid.grid.rows, grid.grid.cols))
    header = grid.header(msi.header)
    return whole.replace(transform=header.transform, crs=header.crs, history=header.history), grid.notes[-1]


def on_parallel_grid(hsi, msi):
    return resampled(msi, parallel_grid(hsi.header, msi.header))


def assert_in_place(msi, tolerance=0.02):
    expected = image(msi.transform, msi.rows, msi.cols, msi.bands)
    # Interpolation at the source's border has half of the neighbours.
    inner = ndimage.binary_erosion(msi.valid_pixels, np.ones((3, 3)), iterations=2)
    assert inner.sum() > 500
    np.testing.assert_allclose(msi.data[:, inner], expected.data[:, inner], atol=tolerance * msi.bands)


@pytest.mark.parametrize("degrees", [0.5, 10, -35, 90])
def test_rotated_grids(degrees):
    corner = (419800.0, 3999200.0 if degrees == 90 else 4000000.0)
    msi = image(rotated_transform(degrees, corner=corner), 160, 160, 3)
    found, note = on_parallel_grid(HSI, msi)
    assert "rotated by" in note
    assert "ratio 3" in note
    assert_in_place(found)
    pair = match_pair(HSI, found)
    assert pair.sensor.ratio == (3, 3)
    assert pair.sensor.offset == pytest.approx((1, 1))


def test_another_zone():
    def in_zone_33(x, y):
        points = warp_points(CRS.from_string(UTM32), CRS.from_string(UTM33), x.ravel(), y.ravel())
        return landscape(*(np.asarray(values).reshape(x.shape) for values in points))

    corner = warp_points(CRS.from_string(UTM33), CRS.from_string(UTM32), [419900.0], [4000150.0])
    grid = (10.0, 0.0, corner[0][0], 0.0, -10.0, corner[1][0])
    msi = image(grid, 110, 120, 2, UTM32, in_zone_33)
    found, note = on_parallel_grid(HSI, msi)
    assert note.endswith("other coordinate system")
    assert found.crs == UTM33
    assert_in_place(found)
    pair = match_pair(HSI, found)
    assert (pair.hsi.rows, pair.hsi.cols) == (20, 25)
    # The HSI's own values are handed on untouched.
    np.testing.assert_array_equal(pair.hsi.data, HSI.data)


def test_degrees_and_metres():
    x, y = warp_points(CRS.from_string(UTM33), CRS.from_epsg(4326), [420000.0], [4000000.0])
    hsi = Cube(data=np.ones((5, 8, 8)), transform=(3e-4, 0.0, x[0], 0.0, -3e-4, y[0]), crs="EPSG:4326")
    found, _ = on_parallel_grid(hsi, image((10.0, 0.0, 419700.0, 0.0, -10.0, 4000200.0), 90, 90, 2))
    # 0.0003 degrees: 33 m along the meridian and 27 m along the parallel.
    ratio = match_pair(hsi, found).sensor.ratio
    assert ratio == pytest.approx((3.33, 2.70), abs=0.03)


def test_mirrored_images():
    found, note = on_parallel_grid(HSI, image((10.0, 0.0, 420000.0, 0.0, 10.0, 3999400.0), 60, 75, 2))
    assert note.endswith("mirrored")
    assert_in_place(found, 1e-5)


def test_a_rotated_hsi_keeps_its_grid():
    grid = rotated_transform(20, 30.0, (420000.0, 4000000.0))
    hsi = image(grid, 15, 15, 6)
    msi = image((10.0, 0.0, 419700.0, 0.0, -10.0, 4000300.0), 120, 120, 2)
    found, _ = on_parallel_grid(hsi, msi)
    assert_in_place(found)
    pair = match_pair(hsi, found)
    np.testing.assert_array_equal(pair.hsi.data, hsi.data[:, : pair.hsi.rows, : pair.hsi.cols])


def test_partial_overlap_is_cut_and_gaps_are_carried():
    msi = image(rotated_transform(5, corner=(420300.0, 4000000.0)), 90, 90, 3)
    valid = np.ones(msi.data.shape, np.bool_)
    valid[1, 40:45, 30:36] = False
    found, _ = on_parallel_grid(HSI, msi.replace(valid=valid))
    x = found.transform.c
    assert x >= 420000 - 60
    assert found.cols * 10 <= 750 + 4 * 30
    gaps = ~found.valid
    inner = gaps[1] & ~gaps[0]
    assert 15 < inner.sum() < 60
    assert not found.valid_pixels[inner].any()


@pytest.mark.parametrize("ratio", [2.0, 2.7, 3.2])
def test_ratios_that_are_not_whole_need_no_warp(ratio):
    msi = image((30 / ratio, 0.0, 420000.0, 0.0, -30 / ratio, 4000000.0), 40, 60, 2)
    found, note = on_parallel_grid(HSI, msi)
    assert found is msi
    assert note is None


def test_images_without_georeferencing_stay():
    plain = Cube(data=np.ones((2, 40, 50)))
    assert on_parallel_grid(HSI, plain) == (plain, None)
    assert on_parallel_grid(plain, HSI) == (HSI, None)


def test_without_a_crs_the_axes_are_shared():
    found, _ = on_parallel_grid(HSI.replace(crs=None), image(rotated_transform(7), 160, 160, 2, None))
    assert_in_place(found)
    assert found.crs is None


def test_no_overlap_is_refused():
    with pytest.raises(InputError, match="do not overlap"):
        on_parallel_grid(HSI, image(rotated_transform(5, corner=(500000.0, 4000000.0)), 90, 90, 3))
    with pytest.raises(InputError, match="do not overlap"):
        on_parallel_grid(HSI, image((10.0, 0.0, 500000.0, 0.0, -10.0, 100000.0), 90, 90, 3, "EPSG:32601"))


def test_swapped_images_are_reported():
    with pytest.raises(InputError, match="look swapped"):
        on_parallel_grid(image(rotated_transform(10), 160, 160, 3), HSI)


def test_history_states_what_was_done():
    found, _ = on_parallel_grid(HSI, image(rotated_transform(10), 160, 160, 3))
    assert found.history[-1]["step"] == "warp"
    assert found.history[-1]["why"] == "rotated by 10 degrees"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rotated_grid_shows_what_lay_there(dtype):
    rows, cols = np.indices((60, 70)).astype(dtype)
    msi = Cube(data=np.stack([np.sin(rows / 7) + np.cos(cols / 9)]), transform=(10, 0, 5, 0, -10, 7))
    found, _ = resampled(msi, rotated_grid(msi.header, None, math.radians(4), (30.0, 33.0)))
    assert found.data.dtype == dtype
    cos, sin = math.cos(math.radians(4)), math.sin(math.radians(4))
    y = 30 + cos * (rows - 30) - sin * (cols - 33)
    x = 33 + sin * (rows - 30) + cos * (cols - 33)
    inner = (y > 2) & (y < 57) & (x > 2) & (x < 67)
    np.testing.assert_allclose(found.data[0][inner], (np.sin(y / 7) + np.cos(x / 9))[inner], atol=2e-3)
    assert not found.valid_pixels[0, 0]
    # The transform says of every pixel where it lies: (20, 40) shows what lay at (y, x).
    a, b, c, d, e, f = six_numbers(found.transform)
    at = (a * 40.5 + b * 20.5 + c, d * 40.5 + e * 20.5 + f)
    np.testing.assert_allclose(at, (5 + 10 * (x[20, 40] + 0.5), 7 - 10 * (y[20, 40] + 0.5)))
