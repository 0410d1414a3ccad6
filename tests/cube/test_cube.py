"""Cube: what it accepts, where its gaps are, and how metadata travels along."""

import base64
import copy
import dataclasses
import io
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, MissingDependencyError
from scenes import on_ground

quick = settings(max_examples=25, deadline=None)
sizes = st.integers(1, 5)
shapes = st.tuples(sizes, sizes, sizes)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def full_cube(seed=0, shape=(4, 5, 6)):
    rng = np.random.default_rng(seed)
    valid = rng.random(shape) > 0.2
    return Cube(
        data=np.where(valid, rng.random(shape), np.nan),
        valid=valid,
        wavelengths=[450, 650, 550, np.nan][: shape[0]],
        fwhm=np.arange(10.0, 10 + shape[0]),
        good_bands=[True, False, True, True][: shape[0]],
        band_names=tuple("abcd"[: shape[0]]),
        transform=(30, 1, 600000, -2, -30, 4e6),
        crs="EPSG:32633",
        nodata=-9999.0,
        units="reflectance",
        scale=1e-4,
        offset=0.5,
        attributes={"sensor": "EnMAP"},
        history=({"step": "read"},),
    )


def same(first, second):
    """Whether two cubes hold the same, NaN equal to NaN."""
    for item in dataclasses.fields(Cube):
        one, other = getattr(first, item.name), getattr(second, item.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert one == other, item.name
    return True


@pytest.mark.parametrize("dtype", ["u1", "u2", "<i4", "?", "f2", "f4", ">f4"])
def test_values_become_float32(dtype):
    data = np.array([[[0, 1], [1, 0]]]).astype(dtype)
    cube = Cube(data=data)
    assert cube.data.dtype == np.dtype("f4")
    np.testing.assert_array_equal(cube.data, data)


@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_float64_is_kept_in_native_order(dtype):
    cube = Cube(data=np.full((1, 2, 2), math.pi).astype(dtype))
    assert cube.data.dtype == np.dtype("f8")
    assert cube.data.dtype.isnative
    assert (cube.data == math.pi).all()


def test_a_matrix_is_one_band():
    cube = Cube(data=[[1, 2, 3], [4, 5, 6]], valid=[[True, True, False], [True, True, True]])
    assert (cube.bands, cube.rows, cube.cols) == (1, 2, 3)
    assert cube.valid.tolist() == [[[True, True, False], [True, True, True]]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": np.zeros(3)}, "(bands, rows, cols)"),
        ({"data": np.zeros((1, 2, 3, 4))}, "(bands, rows, cols)"),
        ({"data": np.zeros((0, 2, 3))}, "none of them 0"),
        ({"data": np.zeros((1, 2, 3), complex)}, "real numbers"),
        ({"data": np.full((1, 2, 3), "x")}, "real numbers"),
        ({"wavelengths": [1.0]}, "wavelengths holds 1 values for 2 bands"),
        ({"fwhm": [1.0, 2.0, 3.0]}, "fwhm holds 3 values for 2 bands"),
        ({"good_bands": [True]}, "good_bands holds 1 values for 2 bands"),
        ({"band_names": ["a"]}, "1 band names for 2 bands"),
        ({"transform": (1, 2, 3)}, "six numbers"),
        ({"valid": np.ones((3, 4), bool)}, "valid has the shape (3, 4)"),
    ],
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(InputError) as error:
        Cube(**{"data": np.zeros((2, 3, 4)), **values})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_undeclared_non_finite_values_are_refused_and_counted(bad):
    data = np.zeros((2, 3, 4))
    data[1, 2, :2] = bad
    with pytest.raises(InputError, match=r"^2 values are NaN or infinite .*nodata=nan"):
        Cube(data=data)
    valid = np.ones(data.shape, bool)
    valid[1, 2, 0] = False  # declares one of the two
    with pytest.raises(InputError, match="marked as valid"):
        Cube(data=data, valid=valid)


@quick
@given(shapes.flatmap(lambda shape: hnp.arrays(bool, shape)), st.sampled_from([7.0, 0.0, np.inf, -np.inf, np.nan]))
def test_gaps_hold_nan_whatever_was_in_them(valid, garbage):
    given = np.where(valid, 1.0, garbage)
    before = given.copy()
    cube = Cube(data=given, valid=valid)
    np.testing.assert_array_equal(cube.data, np.where(valid, 1.0, np.nan))
    np.testing.assert_array_equal(given, before)
    assert (cube.valid is None) == valid.all()


def test_a_masked_array_keeps_its_mask():
    masked = np.ma.masked_equal(np.arange(12, dtype="i2").reshape(1, 3, 4), 5)
    cube = Cube(data=masked)
    np.testing.assert_array_equal(cube.valid, ~masked.mask)
    assert np.isnan(cube.data[0, 1, 1])
    other = np.ones((1, 3, 4), bool)
    other[0, 0, 0] = False
    assert np.argwhere(~Cube(data=masked, valid=other).valid).tolist() == [[0, 0, 0], [0, 1, 1]]
    assert Cube(data=np.ma.array(np.zeros((2, 2)))).valid is None


@quick
@given(shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape[0]))))
def test_bands_and_pixels_that_hold_data(arrays):
    valid, good = arrays
    cube = Cube(data=np.zeros(valid.shape), valid=valid, good_bands=good)
    bands, rows, cols = valid.shape
    empty = [not any(valid[b, i, j] for i in range(rows) for j in range(cols)) for b in range(bands)]
    usable = [bool(good[b]) and not empty[b] for b in range(bands)]
    assert cube.empty_bands.tolist() == empty
    assert cube.usable_bands.tolist() == usable
    if not any(usable):
        return
    for i in range(rows):
        for j in range(cols):
            held = [valid[b, i, j] for b in range(bands) if usable[b]]
            assert cube.valid_pixels[i, j] == all(held)
            assert cube.empty_pixels[i, j] == (not any(held))


