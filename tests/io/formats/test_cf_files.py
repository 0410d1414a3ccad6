"""netCDF, HDF5 and Zarr as others write them: coded, placed and oriented as their attributes state."""

import contextlib

import h5py
import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read
from hyperfuse.io.windows.open import open_windows

STEP = 1e-4


def store(path, values, dims=("band", "y", "x"), coords=None, mapping=None, **attrs):
    """Write a netCDF-4 file: a variable, its coordinates as {name: (values, attributes)}, a grid mapping ``crs``."""
    values = np.asarray(values)
    with h5py.File(path, "w") as file:
        for name, size in zip(dims, values.shape, strict=True):
            stored, about = (coords or {}).get(name, (np.arange(size, dtype=np.float64), {}))
            file[name] = stored
            file[name].attrs.update(about)
            file[name].make_scale(name)
        for name, (stored, about) in (coords or {}).items():
            if name not in dims:
                file[name] = stored
                file[name].attrs.update(about)
        file["data"] = values
        for axis, name in enumerate(dims):
            file["data"].dims[axis].attach_scale(file[name])
        file["data"].attrs.update(attrs)
        if mapping is not None:
            file["crs"] = 0
            file["crs"].attrs.update(mapping)
    return path


def by_xarray(path, **how):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(path, engine="h5netcdf", **how) as file:
        return file.load()


def degrees(kind, rows=40, cols=50, step=STEP):
    lat = 52.12345 - step * np.arange(rows)
    lon = 13.54321 + step * np.arange(cols)
    return {"lat": (lat.astype(kind), {"units": "degrees_north"}), "lon": (lon.astype(kind), {"units": "degrees_east"})}


@pytest.mark.parametrize("kind", ["f4", "f8", "float32 in f8"])
def test_coordinates_are_judged_by_the_rounding_of_their_type(tmp_path, kind):
    coords = degrees("f4" if kind[-1] == "4" else "f8")
    if kind == "float32 in f8":
        coords = {
            name: (values.astype(np.float32).astype(np.float64), about) for name, (values, about) in coords.items()
        }
    cube = read(store(tmp_path / "a.nc", np.ones((2, 40, 50)), ("band", "lat", "lon"), coords))
    assert cube.crs == "EPSG:4326"
    expected = Affine(STEP, 0, 13.54321 - STEP / 2, 0, -STEP, 52.12345 + STEP / 2)
    assert cube.transform.almost_equals(expected, precision=STEP * 0.02)
    assert (cube.transform.a, cube.transform.e) == pytest.approx((STEP, -STEP), rel=1e-6 if kind != "f8" else 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-89, 89), st.sampled_from([1e-5, 8.9831528e-05, 2.5e-4, 1 / 3, 0.05]), st.integers(3, 300), st.booleans()
)
def test_a_grid_is_found_within_the_rounding_of_float32(first, step, count, south_up):
    from hyperfuse.cube.cf_grid import Variable, decode_grid

    step = step if south_up else -step
    y = np.clip(first + step * np.arange(count), -90, 90)
    if np.unique(np.sign(np.diff(y))).size > 1 or y[-1] != first + step * (count - 1):
        return
    x = 10 + abs(step) * np.arange(count)
    variables = {
        name: Variable((name,), values.astype(np.float32), {"units": "degrees_east"})
        for name, values in (("y", y), ("x", x))
    }
    transform, _ = decode_grid(variables, {}, ({"y"}, {"x"}), {"r": "y", "c": "x"}, (1, count, count), None, "a.nc")
    half = np.spacing(np.float32(max(abs(y).max(), x.max()))) / 2
    for index in (0, count - 1):
        col, row = transform @ (index + 0.5, index + 0.5)
        assert (col, row) == pytest.approx((x[index], y[index]), abs=float(2 * half))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["lat"][0].__setitem__(7, 52.2), "coordinates lat are not evenly spaced and are left out"),
        (lambda c: c["lon"][0].__setitem__(3, np.nan), "coordinates lon are not evenly spaced and are left out"),
        (lambda c: c["lat"][0].__setitem__(slice(None), 52.0), "coordinates lat are not evenly spaced"),
    ],
)
def test_coordinates_that_cannot_be_used_are_named(tmp_path, change, said):
    coords = degrees("f8")
    change(coords)
    path = store(tmp_path / "a.nc", np.ones((2, 40, 50)), ("band", "lat", "lon"), coords)
    with pytest.warns(HyperfuseWarning, match=rf"a\.nc: the {said}.*the image has no transform"):
        assert read(path).transform is None


