import sys

import numpy as np
import pytest

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError, MissingDependencyError

xarray = pytest.importorskip("xarray")


@pytest.fixture
def cube():
    rng = np.random.default_rng(2)
    return Cube(
        data=rng.random((3, 5, 6)),
        valid=rng.random((3, 5, 6)) < 0.8,
        wavelengths=[450.0, 650.0, 550.0],
        fwhm=[10.0, 11.0, np.nan],
        good_bands=[True, False, True],
        band_names=["blue", "red, far", "grün"],
        transform=(30.0, 0.0, 364095.0, 0.0, -30.0, 5809965.0),
        crs="EPSG:32633",
        nodata=-9999.0,
        units="reflectance",
        scale=1e-4,
        attributes={"sensor": "EnMAP", "odd key": "a\nb", "units": "clash"},
        history=[{"step": "simulate", "ratio": 3}],
    )


def same(first, second):
    for name in ("data", "valid", "wavelengths", "fwhm", "good_bands"):
        assert np.array_equal(
            getattr(first, name), getattr(second, name), equal_nan=name not in ("valid", "good_bands")
        ), name
    for name in ("band_names", "transform", "nodata", "units", "scale", "offset", "attributes", "history"):
        assert getattr(first, name) == getattr(second, name), name
    assert same_crs(first.crs, second.crs)


def test_round_trip(cube):
    same(Cube.from_xarray(cube.to_xarray()), cube)


@pytest.mark.parametrize("transform", [(3.0, 4.0, 7.0, 4.0, -3.0, 9.0), None, (2.0, 0.0, 1.0, 0.0, 2.0, 0.0)])
@pytest.mark.parametrize("crs", [None, "EPSG:4326", "+proj=laea +lat_0=50 +lon_0=7"])
def test_round_trip_of_other_places(cube, transform, crs):
    cube = cube.replace(transform=transform, crs=crs)
    same(Cube.from_xarray(cube.to_xarray()), cube)


def test_bare_cube():
    array = Cube(data=np.ones((2, 3, 4))).to_xarray()
    assert array.dims == ("band", "y", "x")
    assert set(array.coords) == {"band"}
    assert Cube.from_xarray(array).transform is None


def test_rioxarray_understands_it(cube):
    pytest.importorskip("rioxarray")
    array = cube.to_xarray()
    assert array.rio.crs.to_epsg() == 32633
    assert array.rio.transform() == cube.transform
    assert array.rio.encoded_nodata == -9999.0


def test_what_rioxarray_opens(cube, tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    from hyperfuse.io import write

    write(tmp_path / "a.tif", cube)
    for masked in (True, False):
        found = Cube.from_xarray(rioxarray.open_rasterio(tmp_path / "a.tif", masked=masked))
        assert np.allclose(found.data, cube.data, equal_nan=True)
        assert np.array_equal(found.valid, cube.valid)
        assert (found.crs, found.transform) == (cube.crs, cube.transform)


def test_dimensions_in_any_order_and_a_window(cube):
    array = cube.to_xarray().transpose("x", "band", "y").isel(x=slice(2, 5), y=slice(1, None), band=[2, 0])
    found = Cube.from_xarray(array)
    same(found, cube.crop(1, 2, 4, 3).select_bands([2, 0]))


def test_one_band(cube):
    found = Cube.from_xarray(cube.to_xarray().isel(band=2))
    assert found.data.shape == (1, 5, 6)
    assert found.wavelengths.tolist() == [550.0]
    assert found.band_names == ("grün",)


def test_wavelengths_as_the_dimension():
    coords = {"wavelength": ("wavelength", [0.45, 2.2], {"units": "um"})}
    array = xarray.DataArray(np.ones((3, 4, 2)), dims=("lat", "lon", "wavelength"), coords=coords)
    cube = Cube.from_xarray(array)
    assert cube.data.shape == (2, 3, 4)
    assert cube.wavelengths.tolist() == [450.0, 2200.0]


def test_nan_has_to_be_declared():
    array = xarray.DataArray([[[1.0, np.nan]]], dims=("band", "y", "x"), name="toa")
    with pytest.raises(InputError, match=r"toa holds NaN that is not declared; set attrs\['_FillValue'\] = nan"):
        Cube.from_xarray(array)
    array.attrs["_FillValue"] = np.nan
    assert Cube.from_xarray(array).valid.tolist() == [[[True, False]]]
    array.attrs["_FillValue"] = 1.0
    assert not Cube.from_xarray(array).valid.any()


@pytest.mark.parametrize(
    ("values", "message"), [(np.ones(3), "a cube needs a band dimension"), (np.array([["a"]]), "needs real numbers")]
)
def test_what_is_no_cube(values, message):
    with pytest.raises(InputError, match=message):
        Cube.from_xarray(xarray.DataArray(values))


def test_the_package_that_is_missing_is_named(cube, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingDependencyError, match=r"Cube.to_xarray needs the package xarray: pip install 'hyper"):
        cube.to_xarray()
