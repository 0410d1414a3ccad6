"""EnMAP L2A scenes of 6 x 5 pixels in the structure of the product specification."""

import zipfile

import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, summary
from hyperfuse.sensor.detectors import detectors_of

NAME = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
# The bands of the image are by wavelength: the detectors interleave where they overlap.
CENTRES = [418.24, 902.25, 911.57, 921.11, 1331.22, 2445.53]
WIDTHS = [6.99, 8.18, 10.1, 8.3, 11.4, 7.6]
VNIR, SWIR = (1, 2, 4), (3, 6)
BACKGROUND = -32768


def metadata(level="L2A", gains=(1e-4,) * 6, offsets=(0,) * 6, reverse=False):
    bands = [
        f'<bandID number="{number}"><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{width}</FWHMOfBand><GainOfBand>{gain}</GainOfBand><OffsetOfBand>{offset}</OffsetOfBand></bandID>"
        for number, (centre, width, gain, offset) in enumerate(zip(CENTRES, WIDTHS, gains, offsets, strict=True), 1)
    ]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<level_X>
  <metadata><schema><versionSchema>01.04.00</versionSchema></schema></metadata>
  <base>
    <format>ENMAP_{level}</format><level>{level}</level>
    <temporalCoverage><startTime>2022-07-24T10:45:26.186149Z</startTime>
      <stopTime>2022-07-24T10:45:30.716000Z</stopTime></temporalCoverage>
  </base>
  <specific>
    <backgroundValue>{BACKGROUND}</backgroundValue>
    <bandCharacterisation>{"".join(reversed(bands) if reverse else bands)}</bandCharacterisation>
    <vnirProductQuality><expectedChannelsList>{",".join(map(str, VNIR))}</expectedChannelsList></vnirProductQuality>
    <swirProductQuality><expectedChannelsList>{",".join(map(str, SWIR))}</expectedChannelsList></swirProductQuality>
  </specific>
  <product><image><merge><name>{NAME}-SPECTRAL_IMAGE.TIF</name></merge></image></product>
