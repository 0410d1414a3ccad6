"""WorldView images of 6 x 7 pixels in two tiles, with IMD and TIL as text, or XML."""

import math
import re
import zipfile

import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

NAME = "14JUN11180530-M2AS-014670314010_01_P003"
TILES = ("14JUN11180530-M2AS_R1C1-014670314010_01_P003", "14JUN11180530-M2AS_R1C2-014670314010_01_P003")
GROUPS = ("C", "B", "G", "Y", "R", "RE", "N", "N2")
FACTORS = dict(zip(GROUPS, [0.009, 0.0178, 0.0136, 0.0068, 0.011, 0.0061, 0.0122, 0.009], strict=True))
WIDTHS = dict(zip(GROUPS, [0.0473, 0.0543, 0.063, 0.0374, 0.0574, 0.0393, 0.0989, 0.0996], strict=True))


def imd(level="LV2A", satellite="WV02", enhancement="Off", more=""):
    bands = "".join(
        f"BEGIN_GROUP = BAND_{name}\n\tULLon = -95.1;\n\tabsCalFactor = {FACTORS[name]};\n"
        f"\teffectiveBandwidth = {WIDTHS[name]};\nEND_GROUP = BAND_{name}\n"
        for name in GROUPS
    )
    return (
        f'version = "AA";\nnumRows = 6;\nnumColumns = 7;\nproductLevel = "{level}";\n'
        f'radiometricEnhancement = "{enhancement}";\n{bands}BEGIN_GROUP = IMAGE_1\n\tsatId = "{satellite}";\n'
        f"\tfirstLineTime = 2014-06-11T18:05:30.123450Z;\n\tmeanSunEl = 60.0;\nEND_GROUP = IMAGE_1\n{more}END;\n"
    )


def til():
    parts = "".join(
        f'BEGIN_GROUP = TILE_{number}\n\tfilename = "{name}.TIF";\n\tULColOffset = {col};\n\tULRowOffset = 0;\n'
        f"\tLRColOffset = {last};\n\tLRRowOffset = 5;\nEND_GROUP = TILE_{number}\n"
        for number, (name, col, last) in enumerate(zip(TILES, (0, 4), (3, 6), strict=True), 1)
    )
    return f'bandId = "Multi"\nnumTiles = 2;\n{parts}END;\n'


def xml():
    bands = "".join(
        f"<BAND_{name}><ABSCALFACTOR>{FACTORS[name]:e}</ABSCALFACTOR><EFFECTIVEBANDWIDTH>{WIDTHS[name]:e}"
        f"</EFFECTIVEBANDWIDTH></BAND_{name}>"
        for name in GROUPS
    )
    tiles = "".join(
        f"<TILE><FILENAME>{name}.TIF</FILENAME><ULCOLOFFSET>{col}</ULCOLOFFSET><ULROWOFFSET>0</ULROWOFFSET></TILE>"
        for name, col in zip(TILES, (0, 4), strict=True)
    )
    return (
        f"<isd><IMD><PRODUCTLEVEL>LV2A</PRODUCTLEVEL><RADIOMETRICENHANCEMENT>Off</RADIOMETRICENHANCEMENT>{bands}"
        "<IMAGE><SATID>WV02</SATID><FIRSTLINETIME>2014-06-11T18:05:30.123450Z</FIRSTLINETIME>"
        f"<MEANSUNEL>6.0e+01</MEANSUNEL></IMAGE></IMD><TIL>{tiles}</TIL></isd>"
    )


@pytest.fixture
def stored():
    values = np.random.default_rng(6).integers(100, 1800, (8, 6, 7)).astype(np.uint16)
    values[:, 2, 3:5] = 0
    return values


@pytest.fixture
def scene(tmp_path, raster, stored):
    folder = tmp_path / "014670314010_01_P003_MUL"
    raster(folder / f"{TILES[0]}.TIF", stored[:, :, :4], pixel=2)
    raster(folder / f"{TILES[1]}.TIF", stored[:, :, 4:], pixel=2, west=364095 + 8)
    (folder / f"{NAME}.IMD").write_text(imd())
    (folder / f"{NAME}.TIL").write_text(til())
    (folder / f"{NAME}.XML").write_text(xml())
    (folder / f"{NAME}_README.XML").write_text("<x/>")
    return folder


