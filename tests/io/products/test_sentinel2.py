"""Sentinel-2 L2A SAFE folders of 6 x 8 pixels of 10 m in the structure of the products of baseline 05.09."""

import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read
from hyperfuse.io.products.reflectance import double
from hyperfuse.io.products.responses import full_width

NAME = "S2A_MSIL2A_20230821T100601_N0509_R022_T33UUU_20230821T162000"
GRANULE = "GRANULE/L2A_T33UUU_A042640_20230821T100602"
TILE = "T33UUU_20230821T100601"
BANDS = {"B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B11": 20, "B12": 20}
PHYSICAL = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
CENTRES = [442.7, 492.7, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4]
ROWS, COLS = 6, 8


def metadata(level="Level-2A", baseline="05.09", offsets=True, drop=()):
    spectral = "".join(
        f'<Spectral_Information bandId="{number}" physicalBand="{band}"><RESOLUTION>10</RESOLUTION><Wavelength>'
        f'<MIN unit="nm">{centre - 20}</MIN><MAX unit="nm">{centre + 20}</MAX><CENTRAL unit="nm">{centre}</CENTRAL>'
        f'</Wavelength><Spectral_Response><STEP unit="nm">1</STEP><VALUES>{" ".join(["0", "0.5"] + ["1"] * number)} '
        f"0.5 0</VALUES></Spectral_Response></Spectral_Information>"
        for number, (band, centre) in enumerate(zip(PHYSICAL, CENTRES, strict=True))
        if band not in drop
    )
    adds = "".join(f'<BOA_ADD_OFFSET band_id="{number}">{-1000 - number}</BOA_ADD_OFFSET>' for number in range(13))
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info><PRODUCT_START_TIME>2023-08-21T10:06:01.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{NAME}.SAFE</PRODUCT_URI><PROCESSING_LEVEL>{level}</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2A"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
        <DATATAKE_SENSING_START>2023-08-21T10:06:01.024Z</DATATAKE_SENSING_START></Datatake></Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values><Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
      <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
      {"<BOA_ADD_OFFSET_VALUES_LIST>" + adds + "</BOA_ADD_OFFSET_VALUES_LIST>" if offsets else ""}
      <Spectral_Information_List>{spectral}</Spectral_Information_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-2A_User_Product>"""


def image(band, size):
    return f"{GRANULE}/IMG_DATA/R{size}m/{TILE}_{band}_{size}m.jp2"


@pytest.fixture
def stored():
    rng = np.random.default_rng(9)
    values = {
        band: rng.integers(1100, 9000, (ROWS * 10 // size, COLS * 10 // size)).astype(np.uint16)
        for band, size in BANDS.items()
    }
    values["B03"][5, 7] = 0  # no data in one band
    values["B04"][5, 6] = 65535  # saturated
    values["B05"][0, 3] = 0
    return values


@pytest.fixture
def safe(tmp_path, raster, stored):
    folder = tmp_path / f"{NAME}.SAFE"
    corner = {"west": 300000, "north": 5800020}
    for band, size in BANDS.items():
        raster(folder / image(band, size), stored[band], pixel=size, **corner)
        if size == 10:
            raster(folder / image(band, 20), stored[band][::2, ::2], pixel=20, **corner)
    scl = np.full((ROWS // 2, COLS // 2), 4, np.uint8)
    scl[0, 0], scl[0, 1] = 0, 1
    scl[1, :4] = [3, 8, 9, 10]
    scl[2, :4] = [5, 6, 7, 11]
    raster(folder / image("SCL", 20), scl, pixel=20, **corner)
    raster(folder / image("TCI", 10), np.ones((3, ROWS, COLS), np.uint8), pixel=10, **corner)
    (folder / "MTD_MSIL2A.xml").write_text(metadata())
    (folder / GRANULE / "MTD_TL.xml").write_text("<n1:Level-2A_Tile_ID xmlns:n1='urn:x'/>")
    (folder / GRANULE / "QI_DATA").mkdir()
    raster(folder / GRANULE / "QI_DATA" / "MSK_CLDPRB_20m.jp2", scl, pixel=20, **corner)
    return folder


def linear(stored, band):
    return (stored[band].astype(np.float64) - 1000 - PHYSICAL.index(band.replace("B0", "B"))) / 10000


def test_values_wavelengths_and_position(safe, stored, centres):
    cube = read(safe)
    assert cube.band_names == tuple(BANDS)
    hidden = np.zeros((ROWS, COLS), bool)
    hidden[:2, :4] = True
    for number, (band, size) in enumerate(BANDS.items()):
        raw = stored[band]
        valid = (raw != 0) & (raw != 65535) & ~hidden[:: size // 10, :: size // 10]
        expected = np.where(valid, linear(stored, band), np.nan)
        if size == 20:
            expected = double(expected[None], valid[None])[0][0]
        assert np.allclose(cube.data[number], expected, atol=1e-6, equal_nan=True), band
    assert cube.wavelengths.tolist() == [CENTRES[PHYSICAL.index(band.replace("B0", "B"))] for band in BANDS]
    # Half the maximum at a sample before and one after a run of as many ones as the number of the band.
    assert cube.fwhm.tolist() == [PHYSICAL.index(band.replace("B0", "B")) + 1 for band in BANDS]
    assert (cube.crs, cube.units, cube.nodata) == ("EPSG:32633", "reflectance", 0.0)
    x, y = centres(cube)
    assert x.tolist() == [300005 + 10 * col for col in range(COLS)]
    assert y.tolist() == [5800015 - 10 * row for row in range(ROWS)]
    assert cube.attributes["sensor"] == "Sentinel-2A"
    assert cube.attributes["start_time"] == "2023-08-21T10:06:01.024Z"
    (step,) = cube.history
    assert (step["product"], step["gaps"]) == ("Sentinel-2 L2A", ["no data", "saturated"])
    assert step["resampled"] == "bands of 20 m to 10 m, bilinear"


def test_metadata_and_zip_name_the_product(safe, tmp_path, assert_same):
    cube = read(safe)
    assert_same(read(safe / "MTD_MSIL2A.xml"), cube)
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as archive:
        for file in sorted(safe.rglob("*")):
            archive.write(file, file.relative_to(tmp_path))
    assert_same(read(tmp_path / f"{NAME}.zip"), cube)
    outer = tmp_path / "download"
    outer.mkdir()
    safe.rename(outer / safe.name)
    assert_same(read(outer), cube)


def test_bands_and_one_offset_are_kept(safe, stored):
    (safe / "MTD_MSIL2A.xml").write_text(metadata().replace("-1001<", "-1000<").replace("-1003<", "-1000<"))
    cube = read(safe, bands="3,1")
    assert cube.band_names == ("B04", "B02")
    assert (cube.scale, cube.offset) == (1e-4, -0.1)
    assert np.allclose(cube.data[1, 3], stored["B02"][3] * 1e-4 - 0.1, atol=1e-6)


def test_the_callers_coding_is_said_once(safe, stored):
    with pytest.warns(HyperfuseWarning, match="scale 1 and offset 0 of the call are used instead") as seen:
        cube = read(safe, scale=1.0)
    assert len(seen) == 1
    assert np.array_equal(cube.data[0, 3], stored["B02"][3])


def test_an_overview(safe, stored, assert_overview):
    low = assert_overview(safe, 4, step=2, exact=False)
    mask = np.zeros((ROWS // 2, COLS // 2), bool)
    mask[0, :2] = True  # no data and saturated in the classification
    assert np.isnan(low.data[0][mask]).all()
    assert np.isfinite(low.data[0][~mask]).all()
    assert np.array_equal(np.isfinite(low.data[3]), ~mask & (stored["B05"] != 0))
    # Bands of 20 m have the pixels of an overview with a step of 2.
    expected = np.where(np.isnan(low.data[3]), np.nan, linear(stored, "B05"))
    assert np.allclose(low.data[3], expected, atol=1e-6, equal_nan=True)
    with pytest.raises(InputError, match="overview"):
        read(safe, overview=0)


def test_an_overview_is_of_products_alone(tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((2, 3, 4)))
    with pytest.raises(InputError, match="overview is for products"):
        read(tmp_path / "cube.npy", overview=2)


def test_clear_takes_clouds_shadows_and_cirrus(safe):
    standard, clear = read(safe, bands="1"), read(safe, bands="1", quality="clear")
    taken = np.zeros((ROWS, COLS), bool)
    taken[2:4] = True
    assert np.array_equal(clear.valid[0], standard.valid[0] & ~taken)
    assert clear.history[0]["gaps"] == ["no data", "saturated", "cloud shadow", "cloud", "cirrus"]


def test_before_baseline_4_there_is_no_offset(safe, stored):
    (safe / "MTD_MSIL2A.xml").write_text(metadata(baseline="02.14", offsets=False))
    cube = read(safe, bands="1")
    assert np.allclose(cube.data[0, 3], stored["B02"][3] * 1e-4, atol=1e-6)
    (safe / "MTD_MSIL2A.xml").write_text(metadata(baseline="04.00", offsets=False))
    with pytest.raises(InputError, match=r"MTD_MSIL2A\.xml has no BOA_ADD_OFFSET of B02, which baseline 04\.00 has to"):
        read(safe)


@pytest.mark.parametrize("offset", [0.0, -0.1])
def test_an_offset_that_is_not_stated_is_the_callers(safe, stored, offset, recwarn):
    (safe / "MTD_MSIL2A.xml").write_text(metadata(baseline="99.99", offsets=False))
    with pytest.raises(InputError, match=r"no BOA_ADD_OFFSET of B02, which baseline 99\.99 has to .* offset=-0\.1"):
        read(safe)
    with pytest.raises(InputError, match="in reflectance"):
        read(safe, offset=-1000.0)
    cube = read(safe, offset=offset)
    assert (cube.scale, cube.offset) == (1e-4, offset)
    assert np.allclose(cube.data[0, 3], stored["B02"][3] * 1e-4 + offset, atol=1e-6)
    assert not recwarn.list
    # Where the metadata state it, the caller's coding replaces theirs as for any other file.
    (safe / "MTD_MSIL2A.xml").write_text(metadata(baseline="99.99"))
    assert np.allclose(read(safe).data[0, 3], linear(stored, "B02")[3], atol=1e-6)


def test_without_classification_there_is_a_warning(safe, stored):
    (safe / image("SCL", 20)).unlink()
    with pytest.warns(HyperfuseWarning, match=r"SCL is missing in .*\.SAFE"):
        cube = read(safe, bands="1")
    assert np.allclose(cube.data[0], linear(stored, "B02"), atol=1e-6)
    with pytest.raises(InputError, match=r"the image …_SCL_20m\.jp2 is missing in .*\.SAFE"):
        read(safe, quality="clear")


def test_without_responses_the_widths_are_unknown(safe):
    text = metadata().replace("Spectral_Response", "Other")
    (safe / "MTD_MSIL2A.xml").write_text(text)
    cube = read(safe)
    assert cube.fwhm is None
    assert cube.wavelengths[0] == 492.7


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("MTD_MSIL2A.xml", r"\.SAFE: the file MTD_MSIL2A\.xml is missing in .*\.SAFE"),
        (image("B11", 20), r"the image …_B11_20m\.jp2 is missing in .*\.SAFE"),
    ],
)
def test_missing_files_are_named(safe, part, message):
    (safe / part).unlink()
    with pytest.raises(InputError, match=message) as caught:
        read(safe)
    assert "\n" not in str(caught.value)


def test_other_level(safe):
    (safe / "MTD_MSIL2A.xml").write_text(metadata(level="Level-1B"))
    for path in (safe, safe / "MTD_MSIL2A.xml"):
        with pytest.raises(InputError, match="is Sentinel-2 Level-1B; the L2A and L1C products are read"):
            read(path)


def test_windows(safe, assert_windows):
    assert_windows(safe)
    assert_windows(safe, quality="clear", bands="4,1,10")


@pytest.mark.parametrize("fraction", [0.5, 0.05])
@pytest.mark.parametrize("part", [image("B02", 10), image("B12", 20), image("SCL", 20)])
def test_cut_off_image(safe, fraction, part):
    path = safe / part
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(InputError, match=r"\.jp2 .*damaged"):
        read(safe)


def test_no_images_two_granules_and_an_image_of_another_size(safe, raster, tmp_path):
    raster(safe / image("B08", 10), np.ones((4, 4), np.uint16), pixel=10)
    with pytest.raises(InputError, match=r"_B08_10m\.jp2 has 4 x 4 pixels, not 6 x 8 as the image"):
        read(safe)
    raster(safe / image("B02", 10).replace("T33UUU", "T33UVU"), np.ones((4, 4), np.uint16))
    with pytest.raises(InputError, match="holds 2 granules; products of one granule are read"):
        read(safe)
    bare = tmp_path / "S2B_MSIL2A_x.SAFE"
    bare.mkdir()
    (bare / "MTD_MSIL2A.xml").write_text(metadata())
    with pytest.raises(InputError, match=r"the images \(GRANULE/\*/IMG_DATA\) are missing in "):
        read(bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metadata()[:1500], "is no XML, or is cut off"),
        (metadata(drop=["B8A"]), "has no Spectral_Information of B8A"),
        (metadata().replace(">10000<", ">0<"), "BOA_QUANTIFICATION_VALUE is 0, which has to be above 0"),
        (metadata().replace(">10000<", ">many<"), "BOA_QUANTIFICATION_VALUE is 'many', not a number"),
        (metadata().replace("BOA_QUANTIFICATION_VALUE", "OTHER"), "has no BOA_QUANTIFICATION_VALUE"),
        (metadata().replace(">492.7<", "><"), "CENTRAL is '', not a number"),
    ],
)
def test_damaged_metadata(safe, text, message):
    (safe / "MTD_MSIL2A.xml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(safe)
    assert "\n" not in str(caught.value)


def test_damaged_zip(tmp_path):
    path = tmp_path / f"{NAME}.zip"
    path.write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(InputError, match="is not a readable archive; it is cut off"):
        read(path)


@pytest.mark.parametrize(("values", "step", "width"), [([1.0], 2.0, 2.0), ([1.0, 1.0], 1.0, 2.0), ([0.0], 1.0, np.nan)])
def test_full_width(values, step, width):
    assert full_width(np.array(values), step) == pytest.approx(width, nan_ok=True)


def test_full_width_of_a_gaussian():
    x = np.arange(-60.0, 60.5, 0.5)
    assert full_width(np.exp(-4 * np.log(2) * (x / 31.0) ** 2), 0.5) == pytest.approx(31.0, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_doubling_is_the_bilinear_interpolation_of_torch(rows, cols, seed):
    data = np.random.default_rng(seed).random((2, rows, cols), dtype=np.float32)
    fine, valid = double(data, None)
    oracle = torch.nn.functional.interpolate(torch.from_numpy(data)[None], scale_factor=2, mode="bilinear")[0]
    assert valid is None
    assert np.allclose(fine, oracle.numpy(), atol=1e-6)


def test_a_doubled_plane_stays_one_inside():
    rows, cols = np.mgrid[0:5, 0:6] + 0.5
    fine, _ = double((2 * rows - 3 * cols)[None], None)
    y, x = (np.mgrid[0:10, 0:12] + 0.5) / 2
    assert np.allclose(fine[0, 1:-1, 1:-1], (2 * y - 3 * x)[1:-1, 1:-1])


def test_gaps_do_not_spread_by_doubling():
    valid = np.random.default_rng(8).random((3, 6, 7)) < 0.6
    data = np.where(valid, 0.25, np.nan).astype(np.float32)
    fine, seen = double(data, valid)
    assert np.array_equal(seen, valid.repeat(2, 1).repeat(2, 2))
    assert np.allclose(fine[seen], 0.25)
    assert np.isnan(fine[~seen]).all()
    assert fine.dtype == np.float32


def test_weights_of_doubling_next_to_a_gap():
    valid = np.array([[[True, False, True]]])
    data = np.array([[[1.0, np.nan, 5.0]]])
    assert double(data, valid)[0][0, 0].tolist() == pytest.approx([1, 1, np.nan, np.nan, 5, 5], nan_ok=True)


def test_bands_of_one_pixel_size_as_they_were_measured(safe, stored, centres):
    fine, coarse = read(safe, pixel_size=10), read(safe, pixel_size=20)
    both = read(safe)
    index = [number for number, size in enumerate(BANDS.values()) if size == 10]
    assert np.array_equal(fine.data, both.data[index], equal_nan=True)
    assert fine.transform == both.transform
    assert coarse.band_names == ("B05", "B06", "B07", "B8A", "B11", "B12")
    hidden = np.zeros((ROWS // 2, COLS // 2), bool)
    hidden[0, :2] = True
    for number, band in enumerate(coarse.band_names):
        valid = (stored[band] != 0) & ~hidden
        expected = np.where(valid, linear(stored, band), np.nan)
        np.testing.assert_allclose(coarse.data[number], expected, atol=1e-6)
    x, y = centres(coarse)
    assert x.tolist() == [300010 + 20 * col for col in range(COLS // 2)]
    assert y.tolist() == [5800010 - 20 * row for row in range(ROWS // 2)]
    assert "resampled" not in coarse.history[0]
    low = read(safe, pixel_size=20, overview=2)
    assert low.shape == (6, -(-ROWS // 4), -(-COLS // 4))
    assert read(safe, pixel_size=20, bands="6,4").band_names == ("B07", "B05")
    with pytest.raises(InputError, match="B02 has other pixels than the 20 m"):
        read(safe, pixel_size=20, bands="1,4")
    with pytest.raises(InputError, match="Sentinel-2 has bands of 10, 20 m, none of 60 m") as refused:
        read(safe, pixel_size=60)
    assert refused.value.parameter == "pixel_size"
    np.save(safe / "cube.npy", np.ones((2, 3, 4)))
    with pytest.raises(InputError, match="pixel_size is for products"):
        read(safe / "cube.npy", pixel_size=10)


@pytest.fixture
def larger(monkeypatch):
    """A scene of 36 x 48 pixels of 10 m."""
    monkeypatch.setattr(sys.modules[__name__], "ROWS", 36)
    monkeypatch.setattr(sys.modules[__name__], "COLS", 48)


@pytest.mark.usefixtures("larger")
def test_a_fusion_uses_bands_at_their_own_pixels(safe, tmp_path):
    from hyperfuse import Cube, ReadOptions, fuse, fuse_tiles, write

    transform = (30, 0, 300000, 0, -30, 5800020)
    hsi = Cube(data=np.random.default_rng(0).random((5, 12, 16)), transform=transform, crs="EPSG:32633")
    job = {"method": "regression", "align": False, "return_details": True}
    fusion = fuse(hsi, safe, **job)
    (combined,) = fusion.image.history[-1]["msi_history"]
    assert [image["bands"] for image in combined["images"]] == [4, 6]
    assert fusion.image.shape == (5, 36, 48)
    write(tmp_path / "hsi.tif", hsi)
    written = fuse_tiles(tmp_path / "hsi.tif", safe, tmp_path / "out.tif", method="regression", align=False)
    assert np.array_equal(read(tmp_path / "out.tif").data, fusion.image.data, equal_nan=True)
    assert any("6 bands with pixels of 20 fused (local-regression) to those of" in note for note in written.notes)
    some = fuse_tiles(
        tmp_path / "hsi.tif",
        safe,
        tmp_path / "some.tif",
        method="regression",
        align=False,
        msi_reading=ReadOptions(bands="1-3"),
    )
    assert "msi_history" in some.image.history[-1]
    assert not any("fused (local-regression)" in note for note in some.notes)
    # Of an HSI with pixels of 20 m those of 20 m are not used.
    near = hsi.replace(transform=(20, 0, 300000, 0, -20, 5800020))
    assert any("so its bands are not used" in note for note in fuse(near, safe, **job).notes)
