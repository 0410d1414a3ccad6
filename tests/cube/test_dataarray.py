import sys

import numpy as np
import pytest

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError, MissingDependencyError

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
        array = rioxarray.open_rasterio(tmp_path / "a.tif", masked=masked)
        with pytest.warns(HyperfuseWarning, match="bbl, fwhm, wavelength are of other bands, or of the first alone"):
            found = Cube.from_xarray(array)
        assert np.allclose(found.data, cube.data, equal_nan=True)
        assert np.array_equal(found.valid, cube.valid)
        assert (found.crs, found.transform) == (cube.crs, cube.transform)


def test_dimensions_in_any_order_and_a_window(cube):
    array = cube.to_xarray().transpose("x", "band", "y").isel(x=slice(2, 5), y=slice(1, None), band=[2, 0])
    found = Cube.from_xarray(array)
    same(found, cube.crop(1, 2, 4, 3).select_bands([2, 0]))


def test_axes_of_one_entry_are_dropped(cube):
    array = cube.to_xarray().expand_dims(time=["2024-05-01"], level=[1])
    assert array.ndim == 5
    same(Cube.from_xarray(array), cube)


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


def envi(path):
    """Write an ENVI file of int16 with a gap, scaled, of three bands of which the second is bad."""
    stored = np.full((3, 4, 5), 1853, np.int16)
    stored[0, 0, 0], stored[2] = -9999, 2000
    stored.tofile(path)
    header = "ENVI\nsamples = 5\nlines = 4\nbands = 3\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
    header += "wavelength = {450, 550, 650}\nfwhm = {10, 11, 12}\nwavelength units = Nanometers\nbbl = {1, 0, 1}\n"
    header += "data ignore value = -9999\nreflectance scale factor = 10000\nband names = {a, b, c}\n"
    header += "map info = {UTM, 1, 1, 400000, 5800000, 30, 30, 33, North, WGS-84}\n"
    path.with_suffix(".hdr").write_text(header)


def geotiff(path):
    rasterio = pytest.importorskip("rasterio")
    stored = np.full((3, 4, 5), 1853, np.int16)
    stored[0, 0, 0] = -9999
    grid = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 4e5, 0, -30, 5.8e6)}
    size = {"count": 3, "height": 4, "width": 5}
    with rasterio.open(path, "w", driver="GTiff", dtype="int16", nodata=-9999, **size, **grid) as file:
        file.write(stored)
        file.scales, file.offsets = [1e-4] * 3, [0.0] * 3
        file.descriptions = ["blue", "green", "red"]


HOW = [{}, {"masked": True}, {"mask_and_scale": True}]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("make", [envi, geotiff])
def test_what_rioxarray_opens_is_what_is_read(tmp_path, make, how):
    rioxarray = pytest.importorskip("rioxarray")
    from hyperfuse.io import read

    path = tmp_path / "a.img"
    make(path)
    array = rioxarray.open_rasterio(path, **how)
    for found, whole in (
        (Cube.from_xarray(array), read(path)),
        (Cube.from_xarray(array[[2, 0]]), read(path).select_bands([2, 0])),
    ):
        assert found.data.dtype == np.float32
        np.testing.assert_allclose(found.data, whole.data, rtol=1e-6)
        np.testing.assert_array_equal(found.valid, whole.valid)
        for name in ("wavelengths", "fwhm", "good_bands"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
        assert (found.transform, found.crs, found.nodata) == (whole.transform, whole.crs, -9999.0)
        assert (found.scale, found.offset) == (1e-4, 0.0)
        assert found.band_names == whole.band_names


@pytest.mark.parametrize("how", HOW)
def test_scales_of_each_band(tmp_path, how):
    rasterio, rioxarray = pytest.importorskip("rasterio"), pytest.importorskip("rioxarray")
    profile = {"driver": "GTiff", "dtype": "int16", "count": 3, "height": 4, "width": 5}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, transform=rasterio.Affine(1, 0, 0, 0, -1, 0)) as file:
        file.write(np.full((3, 4, 5), 1000, np.int16))
        file.scales, file.offsets = [1e-4, 2e-4, 3e-4], [0.0, 0.1, 0.2]
    array = rioxarray.open_rasterio(tmp_path / "a.tif", **how)
    np.testing.assert_allclose(Cube.from_xarray(array).data[:, 0, 0], [0.1, 0.3, 0.5], rtol=1e-6)
    np.testing.assert_allclose(Cube.from_xarray(array[2]).data[:, 0, 0], [0.5], rtol=1e-6)


def test_a_band_does_not_get_the_wavelength_of_another():
    attrs = {"wavelength": 450.0, "fwhm": 10.0}  # of the first band, as rioxarray gives the tags of a GeoTIFF
    array = xarray.DataArray(np.ones((3, 4, 5)), {"band": [1, 2, 3]}, ("band", "y", "x"), attrs=attrs)
    with pytest.warns(HyperfuseWarning, match="wavelength, fwhm are of other bands, or of the first alone"):
        assert Cube.from_xarray(array[1]).wavelengths is None
    assert Cube.from_xarray(array[0]).wavelengths.tolist() == [450.0]


@pytest.mark.parametrize("decoded", [True, False])
def test_ranges_unsigned_numbers_and_fill_values_are_applied_once(decoded):
    attrs = {"valid_range": np.array([10, 200], np.int16), "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": 99}
    stored = xarray.DataArray(np.array([[[9, 10], [99, 200]]], np.int16), dims=("band", "y", "x"), attrs=attrs)
    array = xarray.decode_cf(stored.to_dataset(name="a")).a if decoded else stored
    cube = Cube.from_xarray(array)
    np.testing.assert_array_equal(cube.data, [[[np.nan, 6.0], [np.nan, 101.0]]])
    assert (cube.scale, cube.offset, cube.nodata) == (0.5, 1.0, 99.0)
    bytes_ = xarray.DataArray(np.array([[[10, 127], [-128, -1]]], np.int8), dims=("band", "y", "x"))
    bytes_.attrs["_Unsigned"] = "true"
    array = xarray.decode_cf(bytes_.to_dataset(name="a")).a if decoded else bytes_
    assert Cube.from_xarray(array).data.ravel().tolist() == [10.0, 127.0, 128.0, 255.0]
