import numpy as np
import pytest

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, read_mosaic, write

RNG = np.random.default_rng(5)
TRANSFORM = (30.0, 0.0, 364095.0, 0.0, -30.0, 5809965.0)


@pytest.fixture
def whole():
    valid = RNG.random((3, 10, 14)) < 0.9
    valid[1] = False
    return Cube(
        data=RNG.random((3, 10, 14), dtype=np.float32),
        valid=valid,
        wavelengths=[450.0, 650.0, 550.0],
        fwhm=[10.0, 11.0, 12.0],
        good_bands=[True, False, True],
        transform=TRANSFORM,
        crs="EPSG:32633",
        nodata=-1.0,
        units="reflectance",
        attributes={"sensor": "EnMAP"},
        history=[{"step": "cut"}],
    )


def save(folder, cubes):
    paths = [folder / f"tile_{number}.tif" for number in range(len(cubes))]
    for path, cube in zip(paths, cubes, strict=True):
        write(path, cube)
    return paths


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_tiles_of_a_whole_give_the_whole(tmp_path, whole, assert_same, order):
    windows = [(0, 0, 6, 8), (0, 8, 6, 6), (6, 0, 4, 8), (6, 8, 4, 6)]
    merged = read_mosaic(save(tmp_path, [whole.crop(*windows[number]) for number in order]))
    assert_same(merged, whole)


def test_one_file_is_read(tmp_path, whole, assert_same):
    paths = save(tmp_path, [whole])
    assert_same(read_mosaic(paths, bands="1,3"), read(paths[0], bands="1,3"))


def test_overlap_holes_and_common_attributes(tmp_path, whole):
    first = whole.crop(0, 0, 6, 8).replace(valid=None, data=np.full((3, 6, 8), 1.0), attributes={"a": "1", "b": "2"})
    gap = np.ones((3, 6, 8), bool)
    gap[:, 5, 7] = False
    first = first.replace(valid=gap, good_bands=[True, True, True], history=[{"step": "a"}])
    second = whole.crop(4, 6, 6, 8).replace(valid=None, data=np.full((3, 6, 8), 2.0), attributes={"a": "1", "b": "3"})
    merged = read_mosaic(save(tmp_path, [first, second]))
    expected = np.full((10, 14), np.nan)
    expected[4:, 6:] = 2
    expected[:6, :8] = 1
    expected[5, 7] = 2
    assert np.array_equal(merged.data, np.broadcast_to(expected, (3, 10, 14)), equal_nan=True)
    assert np.array_equal(merged.valid, ~np.isnan(merged.data))
    assert merged.good_bands.tolist() == [True, False, True]
    assert merged.attributes == {"a": "1"}
    assert merged.history == ()


def test_turned_grid(tmp_path, whole, assert_same):
    whole = whole.replace(transform=(20.0, 10.0, 500.0, 10.0, -20.0, 900.0))
    assert_same(read_mosaic(save(tmp_path, [whole.crop(0, 9, 10, 5), whole.crop(0, 0, 10, 9)])), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crs": "EPSG:32632"}, "its CRS is EPSG:32632, not EPSG:32633; reproject it"),
        ({"crs": None}, "its CRS is not given, not EPSG:32633"),
        ({"transform": None}, "a tile without a transform has no position"),
        (
            {"transform": (20.0, 0.0, 364335.0, 0.0, -20.0, 5809965.0)},
            "its pixels are 20 x 20, not 30 x 30; res",
        ),
        ({"transform": (30.0, 0.0, 364340.0, 0.0, -30.0, 5809965.0)}, "off the grid .* 0.000 rows and 0.167 columns"),
        ({"transform": (30.0, 0.0, 364335.0 + 3e9, 0.0, -30.0, 5809965.0)}, "the 2 tiles lie far apart"),
        ({"wavelengths": [450.0, 660.0, 550.0]}, "its wavelengths differ"),
        ({"fwhm": None}, "its fwhm differ"),
        ({"units": "radiance"}, "its units are radiance, not reflectance"),
    ],
)
def test_tiles_that_do_not_agree(tmp_path, whole, change, message):
    paths = save(tmp_path, [whole.crop(0, 0, 10, 8), whole.crop(0, 8, 10, 6).replace(**change)])
    with pytest.raises(InputError, match=message) as caught:
        read_mosaic(paths)
    assert "far apart" in message or "tile_1.tif" in str(caught.value)


def test_other_numbers_of_bands(tmp_path, whole):
    paths = save(tmp_path, [whole.crop(0, 0, 10, 8), whole.crop(0, 8, 10, 6).select_bands([0, 1])])
    with pytest.raises(InputError, match=r"tile_1\.tif: cannot be merged with .*tile_0\.tif: 2 bands, not 3"):
        read_mosaic(paths)
    (tmp_path / "same").mkdir()
    same = save(tmp_path / "same", [whole, whole.select_bands([0, 1])])
    with pytest.raises(InputError, match=r"2 bands, not 3; stack=True stacks them"):
        read_mosaic(same)
    assert read_mosaic(same, stack=True).bands == 5
    with pytest.raises(InputError, match="no file is named"):
        read_mosaic([])
    with pytest.raises(InputError, match="does not exist; read_mosaic takes the files that a pattern matches"):
        read(tmp_path / "tile_*.tif")
