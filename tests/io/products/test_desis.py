"""DESIS L2A scenes of 5 x 4 pixels in the structure of the product specification."""

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.io import read

NAME = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220"
CENTRES = [401.9, 404.3, 998.8]
WIDTHS = [2.9, 3.1, 3.3]


def metadata(level="L2A"):
    bands = "".join(
        f"<band><bandNumber>{number}</bandNumber><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>{width}</wavelengthWidthOfBand><response>0.1,1,0.1</response>"
        f"<wavelengths>{centre - 3},{centre},{centre + 3}</wavelengths>"
        f"<gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>"
        for number, (centre, width) in enumerate(zip(CENTRES, WIDTHS, strict=True), 1)
    )
    # The geometry describes bands too, which are none of the spectrum.
    geometry = "".join(f"<band><bandNumber>{number}</bandNumber></band>" for number in range(1, 4))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<hsi_doc xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <metadata/><product/>
  <base><level>{level}</level><temporalCoverage><startTime>2022-04-04T19:32:59.011Z</startTime>
    <endTime>2022-04-04T19:33:03.321Z</endTime></temporalCoverage></base>
  <specific><interiorOrientation>{geometry}</interiorOrientation>
    <bandCharacterisation>{bands}</bandCharacterisation></specific>
</hsi_doc>"""


@pytest.fixture
def stored():
    values = np.random.default_rng(4).integers(100, 6000, (3, 4, 5)).astype(np.int16)
    values[:, 0, 0] = -32768
    return values


@pytest.fixture
def scene(tmp_path, raster, stored):
    raster(tmp_path / f"{NAME}-SPECTRAL_IMAGE.tif", stored)
    (tmp_path / f"{NAME}-METADATA.xml").write_text(metadata())
    layers = np.zeros((10, 4, 5), np.uint8)
    layers[1] = 1  # land
    layers[0, 2, 0] = layers[3, 2, 1] = layers[4, 2, 2] = layers[5, 2, 3] = layers[6, 2, 4] = 1
    layers[2, 3, 0] = layers[7, 3, 1] = 1  # snow and water are clear
    layers[8:] = 20  # aerosol and water vapour
    raster(tmp_path / f"{NAME}-QL_QUALITY-2.tif", layers)
    return tmp_path


def test_windows(scene, assert_windows):
    assert_windows(scene)
    assert_windows(scene, quality="clear", bands="3,1")


def test_values_wavelengths_and_position(scene, stored, centres):
    cube = read(scene)
    assert np.allclose(cube.data, np.where(stored == -32768, np.nan, stored * 1e-4), atol=1e-7, equal_nan=True)
    assert cube.wavelengths.tolist() == CENTRES
    assert cube.fwhm.tolist() == WIDTHS
    assert (cube.units, cube.scale, cube.crs, cube.good_bands) == ("reflectance", 1e-4, "EPSG:32633", None)
    x, y = centres(cube)
    assert (x[0], y[-1]) == (364110.0, 5809860.0)
    assert cube.attributes["start_time"] == "2022-04-04T19:32:59.011Z"
    assert cube.history[0]["product"] == "DESIS L2A"
    assert cube.history[0]["gaps"] == ["no data"]


@pytest.mark.parametrize("ending", ["METADATA.xml", "SPECTRAL_IMAGE.tif"])
def test_metadata_and_image_name_the_scene(scene, assert_same, ending):
    assert_same(read(scene / f"{NAME}-{ending}"), read(scene))


def test_a_scene_under_another_name_is_known_by_its_metadata(scene):
    for file in list(scene.iterdir()):
        file.rename(scene / file.name.replace(NAME, "L2A"))
    assert read(scene / "L2A-SPECTRAL_IMAGE.tif").history[0]["product"] == "DESIS L2A"


def test_clear_takes_shadow_haze_and_cloud(scene):
    clear = read(scene, quality="clear")
    taken = np.zeros((4, 5), bool)
    taken[2] = True
    taken[0, 0] = True
    assert np.array_equal(clear.empty_pixels, taken)
    assert clear.history[0]["gaps"] == ["no data", "shadow", "haze", "cloud"]


def test_other_levels_and_missing_files(scene):
    (scene / f"{NAME}-QL_QUALITY-2.tif").unlink()
    with pytest.raises(InputError, match=rf"the file {NAME}-QL_QUALITY-2\.TIF is missing in .*; quality='clear' needs"):
        read(scene, quality="clear")
    (scene / f"{NAME}-METADATA.xml").write_text(metadata("L1C"))
    with pytest.raises(InputError, match=r"is DESIS L1C \(radiance at the sensor\); order the L2A product"):
        read(scene)
    (scene / f"{NAME}-METADATA.xml").unlink()
    with pytest.raises(InputError, match=rf"SPECTRAL_IMAGE\.tif: the file {NAME}-METADATA\.XML is missing in"):
        read(scene / f"{NAME}-SPECTRAL_IMAGE.tif")
