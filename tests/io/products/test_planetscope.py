"""PlanetScope scenes of 5 x 6 pixels in the structure of PSScene: 4 and 8 bands, UDM2 and UDM, XML and STAC."""

import json
import zipfile

import numpy as np
import pytest

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read

SUPERDOVE = "20230702_103015_55_24a1"
DOVE = "20170831_172754_101c"
FACTORS = [1.8e-5, 1.9e-5, 2.1e-5, 3.2e-5]


def metadata(factors):
    bands = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{number}</ps:bandNumber>"
        f"<ps:radiometricScaleFactor>0.01</ps:radiometricScaleFactor>"
        f"<ps:reflectanceCoefficient>{factor}</ps:reflectanceCoefficient></ps:bandSpecificMetadata>"
        for number, factor in reversed(list(enumerate(factors, 1)))
    )
    return (
        '<?xml version="1.0"?><ps:EarthObservation xmlns:ps="http://schemas.planet.com/ps/v1/x">'
        f"<ps:EarthObservationResult>{bands}</ps:EarthObservationResult></ps:EarthObservation>"
    )


def item(centres):
    bands = [{"name": f"b{at}", "center_wavelength": c, "full_width_half_max": 0.06} for at, c in enumerate(centres)]
    return json.dumps({"type": "Feature", "properties": {}, "assets": {"image": {"eo:bands": bands}}})


def udm2():
    mask = np.zeros((8, 5, 6), np.uint8)
    mask[0] = 1
    for number in range(1, 6):  # snow, shadow, light haze, heavy haze, cloud in the columns of row 1
        mask[number, 1, number - 1] = 1
    mask[6] = 80
    mask[7, 2, 0], mask[7, 2, 1], mask[7, 2, 2] = 1, 2, 8  # black fill, cloud, a band that is suspect
    return mask


def stored(count):
    values = np.random.default_rng(count).integers(300, 9000, (count, 5, 6)).astype(np.uint16)
    values[:, 0, 0] = 0
    return values


@pytest.fixture
def superdove(tmp_path, raster):
    folder = tmp_path / "PSScene"
    raster(folder / f"{SUPERDOVE}_3B_AnalyticMS_SR_8b_harmonized_clip.tif", stored(8), pixel=3, nodata=0)
    raster(folder / f"{SUPERDOVE}_3B_udm2_clip.tif", udm2(), pixel=3)
    (folder / f"{SUPERDOVE}_3B_AnalyticMS_8b_metadata_clip.xml").write_text(metadata([1e-5] * 8))
    return folder


@pytest.fixture
def dove(tmp_path, raster):
    folder = tmp_path / DOVE
    raster(folder / f"{DOVE}_3B_AnalyticMS.tif", stored(4), pixel=3, nodata=0)
    bits = np.zeros((5, 6), np.uint8)
    bits[3, 0], bits[3, 1], bits[3, 2] = 1, 2, 4
    raster(folder / f"{DOVE}_3B_AnalyticMS_DN_udm.tif", bits, pixel=3)
    (folder / f"{DOVE}_3B_AnalyticMS_metadata.xml").write_text(metadata(FACTORS))
    (folder / f"{DOVE}.json").write_text(item([0.49, 0.55, 0.64, 0.81]))
    return folder


def gaps(*pixels):
    mask = np.zeros((5, 6), bool)
    for pixel in [(0, 0), *pixels]:
        mask[pixel] = True
    return mask


def test_surface_reflectance_of_a_superdove(superdove, assert_windows, assert_overview, assert_same, tmp_path):
    cube = assert_windows(superdove)
    expected = np.where(gaps((2, 0), (2, 2)), np.nan, stored(8) * 1e-4)
    assert np.allclose(cube.data, expected, atol=1e-7, equal_nan=True)
    assert cube.band_names == ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
    assert cube.wavelengths.tolist() == [444, 492, 533, 566, 612, 666, 707, 866]
    assert cube.fwhm.tolist() == [20, 52, 37, 38, 23, 32, 16, 41]
    assert (cube.crs, cube.units, cube.scale, cube.nodata) == ("EPSG:32633", "reflectance", 1e-4, 0)
    assert (cube.attributes["sensor"], cube.attributes["satellite"]) == ("planetscope-superdove", "24a1")
    assert (cube.history[0]["product"], cube.history[0]["gaps"]) == ("PlanetScope", ["no data", "suspect"])
    assert_overview(superdove, 3, step=2)
    with zipfile.ZipFile(tmp_path / "order.zip", "w") as archive:
        for file in sorted(superdove.iterdir()):
            archive.write(file, f"PSScene/{file.name}")
    assert_same(read(tmp_path / "order.zip"), cube)


