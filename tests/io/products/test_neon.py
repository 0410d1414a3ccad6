"""NEON reflectance of 5 x 6 pixels in the structure of DP3.30006.001 and .002."""

import h5py
import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

TILE = "NEON_D02_SERC_DP3_368000_4306000_reflectance.h5"
CENTRES = np.array([383.9, 553.1, 1392.0, 1650.5, 1800.0, 2200.0])


def tile(path, stored, *, weather, rotation="0", windows=True):
    with h5py.File(path, "w") as file:
        group = file.create_group("SERC/Reflectance")
        if windows:
            group.attrs["Band_Window_1_Nanometers"] = [1340.0, 1445.0]
            group.attrs["Band_Window_2_Nanometers"] = [1790.0, 1955.0]
        cube = group.create_dataset("Reflectance_Data", data=stored, chunks=(2, 3, 4))
        cube.attrs.update(Scale_Factor=10000.0, Data_Ignore_Value=-9999.0, Interleave="BSQ")
        spectral = group.create_group("Metadata/Spectral_Data")
        for name, values in (("Wavelength", CENTRES), ("FWHM", CENTRES * 0 + 5.8)):
            spectral.create_dataset(name, data=values.astype("f4")).attrs["Units"] = "nanometers"
        place = group.create_group("Metadata/Coordinate_System")
        place["EPSG Code"] = b"32618 "
        place["Map_Info"] = (
            f"UTM,  1.000,  1.000,  368000.00,  4307000.0,  1.0,  1.0,  18,  North,  WGS-84,  units=Meters, {rotation}"
        )
        group["Metadata/Ancillary_Imagery/Weather_Quality_Indicator"] = weather
    return path


@pytest.fixture
def stored():
    values = np.random.default_rng(1).integers(50, 6000, (5, 6, 6)).astype(np.int16)  # line, sample, band
    values[0, 0] = -9999
    return values


@pytest.fixture
def weather():
    layer = np.ones((5, 6), np.uint8)
    layer[1], layer[2], layer[3, 0] = 2, 3, 241
    return layer


def test_values_bands_and_position(tmp_path, stored, weather, centres, assert_windows, assert_overview):
    path = tile(tmp_path / TILE, stored, weather=weather)
    cube = assert_windows(path)
    expected = np.moveaxis(np.where(stored == -9999, np.nan, stored / 10000), 2, 0)
    assert np.allclose(cube.data, expected, atol=1e-6, equal_nan=True)
    assert np.allclose(cube.wavelengths, CENTRES, atol=1e-3)
    assert cube.good_bands.tolist() == [True, True, False, True, False, True]
    assert (cube.crs, cube.units, cube.nodata) == ("EPSG:32618", "reflectance", -9999)
    x, y = centres(cube)
    assert (x[0], y[0], y[4]) == (368000.5, 4306999.5, 4306995.5)
    assert (cube.attributes["site"], cube.history[0]["product"]) == ("SERC", "NEON reflectance")
    assert np.array_equal(read(path, bands="5,1").data, cube.data[[4, 0]], equal_nan=True)
    assert_overview(path, 3, step=2)
    assert_overview(path, 3, step=2, quality="clear")


@pytest.mark.parametrize("colours", [False, True])
def test_clear_by_the_weather(tmp_path, stored, weather, assert_windows, colours):
    layer = weather
    if colours:
        table = {1: (0, 255, 0), 2: (255, 255, 0), 3: (255, 0, 0), 241: (241, 241, 241)}
        layer = np.array([[table[int(flag)] for flag in row] for row in weather], np.uint8)
    name = "NEON_D01_BART_DP1_20190825_145110_bidirectional_reflectance.h5"
    clear = assert_windows(tile(tmp_path / name, stored, weather=layer), quality="clear")
    assert np.array_equal(clear.valid[0], (weather == 1) & (stored[..., 0] != -9999))
    assert clear.history[0]["gaps"] == ["no data", "cloud"]


def test_a_renamed_file_is_known_by_its_content(tmp_path, stored, weather):
    assert read(tile(tmp_path / "scene.h5", stored, weather=weather)).history[0]["product"] == "NEON reflectance"


def test_what_is_refused(tmp_path, stored, weather):
    with pytest.raises(InputError, match="states a rotation of 12; north-up grids are read"):
        read(tile(tmp_path / TILE, stored, weather=weather, rotation="12"))
    with pytest.warns(HyperfuseWarning, match="states no Band_Window_1_Nanometers; no band is marked as bad"):
        read(tile(tmp_path / TILE, stored, weather=weather, windows=False))
    with pytest.raises(InputError, match=r"has the shape \(4, 6\), not that of the image"):
        read(tile(tmp_path / TILE, stored, weather=weather[1:]), quality="clear")
    radiance = tmp_path / "NEON_D01_BART_DP1_20190825_145110_radiance.h5"
    with h5py.File(radiance, "w") as file:
        file["BART/Radiance/x"] = 1
    with pytest.raises(InputError, match=r"holds no reflectance of NEON; take DP1\.30006 or DP3\.30006"):
        read(radiance)


@pytest.mark.parametrize("fraction", [0.1, 0.6])
def test_cut_off(tmp_path, stored, weather, fraction):
    path = tile(tmp_path / TILE, stored, weather=weather)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(InputError, match="cut off or damaged"):
        read(path)
