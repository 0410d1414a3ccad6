"""The metadata of this package in tags that others may have changed: read, or left out with one warning."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.record import HISTORY_TAG, RECORD_TAG, decode_coding, decode_tags, encode_record, encode_tags
from hyperfuse.errors import InputError
from hyperfuse.io import describe, read

FIELDS = (
    *("wavelengths", "fwhm", "good_bands", "band_names", "transform", "crs", "units", "nodata", "scale", "offset"),
    "attributes",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
RECORDS = JSON | st.dictionaries(st.sampled_from([*FIELDS, "coding", "variable"]), JSON, max_size=4)


def decoded(tags):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = decode_tags(tags, (2, 3, 4), "a.tif")
    return header, [str(warning.message) for warning in caught]


@settings(max_examples=400, deadline=None)
@given(RECORDS, JSON)
def test_any_json_makes_a_header_with_at_most_one_warning(record, history):
    header, said = decoded({RECORD_TAG: json.dumps(record), HISTORY_TAG: json.dumps(history)})
    assert len(said) <= 1
    # What was accepted can be described, and be written and read again without a word.
    describe.summary(Cube.from_header(header, np.zeros(header.shape)))
    again, said = decoded(encode_tags(header, encode_record(header, FIELDS)))
    assert (said, again.fields().keys()) == ([], header.fields().keys())


@pytest.mark.parametrize(
    "record",
    [
        *('{"transform": 5}', '{"transform": [0, 0, 1, 0, 0, 2]}', '{"transform": [1, 0, "inf", 0, 1, 2]}'),
        *('{"band_names": 7}', '{"scale": "x"}', '{"scale": 0}', '{"attributes": []}', '{"attributes": {"a": 1}}'),
        *('{"crs": "nowhere"}', '{"wavelengths": [[1], [2]]}', '{"good_bands": [1, 0]}', '{"nodata": true}'),
        *('{"wavelengths": [0, 500]}', '{"fwhm": [-1, 5]}', '{"wavelengths": ["inf", 1]}'),
        *('{"offset": "nan"}', f'{{"nodata": 1{"0" * 400}}}'),
    ],
)
def test_a_damaged_field_is_left_out(record):
    header, said = decoded({RECORD_TAG: record})
    assert said == [f"a.tif: {next(iter(json.loads(record)))} in the tag HYPERFUSE is damaged and left out"]
    assert header.fields().items() == CubeHeader(shape=(2, 3, 4)).fields().items()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"nodata": ' + "9" * 5000 + "}", "5", "\x00", '{"a":' * 99 + "1" + "}" * 99]
)
def test_a_damaged_record_is_left_out(text):
    _, said = decoded({RECORD_TAG: text, HISTORY_TAG: text})
    assert said == ["a.tif: the tag HYPERFUSE, the tag HYPERFUSE_HISTORY are damaged and left out"]


@pytest.mark.parametrize("coding", [5, [1], [0, 0], ["x", 1], [1, None], {"a": 1}, [10**400, 0], [True, 0]])
def test_values_are_not_read_with_a_damaged_coding(coding, tmp_path):
    with pytest.raises(InputError, match="scale and offset in its record HYPERFUSE are damaged; state them with"):
        decode_coding({"coding": coding})
    record = json.dumps({"coding": coding})
    np.savez(tmp_path / "a.npz", cube=np.full((2, 3, 4), 7, np.uint8), HYPERFUSE=np.array(record))
    with pytest.raises(InputError, match=r"a\.npz: scale and offset"):
        read(tmp_path / "a.npz")
    assert read(tmp_path / "a.npz", scale=0.5).data[0, 0, 0] == 3.5


@pytest.mark.parametrize("tag", [np.array([-5, 2**40]), np.array([1.5, np.nan]), np.array(b"\xff"), np.zeros((2, 0))])
def test_a_tag_that_is_no_text_is_damaged(tag, tmp_path):
    np.savez(tmp_path / "a.npz", cube=np.ones((2, 3, 4)), HYPERFUSE=tag)
    with pytest.warns(UserWarning, match=r"a\.npz: the tag HYPERFUSE is damaged and left out"):
        assert read(tmp_path / "a.npz").bands == 2
