"""Landsat 8 and 9 Level 2 scenes of 4 x 5 pixels in the structure of Collection 2."""

import json
import tarfile

import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

NAME = "LC09_L2SP_193023_20220724_20230406_02_T1"
BANDS = range(1, 8)


def groups(level="L2SP", spacecraft="LANDSAT_9", collection="02"):
    files = {f"FILE_NAME_BAND_{band}": f"{NAME}_SR_B{band}.TIF" for band in BANDS}
    scaling = {f"REFLECTANCE_MULT_BAND_{band}": "2.75e-05" for band in BANDS}
    scaling |= {f"REFLECTANCE_ADD_BAND_{band}": "-0.2" for band in BANDS}
    return {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": NAME,
            "PROCESSING_LEVEL": level,
            "COLLECTION_NUMBER": collection,
            **files,
            "FILE_NAME_BAND_ST_B10": f"{NAME}_ST_B10.TIF",
            "FILE_NAME_QUALITY_L1_PIXEL": f"{NAME}_QA_PIXEL.TIF",
            "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{NAME}_QA_RADSAT.TIF",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": spacecraft,
            "DATE_ACQUIRED": "2022-07-24",
            "SCENE_CENTER_TIME": "10:02:11.5123450Z",
        },
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": scaling,
        "LEVEL1_PROCESSING_RECORD": {"PROCESSING_LEVEL": "L1TP", "FILE_NAME_BAND_1": "other.TIF"},
        "LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_1": "2.0E-05", "REFLECTANCE_ADD_BAND_1": "-0.1"},
    }


