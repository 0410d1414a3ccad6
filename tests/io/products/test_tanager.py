"""Tanager files of a few pixels of a known ground."""

import h5py
import numpy as np
import pytest

import ground
from hyperfuse.cli import main
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse_tiles
from tanager_files import GOOD, name, write_tanager


@pytest.mark.parametrize("quantity", ["sr", "radiance"])
def test_ortho(tmp_path, quantity, assert_windows, assert_overview):
    path = write_tanager(tmp_path / name("ortho", quantity))
    cube = assert_windows(path)
    x, y = ground.centres(cube)
    assert (x[0, 0], y[0, 0]) == (ground.WEST + 315, ground.NORTH - 315)
    expected = ground.averaged(x, y, 30.0) * (1 if quantity == "sr" else 200)
    good = cube.usable_bands
    assert np.allclose(cube.data[good][cube.valid[good]], expected[good][cube.valid[good]], rtol=1e-5)
    assert np.argwhere(~cube.valid[0]).tolist() == [[0, 0], [1, 2]]
    assert cube.wavelengths.tolist() == ground.WAVELENGTHS.tolist()
    assert (cube.crs, cube.fwhm[0]) == ("EPSG:32633", 5.5)
    assert cube.units == ("reflectance" if quantity == "sr" else "W/(m^2 sr um)")
    assert (cube.good_bands is None) == (quantity == "radiance")
    assert cube.attributes["start_time"] == "2025-05-11T07:43:11Z"
    assert_overview(path, 7, step=2)


def test_bands_that_are_flagged_are_bad_although_they_hold_numbers(tmp_path):
    cube = read(write_tanager(tmp_path / name("ortho", "sr")))
    assert cube.good_bands.tolist() == GOOD.tolist()


def test_basic_is_put_on_a_grid(tmp_path):
    cube = read(write_tanager(tmp_path / name("basic", "sr"), 30, 28, turn=-12.0))
    assert (cube.crs, cube.resolution) == ("EPSG:32633", (30, 30))
    x, y = ground.centres(cube)
    error = (cube.data - ground.averaged(x, y, 30.0))[GOOD]
    assert np.sqrt(np.mean(error[cube.valid[GOOD]] ** 2)) < 0.01
    assert 0.5 < cube.valid[0].mean() < 0.9
    assert cube.history[0]["residual_rms_m"] < 15


def test_clear_uses_the_cloud_masks(tmp_path):
    path = write_tanager(tmp_path / name("ortho", "sr"))
    cube = read(path, quality="clear")
    assert np.argwhere(~cube.valid[0]).tolist() == [[0, 0], [1, 2], [2, 3], [3, 4]]
    assert cube.history[0]["gaps"] == ["no data", "cloud", "cirrus"]
    with h5py.File(path, "r+") as target:
        del target["HDFEOS/GRIDS/HYP/Data Fields/beta_cirrus_mask"]
        del target["HDFEOS/GRIDS/HYP/Data Fields/nodata_pixels"]
    with pytest.warns(HyperfuseWarning, match="nodata_pixels is missing"):
        read(path)
    with pytest.raises(InputError, match="has no beta_cirrus_mask, which quality='clear' needs"), pytest.warns():
        read(path, quality="clear")


def test_the_uncertainty_is_named_and_read(tmp_path, capsys):
    path = write_tanager(tmp_path / name("ortho", "sr"))
    assert main(["info", str(path)]) == 0
    assert f"surface_reflectance_uncertainty ({path.name}:uncertainty)" in capsys.readouterr().out
    shown = read(f"{path}:uncertainty")
    assert np.nanmax(np.abs(shown.data - 0.01)) < 1e-6
    assert shown.transform == read(path).transform
    with pytest.raises(InputError, match="holds no toa_radiance_uncertainty"):
        read(f"{write_tanager(tmp_path / name('ortho', 'radiance'))}:uncertainty")


def test_known_by_its_content_and_in_its_folder(tmp_path):
    path = write_tanager(tmp_path / name("ortho", "sr"))
    cube = read(tmp_path)
    path.rename(tmp_path / "scene.h5")
    assert np.array_equal(read(tmp_path / "scene.h5").data, cube.data, equal_nan=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("XDim=13", "XDim=12", "states 14 x 12 pixels, its cube has 14 x 13"),
        ("ZoneCode=33", "ZoneCode=-33", "its epsg_code is 32633, but the ZoneCode of its grid is -33"),
        ("LowerRightMtrs", "Lower", "states no LowerRightMtrs"),
    ],
)
def test_damaged_grids(tmp_path, old, new, message):
    path = write_tanager(tmp_path / name("ortho", "sr"))
    with h5py.File(path, "r+") as target:
        text = target["HDFEOS INFORMATION/StructMetadata.0"][()].decode()
        del target["HDFEOS INFORMATION/StructMetadata.0"]
        target["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read(path)


def test_damaged_wavelengths_and_masks(tmp_path):
    path = write_tanager(tmp_path / name("ortho", "sr"))
    with h5py.File(path, "r+") as target:
        target["HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance"].attrs["fwhm"] = [5.0, 5.0]
    with pytest.raises(InputError, match="lists 2 widths for 8 bands"):
        read(path)
    write_tanager(path)
    with h5py.File(path, "r+") as target:
        del target["HDFEOS/GRIDS/HYP/Data Fields/nodata_pixels"]
        target["HDFEOS/GRIDS/HYP/Data Fields/nodata_pixels"] = np.zeros((3, 3))
    with pytest.raises(InputError, match=r"nodata_pixels has the shape \(3, 3\), its cube 14 x 13 pixels"):
        read(path)


@pytest.mark.parametrize("kind", ["ortho", "basic"])
def test_fused(tmp_path, kind):
    path = write_tanager(tmp_path / name(kind, "sr"), 30, 28, turn=-12.0)
    x, y = ground.positions(130, 130, 10.0)
    values = np.einsum("mb,byx->myx", np.kron(np.eye(4), [[0.5, 0.5]]), ground.averaged(x, y, 10.0))
    transform = (10, 0, ground.WEST, 0, -10, ground.NORTH)
    write(tmp_path / "msi.tif", Cube(data=values.astype(np.float32), crs=ground.CRS, transform=transform))
    fusion = fuse_tiles(
        path, tmp_path / "msi.tif", tmp_path / "out.tif", method="local-regression", align=False, psf="box"
    )
    fused = read(tmp_path / "out.tif")
    x, y = ground.centres(fused)
    error = (fused.data - ground.averaged(x, y, 10.0))[GOOD]
    assert np.sqrt(np.nanmean(error**2)) < 0.02
    assert not fused.valid[3].any()
    assert not [note for note in fusion.notes if "resampled" in note]
