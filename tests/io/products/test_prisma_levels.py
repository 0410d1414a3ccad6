"""PRISMA files of a known ground: levels in sensor geometry, the panchromatic image, and the two fused."""

import h5py
import numpy as np
import pytest

import ground
from hyperfuse.cli import main
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read
from hyperfuse.scenes.fuse import fuse
from prisma_files import TIMES, codes, write_clouds, write_prisma

L2D, L2C, L2B = (f"PRS_{level}_STD_{TIMES}_0001.he5" for level in ("L2D", "L2C", "L2B"))


def test_l2c_is_put_on_a_grid(tmp_path):
    cube = read(write_prisma(tmp_path / L2C, turn=17.0))
    assert (cube.crs, cube.resolution, cube.units) == ("EPSG:32633", (30, 30), "reflectance")
    assert cube.band_names[:2] == ("VNIR 5", "VNIR 4")
    x, y = ground.centres(cube)
    error = cube.data - ground.averaged(x, y, 30.0, cube.wavelengths)
    assert np.sqrt(np.mean(error[cube.valid] ** 2)) < 0.01
    assert cube.history[0]["product"] == "PRISMA L2C"
    assert 10 < cube.history[0]["residual_rms_m"] < 14


@pytest.mark.parametrize("flip", [np.s_[::-1, :], np.s_[:, ::-1], np.s_[::-1, ::-1]])
def test_rows_and_columns_may_run_in_any_direction(tmp_path, flip):
    path = write_prisma(tmp_path / L2C, turn=17.0)
    cube = read(path)
    rows, cols = flip
    with h5py.File(path, "r+") as target:
        swath = target["HDFEOS/SWATHS/PRS_L2C_HCO"]
        for name in ("VNIR_Cube", "SWIR_Cube"):
            swath[f"Data Fields/{name}"][...] = swath[f"Data Fields/{name}"][()][rows, :, cols]
        for name in ("Latitude", "Longitude"):
            swath[f"Geolocation Fields/{name}"][...] = swath[f"Geolocation Fields/{name}"][()][flip]
    assert np.array_equal(read(path).data, cube.data, equal_nan=True)


def test_l2b_is_radiance(tmp_path):
    cube = read(write_prisma(tmp_path / L2B))
    assert (cube.units, cube.history[0]["product"]) == ("W m-2 sr-1 um-1", "PRISMA L2B")


def test_clouds_are_those_of_the_l1_file(tmp_path):
    path = write_prisma(tmp_path / L2C)
    cube = read(path)
    with pytest.raises(InputError, match=rf"PRS_L1_\*_{TIMES}_\*\.he5 .* is missing"):
        read(path, quality="clear")
    mask = np.zeros((24, 22))
    mask[10:14, 5:9], mask[0, 0], mask[20, 20] = 1, 10, 255
    write_clouds(tmp_path, mask)
    clear = read(path, quality="clear")
    assert cube.valid is None or cube.valid.all(axis=0).sum() - clear.valid.all(axis=0).sum() == 17
    assert clear.history[0]["gaps"] == ["no data", "invalid", "saturated", "cloud"]


@pytest.mark.parametrize("pan_edges", [False, True])
def test_the_pan_image_lies_where_its_own_positions_state(tmp_path, pan_edges, assert_windows):
    path = write_prisma(tmp_path / L2D, pan_edges=pan_edges)
    cube = assert_windows(f"{path}:pan")
    assert (cube.bands, cube.resolution, cube.wavelengths.tolist()) == (1, (5, 5), [550.0])
    x, y = ground.centres(cube)
    assert np.abs(cube.data[0] - ground.averaged(x, y, 5.0).mean(axis=0)).max() < 1e-4
    edge = read(path).transform.c - cube.transform.c
    assert edge == (0 if pan_edges else -12.5)


def test_a_pan_image_without_positions_is_reported(tmp_path):
    path = write_prisma(tmp_path / L2D, positions=False)
    with pytest.warns(HyperfuseWarning, match=r"not known whether its first pixel or its edge .* it may lie 12\.5 m"):
        cube = read(f"{path}:pan")
    assert cube.transform.c == ground.WEST + 300 - 2.5


def test_what_is_said_of_a_product_is_said_once(tmp_path):
    path = write_prisma(tmp_path / L2D)
    with h5py.File(path, "r+") as target:
        del target["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_PIXEL_L2_ERR_MATRIX"]
    with pytest.warns(HyperfuseWarning) as caught:
        fuse(path, read(f"{path}:pan"), method="regression", psf="box", align=False)
    assert len([one for one in caught if "SWIR_PIXEL_L2_ERR_MATRIX is missing" in str(one.message)]) == 1


def test_positions_that_contradict_the_corners_are_reported(tmp_path):
    path = write_prisma(tmp_path / L2D)
    with h5py.File(path, "r+") as target:
        target["HDFEOS/SWATHS/PRS_L2D_PCO/Geolocation Fields/Latitude"][...] += 0.001
    with pytest.warns(HyperfuseWarning, match="of the panchromatic image lie 99.9 m from the corner"):
        read(f"{path}:pan")


@pytest.mark.parametrize("code", [1, 3, 4])
def test_saturated_pixels_of_the_pan_are_gaps(tmp_path, code):
    path = write_prisma(tmp_path / L2D)
    with h5py.File(path, "r+") as target:
        target["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/PIXEL_L2_ERR_MATRIX"][3, 4] = code
    assert np.argwhere(~read(f"{path}:pan").valid[0]).tolist() == [[3, 4]]


def test_no_pan(tmp_path):
    path = write_prisma(tmp_path / L2D)
    with h5py.File(path, "r+") as target:
        del target["HDFEOS/SWATHS/PRS_L2D_PCO"]
    with pytest.raises(InputError, match="has no panchromatic image"):
        read(f"{path}:pan")


@pytest.mark.parametrize("name", [L2D, L2C])
def test_one_file_is_hsi_and_msi(tmp_path, name):
    path, out = write_prisma(tmp_path / name, pan_edges=True, turn=0.0 if name == L2D else 9.0), tmp_path / "out.tif"
    assert main(["fuse", str(path), f"{path}:pan", str(out), "--method", "mtf-glp-hs", "--psf", "box"]) == 0
    fused = read(out)
    assert fused.resolution == (5, 5)
    x, y = ground.centres(fused)
    error = fused.data - ground.averaged(x, y, 5.0, fused.wavelengths)
    assert np.sqrt(np.nanmean(error**2)) < 0.02
    assert codes(np.float64(0.4)) == 32768
