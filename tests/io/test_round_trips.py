"""What every format owes: a cube that is written and read again is the same."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io import FORMATS, read, write

WHOLE = {
    "tif": {},
    "cog.tif": {"cog": True},
    "pixel.tif": {"interleave": "pixel", "compress": "zstd"},
    "img": {},
    "bil": {},
    "bip": {},
    "nc": {},
    "deflate.nc": {"compress": "deflate"},
    "5.mat": {"version": "5"},
    "73.mat": {"version": "7.3", "compress": "deflate"},
    "npz": {},
    "zarr": {},
}
formats = pytest.mark.parametrize("ending", WHOLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round_trips")


def test_every_writable_format_is_tested():
    written = {ending.rpartition(".")[2] for ending in WHOLE} | {"npy"}
    assert all(written & {suffix[1:] for suffix in entry.extensions} for entry in FORMATS if entry.writer is not None)


@formats
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_cube_survives(ending, folder, cubes, assert_same, data):
    cube = data.draw(cubes)
    file = folder / ending / f"any.{ending}"
    file.parent.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        # A header of ENVI cannot place an image whose transform turns it upside down; ours says so and keeps it.
        warnings.filterwarnings("ignore", "any.*an ENVI header", HyperfuseWarning)
        write(file, cube, dtype=cube.data.dtype, overwrite=True, **WHOLE[ending])
    assert_same(read(file), cube)


@formats
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_stored_integers_come_back_exactly(ending, dtype, tmp_path, assert_same, rng_codes):
    codes, valid = rng_codes(dtype)
    cube = Cube(data=codes * 0.125 - 2.0, valid=valid, nodata=0.0, scale=0.125, offset=-2.0)
    file = tmp_path / f"codes.{ending}"
    write(file, cube, dtype=dtype, **WHOLE[ending])
    found = read(file)
    assert found.nodata == 0.0
    assert_same(found, cube)


@pytest.fixture
def rng_codes():
    def make(dtype):
        rng = np.random.default_rng(3)
        high = 200 if dtype == "uint8" else 30_000
        return rng.integers(17, high, (3, 5, 4)).astype(np.float64), rng.random((3, 5, 4)) < 0.8

    return make


@formats
def test_scene_in_integers(ending, scene, tmp_path, assert_same):
    file = tmp_path / f"scene.{ending}"
    write(file, scene, dtype="int16", **WHOLE[ending])
    found = read(file)
    assert_same(found, scene, leave_out=["data"])
    assert np.nanmax(np.abs(found.data - scene.data)) < 1e-7


@formats
def test_chosen_bands_keep_what_is_theirs(ending, scene, tmp_path, assert_same):
    file = tmp_path / f"scene.{ending}"
    write(file, scene, **WHOLE[ending])
    assert_same(read(file, bands="5,1-2"), scene.select_bands([4, 0, 1]))
    assert_same(read(file, bands=[4, 0, 1]), scene.select_bands([4, 0, 1]))


@formats
def test_one_band_and_float_metadata_only(ending, tmp_path, assert_same):
    cube = Cube(data=np.arange(12.0, dtype=np.float32).reshape(1, 3, 4))
    file = tmp_path / f"plain.{ending}"
    write(file, cube, **WHOLE[ending])
    assert_same(read(file), cube)


@formats
def test_same_cube_twice_reads_the_same_after_two_writes(ending, scene, tmp_path, assert_same):
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    write(first, scene, **WHOLE[ending])
    write(second, read(first), **WHOLE[ending])
    assert_same(read(second), scene)


@formats
@pytest.mark.slow
def test_large_enough_for_tiles_and_chunks(ending, tmp_path, assert_same):
    rng = np.random.default_rng(0)
    cube = Cube(data=rng.random((20, 300, 310), dtype=np.float32), wavelengths=np.linspace(400, 2500, 20))
    file = tmp_path / f"large.{ending}"
    write(file, cube, **WHOLE[ending])
    assert_same(read(file), cube)
