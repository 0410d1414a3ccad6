"""Wyvern images of 4 x 5 pixels and three bands in the structure of the Data Product Guide, 1.5 and 2.0."""

import json
import zipfile

import numpy as np
import pytest
import rasterio

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

L1B = "wyvern_dragonette-001_20250508T092313_a60915a4"
L2A = "wyvern_dragonette-003_20260508T092313_b60915a4_l2a"
CENTRES, WIDTHS = [503.0, 650.5, 799.0], [16.0, 20.5, 24.0]


def tagged(path, units="Wavelength_Units"):
    with rasterio.open(path, "r+") as file:
        for number, (centre, width) in enumerate(zip(CENTRES, WIDTHS, strict=True), 1):
            file.update_tags(number, **{"wavelength": str(centre), "FWHM": str(width), units: "nm"})
            file.set_band_description(number, f"Band_{centre:.0f}")
    return path


def masks(folder, stem, raster, **place):
    quality = np.zeros((3, 4, 5), np.uint8)
    quality[1, 2, 2] = 1
    quality[:, 0, 0] = 255
    raster(folder / f"{stem}_pixel_quality_mask.tiff", quality, **place)
    usable = np.zeros((2, 4, 5), np.uint8)
    usable[0], usable[0, 3], usable[1, 3, :3] = 1, 0, 1
    usable[:, 0, 0] = 255
    raster(folder / f"{stem}_data_mask.tiff", usable, **place)


@pytest.fixture
def radiance(tmp_path, raster):
    folder = tmp_path / L1B
    values = np.random.default_rng(2).uniform(10, 90, (3, 4, 5)).astype(np.float32)
    values[:, 0, 0] = -9999
    place = {"crs": "EPSG:4326", "pixel": 5e-5, "west": 11.0, "north": 48.0}
    tagged(raster(folder / f"{L1B}.tiff", values, nodata=-9999, **place))
    masks(folder, L1B, raster, **place)
    return folder


def test_radiance_and_interpolated_values(radiance, tmp_path, assert_windows, assert_overview, assert_same):
    cube = assert_windows(radiance)
    expected = np.ones((3, 4, 5), bool)
    expected[:, 0, 0] = expected[1, 2, 2] = False
    assert np.array_equal(cube.valid, expected)
    assert cube.wavelengths.tolist() == CENTRES
    assert cube.fwhm.tolist() == WIDTHS
    assert cube.band_names == ("Band_503", "Band_650", "Band_799")
    assert (cube.units, cube.crs, cube.nodata) == ("W m-2 sr-1 um-1", "EPSG:4326", -9999)
    assert (cube.attributes["sensor"], cube.history[0]["product"]) == ("dragonette-001", "Wyvern L1B")
    assert_overview(radiance, 3, step=2)
    with zipfile.ZipFile(tmp_path / "a60915a4.zip", "w") as archive:
        for file in sorted(radiance.iterdir()):
            archive.write(file, f"guid/{L1B}/{file.name}")
    assert_same(read(tmp_path / "a60915a4.zip"), cube)


def test_clear_and_missing_masks(radiance, assert_windows):
    clear = assert_windows(radiance, quality="clear")
    assert not clear.valid[:, 3].any()
    assert clear.valid[0, :3].sum() == 14
    assert clear.history[0]["gaps"] == ["no data", "interpolated", "cloud", "haze", "cloud shadow"]
    (radiance / f"{L1B}_data_mask.tiff").unlink()
    (radiance / f"{L1B}_pixel_quality_mask.tiff").unlink()
    with pytest.warns(HyperfuseWarning, match="the pixel quality mask is missing"):
        assert read(radiance).valid[1, 2, 2]
    with pytest.raises(InputError, match=r"the file .*_data_mask\.tiff is missing"), pytest.warns(HyperfuseWarning):
        read(radiance, quality="clear")


def test_reflectance_by_the_scale_of_the_item(tmp_path, raster, assert_windows):
    values = np.random.default_rng(5).integers(100, 6000, (3, 4, 5)).astype(np.uint16)
    values[:, 0, 0] = 0
    tagged(raster(tmp_path / f"{L2A}.tiff", values, nodata=0), "wavelength_units")
    masks(tmp_path, L2A, raster)
    item = {"assets": {"Cloud optimized GeoTiff": {"href": f"./{L2A}.tiff", "raster:bands": [{"scale": 1e-4}] * 3}}}
    (tmp_path / f"{L2A}.json").write_text(json.dumps(item))
    cube = assert_windows(tmp_path / f"{L2A}.tiff")
    assert np.allclose(cube.data[0, 1], values[0, 1] * 1e-4)
    assert (cube.units, cube.scale) == ("reflectance", 1e-4)
    (tmp_path / f"{L2A}.json").write_text("{}")
    with pytest.raises(InputError, match=r"whole numbers of which neither it nor a STAC item .* states the scale"):
        read(tmp_path / f"{L2A}.tiff")


def test_bands_without_wavelengths_are_refused(tmp_path, raster):
    path = raster(tmp_path / f"{L1B}.tiff", np.ones((3, 4, 5), np.float32))
    with pytest.raises(InputError, match="states no wavelengths and widths of its bands"):
        read(path)