def test_a_bad_band_does_not_make_a_pixel_a_gap():
    valid = np.ones((2, 1, 2), bool)
    valid[1, 0, 0] = False
    cube = Cube(data=np.zeros((2, 1, 2)), valid=valid, good_bands=[True, False])
    assert cube.valid_pixels.all()
    assert not cube.replace(good_bands=None).valid_pixels.all()


@quick
@given(st.tuples(*[st.floats(-100, 100)] * 6).filter(lambda t: abs(t[0] * t[4] - t[1] * t[3]) > 1e-3), st.data())
def test_a_window_lies_where_it_lay(transform, data):
    cube = Cube(data=np.arange(2 * 7 * 9).reshape(2, 7, 9), transform=transform)
    row, col = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 8))
    rows, cols = data.draw(st.integers(1, 7 - row)), data.draw(st.integers(1, 9 - col))
    window = cube.crop(row, col, rows, cols)
    np.testing.assert_array_equal(window.data, cube.data[:, row : row + rows, col : col + cols])
    assert on_ground(window.transform, 0, 0) == pytest.approx(on_ground(transform, col, row))
    assert on_ground(window.transform, cols, rows) == pytest.approx(on_ground(transform, col + cols, row + rows))


def test_crops_add_up_and_commute_with_selecting_bands():
    cube = full_cube(shape=(4, 8, 9))
    twice = cube.crop(1, 2, 6, 6).crop(2, 1, 3, 4)
    assert same(twice, cube.crop(3, 3, 3, 4))
    assert same(cube.crop(1, 2, 3, 4).select_bands([2, 0]), cube.select_bands([2, 0]).crop(1, 2, 3, 4))


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, -1, 2, 2), (0, 0, 0, 2), (4, 0, 2, 2), (0, 5, 2, 2)])
def test_a_window_beyond_the_image_is_refused(window):
    with pytest.raises(InputError, match="leaves the image of 5x6"):
        full_cube().crop(*window)


def test_selected_bands_take_their_metadata_along():
    cube = full_cube()
    picked = cube.select_bands([2, 0, 2])
    np.testing.assert_array_equal(picked.data, cube.data[[2, 0, 2]])
    np.testing.assert_array_equal(picked.valid, cube.valid[[2, 0, 2]])
    assert picked.wavelengths.tolist() == [550, 450, 550]
    assert picked.fwhm.tolist() == [12, 10, 12]
    assert picked.good_bands.tolist() == [True, True, True]
    assert picked.band_names == ("c", "a", "c")
    assert (picked.crs, picked.transform, picked.history) == (cube.crs, cube.transform, cube.history)
    assert same(cube.select_bands(np.array([True, False, False, True])), cube.select_bands([0, 3]))
    assert same(cube.select_bands(3), cube.select_bands([3]))


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ([], "no band is selected"),
        (np.zeros(4, bool), "no band is selected"),
        ([0, 4], "band 4 is not among 0 to 3"),
        ([-1, 0], "band -1 is not among 0 to 3"),
        (np.array([True, False]), "shape (2,)"),
        (np.ones((4, 4), bool), "shape (4, 4)"),
        ([0.5], "indices or a mask"),
        ([[0, 1]], "indices or a mask"),
    ],
)
def test_bands_that_are_not_there_are_refused(bands, message):
    with pytest.raises(InputError) as error:
        full_cube().select_bands(bands)
    assert message in str(error.value)


def test_resolution_of_a_rotated_grid():
    angle = math.radians(27)
    a, b = 3 * math.cos(angle), -5 * math.sin(angle)
    d, e = 3 * math.sin(angle), 5 * math.cos(angle)
    assert Cube(data=np.zeros((1, 2, 2)), transform=(a, b, 9, d, e, 7)).resolution == pytest.approx((5, 3))
    assert Cube(data=np.zeros((1, 2, 2))).resolution is None


def test_a_cube_cannot_be_assigned_to_but_replaced():
    cube = full_cube()
    with pytest.raises(dataclasses.FrozenInstanceError):
        cube.crs = None
    with pytest.raises(TypeError):
        cube.attributes["sensor"] = "PRISMA"
    other = cube.replace(crs=None, units="radiance")
    assert (other.crs, other.units, cube.crs) == (None, "radiance", "EPSG:32633")
    assert same(other.replace(crs=cube.crs, units=cube.units), cube)