def odl(content):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, items in content.items():
        lines.append(f"  GROUP = {group}")
        for key, value in items.items():
            plain = value.replace(".", "").replace("-", "").replace("e", "").isdecimal()
            lines.append(f"    {key} = {value}" if plain else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {group}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def xml(content):
    parts = (
        f"<{group}>{''.join(f'<{key}>{value}</{key}>' for key, value in items.items())}</{group}>"
        for group, items in content.items()
    )
    return f"<?xml version='1.0'?>\n<LANDSAT_METADATA_FILE>{''.join(parts)}</LANDSAT_METADATA_FILE>\n"


@pytest.fixture
def stored():
    values = np.random.default_rng(10).integers(7500, 40000, (7, 4, 5)).astype(np.uint16)
    values[:, 0, 0] = 0
    values[2, 3, 4] = 0
    return values


@pytest.fixture
def scene(tmp_path, raster, stored):
    folder = tmp_path / NAME
    for band in BANDS:
        raster(folder / f"{NAME}_SR_B{band}.TIF", stored[band - 1])
    flags = np.full((4, 5), 1 << 6, np.uint16)  # clear
    flags[0, :2] = 1  # fill, at the second pixel of the quality alone
    flags[1] = [1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5 | 1 << 6]  # dilated, cirrus, cloud, shadow, snow
    raster(folder / f"{NAME}_QA_PIXEL.TIF", flags)
    saturated = np.zeros((4, 5), np.uint16)
    saturated[2, 1], saturated[2, 2], saturated[2, 3] = 1 << 0 | 1 << 3, 1 << 6, 1 << 11  # the last: terrain
    raster(folder / f"{NAME}_QA_RADSAT.TIF", saturated)
    (folder / f"{NAME}_MTL.txt").write_text(odl(groups()))
    (folder / f"{NAME}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups()}))
    return folder


def test_windows(scene, assert_windows):
    assert_windows(scene)
    assert_windows(scene, quality="clear", bands="3,1")


def test_values_wavelengths_and_position(scene, stored, centres):
    cube = read(scene)
    expected = np.where(stored == 0, np.nan, stored * 2.75e-5 - 0.2)
    expected[:, 0, 1] = np.nan
    expected[[0, 3], 2, 1] = np.nan
    expected[6, 2, 2] = np.nan
    assert np.allclose(cube.data, expected, atol=1e-6, equal_nan=True)
    assert cube.band_names == ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
    assert cube.wavelengths.tolist() == [443, 482, 561.5, 654.5, 865, 1608.5, 2200.5]
    assert cube.fwhm.tolist() == [16, 60, 57, 37, 28, 85, 187]
    assert (cube.scale, cube.offset, cube.nodata, cube.units) == (2.75e-5, -0.2, 0.0, "reflectance")
    x, y = centres(cube)
    assert (x[0], x[4], y[0], y[3]) == (364110.0, 364230.0, 5809950.0, 5809860.0)
    assert cube.crs == "EPSG:32633"
    assert cube.attributes["sensor"] == "Landsat-9"
    assert cube.attributes["start_time"] == "2022-07-24T10:02:11.5123450Z"
    assert cube.history[0]["gaps"] == ["no data", "saturated"]


def test_text_json_and_tar_name_the_scene(scene, tmp_path, assert_same):
    cube = read(scene)
    assert_same(read(scene / f"{NAME}_MTL.txt"), cube)
    assert_same(read(scene / f"{NAME}_MTL.json"), cube)
    with tarfile.open(tmp_path / f"{NAME}.tar", "w") as archive:
        for file in sorted(scene.iterdir()):
            archive.add(file, file.name)
    assert_same(read(tmp_path / f"{NAME}.tar"), cube)
    (scene / f"{NAME}_MTL.txt").unlink()
    assert_same(read(scene), cube)
    (scene / f"{NAME}_MTL.xml").write_text(xml(groups()))
    assert_same(read(scene / f"{NAME}_MTL.xml"), cube)
    (scene / f"{NAME}_MTL.json").unlink()
    assert_same(read(scene), cube)


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_a_text_without_its_last_line_is_whole(scene, assert_same, ending):
    cube = read(scene)
    (scene / f"{NAME}_MTL.txt").write_text(odl(groups()).removesuffix("\nEND\n") + ending)
    assert_same(read(scene), cube)


def test_an_overview(scene, assert_overview):
    assert_overview(scene, 3, step=2)
    assert_overview(scene, 2, step=4, quality="clear")


def test_clear_takes_clouds_shadows_and_cirrus(scene):
    standard, clear = read(scene), read(scene, quality="clear")
    taken = np.zeros((4, 5), bool)
    taken[1, :4] = True
    assert np.array_equal(clear.valid, standard.valid & ~taken)
    assert clear.history[0]["gaps"] == ["no data", "saturated", "cloud", "cloud shadow", "cirrus"]


@pytest.mark.filterwarnings("ignore:.*QA_PIXEL is missing")
def test_some_bands_of_a_download_are_enough(scene, stored):
    for name in ("SR_B1.TIF", "SR_B7.TIF", "QA_PIXEL.TIF"):
        (scene / f"{NAME}_{name}").unlink()
    with pytest.warns(HyperfuseWarning, match="QA_PIXEL is missing in .*; only the fill of the bands themselves is"):
        cube = read(scene, bands="4,3")
    assert cube.band_names == ("B4", "B3")
    assert np.allclose(cube.data[1, 1], stored[2, 1] * 2.75e-5 - 0.2, atol=1e-6)
    with pytest.raises(InputError, match=rf"the file {NAME}_SR_B1\.TIF is missing in .*; select the other bands with"):
        read(scene)
    with pytest.raises(InputError, match=rf"the file {NAME}_QA_PIXEL\.TIF is missing in"):
        read(scene, bands="4", quality="clear")
    (scene / f"{NAME}_QA_RADSAT.TIF").unlink()
    with pytest.warns(HyperfuseWarning, match="QA_RADSAT is missing in .*; saturated values are not known"):
        assert read(scene, bands="4").history[0]["gaps"] == ["no data"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (groups(level="L1TP"), "is Landsat Collection 02 L1TP; take the Collection 2 Level 2 product"),
        (groups(collection="01"), "is Landsat Collection 01 L2SP; take the Collection 2"),
        (groups(spacecraft="LANDSAT_5"), "is of LANDSAT_5; Landsat 8 and 9 are read"),
        ({}, "states no PROCESSING_LEVEL or SPACECRAFT_ID"),
        (groups() | {"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {}}, "REFLECTANCE_MULT_BAND_1 is None, not a number"),
    ],
)
def test_other_products(scene, content, message):
    (scene / f"{NAME}_MTL.txt").write_text(odl(content))
    with pytest.raises(InputError, match=message):
        read(scene)
    (scene / f"{NAME}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": content}))
    with pytest.raises(InputError, match=message):
        read(scene / f"{NAME}_MTL.json")


def test_paths_in_the_metadata_lead_nowhere(scene, tmp_path, raster, stored):
    outside = raster(tmp_path / "outside.TIF", stored[0])
    content = groups()
    content["PRODUCT_CONTENTS"]["FILE_NAME_BAND_1"] = f"../{outside.name}"
    (scene / f"{NAME}_MTL.txt").write_text(odl(content))
    with pytest.raises(InputError, match=r"the file \.\./outside\.TIF is missing in"):
        read(scene)


@pytest.mark.parametrize(
    ("name", "fraction"), [("MTL.txt", 0.5), ("MTL.json", 0.5), ("SR_B3.TIF", 0.5), ("QA_PIXEL.TIF", 0.9)]
)
def test_cut_off(scene, name, fraction):
    path = scene / f"{NAME}_{name}"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(InputError, match=rf"{name.replace('.', '[.]')} .*(cut off|damaged)") as caught:
        read(path if "MTL" in name else scene)
    assert "\n" not in str(caught.value)