def test_pixels_finer_than_their_rounding_have_no_grid(tmp_path):
    path = store(tmp_path / "a.nc", np.ones((2, 40, 50)), ("band", "lat", "lon"), degrees("f4", step=1e-6))
    with pytest.warns(HyperfuseWarning, match="not evenly spaced"):
        assert read(path).transform is None


def test_the_coordinates_of_a_swath_are_named(tmp_path):
    coords = {"lat": (np.ones((4, 5)), {}), "lon": (np.ones((4, 5)), {})}
    path = store(tmp_path / "a.nc", np.ones((2, 4, 5)), ("band", "row", "col"), coords)
    with pytest.warns(HyperfuseWarning, match="coordinates lat, lon are two-dimensional"):
        assert read(path, bands="1").transform is None


def test_unsigned_bytes(tmp_path):
    stored = np.array([[[10, 127], [128 - 256, 255 - 256]]], np.int8)
    path = store(tmp_path / "a.nc", stored, _Unsigned="true")
    assert read(path).data.ravel().tolist() == [10, 127, 128, 255]
    np.testing.assert_array_equal(read(path).data, by_xarray(path).data)
    path = store(
        tmp_path / "b.nc", stored, _Unsigned="true", _FillValue=np.int8(-1), scale_factor=0.1, valid_max=np.int8(-128)
    )
    cube = read(path)
    np.testing.assert_allclose(cube.data.ravel(), [1.0, 12.7, 12.8, np.nan], rtol=1e-6)
    np.testing.assert_allclose(cube.data, by_xarray(path).data, rtol=1e-6)
    assert cube.nodata == 255
    path = store(tmp_path / "c.nc", stored.view(np.uint8), _Unsigned="false")
    np.testing.assert_array_equal(read(path).data, by_xarray(path).data)


def utm(x, y, **about):
    return {"x": (np.asarray(x), about), "y": (np.asarray(y), about)}


WKT = "EPSG:32633"


def mapping(**attrs):
    from rasterio.crs import CRS

    return {"crs_wkt": CRS.from_user_input(WKT).to_wkt(), **attrs}


def test_packed_coordinates(tmp_path):
    x, y = np.arange(5, dtype=np.int32) * 60 + 30, 60 * np.arange(4, dtype=np.int32)[::-1]
    coords = {
        "x": (x, {"scale_factor": 0.5, "add_offset": 4e5, "units": "m"}),
        "y": (y, {"scale_factor": 0.5, "add_offset": 5.8e6, "units": "m"}),
    }
    path = store(tmp_path / "a.nc", np.ones((2, 4, 5)), coords=coords, mapping=mapping(), grid_mapping="crs")
    cube = read(path)
    assert cube.transform == Affine(30, 0, 4e5, 0, -30, 5.8e6 + 105)
    assert cube.crs == WKT
    decoded = by_xarray(path)
    np.testing.assert_allclose(decoded.x, [(cube.transform @ (col + 0.5, 0))[0] for col in range(5)])


@pytest.mark.parametrize(
    ("unit", "factor"), [("km", 1e-3), ("m", 1.0), ("kilometers", 1e-3), ("US_survey_foot", 3937 / 1200)]
)
def test_coordinates_are_in_the_unit_of_the_crs(tmp_path, unit, factor):
    coords = utm((4e5 + 30 * np.arange(5)) * factor, (5.8e6 - 30 * np.arange(4)) * factor, units=unit)
    path = store(tmp_path / "a.nc", np.ones((2, 4, 5)), coords=coords, mapping=mapping(), grid_mapping="crs: x y")
    cube = read(path)
    assert cube.transform.almost_equals(Affine(30, 0, 4e5 - 15, 0, -30, 5.8e6 + 15), precision=1e-6)
    assert cube.crs == WKT


