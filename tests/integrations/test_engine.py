import pickle
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (the accessor .rio)
import xarray

import hyperfuse as hf
from hyperfuse.integrations.engine import HyperfuseBackend

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
CENTRES = [450.0, 550.0, 650.0, 750.0, 850.0]


@pytest.fixture
def cube():
    return hf.Cube(
        np.random.default_rng(0).random((5, 40, 30)).astype(np.float32),
        wavelengths=CENTRES,
        fwhm=[10.0] * 5,
        transform=(30, 0, 600, 0, -30, 900),
        crs="EPSG:32633",
        band_names=tuple("abcde"),
    )


@pytest.fixture(params=["cube.tif", "cube.img", "cube.nc", "cube.mat"])
def file(request, cube, tmp_path):
    hf.write(tmp_path / request.param, cube)
    return tmp_path / request.param


def full(key):
    """A key with one entry per axis."""
    return (*(key if isinstance(key, tuple) else (key,)), *[slice(None)] * 3)[:3]


def opened(file, **options):
    return xarray.open_dataset(file, engine=HyperfuseBackend, **options)


def test_the_installed_package_offers_the_engine_by_name(cube, tmp_path):
    value = PROJECT["entry-points"]["xarray.backends"]["hyperfuse"]
    (found,) = [one for one in entry_points(group="xarray.backends") if one.name == "hyperfuse"]
    assert found.value == value
    assert found.load() is HyperfuseBackend
    hf.write(tmp_path / "cube.tif", cube)
    with xarray.open_dataset(tmp_path / "cube.tif", engine="hyperfuse") as data:
        np.testing.assert_array_equal(data.cube, cube.data)
    with xarray.open_dataset(tmp_path / "cube.tif") as data:
        assert "band_data" in data  # rasterio's engine keeps what it claims


def test_a_file_is_opened_with_wavelengths_and_widths_as_coordinates(file, cube):
    with opened(file) as data:
        assert data.wavelength.values.tolist() == CENTRES
        assert data.fwhm.values.tolist() == [10.0] * 5
        assert data.band_name.values.tolist() == list("abcde")
        assert data.cube.rio.crs == cube.crs
        assert tuple(data.cube.rio.transform())[:6] == tuple(cube.transform)[:6]
        np.testing.assert_array_equal(data.cube, cube.data)
        back = hf.Cube.from_xarray(data.cube)
        assert (back.crs, back.transform, back.band_names) == (cube.crs, cube.transform, cube.band_names)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[1],
        np.s_[:, 3:9:2, ::-1],
        np.s_[1:3, 5:5, :],
        np.s_[::-1, 39, 29],
        np.s_[[3, 0], 2],
        np.s_[:, [5, 1], 4:20:7],
    ],
    ids=str,
)
def test_only_windows_and_bands_that_are_needed_are_read(key, cube, tmp_path, monkeypatch):
    from hyperfuse.integrations import engine

    hf.write(tmp_path / "cube.tif", cube)
    with opened(tmp_path / "cube.tif") as data:
        read, original = [], engine._read

        def watched(source, *window):
            read.append((source.header.bands, *window[2:]))
            return original(source, *window)

        monkeypatch.setattr(engine, "_read", watched)
        # Lists of xarray select along their own axis each.
        index = np.ix_(*(np.atleast_1d(np.arange(size)[one]) for one, size in zip(full(key), cube.shape, strict=True)))
        np.testing.assert_array_equal(data.cube[key], cube.data[index].reshape(data.cube[key].shape))
        assert sum(map(np.prod, read)) < cube.data.size


def test_bands_and_codes_are_those_that_the_caller_states(cube, tmp_path):
    hf.write(tmp_path / "cube.tif", cube)
    with opened(tmp_path / "cube.tif", bands="2-4", wavelengths="450:850:100", scale=2.0) as data:
        assert data.wavelength.values.tolist() == CENTRES[1:4]
        np.testing.assert_array_equal(data.cube[1], cube.data[2] * 2)
        np.testing.assert_array_equal(data.cube, cube.data[1:4] * 2)
    with pytest.raises(hf.InputError, match="bands"):
        opened(tmp_path / "cube.tif", bands="9")
    with opened(tmp_path / "cube.tif", drop_variables=["fwhm"]) as data:
        assert "fwhm" not in data.coords


def test_chunks_are_lazy_and_survive_pickling(cube, tmp_path):
    hf.write(tmp_path / "cube.tif", cube)
    data = opened(tmp_path / "cube.tif", chunks={"y": 16})
    assert data.cube.chunks[1] == (16, 16, 8)
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again.cube, cube.data)
    np.testing.assert_array_equal(data.cube.mean("band"), cube.data.mean(axis=0))


def test_gaps_are_nan(cube, tmp_path):
    valid = np.ones(cube.shape, bool)
    valid[:, 3, 4] = False
    hf.write(tmp_path / "cube.tif", cube.replace(valid=valid, nodata=-9999.0))
    with opened(tmp_path / "cube.tif") as data:
        assert np.isnan(data.cube[:, 3, 4]).all()
        assert int(np.isnan(data.cube).sum()) == 5
        assert data.cube.rio.encoded_nodata == -9999


def test_xarray_loads_the_engine_without_what_reads_files():
    code = (
        "import sys, hyperfuse.integrations.engine as engine; "
        "print([name for name in ('torch', 'rasterio', 'hyperfuse.xarray', 'hyperfuse.io') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
