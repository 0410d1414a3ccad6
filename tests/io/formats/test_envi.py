import json
import shutil
import subprocess
import time

import numpy as np
import pytest
import rasterio

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write

STORED = np.arange(24, dtype="<i2").reshape(2, 3, 4)
HEADER = """ENVI
description = {{
  A flight line over a lake}}
samples = 4
lines = 3
bands = 2
header offset = {offset}
file type = ENVI Standard
data type = 2
interleave = bsq
byte order = 0
{more}
"""


def by_hand(folder, name="line.img", header="line.hdr", more="", offset=0, stored=STORED):
    (folder / name).write_bytes(bytes(offset) + stored.tobytes())
    (folder / header).write_text(HEADER.format(offset=offset, more=more))
    return folder / name


@pytest.mark.parametrize(("interleave", "order"), [("bsq", (0, 1, 2)), ("bil", (1, 0, 2)), ("bip", (1, 2, 0))])
@pytest.mark.parametrize("by_extension", [True, False])
def test_raw_bytes_and_header(scene, tmp_path, interleave, order, by_extension):
    file = tmp_path / (f"a.{interleave}" if by_extension else "a.dat")
    write(file, scene, **({} if by_extension else {"interleave": interleave}))
    raw = np.fromfile(file, "<f4").reshape([scene.data.shape[axis] for axis in order])
    expected = np.where(scene.valid, scene.data, np.float32(-32768))
    assert np.array_equal(raw, expected.transpose(order))
    header = (tmp_path / "a.hdr").read_text()
    items = dict(line.split(" = ", 1) for line in header.splitlines() if " = " in line)
    assert items["samples"].strip() == "9"
    assert (items["interleave"], items["data type"], items["data ignore value"]) == (interleave, "4", "-32768")
    assert items["wavelength units"] == "Nanometers"
    assert "wavelength = {418.24, 2445.5, 902.25, 1331.22, 550.125}" in header
    assert "fwhm = {6.99561, 8.0, 7.5, 11.3796, 6.0}" in header
    assert "bbl = {1, 1, 1, 0, 1}" in header
    assert "map info = {UTM, 1, 1, 364095, 5809965, 30, 30, 33, North,WGS-84" in header
    assert {path.name for path in tmp_path.iterdir()} == {file.name, "a.hdr"}


def test_gdal_reads_integers_with_their_scale(scene, tmp_path):
    write(tmp_path / "a.img", scene, dtype="int16")
    with rasterio.open(tmp_path / "a.img") as file:
        assert (file.crs.to_epsg(), file.nodata, file.dtypes[0]) == (32633, -32768.0, "int16")
        assert set(file.scales) == {1e-4}
        assert float(file.tags(2)["wavelength"]) == 2445.5


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed")
def test_gdalinfo(scene, tmp_path):
    write(tmp_path / "a.bip", scene)
    info = json.loads(subprocess.check_output(["gdalinfo", "-json", tmp_path / "a.bip"]))
    assert info["driverShortName"] == "ENVI"
    assert info["geoTransform"] == [364095.0, 30.0, 0.0, 5809965.0, 0.0, -30.0]
    assert 'ID["EPSG",32633]]' in info["coordinateSystem"]["wkt"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("line.img", "line.hdr"),
        ("line.img", "line.img.hdr"),
        ("line.dat", "line.hdr"),
        ("line", "line.hdr"),
        ("LINE.BSQ", "LINE.HDR"),
    ],
)
def test_the_user_names_the_data_or_the_header(tmp_path, name, header):
    by_hand(tmp_path, name, header)
    for path in (tmp_path / name, tmp_path / header):
        cube = read(path)
        assert np.array_equal(cube.data, STORED)
        assert cube.attributes == {"description": "A flight line over a lake"}


