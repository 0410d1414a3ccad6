import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write
from hyperfuse.io.formats.band_tags import band_description, name_of_band

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
RIO = Path(sys.executable).with_name("rio")


def create(file, data, **profile):
    profile = {"driver": "GTiff", "dtype": data.dtype.name, **profile}
    return rasterio.open(file, "w", count=data.shape[0], height=data.shape[1], width=data.shape[2], **profile)


def test_rasterio_reads_what_is_written(scene, tmp_path):
    write(tmp_path / "a.tif", scene)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 32633
        assert file.transform == scene.transform
        assert file.nodata == -32768.0
        assert file.descriptions == (
            "blue (418.24 nm)",
            "swir (2445.5 nm)",
            "nir (902.25 nm)",
            "water (1331.22 nm)",
            "green (550.12 nm)",
        )
        assert set(file.scales) == {1.0}
        assert set(file.units) == {"reflectance"}
        assert [float(file.tags(band)["wavelength"]) for band in file.indexes] == scene.wavelengths.tolist()
        assert [float(file.tags(band)["fwhm"]) for band in file.indexes] == scene.fwhm.tolist()
        assert [file.tags(band)["bbl"] for band in file.indexes] == ["1", "1", "1", "0", "1"]
        assert file.tags(1)["wavelength_units"] == "Nanometers"
        assert file.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.41824", "FWHM_UM": "0.00699561"}
        assert json.loads(file.tags()["HYPERFUSE_HISTORY"]) == [dict(step) for step in scene.history]
        assert file.tags()["sensor"] == "EnMAP"
        assert np.array_equal(file.read(), np.where(scene.valid, scene.data, np.float32(-32768)))


def test_integers_state_their_scale(scene, tmp_path):
    write(tmp_path / "a.tif", scene, dtype="int16")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.dtypes[0] == "int16"
        assert set(file.scales) == {1e-4}
        stored = np.rint(np.where(scene.valid, scene.data, 0).astype(float) * 10_000)
        assert np.array_equal(file.read(), np.where(scene.valid, stored, -32768))


@pytest.mark.skipif(not RIO.exists(), reason="rio is not next to python")
def test_rio_info(scene, tmp_path):
    write(tmp_path / "a.tif", scene)
    info = json.loads(subprocess.check_output([RIO, "info", tmp_path / "a.tif"]))
    assert (info["count"], info["height"], info["width"], info["crs"]) == (5, 8, 9, "EPSG:32633")
    assert info["transform"] == list(scene.transform)
    assert info["nodata"] == -32768.0


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed")
@pytest.mark.parametrize("cog", [False, True])
def test_gdalinfo(scene, tmp_path, cog):
    write(tmp_path / "a.tif", scene, cog=cog)
    info = json.loads(subprocess.check_output(["gdalinfo", "-json", "-mdd", "IMAGERY", tmp_path / "a.tif"]))
    assert info["size"] == [9, 8]
    assert info["geoTransform"] == [364095.0, 30.0, 0.0, 5809965.0, 0.0, -30.0]
    assert 'ID["EPSG",32633]]' in info["coordinateSystem"]["wkt"]
    assert [band["metadata"][""]["wavelength"] for band in info["bands"]][:2] == ["418.24", "2445.5"]
    assert {band["noDataValue"] for band in info["bands"]} == {-32768.0}
    assert info["bands"][1]["description"] == "swir (2445.5 nm)"
    imagery = [band["metadata"]["IMAGERY"] for band in info["bands"]]
    assert imagery[1] == {"CENTRAL_WAVELENGTH_UM": "2.4455", "FWHM_UM": "0.008"}


def test_cog_is_one(tmp_path):
    data = np.random.default_rng(0).random((3, 600, 520), dtype=np.float32)
    write(tmp_path / "a.tif", Cube(data=data), cog=True, compress="deflate")
    with rasterio.open(tmp_path / "a.tif") as file:
        # GDAL says so only while the layout is untouched: the directories first, then overviews, then the image.
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2]
        assert file.profile["tiled"]
        halved = file.read(1, out_shape=(300, 260))
    assert np.allclose(halved, data[0].reshape(300, 2, 260, 2).mean(axis=(1, 3)), atol=1e-6)


