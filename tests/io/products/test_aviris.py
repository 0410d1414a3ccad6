"""AVIRIS files of a known ground, in the layouts of Classic, NG, 3 and 5."""

import numpy as np
import pytest

import aviris_files
import ground
from aviris_files import PIXEL, rotated, spectral_items, swath, write_envi, write_glt, write_loc, write_netcdf
from hyperfuse.cli import main
from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.scenes.fuse import fuse_tiles

CLASSIC, NG, THREE, FIVE = "f201013t01p00r10", "ang20220224t210144", "AV320231005t181518", "AV520250508t173511_000"


def positions(cube):
    """Return x and y of the centres of the pixels of a cube on any grid."""
    col, row = np.meshgrid(np.arange(cube.cols) + 0.5, np.arange(cube.rows) + 0.5)
    return cube.transform @ (col, row)


def root_mean_square(cube, factor=1.0):
    error = cube.data - factor * ground.averaged(*positions(cube), PIXEL)
    return float(np.sqrt(np.nanmean(error**2)))


@pytest.mark.parametrize("rotation", [29, -50, 90, 180, 270])
def test_reflectance_on_a_rotated_grid(tmp_path, rotation, assert_windows):
    cube = assert_windows(rotated(tmp_path / f"{NG}_rfl_v2aa2_img", rotation=rotation))
    assert root_mean_square(cube) < 1e-5
    assert parse_crs(cube.crs).to_epsg() == 32633
    assert (cube.wavelengths.tolist(), cube.units) == (ground.WAVELENGTHS.tolist(), "reflectance")
    assert cube.attributes["sensor"] == "AVIRIS-NG"
    assert cube.resolution == pytest.approx((PIXEL, PIXEL))


def test_by_its_header_and_by_its_folder(tmp_path, assert_same):
    path = rotated(tmp_path / f"{THREE}_L2A_OE_main_RFL_ORT")
    cube = read(path)
    assert_same(read(f"{path}.hdr"), cube)
    assert_same(read(tmp_path), cube)
    rotated(tmp_path / f"{THREE}_L1B_RDN_ORT")
    with pytest.raises(InputError, match=r"holds 2 images of AVIRIS \(AV3.*\); name one"):
        read(tmp_path)


def test_flagged_bands_fill_and_uncertainty(tmp_path):
    bbl = [1, 1, 0, 1, 1, 1, 1, 0]
    rotated(tmp_path / f"{THREE}_UNC_ORT")

    def with_fill(values):
        values[:, 0, 0] = -9999
        values[2] = -0.01
        return values

    items = [f"bbl = {{{', '.join(map(str, bbl))}}}"]
    cube = read(rotated(tmp_path / f"{THREE}_RFL_ORT", values=with_fill, items=items))
    assert cube.good_bands.tolist() == [bool(one) for one in bbl]
    assert np.argwhere(~cube.valid[0]).tolist() == [[0, 0]]
    assert cube.attributes["uncertainty"] == f"{THREE}_UNC_ORT"
    with pytest.raises(InputError, match="needs a cloud mask, which AVIRIS does not have"):
        read(tmp_path / f"{THREE}_RFL_ORT", quality="clear")


def test_radiance_of_classic_is_divided_by_its_gains(tmp_path):
    gains = [300, 300, 300, 300, 600, 600, 1200, 1200]

    def coded(values):
        stored = np.round(values * np.array(gains)[:, None, None] * 10).astype(np.int16)
        stored[:, 3, 4] = -50
        return stored

    path = rotated(tmp_path / f"{CLASSIC}rdn_f_ort_img", values=coded, byte_order=1)
    with pytest.raises(InputError, match=rf"{CLASSIC}.*\.gain \(the coding of radiance\) is missing"):
        read(path)
    (tmp_path / f"{CLASSIC}rdn_f.gain").write_text("".join(f"{gain:6.1f} {band}\n" for band, gain in enumerate(gains)))
    cube = read(path)
    assert root_mean_square(cube, 10.0) < 0.002
    assert np.argwhere(~cube.valid[0]).tolist() == [[3, 4]]
    assert cube.units == "uW cm-2 sr-1 nm-1"
    (tmp_path / f"{CLASSIC}rdn_f.gain").write_text("300 1\n")
    with pytest.raises(InputError, match="holds 1 gains for 8 bands"):
        read(path)


def test_integers_without_a_stated_scale(tmp_path):
    path = rotated(tmp_path / f"{CLASSIC}_refl_img", values=lambda seen: (seen * 10000).astype(np.int16))
    with pytest.raises(InputError, match="its header does not state how reflectance is coded"):
        read(path)
    path = rotated(
        tmp_path / f"{CLASSIC}_refl_img",
        values=lambda seen: (seen * 10000).astype(np.int16),
        items=["reflectance scale factor = 10000"],
    )
    assert root_mean_square(read(path)) < 1e-4


def test_raw_with_positions(tmp_path):
    path, x, y = swath(tmp_path, NG)
    with pytest.raises(InputError, match=f"is not orthorectified, and no LOC, IGM or GLT file of {NG} lies next to it"):
        read(path)
    write_loc(tmp_path, NG, x, y)
    cube = read(path)
    assert cube.resolution == (PIXEL, PIXEL)
    assert cube.crs == "EPSG:32633"
    assert root_mean_square(cube) < 0.01
    assert cube.history[0]["residual_rms_m"] < 9
    # What is in sensor geometry keeps its fill as gaps.
    assert not np.isnan(cube.data[0]).all()