def test_tiles_become_one_image_of_reflectance(scene, stored, centres, assert_windows, assert_same):
    cube = assert_windows(scene)
    # On 2014-06-11 the sun is 1.0155 AU away (Astronomical Almanac), 30 degrees from the zenith.
    radiance = 0.0178 / 0.0543 * stored[1]
    expected = math.pi * 1.0155**2 * radiance / (2007.27 * math.cos(math.radians(30)))
    assert np.allclose(cube.data[1], np.where(stored[1] == 0, np.nan, expected), rtol=2e-4, equal_nan=True)
    assert cube.band_names == GROUPS
    assert cube.wavelengths.tolist() == [428, 479, 548, 608, 659, 724, 828, 923]
    x, _ = centres(cube)
    assert x.tolist() == [364096 + 2 * col for col in range(7)]
    assert (cube.attributes["sensor"], cube.attributes["wavelengths"]) == ("worldview-2", "nominal")
    assert cube.attributes["quantity"] == "top-of-atmosphere reflectance"
    for name in ("IMD", "TIL", "XML"):
        assert_same(read(scene / f"{NAME}.{name}"), cube)
    (scene / f"{NAME}.IMD").unlink()
    assert np.allclose(read(scene).data, cube.data, rtol=1e-6, equal_nan=True)
    assert read(scene, overview=4).data.shape == (8, 3, 4)


def test_one_tile_is_read_alone(scene, stored, centres):
    cube = read(scene / f"{TILES[1]}.TIF")
    assert cube.data.shape == (8, 6, 3)
    assert centres(cube)[0][0] == 364096 + 8
    (scene / f"{NAME}.IMD").unlink()
    (scene / f"{NAME}.XML").unlink()
    assert np.array_equal(read(scene / f"{TILES[1]}.TIF").data, stored[:, :, 4:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (imd(level="LV1B"), r"is of the level LV1B, placed by RPCs alone; order LV2A or LV3"),
        (imd(satellite="GE01"), r"is of the satellite GE01; WorldView-2 and -3"),
        (imd(enhancement="DRA"), r"its values are stretched \(radiometricEnhancement DRA\); order it off"),
        (imd(enhancement="ACOMP"), r"surface reflectance of the vendor \(ACOMP\), .* pass scale=0\.0001"),
        (imd().replace("meanSunEl = 60.0", "meanSunEl = -3"), "MEANSUNEL is -3, which has to be above 0"),
        (imd().replace("2014-06-11T18:05:30.123450Z", "yesterday"), "states the time 'yesterday', which is none"),
        (imd().replace("END;\n", ""), "does not end with END; it is cut off"),
        (imd().replace("BAND_Y", "BAND_Q"), r"has 8 bands, but .*IMD describes 7"),
    ],
)
def test_what_is_refused(scene, text, message):
    (scene / f"{NAME}.IMD").write_text(text)
    with pytest.raises(InputError, match=message):
        read(scene)


def test_acomp_with_a_scale_and_several_images(scene, stored):
    (scene / f"{NAME}.IMD").write_text(imd(enhancement="ACOMP"))
    cube = read(scene, scale=1e-4)
    assert np.allclose(cube.data[0, 0], stored[0, 0] * 1e-4)
    (scene / f"{NAME}.IMD").write_text(imd(more="BEGIN_GROUP = IMAGE_2\nEND_GROUP = IMAGE_2\n"))
    with pytest.warns(HyperfuseWarning, match="several images; the sun's elevation of the first is used"):
        read(scene)
    with pytest.raises(InputError, match="needs a cloud mask, which WorldView products do not have"):
        read(scene, quality="clear")


def test_tiles_that_are_missing_or_off_the_grid(scene, raster, stored):
    raster(scene / f"{TILES[1]}.TIF", stored[:, :, 4:], pixel=2, west=364095 + 9)
    with pytest.raises(InputError, match="do not lie on one grid"):
        read(scene)
    (scene / f"{TILES[1]}.TIF").unlink()
    with pytest.raises(InputError, match=rf"the tile {TILES[1]}\.TIF is missing in"):
        read(scene)


def test_the_panchromatic_image_of_a_delivery(scene, raster, tmp_path, assert_same):
    pan, name = np.full((1, 24, 28), 400, np.uint16), NAME.replace("M2AS", "P2AS")
    raster(tmp_path / "pan" / f"{name}.TIF", pan, pixel=0.5)
    text = re.sub(r"BEGIN_GROUP = BAND_\w+\n(?:\t.*\n)*END_GROUP = BAND_\w+\n", "", imd())
    band = "BEGIN_GROUP = BAND_P\n\tabsCalFactor = 0.05;\n\teffectiveBandwidth = 0.28;\nEND_GROUP = BAND_P\n"
    (tmp_path / "pan" / f"{name}.IMD").write_text(text.replace("BEGIN_GROUP = IMAGE_1", f"{band}BEGIN_GROUP = IMAGE_1"))
    with zipfile.ZipFile(tmp_path / "order.zip", "w") as archive:
        for folder in (scene, tmp_path / "pan"):
            for file in sorted(folder.iterdir()):
                archive.write(file, f"014670314010_01/{folder.name}/{file.name}")
    assert_same(read(tmp_path / "order.zip"), read(scene))
    cube = read(f"{tmp_path / 'order.zip'}:pan")
    assert (cube.band_names, cube.data.shape, cube.fwhm.tolist()) == (("P",), (1, 24, 28), [336])
    assert_same(read(tmp_path / "pan"), cube)
    with pytest.raises(InputError, match="holds no panchromatic image"):
        read(f"{scene / NAME}.IMD:pan")
