import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import ReadOptions, WriteOptions, parse_bands, read, read_mosaic, split_variable, write
from hyperfuse.io.encoding.options import bands_first, parse_axes
from hyperfuse.io.windows.open import open_windows


def read_mosaic_of_one(path, options=None, **keywords):
    return read_mosaic([path], options, **keywords)


@given(st.lists(st.integers(0, 40), min_size=1, unique=True))
def test_bands_are_counted_from_one(index):
    assert parse_bands(",".join(str(band + 1) for band in index), 41) == index


def test_ranges_of_bands():
    assert parse_bands("1-31,40", 40) == [*range(31), 39]
    assert parse_bands(" 7 - 8 , 2 ", 8) == [6, 7, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-3", "there are bands 1 to 10, not 0"),
        ("4,11", "there are bands 1 to 10, not 11"),
        ("5-3", "the range 5-3 runs backwards"),
        ("1,2-4,3", "band 3 is named twice"),
        ("", "'' is neither a number nor a range"),
        ("1,,2", "is neither a number nor a range"),
        ("red", "'red' is neither a number nor a range; write 1-31,40"),
        ("-3", "'-3' is neither"),
    ],
)
def test_wrong_bands(text, message):
    with pytest.raises(InputError, match=message):
        parse_bands(text, 10)


def test_wrong_indices(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2, 2)))
    with pytest.raises(InputError, match=r"a\.npy: band index 3 is not among 0 to 2"):
        read(tmp_path / "a.npy", bands=[0, 3])
    with pytest.raises(InputError, match="no band is selected"):
        read(tmp_path / "a.npy", bands=[])


@pytest.mark.parametrize("text", ["rows,cols,bands", "rcb", "yxb", "Row, Col, Band", "y,x,b"])
def test_axes_spelled_in_many_ways(text):
    assert parse_axes(text) == "rcb"
    array = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(bands_first(array, parse_axes(text)), np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("text", ["", "rr", "rows,cols", "bb,r,c", "rows,cols,time", "brcb", "b"])
def test_wrong_axes(text):
    if text == "rows,cols":
        with pytest.raises(InputError, match=r"has the shape \(2, 3, 4\)"):
            bands_first(np.ones((2, 3, 4)), parse_axes(text))
        return
    with pytest.raises(InputError, match="has to name each of bands, rows, cols once"):
        parse_axes(text)


def test_axes_are_refused_where_the_file_knows_them(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"a\.tif: is a raster, which states its axes; leave out axes"):
        read(tmp_path / "a.tif", axes="rcb")


@pytest.mark.parametrize(
    ("path", "file", "variable"),
    [
        ("scene.mat:orig", "scene.mat", "orig"),
        ("data/scene.nc:group/toa", "data/scene.nc", "group/toa"),
        (r"C:\data\scene.mat", r"C:\data\scene.mat", None),
        (r"C:\data\scene.mat:orig", r"C:\data\scene.mat", "orig"),
        ("C:/data/scene.MAT:orig", "C:/data/scene.MAT", "orig"),
        ("scene.mat:", "scene.mat:", None),
        ("scene.mat", "scene.mat", None),
        ("10:30.tif", "10:30.tif", None),
        ("10:30.mat:cube", "10:30.mat", "cube"),
    ],
)
def test_splitting_of_a_variable(path, file, variable):
    found, name = split_variable(path)
    assert (os.fspath(found), name) == (file, variable)


def test_a_file_whose_name_has_a_colon_is_itself(tmp_path):
    np.save(tmp_path / "a.mat:b.npy", np.ones((2, 2, 2)))
    assert read(tmp_path / "a.mat:b.npy").bands == 2
    (tmp_path / "scene.mat:orig").write_bytes(b"")
    with pytest.raises(InputError, match=r"scene\.mat:orig: is empty"):
        read(tmp_path / "scene.mat:orig")


@pytest.mark.parametrize("function", [read, read_mosaic_of_one, open_windows])
def test_options_as_a_whole_or_as_keywords(function, tmp_path):
    write(tmp_path / "a.tif", Cube(data=np.arange(24.0).reshape(2, 3, 4)))
    file = tmp_path / "a.tif"
    whole, keywords = function(file, ReadOptions(bands="2", scale=2.0)), function(file, bands="2", scale=2.0)
    assert whole.header.shape == keywords.header.shape == (1, 3, 4)
    assert whole.header.coding == keywords.header.coding
    with pytest.raises(InputError, match="options and bands are both given; put bands into options"):
        function(file, ReadOptions(), bands="2")
    with pytest.raises(InputError, match="no parameter"):
        function(file, colour="red")


def test_options_of_writing_as_a_whole_or_as_keywords(tmp_path):
    cube = Cube(data=np.arange(24.0).reshape(2, 3, 4))
    write(tmp_path / "a.tif", cube, WriteOptions(dtype="uint8", compress="lzw"))
    write(tmp_path / "b.tif", cube, dtype="uint8", compress="lzw")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with pytest.raises(InputError, match="options and dtype are both given"):
        write(tmp_path / "c.tif", cube, WriteOptions(), dtype="uint8")
    with pytest.raises(InputError, match=r"c\.npy: version is not an option of NumPy array; it takes none of its own"):
        write(tmp_path / "c.npy", cube, version="7.3")


def test_quality_of_tiles_is_not_ignored(tmp_path):
    for name, x in (("a.tif", 0), ("b.tif", 40)):
        write(tmp_path / name, Cube(data=np.ones((1, 3, 4)), transform=(10, 0, x, 0, -10, 0)))
    with pytest.raises(InputError, match=r"a\.tif: quality is for products"):
        read_mosaic([tmp_path / "a.tif", tmp_path / "b.tif"], quality="clear")


@pytest.mark.parametrize("reader", [read, open_windows])
def test_errors_that_name_the_file_keep_the_parameter(tmp_path, reader):
    write(tmp_path / "a.tif", Cube(data=np.ones((2, 3, 4))))
    with pytest.raises(InputError, match=r"^[^:]*a\.tif: bands='9': there are bands 1 to 2, not 9$") as caught:
        reader(tmp_path / "a.tif", bands="9")
    assert caught.value.parameter == "bands"
    with pytest.raises(InputError, match=r"b\.tif: interleave='bsq' is not one of") as caught:
        write(tmp_path / "b.tif", Cube(data=np.ones((2, 3, 4))), interleave="bsq")
    assert caught.value.parameter == "interleave"


@pytest.mark.parametrize("text", ["9" * 5000, f"1-{'9' * 5000}"])
def test_bands_of_thousands_of_digits(text):
    with pytest.raises(InputError, match="is neither a number nor a range") as caught:
        parse_bands(text, 5)
    assert len(str(caught.value)) < 300