def test_enmap_like_tile_is_scaled_once(tmp_path):
    stored = np.array([[[1000.0, -32768.0]], [[-32768.0, -32768.0]]], np.float32)
    with create(
        tmp_path / "a.tif", stored, nodata=-32768, crs="EPSG:32633", transform=Affine(30, 0, 0, 0, -30, 0)
    ) as file:
        file.write(stored)
        file.scales, file.offsets = [1e-4] * 2, [0.0] * 2
        for band, (centre, good) in enumerate([("1331.22", "1"), ("418.24", "0")], 1):
            file.update_tags(band, wavelength=centre, fwhm="7", bbl=good, wavelength_units="Nanometers")
    cube = read(tmp_path / "a.tif")
    assert cube.data[0, 0, 0] == np.float32(0.1)
    assert np.isnan(cube.data[0, 0, 1])
    assert cube.empty_bands.tolist() == [False, True]
    assert cube.good_bands.tolist() == [True, False]
    assert cube.wavelengths.tolist() == [1331.22, 418.24]
    assert (cube.scale, cube.nodata) == (1e-4, -32768.0)
    write(tmp_path / "b.tif", cube)
    again = read(tmp_path / "b.tif")
    assert again.data[0, 0, 0] == np.float32(0.1)
    assert again.scale == 1e-4


def test_scales_of_single_bands(tmp_path):
    stored = np.full((2, 2, 2), 10, np.uint16)
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        file.scales, file.offsets = (0.5, 2.0), (1.0, 0.0)
    cube = read(tmp_path / "a.tif")
    assert cube.data[:, 0, 0].tolist() == [6.0, 20.0]
    assert (cube.scale, cube.offset) == (1.0, 0.0)
    assert read(tmp_path / "a.tif", bands="2").scale == 2.0


def test_gdal_imagery_domain(tmp_path):
    stored = np.ones((2, 2, 2), np.float32)
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.49", FWHM_UM="0.065")
        file.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="2.19")
    cube = read(tmp_path / "a.tif")
    assert cube.wavelengths.tolist() == [490.0, 2190.0]
    assert cube.fwhm[0] == 65.0
    assert np.isnan(cube.fwhm[1])


def test_mask_in_the_file_marks_gaps(tmp_path):
    stored = np.full((1, 2, 3), 5, np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), create(tmp_path / "mask.tif", stored) as file:
        file.write(stored)
        file.write_mask(np.array([[255, 0, 255], [255, 255, 255]], np.uint8))
    assert (~read(tmp_path / "mask.tif").valid).nonzero() == (0, 0, 1)


def test_four_bytes_are_not_written_as_alpha(tmp_path):
    write(tmp_path / "a.tif", Cube(data=np.full((4, 3, 3), 7.0)), dtype="uint8")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert ColorInterp.alpha not in file.colorinterp


def test_wrong_band_tag_is_left_out_with_a_warning(tmp_path):
    stored = np.ones((1, 2, 2), np.float32)
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        file.update_tags(1, wavelength="green")
    with pytest.warns(HyperfuseWarning, match=r"a\.tif: the band tag wavelength holds 'green'"):
        assert read(tmp_path / "a.tif").wavelengths is None


def test_ground_control_points_are_said_to_be_left_out(tmp_path):
    stored = np.ones((1, 2, 2), np.float32)
    points = [rasterio.control.GroundControlPoint(row, col, 10 + col, 50 - row) for row in (0, 2) for col in (0, 2)]
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with pytest.warns(HyperfuseWarning, match="ground control points alone"):
        assert read(tmp_path / "a.tif").transform is None


def test_rpcs_alone_name_the_level_to_order(tmp_path):
    numbers = {f"{axis}_{what}": 1.0 for axis in ("height", "lat", "line", "long", "samp") for what in ("off", "scale")}
    terms = {f"{axis}_{part}_coeff": [1.0] * 20 for axis in ("line", "samp") for part in ("num", "den")}
    with create(tmp_path / "a.tif", np.ones((1, 2, 2), np.float32)) as file:
        file.write(np.ones((1, 2, 2), np.float32))
        file.rpcs = rasterio.rpc.RPC(**numbers, **terms)
    with pytest.warns(HyperfuseWarning, match=r"by RPCs alone, in sensor geometry, .* order the orthorectified"):
        cube = read(tmp_path / "a.tif")
    assert cube.transform is None
    assert cube.attributes["placed_by"] == "RPCs"


