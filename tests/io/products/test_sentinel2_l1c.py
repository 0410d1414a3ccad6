"""Sentinel-2 L1C SAFE folders of 12 x 18 pixels of 10 m in the structure of baseline 05.09."""

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.io import read

NAME = "S2C_MSIL1C_20250821T100601_N0511_R022_T33UUU_20250821T120000"
GRANULE = "GRANULE/L1C_T33UUU_A042640_20250821T100602"
TILE = "T33UUU_20250821T100601"
SIZES = {"B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B11": 20, "B12": 20}
PHYSICAL = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
ROWS, COLS = 12, 18


def metadata(offsets=True, baseline="05.11"):
    spectral = "".join(
        f'<Spectral_Information bandId="{number}" physicalBand="{band}"><Wavelength><MIN>{438 + 30 * number}</MIN>'
        f"<MAX>{442 + 30 * number}</MAX><CENTRAL>{440 + 30 * number}</CENTRAL></Wavelength><Spectral_Response>"
        "<STEP>1</STEP><VALUES>0 1 1 1 0</VALUES></Spectral_Response></Spectral_Information>"
        for number, band in enumerate(PHYSICAL)
    )
    adds = "".join(f'<RADIO_ADD_OFFSET band_id="{number}">-1000</RADIO_ADD_OFFSET>' for number in range(13))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-1C.xsd">
  <n1:General_Info><Product_Info><PRODUCT_URI>{NAME}.SAFE</PRODUCT_URI>
    <PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
    <Datatake><SPACECRAFT_NAME>Sentinel-2C</SPACECRAFT_NAME></Datatake></Product_Info>
  <Product_Image_Characteristics>
    <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
    </Special_Values>
    <QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
    {"<Radiometric_Offset_List>" + adds + "</Radiometric_Offset_List>" if offsets else ""}
    <Spectral_Information_List>{spectral}</Spectral_Information_List>
  </Product_Image_Characteristics></n1:General_Info></n1:Level-1C_User_Product>"""


@pytest.fixture
def stored():
    rng = np.random.default_rng(3)
    values = {
        band: rng.integers(1100, 9000, (ROWS * 10 // size, COLS * 10 // size)).astype(np.uint16)
        for band, size in SIZES.items()
    }
    values["B02"][0, 0], values["B02"][0, 1] = 0, 65535
    return values


@pytest.fixture
def safe(tmp_path, raster, stored):
    folder = tmp_path / f"{NAME}.SAFE"
    for band, size in SIZES.items():
        raster(folder / f"{GRANULE}/IMG_DATA/{TILE}_{band}.jp2", stored[band], pixel=size)
    flags = np.zeros((3, ROWS // 6, COLS // 6), np.uint8)
    flags[0, 0, 1] = flags[1, 1, 0] = flags[2, 1, 2] = 1  # cloud, cirrus, snow
    raster(folder / f"{GRANULE}/QI_DATA/MSK_CLASSI_B00.jp2", flags, pixel=60)
    (folder / "MTD_MSIL1C.xml").write_text(metadata())
    return folder


def test_values_and_record(safe, stored, assert_windows):
    cube = assert_windows(safe)
    expected = np.where(np.isin(stored["B02"], (0, 65535)), np.nan, (stored["B02"] - 1000.0) / 10000)
    assert np.allclose(cube.data[0], expected, atol=1e-6, equal_nan=True)
    assert cube.band_names == tuple(SIZES)
    assert cube.attributes["sensor"] == "Sentinel-2C"
    assert cube.attributes["quantity"] == "top-of-atmosphere reflectance"
    assert cube.history[0]["product"] == "Sentinel-2 L1C"
    assert cube.fwhm[0] == 3
    assert cube.attributes["responses"].startswith("B02:468,1:0 1 1 1 0;B03:498,1:")


def test_clear_takes_clouds_and_cirrus(safe, assert_windows):
    clear = assert_windows(safe, quality="clear")
    cloudy = np.zeros((ROWS, COLS), bool)
    cloudy[:6, 6:12] = cloudy[6:, :6] = True
    assert np.array_equal(clear.valid[1], ~cloudy)
    assert np.array_equal(clear.valid[3], ~cloudy)
    assert clear.history[0]["gaps"] == ["no data", "saturated", "cloud", "cirrus"]
    next(safe.rglob("MSK_CLASSI_B00.jp2")).unlink()
    with pytest.raises(InputError, match=r"MSK_CLASSI_B00\.jp2 is missing in .* before baseline 04\.00"):
        read(safe, quality="clear")


def test_an_offset_has_to_be_stated(safe):
    (safe / "MTD_MSIL1C.xml").write_text(metadata(offsets=False))
    with pytest.raises(InputError, match="has no RADIO_ADD_OFFSET of B02"):
        read(safe)
    (safe / "MTD_MSIL1C.xml").write_text(metadata(offsets=False, baseline="03.01"))
    assert read(safe, bands="2").offset == 0
