import numpy as np
import pytest
import rioxarray
import xarray

import hyperfuse as hf
import hyperfuse.xarray
from hyperfuse.integrations.engine import HyperfuseBackend
from scenes import patches_of_materials

CENTRES = np.linspace(450, 850, 8)


@pytest.fixture(scope="module")
def pair():
    reference = hf.Cube(
        patches_of_materials(8, 96, 120).astype(np.float32),
        wavelengths=CENTRES,
        fwhm=np.full(8, 10.0),
        transform=(10, 0, 600, 0, -10, 900),
        crs="EPSG:32633",
        attributes={"site": "Potsdam"},
    )
    return hf.simulate(reference, ratio=4, srf="boxes:3", hsi_snr_db=35)


@pytest.fixture
def files(pair, tmp_path):
    hf.write(tmp_path / "hsi.tif", pair.hsi)
    hf.write(tmp_path / "msi.tif", pair.msi)
    return tmp_path / "hsi.tif", tmp_path / "msi.tif"


def opened(file, **options):
    return xarray.open_dataset(file, engine=HyperfuseBackend, **options)


def test_arrays_are_fused_as_cubes_are(pair):
    hsi, msi = pair.hsi.to_xarray(), pair.msi.to_xarray()
    fused = hsi.hyperfuse.fuse(msi, method="gsa", sensor=pair.sensor)
    np.testing.assert_array_equal(fused, hf.fuse(pair.hsi, pair.msi, method="gsa", sensor=pair.sensor).data)
    xarray.testing.assert_equal(fused.wavelength, hsi.wavelength)
    xarray.testing.assert_equal(fused.x.drop_vars("spatial_ref"), msi.x.drop_vars("spatial_ref"))
    assert fused.rio.crs == "EPSG:32633"
    assert fused.rio.transform() == msi.rio.transform()
    assert fused.attrs["site"] == "Potsdam"


def test_names_of_dimensions_coordinates_and_other_attributes_are_kept(pair):
    hsi = pair.hsi.to_xarray().swap_dims(band="wavelength").drop_vars("band").rename("reflectance")
    hsi = hsi.assign_coords(wavelength=("wavelength", CENTRES / 1000, {"units": "um"})).transpose(
        "y", "x", "wavelength"
    )
    msi = pair.msi.to_xarray().rename(y="northing", x="easting", spatial_ref="crs")
    msi = msi.assign_attrs(grid_mapping="crs").assign_coords(time=np.datetime64("2026-11-27", "ns"))
    fused = hsi.assign_attrs(level=2, scale_factor=1.0).hyperfuse.fuse(msi, method="gsa", ratio=4)
    assert fused.dims == ("wavelength", "northing", "easting")
    assert fused.name == "reflectance"
    assert fused.wavelength.attrs["units"] == "um"
    np.testing.assert_allclose(fused.hyperfuse.wavelengths, CENTRES)
    assert set(fused.coords) == {"wavelength", "fwhm", "northing", "easting", "crs", "time"}
    assert fused.attrs["level"] == 2
    assert "scale_factor" not in fused.attrs
    assert fused.rio.crs == "EPSG:32633"
    np.testing.assert_array_equal(fused, hf.fuse(pair.hsi, pair.msi, method="gsa").data)


def test_a_data_set_gives_a_data_set(pair):
    hsi = pair.hsi.to_xarray().rename("radiance").to_dataset().assign_attrs(mission="M")
    fused = hsi.hyperfuse.fuse(pair.msi.to_xarray().to_dataset(), method="gsa", sensor=pair.sensor)
    assert list(fused.data_vars) == ["radiance"]
    assert fused.attrs["mission"] == "M"
    two = hsi.assign(other=hsi.radiance)
    with pytest.raises(hf.InputError, match=r"several images \(radiance, other\); use one of them, such as data\['rad"):
        _ = two.hyperfuse.wavelengths
    with pytest.raises(hf.InputError, match="no variable with bands"):
        _ = xarray.Dataset({"a": ("x", [1.0])}).hyperfuse.wavelengths