def test_clear_by_udm2(superdove, assert_windows):
    clear = assert_windows(superdove, quality="clear", bands="6,2")
    # Snow stays; light and heavy haze, shadow and cloud go. Bit 1 of the older mask is cloud, which UDM2 states itself.
    assert np.array_equal(~clear.valid[0], gaps((1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 2)))
    assert clear.history[0]["gaps"] == ["no data", "suspect", "cloud shadow", "haze", "cloud"]
    (superdove / f"{SUPERDOVE}_3B_udm2_clip.tif").unlink()
    with pytest.raises(InputError, match=r"the mask .*_3B_udm2\.tif is missing in .*; quality='clear' needs it"):
        read(superdove, quality="clear")
    with pytest.warns(HyperfuseWarning, match="suspect pixels are not known"):
        assert np.array_equal(~read(superdove).valid[0], gaps())


@pytest.mark.filterwarnings("ignore:.*the bands of the satellite 101c")
def test_radiance_becomes_reflectance_by_the_coefficients_of_the_scene(dove, assert_windows):
    cube = assert_windows(dove)
    expected = np.where(gaps((3, 0), (3, 2)), np.nan, stored(4) * np.array(FACTORS)[:, None, None])
    assert np.allclose(cube.data, expected, atol=1e-7, equal_nan=True)
    assert np.allclose(cube.wavelengths, [490, 550, 640, 810])
    assert cube.attributes["quantity"] == "top-of-atmosphere reflectance"
    assert np.array_equal(~read(dove, quality="clear").valid[0], gaps((3, 0), (3, 1), (3, 2)))
    (dove / f"{DOVE}.json").unlink()
    with pytest.warns(HyperfuseWarning, match=r"the bands of the satellite 101c are not known, .* pass wavelengths="):
        assert read(dove).wavelengths is None
    (dove / f"{DOVE}_3B_AnalyticMS_metadata.xml").write_text(metadata(FACTORS[:3]))
    with pytest.raises(InputError, match=r"_metadata\.xml of 4 bands is missing .* the SR product does not"):
        read(dove, bands="1")


@pytest.mark.parametrize(
    ("name", "count", "centres"),
    [
        ("20200101_101010_0e20_3B_AnalyticMS_SR.tif", 4, [517, 552, 633, 812]),
        ("20220101_101010_12_2251_3B_AnalyticMS_SR_harmonized.tif", 4, [492, 566, 666, 866]),
        ("20220101_101010_12_2251_3B_AnalyticMS_SR_5b.tif", 5, [492, 566, 666, 707, 866]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*suspect pixels are not known")
def test_bands_by_satellite_and_number(tmp_path, raster, name, count, centres):
    path = raster(tmp_path / name, stored(count), pixel=3)
    assert read(path).wavelengths.tolist() == centres


def test_what_is_refused(tmp_path, raster, superdove):
    name = f"{SUPERDOVE}_1B_AnalyticMS_8b.tif"
    with pytest.raises(InputError, match=r"is a basic PlanetScope product, .* order ortho_analytic"):
        read(raster(tmp_path / name, stored(8)))
    raster(superdove / f"{SUPERDOVE}_3B_AnalyticMS_8b_clip.tif", stored(8), pixel=3)
    with pytest.raises(InputError, match=r"holds 2 files .*AnalyticMS.*; name one of them"):
        read(superdove)
    raster(superdove / f"{SUPERDOVE}_3B_udm2_clip.tif", udm2()[:, :4], pixel=3)
    with pytest.raises(InputError, match=r"_3B_udm2_clip\.tif has 4 x 6 pixels, not 5 x 6 as the image"):
        read(superdove / f"{SUPERDOVE}_3B_AnalyticMS_8b_clip.tif")