def test_attributes_and_history_are_those_of_the_moment():
    attributes, history = {"a": "1"}, [{"step": "read"}]
    cube = Cube(data=np.zeros((1, 1, 1)), attributes=attributes, history=history)
    attributes["a"] = "2"
    history.append({"step": "fuse"})
    assert dict(cube.attributes) == {"a": "1"}
    assert len(cube.history) == 1


@pytest.mark.parametrize("clone", [lambda cube: pickle.loads(pickle.dumps(cube)), copy.copy, copy.deepcopy])
def test_a_cube_travels_between_processes(clone):
    assert same(clone(full_cube()), full_cube())


def test_without_xarray_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hyperfuse\[xarray\]'"):
        full_cube().to_xarray()


def test_there_and_back_through_xarray():
    pytest.importorskip("xarray")
    cube = full_cube().replace(transform=(30, 0, 600000, 0, -30, 4e6), offset=0.0)
    back = Cube.from_xarray(cube.to_xarray())
    np.testing.assert_array_equal(back.data, cube.data)
    np.testing.assert_array_equal(back.wavelengths, cube.wavelengths)
    assert (back.crs, back.transform, back.band_names) == (cube.crs, cube.transform, cube.band_names)


def test_the_module_loads_nothing_heavy():
    code = "import sys, hyperfuse.cube.cube; print(sorted({'torch', 'rasterio', 'xarray', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cube_is_shown_in_a_line():
    cube = Cube(
        np.zeros((224, 300, 400), np.float32),
        wavelengths=np.linspace(420, 2450, 224),
        transform=(30, 0, 0, 0, -30, 0),
        crs="EPSG:32633",
        units="reflectance\n<b>",
        history=({"step": "x" * 5000},),
    )
    assert repr(cube) == ("Cube(224 bands, 300 x 400 pixels, 420 to 2450 nm, EPSG:32633, pixel 30, reflectance <b>)")
    assert repr(cube.header).startswith("CubeHeader(224 bands")
    gaps = Cube(np.array([[[1.0, np.nan]]]), valid=np.array([[[True, False]]]))
    assert repr(gaps) == "Cube(1 band, 1 x 2 pixels, float64, 50 % gaps)"


def test_a_notebook_shows_a_thumbnail_and_facts():
    images = pytest.importorskip("matplotlib.image")
    data = np.zeros((3, 300, 500), np.float32)
    data[0, :, 250:] = 1
    page = Cube(data, wavelengths=[650, 550, 460], units="<script>")._repr_html_()
    image = page.partition("base64,")[2].partition('"')[0]
    pixels = images.imread(io.BytesIO(base64.b64decode(image)))
    assert pixels.shape == (100, 167, 3)
    np.testing.assert_array_equal(pixels[50, [0, -1]], [[0, 0, 0], [1, 0, 0]])
    assert "<script>" not in page
    assert "true colour (650, 550, 460 nm)" in page
    assert len(page) < 10_000


def test_a_cube_is_drawn_on_axes():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    cube = Cube(np.random.default_rng(0).random((5, 8, 9)), wavelengths=[450, 550, 650, 750, 850])
    axes = cube.plot(figure.add_subplot())
    assert axes.images[0].get_array().shape == (8, 9, 3)
    assert axes.get_title() == "true colour (650, 550, 450 nm)"


def test_the_spectrum_at_a_position():
    data = np.arange(24.0).reshape(2, 3, 4)
    assert Cube(data).spectrum(1, 2).tolist() == [9, 21]
    cube = Cube(data, transform=(30, 0, 600, 0, -30, 900))
    assert cube.spectrum(600.1, 899.9).tolist() == [0, 12]
    assert cube.spectrum(719.9, 810.1).tolist() == [11, 23]
    for position in ((float("nan"), 0.0), (600.0, float("inf"))):
        with pytest.raises(InputError, match="a position has finite coordinates"):
            cube.spectrum(*position)
    with pytest.raises(InputError, match="row 0, column 4, outside the 3 x 4 pixels"):
        cube.spectrum(720, 899)


def test_arrays_of_a_cube_are_read_only_and_those_of_the_caller_are_not():
    data, valid = np.ones((2, 3, 4), np.float32), np.ones((2, 3, 4), np.bool_)
    valid[0, 0, 0] = False
    data[0, 0, 0] = np.nan
    cube = Cube(data, valid=valid, wavelengths=[450, 550], fwhm=[5, 5], good_bands=[True, False])
    for array in (cube.data, cube.valid, cube.wavelengths, cube.fwhm, cube.good_bands, cube.header.wavelengths):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    for changed in (cube.crop(0, 0, 2, 2), cube.select_bands([0]), cube.replace(units="1")):
        assert not changed.data.flags.writeable
    data[:] = 2
    assert cube.data.copy().flags.writeable
    assert np.asarray(cube) is not None
    assert np.shares_memory(np.asarray(cube), cube.data)
    assert np.array(cube, np.float64).dtype == np.float64