@pytest.mark.parametrize("compress", ["none", "deflate", "zstd", "lzw"])
def test_compressions(tmp_path, compress):
    cube = Cube(data=np.arange(300.0 * 300).reshape(1, 300, 300))
    write(tmp_path / "a.tif", cube, compress=compress)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.compression.name.lower() if file.compression else "none") == compress
    assert np.array_equal(read(tmp_path / "a.tif").data, cube.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compress": "zip"}, "compress='zip' is not one of none, deflate, zstd, lzw"),
        ({"interleave": "bil"}, "interleave='bil' is not one of band, pixel"),
        ({"cog": True, "interleave": "band"}, "a COG is interleaved by pixel"),
        ({"version": "5"}, "version is not an option of GeoTIFF; it takes interleave, cog"),
        ({"dtype": "complex64"}, "dtype='complex64' cannot be written"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a.tif", Cube(data=np.ones((1, 2, 2))), **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image_of_numbers_is_refused(tmp_path):
    with create(tmp_path / "complex.tif", np.ones((1, 2, 2), np.complex64)) as file:
        file.write(np.ones((1, 2, 2), np.complex64))
    with create(tmp_path / "palette.tif", np.ones((1, 2, 2), np.uint8)) as file:
        file.write(np.ones((1, 2, 2), np.uint8))
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(InputError, match=r"complex\.tif: holds complex values"):
        read(tmp_path / "complex.tif")
    with pytest.raises(InputError, match=r"palette\.tif: holds indices into a palette"):
        read(tmp_path / "palette.tif")


@pytest.mark.parametrize("fraction", [0.99, 0.5, 0.001])
def test_cut_off(tmp_path, fraction):
    data = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    write(tmp_path / "a.tif", Cube(data=data), compress="deflate")
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(InputError, match=r"a\.tif: .*damaged") as caught:
        read(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


def test_what_another_program_changed_since_wins_over_our_record(scene, tmp_path):
    own = scene.replace(
        crs="+proj=laea +lat_0=50 +lon_0=7", transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), band_names=list("äöüßé")
    )
    write(tmp_path / "a.tif", own)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.crs, file.transform = "EPSG:3035", Affine(10, 0, 4_000_000, 0, -10, 3_000_000)
    cube = read(tmp_path / "a.tif")
    assert cube.crs == "EPSG:3035"
    assert cube.transform == Affine(10.0, 0.0, 4_000_000.0, 0.0, -10.0, 3_000_000.0)
    with rasterio.open(tmp_path / "a.tif") as file:
        tags = file.tags()
    stored = np.ones((2, 3, 3), np.float32)
    with create(tmp_path / "b.tif", stored) as file:
        file.write(stored)
        file.update_tags(**tags)
    # The names of five bands say nothing about two.
    assert read(tmp_path / "b.tif").band_names is None


def test_png_as_an_image_of_three_bands(tmp_path):
    stored = np.random.default_rng(0).integers(0, 255, (3, 4, 5), dtype=np.uint8)
    with create(tmp_path / "a.png", stored, driver="PNG") as file:
        file.write(stored)
    assert np.array_equal(read(tmp_path / "a.png").data, stored)
    with pytest.raises(InputError, match=r"image is only read; write one of \.tif"):
        write(tmp_path / "b.png", Cube(data=stored))


def force(file, wavelengths, scale="10000.000", unit="micrometers", driver="GTiff"):
    """A file as FORCE writes it: what is known about the bands is in a domain of its own."""
    stored = np.full((len(wavelengths), 2, 3), 2500, np.int16)
    with create(file, stored, nodata=-9999, driver=driver) as target:
        target.write(stored)
        for band, centre in enumerate(wavelengths, 1):
            tags = {"Domain": "B", "Wavelength": centre, "Wavelength_unit": unit, "Scale": scale, "Sensor": "LND08"}
            target.update_tags(band, ns="FORCE", Date="2018-08-23T10:00:00", **tags)
    return file


@pytest.mark.parametrize(("name", "driver"), [("a.tif", "GTiff"), ("a.dat", "ENVI")])
def test_domain_of_force(tmp_path, name, driver):
    cube = read(force(tmp_path / name, ["0.482", "0.561", "0.865"], driver=driver), bands="2-3")
    assert cube.wavelengths.tolist() == [561.0, 865.0]
    assert np.allclose(cube.data, 0.25)
    assert (cube.scale, cube.nodata) == (1e-4, -9999)
    assert cube.attributes["sensor"] == "LND08"
    assert cube.attributes["date"] == "2018-08-23T10:00:00"
    other = read(force(tmp_path / "b.tif", ["0.000", "0.000"], scale="0.000", unit="NA"))  # a quality layer
    assert other.wavelengths is None
    assert (other.data == 2500).all()


@pytest.mark.parametrize("of_bands", [True, False])
def test_envi_domain_in_a_geotiff(tmp_path, of_bands):
    """The EnMAP-Box writes the items of an ENVI header as tags of bands, or of the file."""
    stored = np.ones((2, 2, 2), np.float32)
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        if of_bands:
            for band, centre in enumerate((0.49, 2.19), 1):
                file.update_tags(band, ns="ENVI", wavelength=centre, wavelength_units="Micrometers", fwhm=0.01)
        else:
            lists = {"wavelength": "{0.49, 2.19}", "fwhm": "{0.01, 0.01}", "wavelength_units": "Micrometers"}
            file.update_tags(ns="ENVI", **lists)
    cube = read(tmp_path / "a.tif")
    assert cube.wavelengths.tolist() == [490.0, 2190.0]
    assert np.allclose(cube.fwhm, 10)


def test_colours_that_are_stated_name_the_bands_without_wavelengths(tmp_path):
    stored = np.ones((4, 2, 2), np.uint16)
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    for name, wavelength in (("a.tif", None), ("b.tif", 500)):
        with create(tmp_path / name, stored) as file:
            file.colorinterp = colours
            file.write(stored)
            if wavelength:
                file.update_tags(1, wavelength=wavelength, wavelength_units="nm")
    assert read(tmp_path / "a.tif").band_names == ("blue", "green", "red", "")
    assert read(tmp_path / "a.tif", bands="3,1").band_names == ("red", "blue")
    assert read(tmp_path / "b.tif").band_names is None


COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def colour_image(wavelengths, **fields):
    return Cube(data=np.ones((len(wavelengths), 3, 4), np.float32), wavelengths=wavelengths, **fields)


@pytest.mark.parametrize("options", [{}, {"cog": True}, {"compress": "deflate"}])
def test_red_green_and_blue_are_the_bands_nearest_to_them(tmp_path, options):
    write(tmp_path / "a.tif", colour_image([440, 475, 470.5, 560, 600, 655, 900]), **options)
    with rasterio.open(tmp_path / "a.tif") as file:
        found = dict(zip(file.colorinterp, file.indexes, strict=True))
        assert [found[colour] for colour in COLOURS] == [6, 4, 3]
        assert set(file.colorinterp) == {*COLOURS, ColorInterp.undefined}
        assert file.descriptions[2] == "470.5 nm"
    assert read(tmp_path / "a.tif").band_names is None


def test_bad_bands_are_no_colours(tmp_path):
    good = [True, True, False, True, True]
    write(tmp_path / "a.tif", colour_image([450, 555, 560, 640, 650], good_bands=good))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert [file.colorinterp.index(colour) for colour in COLOURS] == [4, 1, 0]


@pytest.mark.parametrize("wavelengths", [[900, 1600, 2200], [470, 560, 700], [470, 560], None])
def test_without_three_visible_bands_none_is_a_colour(tmp_path, wavelengths):
    cube = Cube(data=np.ones((3, 3, 4), np.float32)) if wavelengths is None else colour_image(wavelengths)
    write(tmp_path / "a.tif", cube)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert set(file.colorinterp) == {ColorInterp.gray, ColorInterp.undefined}
        assert file.colorinterp[0] == ColorInterp.gray


@pytest.mark.parametrize("names", [None, ("B2", "", "B4 (665 nm)"), ("a", "\u00e9", "c")])
def test_names_return_from_descriptions_with_wavelengths(tmp_path, names):
    write(tmp_path / "a.tif", colour_image([490, 560.123, 665], band_names=names))
    assert read(tmp_path / "a.tif").band_names == names
    # Another program that copies some of the bands keeps their descriptions and tags.
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.descriptions[1] == "560.12 nm"
        profile = {**source.profile, "count": 1}
        with rasterio.open(tmp_path / "b.tif", "w", **profile) as copied:
            copied.write(source.read([1]))
            copied.update_tags(**source.tags())
            copied.update_tags(1, **source.tags(1))
            copied.set_band_description(1, source.descriptions[0])
    copy = read(tmp_path / "b.tif")
    assert copy.wavelengths.tolist() == [490.0]
    assert copy.band_names == (None if names is None else names[:1])


def test_descriptions_of_others_stay_as_they_are(tmp_path):
    stored = np.ones((1, 2, 2), np.float32)
    with create(tmp_path / "a.tif", stored) as file:
        file.write(stored)
        file.set_band_description(1, "B4 (665 nm)")
        file.update_tags(1, wavelength="665", wavelength_units="nm")
    assert read(tmp_path / "a.tif").band_names == ("B4 (665 nm)",)


def test_rioxarray_sees_names_and_wavelengths(scene, tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    write(tmp_path / "a.tif", scene)
    with rioxarray.open_rasterio(tmp_path / "a.tif") as opened:
        assert opened.attrs["long_name"][0] == "blue (418.24 nm)"
    with rioxarray.open_rasterio(tmp_path / "a.tif", band_as_variable=True) as bands:
        assert float(bands["band_5"].attrs["wavelength"]) == 550.125


def test_a_wavelength_between_two_hundredths_is_no_name():
    centre = 328.285
    assert name_of_band(band_description("", centre), np.float64(centre)) == ""