def test_degrees_next_to_a_crs_in_metres_are_left_out(tmp_path):
    path = store(
        tmp_path / "a.nc", np.ones((2, 40, 50)), ("band", "lat", "lon"), degrees("f8"), mapping(), grid_mapping="crs"
    )
    with pytest.warns(HyperfuseWarning, match="lat, lon in degrees_north, degrees_east do not fit the CRS"):
        assert read(path).transform is None


def test_the_mapping_of_the_image_among_several(tmp_path):
    coords = utm(4e5 + 30.0 * np.arange(5), 5.8e6 - 30.0 * np.arange(4), units="m")
    other = {"wgs84": (np.int32(0), {"grid_mapping_name": "latitude_longitude"})}
    path = store(
        tmp_path / "a.nc", np.ones((2, 4, 5)), coords={**coords, **other}, mapping=mapping(),
        grid_mapping="wgs84: lat lon crs: x y",
    )  # fmt: skip
    assert read(path).crs == WKT
    path = store(tmp_path / "b.nc", np.ones((2, 4, 5)), coords=coords, grid_mapping="nowhere")
    with pytest.warns(HyperfuseWarning, match="the grid mapping nowhere is not in the file; its CRS is left out"):
        assert read(path).crs is None


SPHERE = {"earth_radius": 6371229.0}
GRIDS = [
    {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    },
    {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 32.5,
        "grid_north_pole_longitude": 190.0,
        "north_pole_grid_longitude": 10.0,
        **SPHERE,
    },
    {"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563},
    {
        "grid_mapping_name": "transverse_mercator",
        "longitude_of_central_meridian": 15.0,
        "latitude_of_projection_origin": 0.0,
        "scale_factor_at_central_meridian": 0.9996,
        "false_easting": 5e5,
        "false_northing": 0.0,
    },
    {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": np.array([49.0, 44.0]),
        "longitude_of_central_meridian": 3.0,
        "latitude_of_projection_origin": 46.5,
        "false_easting": 7e5,
        "false_northing": 6.6e6,
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257222101,
    },
    {
        "grid_mapping_name": "albers_conical_equal_area",
        "standard_parallel": np.array([29.5, 45.5]),
        "longitude_of_central_meridian": -96.0,
        "latitude_of_projection_origin": 23.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
    },
    {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "longitude_of_projection_origin": 10.0,
        "latitude_of_projection_origin": 52.0,
        "false_easting": 4321000.0,
        "false_northing": 3210000.0,
    },
    {
        "grid_mapping_name": "polar_stereographic",
        "straight_vertical_longitude_from_pole": -45.0,
        "latitude_of_projection_origin": 90.0,
        "standard_parallel": 70.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
    },
    {
        "grid_mapping_name": "sinusoidal",
        "longitude_of_projection_origin": 0.0,
        "earth_radius": 6371007.181,
        "false_easting": 0.0,
        "false_northing": 0.0,
    },
    {
        "grid_mapping_name": "mercator",
        "longitude_of_projection_origin": 0.0,
        "standard_parallel": 20.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
    },
    {
        "grid_mapping_name": "geostationary",
        "perspective_point_height": 35785831.0,
        "longitude_of_projection_origin": 0.0,
        "latitude_of_projection_origin": 0.0,
        "sweep_angle_axis": "y",
        "false_easting": 0.0,
        "false_northing": 0.0,
        "semi_major_axis": 6378137.0,
        "semi_minor_axis": 6356752.314245,
    },
]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid["grid_mapping_name"])
def test_a_grid_mapping_without_wkt_is_that_of_pyproj(tmp_path, grid):
    pyproj = pytest.importorskip("pyproj")
    from rasterio.warp import transform

    cube = read(
        store(
            tmp_path / "a.nc",
            np.ones((2, 4, 5)),
            coords=utm(range(3, 8), range(4, 0, -1)),
            mapping=grid,
            grid_mapping="crs",
        )
    )
    assert cube.crs != "EPSG:4326" or grid["grid_mapping_name"] == "latitude_longitude"
    there = pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS.from_cf(grid), always_xy=True)
    lon, lat = [9.0, 12.0, 5.0], [50.0, 55.0, 61.0]
    expected = there.transform(lon, lat)
    np.testing.assert_allclose(transform("EPSG:4326", cube.crs, lon, lat), expected, rtol=1e-7, atol=1e-7)