def test_header_by_hand(tmp_path):
    more = """reflectance scale factor = 10000
data ignore value = 0
wavelength units = Micrometers
wavelength = {0.41824,
  2.2}
fwhm = {0.0065, 0.01}
bbl = {1, 0}
band names = {red edge, SWIR 2}
sensor type = HyMap"""
    cube = read(by_hand(tmp_path, more=more, offset=128))
    assert cube.wavelengths.tolist() == [418.24, 2200.0]
    assert cube.fwhm.tolist() == [6.5, 10.0]
    assert cube.good_bands.tolist() == [True, False]
    assert cube.band_names == ("red edge", "SWIR 2")
    assert cube.attributes["sensor_type"] == "HyMap"
    assert cube.scale == 1e-4
    assert np.array_equal(cube.valid, STORED != 0)
    assert np.allclose(cube.data[cube.valid], STORED[STORED != 0] * 1e-4, rtol=1e-7)
    write(tmp_path / "again.img", cube)
    again = read(tmp_path / "again.img")
    assert np.array_equal(again.data, cube.data, equal_nan=True)
    assert dict(again.attributes) == dict(cube.attributes)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_header_in_another_encoding(tmp_path, encoding):
    file = by_hand(tmp_path)
    more = "wavelength units = µm\nwavelength = {0.45, 2.2}\nband names = {grün, rot}\n; a comment = no item\n"
    with (tmp_path / "line.hdr").open("ab") as header:
        header.write(more.encode(encoding))
    cube = read(file)
    assert cube.wavelengths.tolist() == [450.0, 2200.0]
    assert cube.band_names == ("grün", "rot")
    assert set(cube.attributes) == {"description"}


def test_other_byte_order(tmp_path):
    file = by_hand(tmp_path, stored=STORED.astype(">i2"))
    header = tmp_path / "line.hdr"
    header.write_text(header.read_text().replace("byte order = 0", "byte order = 1"))
    assert np.array_equal(read(file).data, STORED)


def test_wavelengths_without_a_unit(tmp_path):
    with pytest.warns(
        HyperfuseWarning, match=r"line\.img: wavelengths without a unit, from 0\.45 to 2\.2; taken as mic"
    ):
        assert read(by_hand(tmp_path, more="wavelength = {0.45, 2.2}")).wavelengths.tolist() == [450.0, 2200.0]
    assert read(by_hand(tmp_path, more="wavelength = {450, 2200}")).wavelengths.tolist() == [450.0, 2200.0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("wavelength = {450, 550, 650}", "'wavelength' does not hold 2 numbers"),
        ("bbl = {good, bad}", "'bbl' does not hold 2 numbers"),
        ("wavelength units = GHz\nwavelength = {450, 550}", "unit 'GHz' is not a length"),
    ],
)
def test_odd_items_are_left_out_with_a_warning(tmp_path, more, message):
    with pytest.warns(HyperfuseWarning, match=message):
        cube = read(by_hand(tmp_path, more=more))
    assert cube.wavelengths is None
    assert cube.good_bands is None


def test_a_header_with_many_bands_is_read_to_its_end(tmp_path, assert_same):
    # GDAL gives up at a line of more than 10,000 characters.
    rng = np.random.default_rng(0)
    cube = Cube(
        data=np.ones((3000, 1, 1), np.float32),
        wavelengths=rng.random(3000) * 2000 + 400,
        fwhm=rng.random(3000) + 1,
        history=[{"note": "x" * 20_000, "list": list(range(3000))}],
        attributes={"long": "y" * 12_000, "zone": "last"},
        nodata=-1.0,
    )
    write(tmp_path / "a.img", cube)
    assert max(map(len, (tmp_path / "a.hdr").read_text().splitlines())) < 10_000
    assert_same(read(tmp_path / "a.img"), cube)


def test_a_data_file_that_is_cut_off(tmp_path):
    file = by_hand(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"line\.img: is cut off: 47 bytes of the 48"):
        read(file)


def test_files_that_do_not_belong_together(tmp_path):
    file = by_hand(tmp_path)
    (tmp_path / "line.hdr").rename(tmp_path / "other.hdr")
    with pytest.raises(InputError, match=r"line\.img: .*needs its header \(\.hdr\) next to it"):
        read(file)
    with pytest.raises(InputError, match=r"other\.hdr: is a header without its data file \(other or other\.img\)"):
        read(tmp_path / "other.hdr")
    shutil.copy(file, tmp_path / "other.bsq")
    shutil.copy(file, tmp_path / "other.dat")
    with pytest.raises(InputError, match=r"several data files; name one of other\.dat, other\.bsq"):
        read(tmp_path / "other.hdr")


def test_a_header_as_output_goes_with_img(scene, tmp_path, assert_same):
    write(tmp_path / "a.hdr", scene)
    assert {path.name for path in tmp_path.iterdir()} == {"a.img", "a.hdr"}
    assert_same(read(tmp_path / "a.hdr"), scene)


def test_a_header_is_not_overwritten_by_another_data_file(scene, tmp_path):
    write(tmp_path / "a.bil", scene)
    with pytest.raises(InputError, match=r"a\.img: its header a\.hdr is that of a\.bil; give another name"):
        write(tmp_path / "a.img", scene)
    assert not (tmp_path / "a.img").exists()


