"""Files that hold a band each are stacked in natural order, not taken for tiles of which the first counts."""

import json

import numpy as np
import pytest
import rasterio

from hyperfuse import fuse_tiles
from hyperfuse.cli.app import main
from hyperfuse.cli.inputs import files_named, read_image
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import ReadOptions, read, read_mosaic, write

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

PLACE = {"transform": (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), "crs": "EPSG:32633"}


def bands(folder, count=11, name="L_SR_B{}.TIF", size=(4, 5), **fields):
    """Files of one band each, band k with the value k."""
    folder.mkdir(exist_ok=True)
    for band in range(1, count + 1):
        write(folder / name.format(band), Cube(data=np.full((1, *size), float(band)), **{**PLACE, **fields}))
    return folder


def pngs(folder, count=31):
    folder.mkdir()
    for band in range(1, count + 1):
        file = folder / f"toy_ms_{band:02d}.png"
        with rasterio.open(file, "w", driver="PNG", width=8, height=8, count=1, dtype="uint16") as target:
            target.write(np.full((1, 8, 8), 100 * band, np.uint16))
    return folder


@pytest.mark.parametrize(("pattern", "count"), [("*_SR_B[1-7].TIF", 7), ("L_SR_B*.TIF", 11), ("*_B1?.TIF", 2)])
def test_bands_of_a_pattern_are_stacked_in_natural_order(tmp_path, pattern, count):
    folder = bands(tmp_path / "scene")
    with pytest.warns(
        HyperfuseWarning, match=rf"{count} files of one band on one grid are stacked as bands, .*: L_SR_B1"
    ):
        cube = read_image(str(folder / pattern))
    expected = [10, 11] if count == 2 else range(1, count + 1)
    assert cube.data[:, 0, 0].tolist() == list(expected)
    assert cube.band_names == tuple(f"L_SR_B{band}" for band in expected)
    assert cube.crs == "EPSG:32633"
    assert tuple(cube.transform)[:6] == PLACE["transform"]


def test_letters_after_numbers_keep_their_place(tmp_path):
    for name in ("B12", "B8A", "B02", "B08", "B11", "B09"):
        (tmp_path / f"{name}.jp2").touch()
    found = [path.rsplit("/", 1)[1] for path in files_named(str(tmp_path / "B*.jp2"))]
    assert found == ["B02.jp2", "B08.jp2", "B8A.jp2", "B09.jp2", "B11.jp2", "B12.jp2"]


def test_a_folder_of_png_without_position(tmp_path):
    folder = pngs(tmp_path / "toy_ms")
    with pytest.warns(HyperfuseWarning, match="31 files of one band on one grid are stacked"):
        cube = read_image(str(folder / "*.png"), bands="1-2,31", wavelengths="400:700:10")
    assert cube.data[:, 0, 0].tolist() == [100, 200, 3100]
    assert cube.wavelengths.tolist() == [400, 410, 700]
    with pytest.raises(
        InputError, match=r"toy_ms: is a folder; name a file in it, or a quoted pattern .*toy_ms/\*\.png"
    ):
        read(folder)


def test_what_is_stated_of_the_bands_is_kept(tmp_path):
    for number, (centre, fields) in enumerate([(450, {"fwhm": [20]}), (550, {"good_bands": [False]}), (None, {})]):
        valid = np.ones((1, 4, 5), bool)
        valid[0, number] = False
        centres = {} if centre is None else {"wavelengths": [centre]}
        common = {"nodata": -9, "scale": 0.5, "attributes": {"a": "1", "n": str(number)}, "band_names": [f"n{number}"]}
        cube = Cube(data=np.full((1, 4, 5), 2.0), valid=valid, **PLACE, **common, **centres, **fields)
        write(tmp_path / f"b{number}.tif", cube, dtype="int16")
    paths = [tmp_path / f"b{number}.tif" for number in range(3)]
    cube = read_mosaic(paths, stack=True)
    assert np.array_equal(cube.wavelengths, [450, 550, np.nan], equal_nan=True)
    assert np.array_equal(cube.fwhm, [20, np.nan, np.nan], equal_nan=True)
    assert cube.good_bands.tolist() == [True, False, True]
    assert cube.band_names == ("n0", "n1", "n2")
    assert (cube.scale, cube.nodata, dict(cube.attributes)) == (0.5, -9, {"a": "1"})
    assert [np.flatnonzero(~rows[:, 0]).tolist() for rows in cube.valid] == [[0], [1], [2]]


def test_files_of_several_bands_are_stacked_where_it_is_said(tmp_path):
    write(tmp_path / "vnir.tif", Cube(data=np.ones((2, 4, 5)), wavelengths=[500, 600], **PLACE))
    write(tmp_path / "swir.tif", Cube(data=np.full((3, 4, 5), 2.0), wavelengths=[1500, 1600, 1700], **PLACE))
    paths = [tmp_path / "vnir.tif", tmp_path / "swir.tif"]
    with pytest.raises(InputError, match="3 bands, not 2"):
        read_mosaic(paths)
    cube = read_mosaic(paths, ReadOptions(stack=True, bands="2-3"))
    assert cube.wavelengths.tolist() == [600, 1500]
    assert cube.band_names == ("vnir 2", "swir 1")