def test_raw_with_a_lookup_table(tmp_path):
    path, x, y = swath(tmp_path, NG, "rdn")
    write_glt(tmp_path, NG, x, y)
    cube = read(path)
    sample, line, west, north = aviris_files.table(x, y)
    assert (cube.transform.c, cube.transform.f) == (west, north)
    assert cube.shape[1:] == sample.shape
    assert (sample < 0).any()
    assert np.array_equal(cube.valid[0], (sample != 0) & (abs(line) > 1))
    assert root_mean_square(cube) < 0.012
    assert cube.history[0]["orthorectified"] == "GLT, nearest pixel"


def test_positions_in_metres_are_no_latitudes(tmp_path):
    path, x, y = swath(tmp_path, NG)
    write_envi(tmp_path / f"{NG}_v1_igm", np.stack([x, y, 0 * x]))
    with pytest.raises(InputError, match="does not hold longitudes and latitudes in degrees"):
        read(path)


def test_cut_off(tmp_path):
    path = rotated(tmp_path / f"{NG}_rfl_img")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is cut off: 63990 bytes of the 64000"):
        read(path)
    path.with_name(f"{path.name}.hdr").unlink()
    with pytest.raises(InputError, match=r"_rfl_img\.hdr is missing"):
        read(path)


@pytest.mark.parametrize("granule", [NG, THREE, FIVE])
def test_netcdf_on_its_grid(tmp_path, granule, assert_windows, assert_overview):
    x, y = ground.positions(24, 20, PIXEL)
    values = ground.averaged(x, y, PIXEL)
    values[:, 3, 4] = -9999
    path = write_netcdf(tmp_path / f"{granule}_L2A_OE_0b4f48b4_RFL_ORT.nc", values, ground.WEST, ground.NORTH)
    (tmp_path / f"{granule}_L2A_OE_0b4f48b4_UNC_ORT.nc").write_bytes(b"")
    cube = assert_windows(path)
    assert root_mean_square(cube) < 1e-5
    assert np.argwhere(~cube.valid[0]).tolist() == [[3, 4]]
    assert (cube.crs, cube.transform.c, cube.fwhm[0]) == ("EPSG:32633", ground.WEST, 7.5)
    assert cube.attributes["uncertainty"] == f"{granule}_L2A_OE_0b4f48b4_UNC_ORT.nc"
    assert_overview(path, 12, step=2)


def test_netcdf_with_a_lookup_table(tmp_path):
    _, x, y = swath(tmp_path, FIVE)
    sample, line, west, north = aviris_files.table(x, y)
    values = ground.averaged(x, y, PIXEL) * 10
    path = tmp_path / f"{FIVE}_L1B_RDN.nc"
    cube = read(write_netcdf(path, values, west, north, tables=(sample, line), group="radiance"))
    assert cube.units == "uW cm-2 sr-1 nm-1"
    assert root_mean_square(cube, 10.0) < 0.12
    assert np.array_equal(cube.valid[0], sample != 0)


def test_netcdf_that_contradicts_itself(tmp_path):
    values = ground.averaged(*ground.positions(24, 20, PIXEL), PIXEL)
    path = write_netcdf(tmp_path / f"{FIVE}_RFL_ORT.nc", values[:, :20], ground.WEST, ground.NORTH)
    import h5py

    with h5py.File(path, "r+") as target:
        target["transverse_mercator"].attrs["GeoTransform"] = f"{ground.WEST} 20 0 {ground.NORTH + 10} 0 -20"
    with pytest.raises(InputError, match=r"its GeoTransform .* is not that of its eastings and northings"):
        read(path)
    with h5py.File(path, "r+") as target:
        target["transverse_mercator"].attrs["GeoTransform"] = f"{ground.WEST} 20 0 {ground.NORTH} 0 -20"
        target["easting"][5] += 8
    with pytest.raises(InputError, match="easting is not evenly spaced"):
        read(path)


@pytest.mark.parametrize("kind", ["rotated", "loc", "netcdf"])
def test_fused(tmp_path, kind):
    if kind == "rotated":
        hsi = rotated(tmp_path / f"{CLASSIC}_corr_v1_img", 60, 50, -29.0)
    elif kind == "loc":
        hsi, x, y = swath(tmp_path, NG)
        write_loc(tmp_path, NG, x, y)
    else:
        values = ground.averaged(*ground.positions(50, 45, PIXEL), PIXEL)
        hsi = write_netcdf(tmp_path / f"{THREE}_RFL_ORT.nc", values, ground.WEST, ground.NORTH)
    x, y = ground.positions(320, 300, 5.0)
    values = np.einsum("mb,byx->myx", np.kron(np.eye(4), [[0.5, 0.5]]), ground.averaged(x, y, 5.0))
    transform = (5, 0, ground.WEST, 0, -5, ground.NORTH)
    write(tmp_path / "msi.tif", Cube(data=values.astype(np.float32), crs=ground.CRS, transform=transform))
    out = tmp_path / "out.tif"
    fusion = fuse_tiles(hsi, tmp_path / "msi.tif", out, method="local-regression", align=False, psf="box")
    fused = read(out)
    error = fused.data - ground.averaged(*positions(fused), 5.0)
    assert np.sqrt(np.nanmean(error**2)) < 0.02
    assert bool([note for note in fusion.notes if "resampled" in note]) == (kind == "rotated")


def test_info(tmp_path, capsys):
    path = write_envi(
        tmp_path / f"{THREE}_RFL_ORT",
        np.ones((8, 3, 3), np.float32),
        *spectral_items(),
        aviris_files.map_info(5e5, 5e6, -13),
    )
    assert main(["info", str(path)]) == 0
    assert "product AVIRIS-3 reflectance" in capsys.readouterr().out
