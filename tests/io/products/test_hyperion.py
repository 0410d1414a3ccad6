"""Hyperion L1T scenes of 4 x 5 pixels: a GeoTIFF for each of 242 bands, and the MTL file."""

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.io import read

NAME = "EO1H0440342003184110KF"
CALIBRATED = [*range(8, 58), *range(77, 225)]


def mtl(sensor="HYPERION", vnir="40"):
    files = "\n".join(f'    BAND{band}_FILE_NAME = "{NAME}_B{band:03d}_L1T.TIF"' for band in range(1, 243))
    return (
        "GROUP = L1_METADATA_FILE\n  GROUP = PRODUCT_METADATA\n"
        f'    SPACECRAFT_ID = "EO1"\n    SENSOR_ID = "{sensor}"\n'
        f'    ACQUISITION_DATE = 2003-07-03\n    START_TIME = "2003 184 18:12:01"\n{files}\n'
        f"  END_GROUP = PRODUCT_METADATA\n  GROUP = RADIANCE_SCALING\n    SCALING_FACTOR_VNIR = {vnir}\n"
        "    SCALING_FACTOR_SWIR = 80\n  END_GROUP = RADIANCE_SCALING\nEND_GROUP = L1_METADATA_FILE\nEND\n"
    )


@pytest.fixture
def stored():
    values = np.random.default_rng(12).integers(50, 9000, (242, 4, 5)).astype(np.int16)
    values[:, 0, 0] = 0
    return values


@pytest.fixture
def scene(tmp_path, raster, stored):
    folder = tmp_path / f"{NAME}_1T"
    for band in CALIBRATED:
        raster(folder / f"{NAME}_B{band:03d}_L1T.TIF", stored[band - 1])
    (folder / f"{NAME}_MTL_L1T.TXT").write_text(mtl())
    return folder


def test_radiance_of_the_calibrated_bands(scene, stored, centres, assert_windows, assert_same):
    cube = assert_windows(scene)
    factors = np.array([40 if band < 71 else 80 for band in CALIBRATED])
    index = np.array(CALIBRATED) - 1
    expected = stored[index] / factors[:, None, None]
    assert np.allclose(cube.data, np.where(stored[index] == 0, np.nan, expected), rtol=1e-6, equal_nan=True)
    assert cube.band_names[:2] == ("B008", "B009")
    assert cube.wavelengths[[0, 49, 50, 197]].tolist() == [427.55, 925.85, 912.53, 2395.53]
    assert cube.fwhm[[0, 50, 197]].tolist() == [11.35, 11.17, 10.42]
    assert cube.units == "W m-2 sr-1 um-1"
    assert (cube.attributes["sensor"], cube.attributes["start_time"]) == ("Hyperion", "2003-07-03T18:12:01")
    assert centres(cube)[0][0] == 364110
    assert_same(read(scene / f"{NAME}_MTL_L1T.TXT"), cube)


def test_a_selection_needs_its_own_files_alone(scene, assert_overview):
    for band in CALIBRATED[2:]:
        (scene / f"{NAME}_B{band:03d}_L1T.TIF").unlink()
    assert_overview(scene, 3, step=2, bands="2,1")
    with pytest.raises(InputError, match=rf"the file {NAME}_B010_L1T\.TIF is missing in"):
        read(scene)


def test_what_is_refused(scene, tmp_path):
    with pytest.raises(InputError, match="needs a cloud mask, which Hyperion products do not have"):
        read(scene, quality="clear")
    (scene / f"{NAME}_MTL_L1T.TXT").write_text(mtl(sensor="ALI"))
    with pytest.raises(InputError, match="is of the sensor ALI; HYPERION is read"):
        read(scene)
    (scene / f"{NAME}_MTL_L1T.TXT").write_text(mtl(vnir="none"))
    with pytest.raises(InputError, match="SCALING_FACTOR_VNIR is 'none', not a number"):
        read(scene)
    (tmp_path / f"{NAME}.L1R").write_bytes(b"\x0e\x03\x13\x01")
    with pytest.raises(InputError, match=r"is Hyperion L1R, in HDF4 .* take L1T"):
        read(tmp_path / f"{NAME}.L1R")