def test_a_transform_that_a_header_cannot_hold(scene, tmp_path, assert_same):
    sheared = scene.replace(transform=(30.0, 3.0, 364095.0, 0.0, -30.0, 5809965.0))
    with pytest.warns(HyperfuseWarning, match=r"a\.img: an ENVI header cannot hold a sheared"):
        write(tmp_path / "a.img", sheared)
    assert_same(read(tmp_path / "a.img"), sheared)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.bil", {"interleave": "bip"}, "interleave='bip' contradicts the extension .bil"),
        ("a.img", {"interleave": "pixel"}, "interleave='pixel' is not one of bsq, bil, bip"),
        ("a.img", {"compress": "deflate"}, "compress='deflate' is not one of none"),
        ("a.img", {"dtype": "int8"}, "ENVI has no int8; write int16"),
        ("a.img", {"cog": True}, "cog is not an option of ENVI"),
    ],
)
def test_wrong_options(tmp_path, name, options, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / name, Cube(data=np.ones((1, 2, 2))), **options)
    assert list(tmp_path.iterdir()) == []


def test_the_header_holds_no_path(tmp_path):
    cube = Cube(data=np.ones((2, 3, 4), np.float32))
    write(tmp_path / "with space.img", cube)
    header = (tmp_path / "with space.hdr").read_text()
    assert "part" not in header
    assert str(tmp_path) not in header
    assert "description" not in read(tmp_path / "with space.img").attributes


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("data gain values = {0.5}", STORED * 0.5),
        ("data gain values = 0.5", STORED * 0.5),
        ("data gain values = {0.5}\ndata offset values = {3, 4}", STORED * 0.5 + np.array([3, 4]).reshape(2, 1, 1)),
        ("data offset values = {3}", STORED + 3.0),
        ("reflectance scale factor = {10000, 100}", STORED / np.array([1e4, 100]).reshape(2, 1, 1)),
        ("reflectance scale factor = {10000}", STORED / 1e4),
    ],
)
def test_one_number_or_one_per_band_scales_the_values(tmp_path, more, expected):
    cube = read(by_hand(tmp_path, more=more))
    assert np.allclose(cube.data, expected, rtol=1e-6)
    assert np.allclose(read(tmp_path / "line.img", bands="2").data, expected[1:], rtol=1e-6)


@pytest.mark.parametrize("text", ["{1, 2, 3}", "{0.5, abc}", "{nan}"])
def test_gains_that_do_not_fit_are_left_out_with_a_warning(tmp_path, text):
    file = by_hand(tmp_path, more=f"data gain values = {text}")
    with pytest.warns(HyperfuseWarning, match="'data gain values' does not hold 2 numbers and is left out"):
        assert np.array_equal(read(file).data, STORED)


@pytest.mark.parametrize("projection", ["Arbitrary", " arbitrary ", "Pixel"])
@pytest.mark.parametrize("pixel", ["1, 1", "30, 30"])
def test_map_info_that_only_counts_pixels_is_no_georeference(tmp_path, projection, pixel):
    cube = read(by_hand(tmp_path, more=f"map info = {{{projection}, 1, 1, 0, 0, {pixel}, 0, North}}"))
    assert (cube.transform, cube.crs) == (None, None)


def test_an_arbitrary_map_info_with_a_coordinate_system_is_a_georeference(tmp_path):
    system = rasterio.crs.CRS.from_epsg(3035).to_wkt(version="WKT1_ESRI")
    more = f"map info = {{Arbitrary, 1, 1, 400, 900, 30, 30}}\ncoordinate system string = {{{system}}}"
    cube = read(by_hand(tmp_path, more=more))
    assert tuple(cube.transform)[:6] == (30, 0, 400, 0, -30, 900)
    assert "LAEA" in rasterio.crs.CRS.from_user_input(cube.crs).to_wkt()


def test_a_transform_without_a_crs_comes_back_but_not_one_that_was_changed_since(tmp_path):
    write(tmp_path / "a.img", Cube(data=np.ones((1, 2, 2)), transform=(3, 0, 10, 0, -3, 20)))
    assert tuple(read(tmp_path / "a.img").transform)[:6] == (3, 0, 10, 0, -3, 20)
    header = (tmp_path / "a.hdr").read_text()
    (tmp_path / "a.hdr").write_text(
        header.replace("map info = {Arbitrary, 1, 1, 10", "map info = {Arbitrary, 1, 1, 11")
    )
    assert read(tmp_path / "a.img").transform is None