def test_a_rotated_pole(tmp_path):
    coords = {
        "rlon": (-5.0 + 0.11 * np.arange(5), {"units": "degrees", "standard_name": "grid_longitude"}),
        "rlat": (-0.5 + 0.11 * np.arange(4), {"units": "degrees", "standard_name": "grid_latitude"}),
    }
    values = np.arange(40.0).reshape(2, 4, 5)
    path = store(tmp_path / "a.nc", values, ("band", "rlat", "rlon"), coords, GRIDS[0], grid_mapping="crs")
    cube = read(path)
    np.testing.assert_array_equal(cube.data, values)
    assert cube.transform.almost_equals(Affine(0.11, 0, -5.055, 0, 0.11, -0.555), precision=1e-9)
    assert not same_crs(cube.crs, "EPSG:4326")
    assert "ob_tran" in cube.crs
    # Without the mapping its degrees are not those of WGS 84.
    assert read(store(tmp_path / "b.nc", values, ("band", "rlat", "rlon"), coords)).crs is None


def test_scan_angles_of_a_geostationary_satellite(tmp_path):
    height = GRIDS[-1]["perspective_point_height"]
    coords = utm(5.6e-5 * np.arange(5), -5.6e-5 * np.arange(4), units="rad")
    cube = read(store(tmp_path / "a.nc", np.ones((2, 4, 5)), coords=coords, mapping=GRIDS[-1], grid_mapping="crs"))
    assert cube.transform.a == pytest.approx(5.6e-5 * height)


def test_longitudes_beyond_180_degrees(tmp_path):
    coords = {
        "lat": (50.0 - np.arange(4.0), {"units": "degrees_north"}),
        "lon": (350.0 + np.arange(5.0), {"units": "degrees_east"}),
    }
    assert read(store(tmp_path / "a.nc", np.ones((2, 4, 5)), ("band", "lat", "lon"), coords)).transform.c == -10.5


@pytest.mark.parametrize(
    ("attrs", "gaps"),
    [
        ({"valid_range": np.array([2, 5], np.int16)}, [1, 1, 0, 0, 0, 0, 1, 1]),
        ({"valid_min": np.int16(2)}, [1, 1, 0, 0, 0, 0, 0, 0]),
        ({"valid_max": np.int16(5), "_FillValue": np.int16(0)}, [1, 0, 0, 0, 0, 0, 1, 1]),
        ({"scale_factor": 0.1, "valid_range": np.array([2, 5], np.int16)}, [1, 1, 0, 0, 0, 0, 1, 1]),
        ({"scale_factor": 0.1, "valid_range": np.array([0.2, 0.5])}, [1, 1, 0, 0, 0, 0, 1, 1]),
        ({"scale_factor": -0.1, "add_offset": 1.0, "valid_max": 0.5}, [1, 1, 1, 1, 1, 0, 0, 0]),
        ({"missing_value": np.array([1, 6], np.int16)}, [0, 1, 0, 0, 0, 0, 1, 0]),
        ({"_FillValue": -9999.0, "missing_value": 3.0}, [0, 0, 0, 1, 0, 0, 0, 0]),
    ],
)
def test_invalid_values_are_gaps(tmp_path, attrs, gaps):
    stored = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    for file in (tmp_path / "a.nc", tmp_path / "a.h5"):
        cube = read(store(file, stored, **attrs))
        valid = np.ones((2, 2, 2), bool) if cube.valid is None else cube.valid
        assert (~valid).ravel().tolist() == [bool(gap) for gap in gaps]
        scaled = stored * attrs.get("scale_factor", 1.0) + attrs.get("add_offset", 0.0)
        np.testing.assert_allclose(cube.data[valid], scaled[valid], rtol=1e-6)
        np.testing.assert_array_equal(read(file, bands="2").data, cube.data[1:])