def test_simulation_and_scores_are_those_of_cubes(pair):
    reference = pair.reference.to_xarray()
    made = reference.hyperfuse.simulate(ratio=4, srf="boxes:3", hsi_snr_db=35)
    np.testing.assert_allclose(made.hsi, pair.hsi.data, rtol=1e-5)
    np.testing.assert_allclose(made.msi, pair.msi.data, rtol=1e-5)
    assert made.sensor.ratio == (4, 4)
    fused = made.hsi.hyperfuse.fuse(made.msi, method="bicubic", sensor=made.sensor)
    scores = hf.evaluate(pair.reference, hf.Cube.from_xarray(fused), ratio=4)
    assert fused.hyperfuse.evaluate(reference, ratio=4)["psnr_db"] == scores["psnr_db"]


def test_a_picture_shows_the_bands_nearest_red_green_and_blue(pair):
    image = pair.reference.to_xarray().hyperfuse.rgb()
    assert image.dims == ("y", "x", "rgb")
    assert image.attrs["long_name"] == "true colour (621, 564, 450 nm)"
    values = pair.reference.data[[3, 2, 0]]
    low, high = np.percentile(values, (1, 99), axis=(1, 2))
    expected = np.clip((values - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
    np.testing.assert_allclose(image, np.moveaxis(expected, 0, 2), atol=1e-6)


def test_a_lazy_picture_reads_three_bands(pair):
    lazy, computed = pair.reference.to_xarray().chunk({"band": 1}), []
    meta = np.empty((0, 0, 0), "f4")
    watched = lazy.data.map_blocks(lambda block: computed.append(1) or block, dtype="f4", meta=meta)
    lazy.copy(data=watched).hyperfuse.rgb()
    assert len(computed) == 3


def test_round_trip_by_h5netcdf_and_rioxarray(pair, files, tmp_path):
    hsi, msi = (opened(file) for file in files)
    fused = hsi.hyperfuse.fuse(msi, method="gsa")
    fused.to_netcdf(tmp_path / "fused.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "fused.nc", engine="h5netcdf", decode_coords="all") as back:
        xarray.testing.assert_identical(back.load().cube.drop_attrs(), fused.cube.drop_attrs())
        assert back.cube.rio.crs == "EPSG:32633"
        np.testing.assert_allclose(back.cube.hyperfuse.wavelengths, CENTRES)
    assert hf.read(tmp_path / "fused.nc").wavelengths.tolist() == CENTRES.tolist()
    fused.cube.rio.to_raster(tmp_path / "fused.tif")
    with rioxarray.open_rasterio(tmp_path / "fused.tif") as raster:
        np.testing.assert_array_equal(raster, fused.cube)
        assert raster.rio.transform() == fused.cube.rio.transform()


def test_arrays_of_rioxarray_are_fused(pair, files):
    with rioxarray.open_rasterio(files[0]) as hsi, rioxarray.open_rasterio(files[1]) as msi:
        # What rioxarray states of the first band alone is not a property of the result.
        with pytest.warns(hf.HyperfuseWarning, match="of the first alone"):
            fused = hsi.hyperfuse.fuse(msi, method="gsa")
        np.testing.assert_allclose(fused, hf.fuse(*files, method="gsa").data, atol=1e-6)
        assert "wavelength" not in fused.attrs
        assert fused.rio.crs == msi.rio.crs


def test_options_that_would_have_no_effect_are_refused(pair):
    hsi, msi = pair.hsi.to_xarray(), pair.msi.to_xarray()
    with pytest.raises(hf.InputError, match=r"tile=\.\.\. is for arrays that are not computed yet"):
        hsi.hyperfuse.fuse(msi, tile=16)
    with pytest.raises(hf.InputError, match=r"return_details is of hyperfuse\.fuse"):
        hsi.hyperfuse.fuse(msi, return_details=True)
    with pytest.raises(hf.InputError, match="several MSIs are for arrays in memory"):
        hsi.chunk().hyperfuse.fuse([msi, msi])
    with pytest.raises(hf.InputError, match=r"mask=\.\.\. is for arrays in memory"):
        hsi.chunk().hyperfuse.fuse(msi, mask=np.zeros((96, 120), bool))
    with pytest.raises(hf.InputError, match="metod"):
        hsi.chunk().hyperfuse.fuse(msi, metod="gsa")
