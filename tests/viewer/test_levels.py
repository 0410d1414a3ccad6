"""Levels of reduction: from pixels, overviews and pyramids, all against plain means."""

import time

import numpy as np
import pytest
import rasterio

import hyperfuse as hf
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError
from hyperfuse.io import ReadOptions, write
from hyperfuse.viewer import builder as builder_module
from hyperfuse.viewer import levels as levels_module
from hyperfuse.viewer import pyramid as pyramid_module
from hyperfuse.viewer.builder import Builder
from hyperfuse.viewer.image import ViewedImage, open_file
from hyperfuse.viewer.levels import Levels
from hyperfuse.viewer.pyramid import DiskPyramid, prune, reduced
from hyperfuse.viewer.scene import Named, ViewedScene
from viewed import smooth

BANDS, ROWS, COLS = 3, 140, 205


def plain_means(data, factor):
    """Means of blocks, one by one."""
    bands, rows, cols = data.shape
    found = np.full((bands, -(-rows // factor), -(-cols // factor)), np.nan)
    for band, row, col in np.ndindex(*found.shape):
        block = data[band, row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
        if np.isfinite(block).any():
            found[band, row, col] = np.nanmean(block)
    return found


@pytest.fixture
def cube():
    data = smooth(BANDS, ROWS, COLS)
    valid = np.ones(data.shape, bool)
    valid[:, 40:70, 100:150] = False
    valid[1, ::7, ::5] = False
    return hf.Cube(data, valid=valid, nodata=-1, wavelengths=[450, 550, 650])


@pytest.fixture(params=["band", "pixel"])
def image(request, cube, tmp_path):
    write(tmp_path / "c.tif", cube, interleave=request.param)
    found = ViewedImage("c.tif", open_file(tmp_path / "c.tif", ReadOptions()))
    yield found
    found.close()


@pytest.mark.parametrize("level", [0, 1, 2, 3, 5])
def test_a_level_is_the_mean_of_the_valid_pixels(image, cube, level, monkeypatch):
    monkeypatch.setattr(levels_module, "_MOST_HELD", 20_000)  # in many parts
    found, whole = Levels(image, None).read((0, 1, 2), level, Window(0, 0, *Levels(image, None).size(level)))
    assert whole
    expected = plain_means(cube.data, 2**level) if level else cube.data
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_window_of_a_level_is_that_part(image, cube):
    found, _ = Levels(image, None).read((2, 0), 2, Window(7, 11, 20, 30))
    np.testing.assert_allclose(found, plain_means(cube.data, 4)[[2, 0], 7:27, 11:41], rtol=1e-5)


@pytest.fixture
def small_cells(monkeypatch):
    """Cells of 64 pixels, and pyramids for every file."""
    monkeypatch.setattr(pyramid_module, "_CELL", 64)
    monkeypatch.setattr(pyramid_module, "_LAST_SIDE", 8)
    monkeypatch.setattr(levels_module, "_MOST_DIRECT", 0)


@pytest.mark.parametrize("strips", [False, True])
def test_a_pyramid_grows_cell_by_cell_and_says_what_is_known(image, cube, cache, small_cells, strips):
    pyramid = DiskPyramid(cube.shape, ["c"], cache, strips=strips)
    levels = Levels(image, pyramid)
    whole = Window(0, 0, *levels.size(2))
    empty, known = levels.read((1,), 2, whole)
    assert not known
    assert np.isnan(empty).all()
    pyramid.add(1, (0, 0), levels.cell((1,), (0, 0))[0])
    part, known = levels.read((1,), 2, whole)
    expected = plain_means(cube.data, 4)[1:2]
    cols = expected.shape[2] if strips else 16
    assert not known
    np.testing.assert_allclose(part[:, :16, :cols], expected[:, :16, :cols], rtol=1e-5)
    assert np.isnan(part[:, 16:]).all()
    assert levels.read((1,), 2, Window(0, 0, 16, cols))[1]
    for cell in np.ndindex(*pyramid.cells):
        for band, values in enumerate(levels.cell((0, 1, 2), cell)):
            pyramid.add(band, cell, values)
    expected = plain_means(cube.data, 4)
    for level in range(2, pyramid.last + 1):
        found, known = levels.read((0, 1, 2), level, Window(0, 0, *levels.size(level)))
        assert known
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        expected = plain_means(expected, 2)
    pyramid.close()


def test_a_pyramid_is_found_again_and_only_for_the_same_file(cube, image, cache, small_cells):
    first = DiskPyramid(cube.shape, ["c", 1], cache)
    first.add(0, (0, 0), Levels(image, first).cell((0,), (0, 0))[0])
    first.close()
    again, other = DiskPyramid(cube.shape, ["c", 1], cache), DiskPyramid(cube.shape, ["c", 2], cache)
    assert again.done[0, 0, 0]
    assert again.done.sum() == 1
    assert not other.done.any()
    at_once = DiskPyramid(cube.shape, ["c", 1], cache)  # while the other is open
    assert not at_once.done.any()
    for one in (again, other, at_once):
        one.close()


def test_a_pyramid_with_a_lost_file_is_built_again(cube, image, cache, small_cells):
    first = DiskPyramid(cube.shape, ["c"], cache)
    first.add(0, (0, 0), Levels(image, first).cell((0,), (0, 0))[0])
    first.close()
    next(cache.rglob("band-00001.f32")).write_bytes(b"cut off")
    assert not DiskPyramid(cube.shape, ["c"], cache).done.any()


def test_old_pyramids_are_removed_and_those_in_use_kept(cube, image, cache, small_cells):
    import os

    made = [DiskPyramid(cube.shape, [name], cache) for name in "abc"]
    for rank, one in enumerate(made):
        one.add(0, (0, 0), Levels(image, one).cell((0,), (0, 0))[0])
        os.utime(one.folder, (rank, rank))
    folders = [one.folder for one in made]
    made[1].close()
    made[2].close()
    prune(cache, keep=folders[2], most=0)
    assert [folder.exists() for folder in folders] == [True, False, True]
    made[0].close()


def test_the_builder_builds_what_is_wanted_first_then_the_rest(image, cube, cache, small_cells):
    pyramid = DiskPyramid(cube.shape, ["c"], cache)
    levels = Levels(image, pyramid)
    builder = Builder([levels])
    assert builder.progress().fraction == 1
    builder.want(0, (1,))
    ends = time.monotonic() + 30
    while not pyramid.done.all() and time.monotonic() < ends:
        time.sleep(0.02)
    assert pyramid.done.all()
    builder.close()
    assert builder.progress() == (1.0, {})
    np.testing.assert_allclose(
        levels.read((0, 1, 2), 2, Window(0, 0, *levels.size(2)))[0], plain_means(cube.data, 4), rtol=1e-5
    )
    levels.close()


def test_bands_that_were_looked_at_are_built_when_nobody_asks_for_more(image, cube, cache, small_cells, monkeypatch):
    monkeypatch.setattr(builder_module, "_QUIET_SECONDS", 0.2)
    pyramid = DiskPyramid(cube.shape, ["c"], cache)
    monkeypatch.setattr(pyramid, "fits", lambda bands: bands < 3)
    levels = Levels(image, pyramid)
    builder = Builder([levels])
    builder.wish(0, (2,))
    assert builder.progress().fraction == 1  # nobody waits
    assert not pyramid.done.any()
    ends = time.monotonic() + 30
    while not pyramid.done[2].all() and time.monotonic() < ends:
        time.sleep(0.02)
    assert pyramid.done[2].all()
    builder.close()
    levels.close()


def test_a_failure_of_the_builder_is_reported_and_does_not_stop_others(image, cube, cache, small_cells, monkeypatch):
    pyramid = DiskPyramid(cube.shape, ["c"], cache)
    levels = Levels(image, pyramid)

    def fail(bands, cell):
        raise HyperfuseError("damaged")

    monkeypatch.setattr(levels, "cell", fail)
    builder = Builder([levels])
    builder.want(0, (1,))
    ends = time.monotonic() + 30
    while not builder.progress().failures and time.monotonic() < ends:
        time.sleep(0.02)
    assert builder.progress() == (1.0, {0: "damaged"})
    builder.close()
    levels.close()


def test_overviews_of_a_file_are_used(cube, tmp_path):
    path = tmp_path / "o.tif"
    write(path, cube.replace(data=np.nan_to_num(cube.data), valid=None, nodata=None))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
        expected = file.read(out_shape=(3, 35, 52))
    image = ViewedImage("o.tif", open_file(path, ReadOptions()))
    assert image.levels == (1, 2)
    found, _ = Levels(image, None).read((0, 1, 2), 2, Window(0, 0, 35, 52))
    np.testing.assert_array_equal(found, expected)
    coarser, _ = Levels(image, None).read((1,), 4, Window(0, 0, 9, 13))
    np.testing.assert_allclose(coarser, reduced(expected[1:2], 2), rtol=1e-5)
    image.close()


def test_overviews_are_not_used_where_the_caller_declares_gaps(cube, tmp_path):
    path = tmp_path / "o.tif"
    write(path, cube.replace(data=np.nan_to_num(cube.data), valid=None, nodata=None))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.average)
    assert open_file(path, ReadOptions(nodata=0)).levels == ()


def test_a_sample_comes_from_all_over_the_image(image, cube, monkeypatch):
    monkeypatch.setattr(levels_module, "_MOST_DIRECT", 2_000_000)
    found = Levels(image, None).sample((0, 2), 100)
    for values, band in zip(found, (0, 2), strict=True):
        expected = np.nanpercentile(cube.data[band], (2, 98))
        np.testing.assert_allclose(np.nanpercentile(values, (2, 98)), expected, rtol=0.1)


def test_a_large_file_gets_a_pyramid_and_a_small_one_none(cube, tmp_path, cache):
    large = hf.Cube(np.ones((1, 4, 1100), np.float32))
    write(tmp_path / "large.tif", large)
    write(tmp_path / "small.tif", cube)
    options = ReadOptions()
    scene = ViewedScene([Named(name, open_file(tmp_path / name, options)) for name in ("large.tif", "small.tif")])
    assert [one.levels.pyramid is None for one in scene.images] == [False, True]
    scene.close()
    assert not list(tmp_path.glob("*.ovr"))