def test_a_fill_value_is_cast_to_the_stored_type(tmp_path):
    stored = np.full((1, 2, 2), 1e20, np.float32)
    stored[0, 0, 0] = 7
    path = store(tmp_path / "a.nc", stored, _FillValue=1e20)
    np.testing.assert_array_equal(read(path).data, [[[7, np.nan], [np.nan, np.nan]]])
    never = stored.copy()
    never[0, 1] = 9.96921e36
    np.testing.assert_array_equal(np.isnan(read(store(tmp_path / "b.nc", never, units="1")).data), [[[0, 0], [1, 1]]])


def test_integers_that_were_never_written_are_gaps(tmp_path):
    stored = np.array([[[-32767, 1], [2, 3]]], np.int16)
    assert np.isnan(read(store(tmp_path / "a.nc", stored, scale_factor=0.1)).data).tolist() == [[[1, 0], [0, 0]]]
    assert read(store(tmp_path / "b.nc", stored, _FillValue=np.int16(1))).data[0, 0, 0] == -32767


@pytest.mark.parametrize(("attrs", "value"), [
    ({"gain": 1e-4}, 0.2), ({"slope": 1e-4, "intercept": 0.1}, 0.3), ({"multiplier": 1e-4}, 0.2),
])  # fmt: skip
def test_other_words_for_scale_and_offset(tmp_path, attrs, value):
    assert read(store(tmp_path / "a.h5", np.full((2, 2, 2), 2000, np.int16), **attrs)).data[0, 0, 0] == np.float32(
        value
    )


def test_a_scale_factor_that_reads_as_a_divisor_is_named(tmp_path):
    path = store(tmp_path / "a.h5", np.ones((2, 2, 2), np.int16), scale_factor=1e4)
    with pytest.warns(HyperfuseWarning, match="scale_factor 10000 multiplies the stored numbers, as CF has it"):
        assert read(path).data[0, 0, 0] == 1e4
    with pytest.warns(HyperfuseWarning, match="of the call are used instead"):
        assert read(path, scale=1e-4).data[0, 0, 0] == np.float32(1e-4)


@pytest.mark.parametrize(("attrs", "said"), [
    ({"scale_factor": "a tenth"}, "its attribute scale_factor 'a tenth' is no number"),
    ({"scale_factor": 0.0}, "its attribute scale_factor is 0"),
    ({"scale_factor": np.array([0.1, 0.2, 0.3])}, "scale_factor has 3 entries for 2 bands"),
])  # fmt: skip
def test_a_scale_that_cannot_be_applied_is_refused(tmp_path, attrs, said):
    with pytest.raises(InputError, match=said):
        read(store(tmp_path / "a.nc", np.ones((2, 2, 2), np.int16), **attrs))


def test_a_scale_for_each_band(tmp_path):
    path = store(tmp_path / "a.nc", np.ones((2, 2, 2), np.int16), scale_factor=np.array([0.1, 0.2]), add_offset=1.0)
    np.testing.assert_allclose(read(path).data[:, 0, 0], [1.1, 1.2], rtol=1e-6)
    np.testing.assert_allclose(read(path, bands="2").data[:, 0, 0], [1.2], rtol=1e-6)


