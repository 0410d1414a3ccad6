"""A warped view holds the same values whatever the window, and the values of the scene at its pixels."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject, transform

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io import write
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.warped import WarpedSource

UTM33, UTM32 = "EPSG:32633", "EPSG:32632"
ROTATED = Affine.translation(500, 900) @ Affine.rotation(25) @ Affine.scale(10, -10)
NORTH_UP = Affine(10, 0, 900.3, 0, -10, 1400)


def scene(x, y):
    return np.sin(x / 40) + np.cos(y / 55) + 0.3 * np.sin((x + y) / 28)


def cube(grid, rows, cols, crs=None, gaps=False):
    col, row = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    x, y = grid @ (col, row)
    data = np.stack([scene(x, y), 2 * scene(x, y)]).astype(np.float32)
    valid = np.ones(data.shape, bool)
    if gaps:
        valid[0, 60:90, 70:95] = False
        valid[1] = np.random.default_rng(0).random(data.shape[1:]) > 0.02
    return Cube(data=data, valid=valid, transform=grid, crs=crs, wavelengths=[500, 600], nodata=-1.0)


def utm_pair():
    """A cube in UTM 33 and a grid in UTM 32 that covers a part of it and ends beyond it."""
    source = cube(Affine(10, 0, 300_000, 0, -10, 5_600_000), 320, 340, UTM33, gaps=True)
    (x,), (y,) = transform(CRS.from_user_input(UTM33), CRS.from_user_input(UTM32), [300_000], [5_600_000])
    return source, Grid(300, 310, Affine(10, 0, x + 503.7, 0, -10, y - 200.9), UTM32)


CASES = {
    "rotated": (cube(ROTATED, 300, 310, gaps=True), Grid(300, 280, NORTH_UP, None)),
    "other CRS": utm_pair(),
    "coarser": (
        cube(Affine(10, 0, 0, 0, -10, 0), 300, 300, gaps=True),
        Grid(140, 130, Affine(24, 0, 3, 0, -24, 7), None),
    ),
}


def read_whole(view):
    return view.read(Window(0, 0, view.header.rows, view.header.cols))


@pytest.mark.parametrize("case", CASES)
def test_a_window_is_that_part_of_the_whole(case):
    source, grid = CASES[case]
    view = WarpedSource(MemorySource(source), grid)
    whole = read_whole(view)

    @settings(max_examples=12, deadline=None)
    @given(st.data())
    def check(data):
        row, col = data.draw(st.integers(0, grid.rows - 1)), data.draw(st.integers(0, grid.cols - 1))
        rows, cols = data.draw(st.integers(1, grid.rows - row)), data.draw(st.integers(1, grid.cols - col))
        part, expected = view.read(Window(row, col, rows, cols)), whole.crop(row, col, rows, cols)
        np.testing.assert_array_equal(part.data, expected.data)
        assert (part.transform, part.crs, part.nodata) == (expected.transform, expected.crs, expected.nodata)

    check()


@pytest.mark.parametrize("case", CASES)
def test_files_and_cubes_give_the_same(case, tmp_path):
    source, grid = CASES[case]
    write(tmp_path / "a.tif", source)
    from_file = WarpedSource(open_windows(tmp_path / "a.tif"), grid)
    from_cube = WarpedSource(MemorySource(source), grid)
    np.testing.assert_array_equal(read_whole(from_file).data, read_whole(from_cube).data)
    assert from_file.header.wavelengths.tolist() == [500, 600]
    from_file.close()


def test_values_are_those_of_the_scene_at_the_pixels():
    for source, grid, crs in (
        (cube(ROTATED, 300, 310), Grid(150, 140, NORTH_UP, None), None),
        (*utm_pair(), (UTM32, UTM33)),
    ):
        found = read_whole(WarpedSource(MemorySource(source), grid))
        col, row = np.meshgrid(np.arange(grid.cols) + 0.5, np.arange(grid.rows) + 0.5)
        x, y = grid.transform @ (col, row)
        if crs is not None:
            x, y = (np.reshape(v, x.shape) for v in transform(*crs, x.ravel(), y.ravel()))
        error = np.abs(found.data[0] - scene(np.asarray(x), np.asarray(y)))
        assert np.isfinite(error).mean() > 0.5
        assert np.nanquantile(error, 0.9) < 0.002


def test_a_gap_stays_one_in_its_band_alone():
    source = cube(Affine(10, 0, 0, 0, -10, 0), 100, 100, gaps=True)
    found = read_whole(WarpedSource(MemorySource(source), Grid(100, 100, Affine(10, 0, 1, 0, -10, -1), None)))
    np.testing.assert_array_equal(found.valid[0, :-1, :-1], source.valid[0, :-1, :-1])
    np.testing.assert_array_equal(found.valid[1, :-1, :-1], source.valid[1, :-1, :-1])


def test_parallel_grids_are_warped_as_by_gdal_at_once():
    source = cube(Affine(10, 0, 0, 0, -10, 0), 200, 300)
    grid = Grid(190, 280, Affine(10, 0, 33.3, 0, -10, -41.7), None)
    expected = np.full((190, 280), np.nan, np.float32)
    reproject(
        source.data[0], expected, src_transform=source.transform, src_crs=UTM33, src_nodata=np.nan,
        dst_transform=grid.transform, dst_crs=UTM33, dst_nodata=np.nan, resampling=Resampling.cubic,
    )  # fmt: skip
    np.testing.assert_allclose(read_whole(WarpedSource(MemorySource(source), grid)).data[0], expected, atol=2e-6)


def test_what_lies_beyond_the_source_is_known_to_be_empty():
    source = cube(ROTATED, 100, 100)
    view = WarpedSource(MemorySource(source), Grid(400, 400, Affine(10, 0, 0, 0, -10, 2000), None))
    assert not view.may_hold_data(Window(0, 0, 20, 20))
    assert not view.read(Window(0, 0, 20, 20)).usable_bands.any()
    assert view.may_hold_data(Window(0, 0, 400, 400))
    nowhere = WarpedSource(MemorySource(source), Grid(50, 50, Affine(10, 0, 1e6, 0, -10, 0), None))
    assert not nowhere.may_hold_data(Window(0, 0, 50, 50))


def test_an_image_without_a_transform_is_warped_in_its_pixels():
    source = Cube(data=np.arange(48.0).reshape(1, 6, 8))
    rotated = WarpedSource(MemorySource(source), Grid(6, 8, Affine(-1, 0, 8, 0, -1, 6), None))
    np.testing.assert_allclose(read_whole(rotated).data[0], source.data[0, ::-1, ::-1], atol=1e-5)


def test_windows_and_grids_that_make_no_sense():
    source = MemorySource(cube(NORTH_UP, 20, 20))
    with pytest.raises(InputError, match="gives its pixels no area; correct it"):
        WarpedSource(source, Grid(5, 5, Affine(0, 0, 0, 0, 0, 0), None))
    with pytest.raises(InputError, match="leaves the image of 5x5"):
        WarpedSource(source, Grid(5, 5, NORTH_UP, None)).read(Window(0, 0, 6, 5))


def test_bands_are_resampled_together_as_one_by_one():
    source, grid = CASES["other CRS"]
    whole = cube(source.transform, source.rows, source.cols, UTM33)
    together = read_whole(WarpedSource(MemorySource(whole), grid))
    for band in range(2):
        alone = read_whole(WarpedSource(MemorySource(whole.select_bands([band])), grid))
        np.testing.assert_array_equal(together.data[band], alone.data[0])
