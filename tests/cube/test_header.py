"""CubeHeader: what a cube knows without its values, and its ways through text and CF conventions."""

import copy
import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cf import decode_header, encode_attributes, encode_coordinates, encode_variable
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Coding, CubeHeader, as_affine, six_numbers
from hyperfuse.cube.record import decode_tags, encode_record, encode_tags
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError

quick = settings(max_examples=40, deadline=None)
FIELDS = (
    *("wavelengths", "fwhm", "good_bands", "band_names", "transform", "crs", "units", "nodata", "scale", "offset"),
    "attributes",
)


@st.composite
def headers(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(2, 6)))

    def per_band(values):
        return st.none() | st.lists(values, min_size=shape[0], max_size=shape[0])

    x, y, size = draw(st.floats(-1e6, 1e6)), draw(st.floats(-1e6, 1e6)), draw(st.sampled_from([0.5, 30.0, 3.3]))
    north_up, rotated = Affine(size, 0, x, 0, -size, y), Affine(size, size / 2, x, size / 2, -size, y)
    return CubeHeader(
        shape=shape,
        wavelengths=draw(per_band(st.floats(200, 15_000))),
        fwhm=draw(per_band(st.floats(0.1, 300))),
        good_bands=draw(per_band(st.booleans())),
        band_names=draw(per_band(st.text(min_size=1, max_size=5))),
        transform=draw(st.sampled_from([None, north_up, rotated])),
        crs=draw(st.sampled_from([None, "EPSG:32633", "EPSG:4326"])),
        coding=Coding(
            draw(st.sampled_from([1.0, 1e-4])),
            draw(st.sampled_from([0.0, -0.1])),
            draw(st.sampled_from([None, -9999.0, 0.0])),
            draw(st.sampled_from([None, "reflectance"])),
        ),
        attributes=draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
        history=({"step": "read"},),
    )


def same(first, second):
    for name, value in first.fields().items():
        other = second.fields()[name]
        assert (value is None) == (other is None), name
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
        else:
            assert value == other, name
    return first.shape == second.shape


@quick
@given(headers())
def test_a_record_is_read_back_as_it_was_written(header):
    tags = encode_tags(header, encode_record(header, FIELDS))
    assert all(text.isascii() and "\n" not in text for text in tags.values())
    assert same(decode_tags(tags, header.shape, "a.tif"), header)


@quick
@given(headers())
def test_cf_is_read_back_as_it_was_written(header):
    variables, attrs = encode_coordinates(header), encode_attributes(header, ("scale", "offset", "nodata"))
    values = encode_variable(variables, Coding(units=header.coding.units))
    dims = {"b": "band", "r": "y", "c": "x"}
    assert same(decode_header(variables, attrs, values, dims, header.shape, "a.nc"), header)


@quick
@given(headers(), st.data())
def test_a_header_is_cut_as_its_cube(header, data):
    cube = Cube.from_header(header, np.zeros(header.shape))
    assert same(cube.header, header)
    bands = data.draw(st.lists(st.integers(0, header.bands - 1), min_size=1))
    assert same(header.select_bands(bands), cube.select_bands(bands).header)
    window = Window(1, 0, header.rows - 1, header.cols - 1)
    assert same(header.crop(*window), cube.crop(*window).header)
    assert header.crop(*window).shape == cube.crop(*window).data.shape


@pytest.mark.parametrize("clone", [lambda header: pickle.loads(pickle.dumps(header)), copy.copy, copy.deepcopy])
def test_a_header_travels_between_processes(clone):
    header = CubeHeader(shape=(1, 2, 3), transform=(30, 0, 1, 0, -30, 2), attributes={"a": "b"})
    assert same(clone(header), header)


def test_fields_of_the_coding_are_replaced_like_the_others():
    header = CubeHeader(shape=(1, 2, 3)).replace(nodata=-1.0, units="reflectance", crs="EPSG:32633")
    assert header.coding == Coding(nodata=-1.0, units="reflectance")
    assert header.update({"crs": None, "scale": 0.5}).crs == "EPSG:32633"


def test_a_transform_is_an_affine_or_its_six_numbers():
    numbers = (30.0, 1.0, 2.0, 3.0, -30.0, 4.0)
    for given_as in (numbers, list(numbers), Affine(*numbers), np.array(numbers)):
        assert CubeHeader(shape=(1, 1, 1), transform=given_as).transform == Affine(*numbers)
    assert six_numbers(as_affine(numbers)) == numbers
    with pytest.raises(InputError, match=r"six numbers \(a, b, c, d, e, f\), got range"):
        as_affine(range(9))
    for flat in ((0, 0, 5, 0, 0, 5), (1, 2, 0, 2, 4, 0), (float("nan"), 0, 0, 0, 1, 0), (1, 0, float("inf"), 0, 1, 0)):
        with pytest.raises(InputError, match="a transform with pixels of no size"):
            as_affine(flat)


@pytest.mark.parametrize("name", ["wavelengths", "fwhm"])
@pytest.mark.parametrize("value", [-1, 0, float("inf")])
def test_wavelengths_and_widths_are_positive_or_unknown(name, value):
    with pytest.raises(InputError, match=f"{name} are in nm, NaN where unknown; got {value}") as caught:
        CubeHeader(shape=(3, 1, 1), **{name: [500, float("nan"), value]})
    assert caught.value.parameter == name


def test_windows_are_seen_from_other_images():
    assert Window(2, 3, 4, 5).moved(10, -1) == Window(12, 2, 4, 5)
    assert np.ones((20, 20))[Window(2, 3, 4, 5).slices].shape == (4, 5)