def test_axes_of_one_entry_are_dropped(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    for dims, order in (
        (("time", "band", "y", "x"), values[None]),
        (("band", "time", "y", "x"), values[:, None]),
        (("time", "y", "x", "wavelength"), values.transpose(1, 2, 0)[None]),
        (("time", "level", "band", "y", "x"), values[None, None]),
    ):
        path = store(tmp_path / "a.nc", order, dims, {"wavelength": (np.array([450.0, 550.0]), {"units": "nm"})})
        np.testing.assert_array_equal(read(path).data, values)
        np.testing.assert_array_equal(read(path, bands="2").data, values[1:])
    one = read(store(tmp_path / "b.nc", values[None, :1], ("time", "band", "y", "x")))
    np.testing.assert_array_equal(one.data, values[:1])
    with pytest.raises(InputError, match=r"data \(2 x 2 x 3 x 4 float64\)"):
        read(store(tmp_path / "c.nc", np.stack([values, values]), ("time", "band", "y", "x")))


def test_wavelengths_and_widths_of_different_units(tmp_path):
    coords = {"wavelength": ([0.45, 0.55], {"units": "um"}), "fwhm": ([10.0, 12.0], {"units": "nm"})}
    cube = read(store(tmp_path / "a.nc", np.ones((2, 4, 5)), ("wavelength", "y", "x"), coords))
    assert (cube.wavelengths.tolist(), cube.fwhm.tolist()) == ([450.0, 550.0], [10.0, 12.0])


def neon(path, **attrs):
    """An HDF5 file laid out as the reflectance of NEON: (line, sample, wavelength), metadata in other groups."""
    stored = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3) * 100
    stored[0, 0] = -9999
    with h5py.File(path, "w") as file:
        group = file.create_group("Site/Flight/Reflectance")
        data = group.create_dataset("Reflectance_Data", data=stored)
        data.attrs.update({"Scale_Factor": 10000.0, "Data_Ignore_Value": -9999.0, **attrs})
        about = group.create_group("Metadata")
        about["Spectral_Data/Wavelength"] = [450.0, 550.0, 650.0]
        about["Spectral_Data/Wavelength"].attrs["Units"] = "nanometers"
        about["Spectral_Data/FWHM"] = [10.0, 11.0, 12.0]
        about["Coordinate_System/Map_Info"] = (
            "UTM,  1.000,  1.000,       368000.0,       4307000.0,  1.0,  1.0,  18,  North,  WGS-84,  units=Meters, 0"
        )
        about["Coordinate_System/EPSG Code"] = "32618"
        about["Ancillary_Imagery/Weather"] = np.zeros((4, 5, 2), np.uint8)
        about["Ancillary_Imagery/Aerosol"] = np.zeros((4, 5), np.uint8)
    return path, stored


@pytest.mark.parametrize("labels", [{"Dimension_Labels": "Line, Sample, Wavelength"}, {}])
def test_reflectance_of_neon(tmp_path, labels):
    path, stored = neon(tmp_path / "a.h5", **labels)
    with pytest.warns(HyperfuseWarning, match=r"a\.h5: Scale_Factor 10000 is taken as the divisor"):
        cube = read(path)
    expected = np.where(stored == -9999, np.nan, stored / 1e4).transpose(2, 0, 1)
    np.testing.assert_allclose(cube.data, expected, rtol=1e-6)
    assert (cube.wavelengths.tolist(), cube.fwhm.tolist()) == ([450, 550, 650], [10, 11, 12])
    assert (cube.transform, cube.crs) == (Affine(1, 0, 368000, 0, -1, 4307000), "EPSG:32618")
    assert (cube.nodata, cube.scale) == (-9999.0, 1e-4)


@pytest.mark.parametrize(("factor", "value"), [(1e-4, 1e-2), (1.0, 100.0)])
def test_a_factor_that_is_no_divisor_multiplies(tmp_path, factor, value):
    path, _ = neon(tmp_path / "a.h5", Scale_Factor=factor)
    assert read(path).data[1, 0, 1] == pytest.approx(4 * value)


def test_a_factor_that_may_multiply_or_divide_is_refused(tmp_path):
    path, stored = neon(tmp_path / "a.h5", Scale_Factor=2.5)
    with pytest.raises(InputError, match=r"Scale_Factor 2\.5 may multiply or divide the numbers; state scale="):
        read(path)
    assert read(path, scale=0.4).data[1, 0, 1] == pytest.approx(0.4 * stored[0, 1, 1])


@pytest.mark.parametrize("order", ["brc", "rcb", "rbc"])
def test_the_axis_as_long_as_the_wavelengths_are_the_bands(tmp_path, order):
    values = np.arange(60.0).reshape(3, 4, 5)
    stored = values.transpose(["brc".index(letter) for letter in order])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scene/cube"], file["spectral/wavelengths"] = stored, [450.0, 550.0, 650.0]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["cube"] = stored
        file["cube"].attrs["wavelength"] = [450.0, 550.0, 650.0]
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["cube"], file["about/wavelength"] = stored, [[450.0], [550.0], [650.0]]
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["swath/cube"] = stored
        file["swath"].attrs["wavelengths"] = np.float32([450, 550, 650])
    np.savez(tmp_path / "c.npz", cube=stored, wavelengths=np.array([450.0, 550.0, 650.0]))
    for name in ("a.h5", "b.h5", "c.npz", "d.h5", "e.h5"):
        cube = read(tmp_path / name)
        np.testing.assert_array_equal(cube.data, values)
        assert cube.wavelengths.tolist() == [450.0, 550.0, 650.0]


