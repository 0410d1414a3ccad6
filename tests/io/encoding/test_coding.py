"""What values become in a file and back: scale, offset, gaps, integers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.coding import BandCoding, decode_cube, encode
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions


def decoded(stored, coding=None, **options):
    stored = np.asarray(stored)
    return decode_cube(CubeHeader(shape=stored.shape), stored, coding or BandCoding(), ReadOptions(**options), "a.tif")


def encoded(cube, dtype="float32", nodata=None):
    return encode(cube, WriteOptions(dtype=dtype, nodata=nodata))


STORED = np.arange(1, 9, dtype=np.int16).reshape(2, 2, 2)


@settings(max_examples=50, deadline=None)
@given(
    scale=st.floats(1e-5, 1e3) | st.floats(-1e3, -1e-5),
    offset=st.floats(-1e3, 1e3),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
)
def test_value_is_scale_times_stored_plus_offset(scale, offset, dtype):
    stored = STORED.astype(dtype)
    expected = [scale * number + offset for number in range(1, 9)]
    for cube in (decoded(stored, BandCoding((scale,), (offset,))), decoded(stored, scale=scale, offset=offset)):
        assert np.allclose(cube.data.ravel(), expected, rtol=1e-6, atol=1e-6 * (abs(scale) + abs(offset)))
        assert (cube.scale, cube.offset) == (scale, offset)


def test_the_caller_replaces_what_the_file_says_with_a_warning():
    with pytest.warns(HyperfuseWarning, match=r"a\.tif: the file states scale 0\.1 and offset 2; scale 0\.5 and"):
        cube = decoded(STORED, BandCoding((0.1,), (2.0,)), scale=0.5)
    assert np.array_equal(cube.data, STORED * 0.5)
    assert np.array_equal(decoded(STORED, BandCoding((0.5,), (0.0,)), scale=0.5).data, STORED * 0.5)


@pytest.mark.parametrize(
    ("options", "message"), [({"scale": 0.0}, "scale=0 would"), ({"offset": math.inf}, "offset=inf is not")]
)
def test_scales_without_sense(options, message):
    with pytest.raises(InputError, match=message):
        ReadOptions(**options)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_nodata_of_the_file_and_of_the_caller_are_both_gaps(dtype):
    stored = STORED.astype(dtype)
    cube = decoded(stored, BandCoding((2.0,), (1.0,), (3.0,)), nodata=5)
    assert np.array_equal(cube.valid, (STORED != 3) & (STORED != 5))
    assert cube.nodata == 5.0
    assert np.isnan(cube.data[~cube.valid]).all()
    assert np.array_equal(cube.data[cube.valid], (2.0 * STORED + 1)[cube.valid])
    assert decoded(stored, BandCoding((1.0,), (0.0,), (3.0,))).nodata == 3.0


def test_nodata_of_single_bands():
    cube = decoded(STORED, BandCoding(nodata=(1.0, 8.0)))
    assert np.argwhere(~cube.valid).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_nodata_that_an_integer_cannot_be_marks_nothing():
    for nodata in (math.nan, 0.5, 1e6, -math.inf):
        assert decoded(STORED, nodata=nodata).valid is None


def test_float32_nodata_matches_what_the_file_holds():
    stored = np.array([[[-3.4028234663852886e38, 0.1]]], np.float32)
    assert decoded(stored, nodata=-3.4028234663852886e38).valid.tolist() == [[[False, True]]]
    assert decoded(stored, nodata=0.1).valid.tolist() == [[[True, False]]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_to_be_declared(wrong):
    stored = np.array([[[1.0, wrong, -9999.0]]], np.float32)
    for coding in (BandCoding(), BandCoding(nodata=(-9999.0,))):
        with pytest.raises(InputError, match=r"1 values are NaN or infinite and not declared as gaps; .* nodata=nan"):
            decoded(stored, coding)
        assert decoded(stored, coding, nodata=math.nan).valid[0, 0, 1].item() is False
    cube = decoded(stored, BandCoding(nodata=(math.nan,)), nodata=-9999.0)
    assert cube.valid.tolist() == [[[True, False, False]]]


def test_a_mask_of_the_file_declares_what_is_under_it():
    stored = np.array([[[1.0, np.nan]], [[2.0, 3.0]]], np.float32)
    cube = decoded(stored, BandCoding(masked=np.array([[False, True]])))
    assert cube.valid.tolist() == [[[True, False]], [[True, False]]]


def test_types_of_values():
    assert decoded(STORED).data.dtype == np.float32
    assert decoded(STORED.astype(np.float16)).data.dtype == np.float32
    assert decoded(STORED.astype(">f8")).data.dtype == np.float64
    assert decoded(STORED.astype(np.int64)).data.dtype == np.float32
    large = decoded(STORED.astype(np.int64) + 2**30)
    assert large.data.dtype == np.float64
    assert large.data[0, 0, 0] == 2**30 + 1
    assert decoded(STORED > 4).data.tolist() == (STORED > 4).astype(float).tolist()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_integers_are_rounded_to_the_nearest(data):
    dtype = np.dtype(data.draw(st.sampled_from(["uint8", "int8", "int16", "uint16", "int32", "uint32"])))
    scale, offset = data.draw(st.floats(1e-4, 10)), data.draw(st.floats(-5, 5))
    limits = np.iinfo(dtype)
    number = st.integers(max(limits.min, -60_000), min(limits.max, 60_000))
    numbers = data.draw(st.lists(number, min_size=4, max_size=4))
    fraction = data.draw(st.floats(-0.4, 0.4))
    inside = [min(max(number + fraction, limits.min), limits.max) for number in numbers]
    values = np.array(inside).reshape(1, 2, 2) * scale + offset
    if max(map(abs, numbers)) < 10:
        return
    found = encoded(Cube(data=values, scale=scale, offset=offset), dtype)
    assert found.stored.ravel().tolist() == numbers
    assert (found.coding.scale, found.coding.offset, found.coding.nodata) == (scale, offset, None)


@pytest.mark.parametrize(("value", "dtype"), [(-1.0, "uint8"), (256.0, "uint8"), (40_000.0, "int16"), (5e9, "int32")])
def test_values_that_do_not_fit(value, dtype):
    with pytest.raises(InputError, match=rf"values do not fit {dtype} with scale 1 .*write float32, a wider dtype"):
        encoded(Cube(data=np.array([[[20.0, value]]])), dtype)


def test_values_that_would_fall_together():
    reflectance = Cube(data=np.linspace(0.01, 0.9, 6).reshape(1, 2, 3))
    with pytest.raises(InputError, match=r"uint16 with scale 1 .* would leave 2 distinct values; .* set the"):
        encoded(reflectance, "uint16")
    assert encoded(reflectance.replace(scale=1e-4), "uint16").stored.max() == 9000
    mask = Cube(data=np.array([[[0.0, 1.0]]]))
    assert encoded(mask, "uint8").stored.tolist() == [[[0, 1]]]


def test_floats_that_do_not_fit():
    with pytest.raises(InputError, match="values do not fit float32; write float64"):
        encoded(Cube(data=np.array([[[1e39]]])), "float32")
    with pytest.raises(InputError, match=r"nodata=1e\+39 does not fit float32"):
        encoded(Cube(data=np.ones((1, 1, 1))), "float32", nodata=1e39)


@pytest.mark.parametrize(
    ("dtype", "own", "specified", "mark"),
    [
        ("float32", None, None, math.nan),
        ("float64", -9999.0, None, -9999.0),
        ("float32", -9999.0, math.nan, math.nan),
        ("int16", None, None, -32768.0),
        ("uint8", None, None, 0.0),
        ("uint16", -9999.0, None, 0.0),
        ("int16", math.nan, None, -32768.0),
        ("int16", -9999.0, None, -9999.0),
        ("uint16", None, 65535, 65535.0),
    ],
)
def test_the_mark_of_gaps(dtype, own, specified, mark):
    valid = np.array([[[True, False]], [[False, False]]])
    found = encoded(Cube(data=np.full((2, 1, 2), 17.0), valid=valid, nodata=own), dtype, specified)
    assert np.array_equal(found.coding.nodata, mark, equal_nan=True)
    assert np.array_equal(found.stored, np.where(valid, 17, mark), equal_nan=True)


@pytest.mark.parametrize("nodata", [math.nan, -1, 70_000, 0.5])
def test_a_mark_that_does_not_fit(nodata):
    with pytest.raises(InputError, match="does not fit uint16; give another nodata or dtype"):
        encoded(Cube(data=np.ones((1, 1, 1))), "uint16", nodata)


@pytest.mark.parametrize(("dtype", "nearest"), [("float32", 1e-44), ("uint8", 1), ("int16", 1)])
def test_a_value_that_equals_the_mark_is_moved_to_the_next_number(dtype, nearest):
    cube = Cube(data=np.array([[[0.0, 20.0, 30.0]]]), valid=np.array([[[True, True, False]]]), nodata=0.0)
    with pytest.warns(HyperfuseWarning, match="1 values equal nodata 0 and are written as"):
        stored = encoded(cube, dtype).stored
    assert stored[0, 0, 1:].tolist() == [20, 0]
    assert 0 < stored[0, 0, 0] <= nearest
    again = decoded(stored, BandCoding(nodata=(0.0,)))
    assert np.array_equal(again.valid, cube.valid)


def test_bare_float32_is_not_copied():
    data = np.ones((2, 3, 4), np.float32)
    assert np.shares_memory(encoded(Cube(data=data)).stored, data)
    assert np.shares_memory(decoded(data).data, data)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    scale=st.sampled_from([1.0, 0.5, -0.25, 1e-4]),
    offset=st.sampled_from([0.0, 16.0, -0.1]),
    nodata=st.sampled_from([None, 0.0, 7.0]),
    gaps=st.booleans(),
)
def test_what_is_encoded_is_decoded_to_the_same(seed, dtype, scale, offset, nodata, gaps):
    rng = np.random.default_rng(seed)
    codes = rng.integers(10, 200, (2, 4, 5))
    valid = rng.random(codes.shape) > 0.3 if gaps else None
    cube = Cube(data=codes * scale + offset, valid=valid, scale=scale, offset=offset, nodata=nodata)
    # Floats are stored as they are; one that equals the mark of gaps is moved, see above.
    assume(dtype[0] != "f" or nodata not in cube.data)
    stored, coding = encoded(cube, dtype)
    stated = BandCoding((coding.scale,), (coding.offset,), (coding.nodata,))
    again = decode_cube(cube.header, stored, stated, ReadOptions(), "a.tif")
    exact = dtype[0] != "f"
    np.testing.assert_allclose(again.data, cube.data, rtol=1e-6 if exact else 1e-7, atol=1e-6 * abs(scale))
    np.testing.assert_array_equal(np.isnan(again.data), np.isnan(cube.data))
    assert (again.scale, again.offset) == (scale, offset)
    twice = encoded(again, dtype)
    assert twice.coding == coding or math.isnan(coding.nodata)
    np.testing.assert_array_equal(twice.stored, stored)


def test_values_beyond_their_type_are_reported_as_such():
    stored = np.full((1, 2, 2), 1e20, np.float32)
    with pytest.raises(InputError, match=r"values at scale 1e\+20 and offset 0 exceed float32"):
        decoded(stored, BandCoding(scale=(1e20,)))
    np.testing.assert_allclose(decoded(stored.astype(np.float64), BandCoding(scale=(1e20,))).data, 1e40, rtol=1e-6)