def test_files_that_add_nothing_are_refused_unless_they_are_said_to_be_tiles(tmp_path):
    for name, value in (("a.tif", 1.0), ("b.tif", 2.0)):
        write(tmp_path / name, Cube(data=np.full((2, 4, 5), value), **PLACE))
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    with pytest.raises(
        InputError, match=r"b\.tif: adds nothing .* \(stack=True\) or tiles, .* \(stack=False\)"
    ) as caught:
        read_mosaic(paths)
    assert caught.value.parameter == "stack"
    assert read_mosaic(paths, stack=False).data.max() == 1
    assert read_mosaic(paths, stack=True).data[:, 0, 0].tolist() == [1, 1, 2, 2]


def test_bands_of_two_tiles_are_no_mosaic(tmp_path):
    """Two bands of two tiles, one band per file: as tiles half of them would be dropped."""
    bands(tmp_path, 2, "west_B{}.tif")
    bands(tmp_path, 2, "east_B{}.tif", transform=(30.0, 0.0, 150.0, 0.0, -30.0, 0.0))
    with pytest.raises(InputError, match="adds nothing"):
        read_image(str(tmp_path / "*.tif"))


def test_single_bands_of_one_wavelength_are_asked_about(tmp_path):
    bands(tmp_path, 2, "pan_{}.tif", wavelengths=[650])
    with pytest.raises(InputError, match=r"are they bands \(stack=True\)"):
        read_image(str(tmp_path / "*.tif"))


@pytest.mark.parametrize("change", [{"transform": (30, 0, 40, 0, -30, 0)}, {"crs": "EPSG:32632"}, {"units": "K"}])
def test_bands_that_do_not_fit_together(tmp_path, change):
    bands(tmp_path, 1)
    write(tmp_path / "other.tif", Cube(data=np.ones((1, 4, 5)), **{**PLACE, **change}))
    with pytest.raises(InputError, match=r"other\.tif: (is not on the grid of|its units are)"):
        read_mosaic([tmp_path / "L_SR_B1.TIF", tmp_path / "other.tif"], stack=True)


def test_tiles_are_tiles_as_before(tmp_path):
    for number in range(2):
        place = {**PLACE, "transform": (30, 0, 150 * number, 0, -30, 0)}
        write(tmp_path / f"tile_{number}.tif", Cube(data=np.full((1, 4, 5), float(number)), **place))
    assert read_image(str(tmp_path / "tile_*.tif")).shape == (1, 4, 10)


def test_the_command_names_its_switches(tmp_path, capsys):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", Cube(data=np.ones((2, 4, 5)), **PLACE))
    pattern = str(tmp_path / "*.tif")
    assert main(["info", pattern]) == 2
    assert "(--stack) or tiles, of which the first counts where they overlap (--mosaic)?" in capsys.readouterr().err
    for switch, count in (("--stack", 4), ("--mosaic", 2)):
        assert main(["info", pattern, switch, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["bands"] == count


@pytest.mark.parametrize("tile", [None, 8])
def test_a_pair_in_files_of_single_bands(tmp_path, tile):
    rng = np.random.default_rng(0)
    msi = rng.random((3, 24, 24)) + 1
    hsi = np.concatenate([msi, msi[:2] * 0.5]).reshape(5, 8, 3, 8, 3).mean(axis=(2, 4))
    for name, values, step in (("hsi", hsi, 30.0), ("msi", msi, 10.0)):
        for band, plane in enumerate(values, 1):
            cube = Cube(data=plane[None], crs="EPSG:32633", transform=(step, 0, 0, 0, -step, 0))
            write(tmp_path / f"{name}_{band}.tif", cube)
    paths = {
        name: [tmp_path / f"{name}_{band}.tif" for band in range(1, count + 1)]
        for name, count in [("hsi", 5), ("msi", 3)]
    }
    out = tmp_path / "out.tif"
    options = {"method": "gsa", "align": False, "reading": ReadOptions(stack=True), "tile": tile}
    fuse_tiles(paths["hsi"], paths["msi"], out, msi_reading=ReadOptions(stack=True), **options)
    assert read(out).shape == (5, 24, 24)
    if tile is None:
        words = ["fuse", str(tmp_path / "hsi_*.tif"), str(tmp_path / "msi_*.tif"), str(tmp_path / "two.tif")]
        assert main([*words, "--stack", "--msi-stack", "--method", "gsa", "--no-align"]) == 0
        assert np.array_equal(read(tmp_path / "two.tif").data, read(out).data)


def test_bands_that_are_variables_have_their_names(tmp_path):
    np.savez(tmp_path / "a.npz", red=np.ones((4, 5)), nir=np.ones((4, 5)))
    stacked = read_mosaic([f"{tmp_path / 'a.npz'}:{name}" for name in ("red", "nir")], stack=True)
    assert stacked.band_names == ("red", "nir")