@pytest.mark.parametrize("name", [
    "wvl", "WL", "lambda_nm", "CenterWavelength", "band_wavelengths", "Central Wavelengths", "wavelength_list", "wl_nm",
    "band_centres",
])  # fmt: skip
def test_names_of_wavelengths(tmp_path, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"], file[f"about/{name}"] = np.ones((4, 5, 3)), [450.0, 550.0, 650.0]
        file[f"about/{name}_units"] = [1.0, 2.0, 3.0]
    cube = read(tmp_path / "a.h5")
    assert (cube.shape, cube.wavelengths.tolist()) == ((3, 4, 5), [450.0, 550.0, 650.0])


@pytest.mark.parametrize("shape", [(4, 3, 3), (3, 4, 3), (3, 3, 4), (3, 3, 3)])
def test_wavelengths_that_fit_two_axes_are_no_guide(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"], file["wavelengths"] = np.ones(shape), [450.0, 550.0, 650.0]
    with pytest.raises(InputError, match=r"its 3 wavelengths fit several axes of \(.*\); state axes="):
        read(tmp_path / "a.h5")
    assert read(tmp_path / "a.h5", axes="rows,cols,bands").data.shape == (shape[2], *shape[:2])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_is_coded_alike(tmp_path, zarr_format):
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    stored = np.array([[[[10, 127], [-128, -1]]]], np.int8)
    names = {"dimension_names": ("time", "band", "y", "x")} if zarr_format == 3 else {}
    array = root.create_array("data", data=stored, **names)
    array.attrs.update({"_Unsigned": "true", "valid_max": 200, "_ARRAY_DIMENSIONS": ["time", "band", "y", "x"]})
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").data.ravel(), [10, 127, 128, np.nan])
    source = open_windows(tmp_path / "a.zarr")
    np.testing.assert_array_equal(source.read(Window(1, 0, 1, 2)).data.ravel(), [128, np.nan])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["i1", "u1", "i2", ">i2", "u2", "i4", "f4", "f8"]),
    st.sampled_from([None, 0.5, 1e-4, -2.0]),
    st.sampled_from([None, 0.0, 10.0]),
    st.sampled_from([None, "_FillValue", "missing_value"]),
    st.sampled_from([None, "true", "false"]),
)
def test_values_are_those_of_xarray(tmp_path, dtype, scale, offset, mark, unsigned):
    kind = np.dtype(dtype)
    if unsigned is not None and (kind.kind != {"true": "i", "false": "u"}[unsigned] or dtype == ">i2"):
        unsigned = None  # of big-endian numbers xarray 2026.9 does not find the fill value then
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind != "f" else (-1e30, 1e30)
    stored = np.array([[[0, 1, 7, 100]], [[low, high, 3, 2]]]).astype(kind)
    named = {"scale_factor": scale, "add_offset": offset, "_Unsigned": unsigned}
    attrs = {key: value for key, value in named.items() if value is not None}
    if mark is not None:
        attrs[mark] = kind.newbyteorder("=").type(7)
    path = store(tmp_path / "a.nc", stored, **attrs)
    found, expected = read(path).data, by_xarray(path).data
    np.testing.assert_allclose(found, expected.astype(np.float64), rtol=2e-6)


@pytest.mark.parametrize("value", [5, np.nan, np.array([[1, 2], [3, 4]]), "red", b"\xff\xfe"])
@pytest.mark.parametrize("key", ["band_names", "wavelength", "bbl", "valid_range", "Data_Ignore_Value", "grid_mapping"])
@pytest.mark.filterwarnings("ignore")
def test_attributes_of_another_kind_are_no_failure(tmp_path, key, value):
    path = store(tmp_path / "a.nc", np.ones((2, 3, 4), np.float32), **{key: value})
    with contextlib.suppress(InputError):
        assert read(path).band_names is None