</level_X>"""


@pytest.fixture
def stored():
    values = np.random.default_rng(3).integers(100, 6000, (6, 5, 6)).astype(np.int16)
    values[:, 0, 0] = BACKGROUND
    values[4] = BACKGROUND
    return values


@pytest.fixture
def scene(tmp_path, raster, stored):
    folder = tmp_path / NAME
    raster(folder / f"{NAME}-SPECTRAL_IMAGE.TIF", stored, nodata=BACKGROUND)
    (folder / f"{NAME}-METADATA.XML").write_text(metadata())
    layers = {layer: np.zeros((5, 6), np.uint8) for layer in ("CLOUD", "CLOUDSHADOW", "HAZE", "CIRRUS", "TESTFLAGS")}
    layers["CLOUD"][1, 1] = 1
    layers["CLOUDSHADOW"][1, 2] = 1
    layers["HAZE"][1, 3] = 1
    layers["CIRRUS"][1, 4] = 2
    layers["TESTFLAGS"][3, 0] = 1 << 4  # saturated in the SWIR
    layers["TESTFLAGS"][3, 1] = 1 << 5 | 1  # saturated in the VNIR, of reduced quality
    layers["TESTFLAGS"][3, 2] = 1 << 2 | 1 << 3 | 1 << 6  # interpolated, an artefact: kept
    for layer, values in layers.items():
        raster(folder / f"{NAME}-QL_QUALITY_{layer}.TIF", values)
    return folder


def test_windows(scene, assert_windows):
    assert_windows(scene)
    assert_windows(scene, quality="clear", bands="3,1")


def test_values_wavelengths_and_position(scene, stored, centres):
    cube = read(scene)
    expected = np.where(stored == BACKGROUND, np.nan, stored * 1e-4)
    expected[[2, 5], 3, 0] = np.nan
    expected[[0, 1, 3], 3, 1] = np.nan
    assert np.allclose(cube.data, expected, atol=1e-7, equal_nan=True)
    assert np.array_equal(cube.valid, ~np.isnan(expected))
    assert cube.wavelengths.tolist() == CENTRES
    assert cube.fwhm.tolist() == WIDTHS
    assert cube.band_names == ("VNIR 1", "VNIR 2", "SWIR 3", "VNIR 4", "VNIR 5", "SWIR 6")
    assert [(one.name, one.bands) for one in detectors_of(cube.header)] == [("VNIR", (0, 1, 3, 4)), ("SWIR", (2, 5))]
    assert cube.good_bands.tolist() == [True, True, True, True, False, True]
    assert cube.empty_bands.tolist() == [False, False, False, False, True, False]
    assert (cube.units, cube.scale, cube.offset, cube.nodata) == ("reflectance", 1e-4, 0.0, -32768.0)
    assert cube.crs == "EPSG:32633"
    x, y = centres(cube)
    assert x.tolist() == [364110 + 30 * col for col in range(6)]
    assert y.tolist() == [5809950 - 30 * row for row in range(5)]
    assert cube.attributes["start_time"] == "2022-07-24T10:45:26.186149Z"
    assert cube.attributes["sensor"] == "EnMAP"
    assert cube.attributes["scene"] == NAME
    (step,) = cube.history
    assert (step["step"], step["product"], step["quality"]) == ("read", "EnMAP L2A", "standard")
    assert step["gaps"] == ["no data", "saturated"]


@pytest.mark.parametrize("ending", ["METADATA.XML", "SPECTRAL_IMAGE.TIF"])
def test_metadata_and_image_name_the_scene(scene, assert_same, ending):
    assert_same(read(scene / f"{NAME}-{ending}"), read(scene))


def test_folders_around_it_and_a_zip(scene, tmp_path, assert_same):
    outer = tmp_path / "dims_op_oc_1" / "ENMAP.HSI.L2A"
    outer.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "enmap.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in scene.iterdir():
            archive.write(file, f"{NAME}/{file.name}")
    cube = read(scene)
    scene.rename(outer / NAME)
    assert_same(read(tmp_path / "dims_op_oc_1"), cube)
    assert_same(read(tmp_path / "enmap.zip"), cube)


def test_a_scene_under_another_name_is_known_by_its_metadata(scene, assert_same):
    cube = read(scene)
    other = scene.with_name("potsdam")
    scene.rename(other)
    for file in other.iterdir():
        file.rename(other / file.name.replace(NAME, "potsdam"))
    for path in (other, other / "potsdam-METADATA.XML", other / "potsdam-SPECTRAL_IMAGE.TIF"):
        again = read(path)
        assert_same(again.replace(attributes={}, history=()), cube.replace(attributes={}, history=()))
        assert again.history[0]["product"] == "EnMAP L2A"


def test_an_overview(scene, assert_overview):
    assert_overview(scene, 3, step=2)


def test_clear_takes_clouds_shadows_haze_and_cirrus(scene):
    standard, clear = read(scene), read(scene, quality="clear")
    taken = np.zeros((5, 6), bool)
    taken[1, 1:5] = True
    assert np.array_equal(clear.valid, standard.valid & ~taken)
    assert clear.history[0]["gaps"] == ["no data", "saturated", "cloud", "cloud shadow", "haze", "cirrus"]


def test_gain_and_offset_of_single_bands_in_any_order_of_the_metadata(scene, stored):
    gains, offsets = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4], [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    path = scene / f"{NAME}-METADATA.XML"
    path.write_text(metadata(gains=gains, offsets=offsets, reverse=True))
    cube = read(scene)
    linear = np.array(gains)[:, None, None] * stored + np.array(offsets)[:, None, None]
    assert np.allclose(cube.data[cube.valid], linear[cube.valid], atol=1e-6)
    assert cube.wavelengths.tolist() == CENTRES
    assert (cube.scale, cube.offset) == (1.0, 0.0)


def test_bands_and_the_callers_coding(scene, stored):
    cube = read(scene, bands="6,2")
    assert cube.wavelengths.tolist() == [CENTRES[5], CENTRES[1]]
    assert np.allclose(cube.data[1, 2], stored[1, 2] * 1e-4)
    assert cube.good_bands.tolist() == [True, True]
    with pytest.warns(HyperfuseWarning, match=r"states scale 0\.0001 .* scale 1 and offset 0 of the call"):
        raw = read(scene, scale=1.0)
    assert raw.data[0, 2, 2] == stored[0, 2, 2]


def test_another_nodata_of_the_image_counts_too(scene, raster, stored):
    stored[0, 2, 2] = 0
    raster(scene / f"{NAME}-SPECTRAL_IMAGE.TIF", stored, nodata=0)
    cube = read(scene)
    assert not cube.valid[0, 2, 2]
    assert not cube.valid[0, 0, 0]
    assert cube.nodata == BACKGROUND


def test_cloud_optimised_copies(scene, assert_same):
    cube = read(scene)
    for file in scene.glob("*.TIF"):
        file.rename(file.with_name(f"{file.stem}_COG.TIF"))
    assert_same(read(scene), cube)
    assert_same(read(scene / f"{NAME}-SPECTRAL_IMAGE_COG.TIF"), cube)


def test_without_test_flags_saturation_is_not_known(scene):
    (scene / f"{NAME}-QL_QUALITY_TESTFLAGS.TIF").unlink()
    with pytest.warns(HyperfuseWarning, match="QL_QUALITY_TESTFLAGS is missing in .*; saturated pixels are not known"):
        cube = read(scene)
    assert cube.history[0]["gaps"] == ["no data"]


def test_info_shows_a_scene(scene):
    found = summary(read(scene))
    assert (found["bands"], found["rows"], found["cols"]) == (6, 5, 6)
    assert found["bounds"] == [364095.0, 5809815.0, 364275.0, 5809965.0]


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("METADATA.XML", {}, rf"the file {NAME}-METADATA\.XML is missing in "),
        ("SPECTRAL_IMAGE.TIF", {}, rf"the file {NAME}-SPECTRAL_IMAGE\.TIF is missing in "),
        (
            "QL_QUALITY_HAZE.TIF",
            {"quality": "clear"},
            rf"the file {NAME}-QL_QUALITY_HAZE\.TIF is missing in .*; quality='clear' needs it",
        ),
    ],
)
def test_missing_files_are_named(scene, part, options, message):
    (scene / f"{NAME}-{part}").unlink()
    path = scene / f"{NAME}-{'SPECTRAL_IMAGE.TIF' if part == 'METADATA.XML' else 'METADATA.XML'}"
    with pytest.raises(InputError, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def test_a_folder_without_metadata_is_known_by_its_name(scene):
    (scene / f"{NAME}-METADATA.XML").unlink()
    with pytest.raises(InputError, match=r"the file METADATA\.XML is missing in"):
        read(scene)


@pytest.mark.parametrize("level", ["L1B", "L1C"])
def test_other_levels(tmp_path, level):
    folder = tmp_path / NAME.replace("L2A", level)
    folder.mkdir()
    (folder / f"{folder.name}-METADATA.XML").write_text(metadata(level))
    (folder / f"{folder.name}-SPECTRAL_IMAGE_VNIR.TIF").write_bytes(b"x")
    with pytest.raises(InputError, match=rf"is EnMAP {level} \(radiance at the sensor\); order the L2A product"):
        read(folder)
    with pytest.raises(InputError, match=rf"is EnMAP {level}"):
        read(folder / f"{folder.name}-SPECTRAL_IMAGE_VNIR.TIF")


@pytest.mark.parametrize("fraction", [0.99, 0.5, 0.0001])
def test_cut_off_image(scene, fraction):
    path = scene / f"{NAME}-SPECTRAL_IMAGE.TIF"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction) + 1])
    with pytest.raises(InputError, match=r"SPECTRAL_IMAGE\.TIF .*damaged"):
        read(scene)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (metadata()[:900], r"METADATA\.XML is no XML, or is cut off"),
        ("", r"METADATA\.XML is no XML, or is cut off"),
        (metadata().replace("bandID", "other"), "describes no bands"),
        (metadata().replace("<GainOfBand>0.0001", "<GainOfBand>high"), "GainOfBand is 'high', not a number"),
        (metadata().replace("<FWHMOfBand>7.6", "<FWHMOfBand>nan"), "FWHMOfBand is 'nan', not a number"),
        (metadata().replace("</bandCharacterisation>", "<bandID number='7'/></bandCharacterisation>"), "is None, not"),
    ],
)
def test_damaged_metadata(scene, text, message):
    (scene / f"{NAME}-METADATA.XML").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(scene)
    assert "\n" not in str(caught.value)


def test_metadata_of_another_number_of_bands(scene, raster, stored):
    raster(scene / f"{NAME}-SPECTRAL_IMAGE.TIF", stored[:5])
    with pytest.raises(InputError, match=r"SPECTRAL_IMAGE\.TIF has 5 bands, but .*METADATA\.XML describes 6"):
        read(scene)


def test_mask_of_another_size(scene, raster):
    raster(scene / f"{NAME}-QL_QUALITY_CLOUD.TIF", np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"QL_QUALITY_CLOUD\.TIF has 5 x 5 pixels, not 5 x 6 as the image"):
        read(scene, quality="clear")


def test_two_scenes_in_a_folder(scene):
    (scene / f"{NAME.replace('008', '009')}-METADATA.XML").write_text(metadata())
    with pytest.raises(InputError, match=r"holds 2 files METADATA\.XML .*; name one of them"):
        read(scene)
    assert read(scene / f"{NAME}-METADATA.XML").bands == 6