@pytest.mark.parametrize("ending", [".rfl", ".rad", ".corr", ".RFL", ""])
def test_the_data_file_may_have_any_extension(tmp_path, ending):
    by_hand(tmp_path, name=f"line{ending}")
    (tmp_path / "line.txt").write_text("notes")
    (tmp_path / "line.png").write_bytes(b"x")
    for name in (f"line{ending}", "line.hdr"):
        assert np.array_equal(read(tmp_path / name).data, STORED)


def test_a_header_is_read_in_linear_time(tmp_path):
    many = 400_000
    blanks = " " * many
    more = f"{blanks}x\n{'{' * many}\nbbl{blanks}= {{1,{blanks} 0}}\n" + "a = {\n" * 50_000
    file = by_hand(tmp_path, more=more)
    start = time.perf_counter()
    cube = read(file)
    assert time.perf_counter() - start < 5  # it took minutes
    assert cube.good_bands.tolist() == [True, False]


def test_lines_may_end_as_on_any_system(tmp_path):
    for end in ("\r\n", "\r"):
        file = by_hand(tmp_path, more="bbl = {1,\n 0}\nwavelength =\n{500, 600}\nwavelength units = nm")
        header = tmp_path / "line.hdr"
        header.write_bytes(header.read_text().replace("\n", end).encode())
        cube = read(file)
        assert cube.good_bands.tolist() == [True, False]
        assert cube.wavelengths.tolist() == [500, 600]


def test_a_header_with_a_number_of_thousands_of_digits(tmp_path):
    file = by_hand(tmp_path)
    header = tmp_path / "line.hdr"
    header.write_text(header.read_text().replace("header offset = 0", f"header offset = {'9' * 5000}"))
    with pytest.raises(InputError, match=r"line\.img: "):
        read(file)


_HEADER = """ENVI
samples = 5
lines = 4
bands = 2
header offset = 0
data type = 4
interleave = bsq
byte order = 0
"""
_UTM = "UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, WGS-84"


def _headed(folder, items):
    (folder / "a.hdr").write_text(_HEADER + items + "\nwavelength = {\n 500, 600}\nwavelength units = Nanometers\n")
    np.arange(40, dtype=np.float32).tofile(folder / "a.img")
    return read(folder / "a.img")


@pytest.mark.parametrize(
    "items",
    [
        f"map info = {{{_UTM}, units=Meters, rotation=30}}",
        f"map info={{{_UTM}, units=Meters, rotation=30.000}}",
        f"   map info = {{{_UTM}, rotation=30, units=Meters}}",
        f"map info = {{ {_UTM.replace(',', ' ,')} , units=Meters , rotation = 30.0000 }}",
        f"map info = {{\n {_UTM},\n units=Meters, rotation=30\n}}",
        f"map info = {{{_UTM}, units=Meters, rotation=30",
    ],
)
def test_a_rotation_is_counterclockwise_however_the_header_is_written(tmp_path, items):
    cube = _headed(tmp_path, items)
    cos, sin = 10 * np.cos(np.pi / 6), 10 * np.sin(np.pi / 6)
    # Along a row the image runs to the east and north, along a column to the east and south.
    assert cube.transform[:6] == pytest.approx((cos, sin, 500000, sin, -cos, 4000000))
    assert parse_crs(cube.crs).to_epsg() == 32611
    assert cube.wavelengths.tolist() == [500, 600]


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(90, (0, 10, 10, 0)), (270, (0, -10, -10, 0)), (-90, (0, -10, -10, 0)), (180, (-10, 0, 0, 10))],
)
def test_quarters_of_a_circle(tmp_path, degrees, expected):
    items = f"map info = {{{_UTM}, units=Meters, rotation={degrees}}}"
    if degrees == 180:
        with pytest.warns(HyperfuseWarning, match="rotation=180 is read as that of a flight line"):
            cube = _headed(tmp_path, items)
    else:
        cube = _headed(tmp_path, items)
    a, b, c, d, e, f = cube.transform[:6]
    assert (a, b, d, e, c, f) == (*expected, 500000, 4000000)


def test_a_rotation_is_about_the_reference(tmp_path):
    cube = _headed(tmp_path, f"map info = {{{_UTM.replace('1, 1', '3, 2', 1)}, rotation=90}}")
    assert cube.transform @ (2, 1) == (500000, 4000000)


def test_south_up_files_of_this_package_stay_as_they_are(tmp_path):
    cube = Cube(data=np.ones((2, 4, 5), np.float32), crs="EPSG:32611", transform=(10, 0, 500000, 0, 10, 4000000))
    with pytest.warns(HyperfuseWarning, match="cannot hold a sheared or south-up transform"):
        write(tmp_path / "south.img", cube)
    assert read(tmp_path / "south.img").transform == cube.transform
