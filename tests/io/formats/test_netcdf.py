import json
import shutil
import subprocess

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.io import netcdf_file

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write

VALUES = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)


def test_xarray_reads_what_is_written(scene, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    write(tmp_path / "a.nc", scene, dtype="int16")
    with xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf", decode_coords="all") as file:
        assert file.cube.dims == ("band", "y", "x")
        assert np.allclose(file.cube, scene.data, equal_nan=True, atol=1e-7)
        assert file.wavelength.values.tolist() == scene.wavelengths.tolist()
        assert file.wavelength.attrs["units"] == "nm"
        assert file.good_wavelengths.values.tolist() == [1, 1, 1, 0, 1]
        assert file.band_name.values.tolist() == list(scene.band_names)
        assert file.x.values.tolist() == [364110.0 + 30 * col for col in range(9)]
        assert file.y.values.tolist() == [5809950.0 - 30 * row for row in range(8)]
        assert file.cube.attrs["units"] == "reflectance"
        assert same_crs(file.spatial_ref.attrs["crs_wkt"], "EPSG:32633")


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_gdal_reads_what_is_written(scene, tmp_path, compress):
    write(tmp_path / "a.nc", scene, compress=compress)
    with rasterio.open(tmp_path / "a.nc") as file:
        assert (file.driver, file.crs.to_epsg(), file.nodata) == ("netCDF", 32633, -32768.0)
        assert file.transform == scene.transform
        assert np.array_equal(file.read(), np.where(scene.valid, scene.data, np.float32(-32768)))


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed")
def test_gdalinfo(scene, tmp_path):
    write(tmp_path / "a.nc", scene)
    info = json.loads(subprocess.check_output(["gdalinfo", "-json", tmp_path / "a.nc"], stderr=subprocess.DEVNULL))
    assert info["geoTransform"] == [364095.0, 30.0, 0.0, 5809965.0, 0.0, -30.0]
    assert 'ID["EPSG",32633]]' in info["coordinateSystem"]["wkt"]
    assert len(info["bands"]) == 5


def test_a_variable_of_another_name(scene, tmp_path, assert_same):
    write(f"{tmp_path / 'a.nc'}:reflectance", scene)
    with h5py.File(tmp_path / "a.nc") as file:
        assert file["reflectance"].shape == scene.data.shape
    assert_same(read(f"{tmp_path / 'a.nc'}:reflectance"), scene)
    with pytest.raises(InputError, match=r"b\.nc: 'wavelength' is the name of another variable"):
        write(f"{tmp_path / 'b.nc'}:wavelength", scene)
    with pytest.raises(InputError, match=r"'1st' cannot name a variable"):
        write(f"{tmp_path / 'b.nc'}:1st", scene)


def foreign(file, dims, **attrs):
    """A file as other programs write it: dimensions named in their way, the wavelengths as coordinate of one."""
    sizes = dict(zip(dims, (2, 3, 4), strict=True))
    with h5py.File(file, "w") as target:
        for name, size in sizes.items():
            target[name] = np.arange(float(size))
            target[name].make_scale(name)
        target["reflectance"] = VALUES
        for axis, name in enumerate(dims):
            target["reflectance"].dims[axis].attach_scale(target[name])
        target["reflectance"].attrs.update(attrs)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("spectral", "lat", "lon"), VALUES),
        (("northing", "easting", "bands"), VALUES.transpose(2, 0, 1)),
        (("downtrack", "crosstrack", "channel"), VALUES.transpose(2, 0, 1)),
        (("lon", "lat", "foo"), VALUES.transpose(2, 1, 0)),
        (("foo", "bar", "baz"), VALUES),
    ],
)
def test_axes_follow_the_names_of_dimensions(tmp_path, dims, expected):
    foreign(tmp_path / "a.nc", dims)
    assert np.array_equal(read(tmp_path / "a.nc").data, expected)
    assert np.array_equal(read(tmp_path / "a.nc", axes="cols,bands,rows").data, VALUES.transpose(1, 2, 0))


def test_wavelengths_in_micrometres_and_degrees(tmp_path):
    foreign(tmp_path / "a.nc", ("wavelength", "lat", "lon"), _FillValue=np.float32(5))
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["wavelength"][:] = [0.45, 2.2]
        file["wavelength"].attrs["units"] = "um"
        file["lat"][:], file["lon"][:] = [50.5, 50.0, 49.5], [7.0, 7.25, 7.5, 7.75]
        file["lat"].attrs["units"], file["lon"].attrs["units"] = "degrees_north", "degrees_east"
        file["fwhm"] = [0.01, 0.02]
        file.attrs["title"] = "A lake"
    cube = read(tmp_path / "a.nc")
    assert cube.wavelengths.tolist() == [450.0, 2200.0]
    assert cube.transform == Affine(0.25, 0.0, 6.875, 0.0, -0.5, 50.75)
    assert cube.crs == "EPSG:4326"
    assert cube.attributes == {"title": "A lake"}
    assert np.array_equal(cube.valid, VALUES != 5)
    assert read(tmp_path / "a.nc", bands="2").wavelengths.tolist() == [2200.0]


def test_groups(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["reflectance"] = VALUES.transpose(1, 2, 0)
        file["sensor_band_parameters/wavelengths"] = [450.0, 550.0]
        file["location/elevation"] = np.zeros((3, 4))
    cube = read(tmp_path / "a.nc", axes="rows,cols,bands")
    assert np.array_equal(cube.data, VALUES)
    assert cube.wavelengths.tolist() == [450.0, 550.0]
    assert read(f"{tmp_path / 'a.nc'}:location/elevation").data.shape == (1, 3, 4)


def test_plain_hdf5_is_read_but_not_written(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["GT"], file["LRHSI"] = VALUES, VALUES[:, :2, :2]
    with pytest.raises(
        InputError, match=r"name one, as in FILE:GT: GT \(2 x 3 x 4 float32\), LRHSI \(2 x 2 x 2 float32\)"
    ):
        read(tmp_path / "a.h5")
    assert np.array_equal(read(f"{tmp_path / 'a.h5'}:GT").data, VALUES)
    with pytest.raises(InputError, match=r"b\.h5: HDF5 is only read"):
        write(tmp_path / "b.h5", Cube(data=VALUES))


def test_classic_netcdf(tmp_path):
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        for name, size in (("lat", 3), ("lon", 4), ("band", 2)):
            file.createDimension(name, size)
        packed = file.createVariable("radiance", "i2", ("lat", "lon", "band"))
        packed[:] = VALUES.transpose(1, 2, 0)
        packed.scale_factor, packed.add_offset, packed.missing_value = 0.5, 1.0, np.int16(23)
        packed.units = "W m-2"
        centres = file.createVariable("wavelength", "f8", ("band",))
        centres[:], centres.units = [450.0, 550.0], "nm"
    cube = read(tmp_path / "a.nc")
    assert np.array_equal(cube.data[cube.valid], (VALUES * 0.5 + 1)[VALUES != 23])
    assert (cube.scale, cube.offset, cube.nodata, cube.units) == (0.5, 1.0, 23.0, "W m-2")
    assert cube.wavelengths.tolist() == [450.0, 550.0]


def test_a_grid_mapping_without_wkt(tmp_path):
    foreign(tmp_path / "a.nc", ("band", "y", "x"), grid_mapping="crs")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["crs"] = 0
        file["crs"].attrs["grid_mapping_name"] = "lambert_conformal_conic"
    with pytest.warns(HyperfuseWarning, match="grid mapping lambert_conformal_conic: the CRS .* is not understood"):
        assert read(tmp_path / "a.nc").crs is None


@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.01])
def test_cut_off(scene, tmp_path, fraction):
    write(tmp_path / "a.nc", scene)
    whole = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(InputError, match=r"a\.nc: is neither netCDF nor HDF5, or it is cut off"):
        read(tmp_path / "a.nc")


def test_a_missing_variable_names_what_there_is(scene, tmp_path):
    write(tmp_path / "a.nc", scene)
    with pytest.raises(InputError, match=r"a\.nc: has no variable 'cub'; it holds .*cube \(5 x 8 x 9 f"):
        read(f"{tmp_path / 'a.nc'}:cub")
    with pytest.raises(InputError, match=r"the variable band_name has the shape \(5,\)"):
        read(f"{tmp_path / 'a.nc'}:band_name")


def test_a_single_pixel_of_a_rotated_image_keeps_its_position(tmp_path):
    # Dimensions without coordinates are stored as arrays of zeros, which are no positions.
    pixel = Cube(data=np.ones((1, 1, 1)), transform=(6.0, 8.0, 300.0, 8.0, -6.0, 500.0))
    write(tmp_path / "a.nc", pixel)
    assert read(tmp_path / "a.nc").transform == pixel.transform
