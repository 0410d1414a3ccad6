"""HYPSO and PACE OCI: put on a grid by the positions of their pixels."""

import h5py
import numpy as np
import pytest

import ground
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read
from swath_files import write_hypso, write_pace

L1B, L2 = "PACE_OCI.20250501T100000.L1B.V3.nc", "PACE_OCI.20250501T100000.L2.SFREFL.V3_0.nc"


@pytest.mark.parametrize("single", [False, True])
def test_hypso_is_placed_by_ground_points(tmp_path, single, assert_windows):
    cube = assert_windows(write_hypso(tmp_path / "hypso2_scene_l1d.nc", single=single))
    x, y = ground.centres(cube)
    error = cube.data - ground.averaged(x, y, 60.0)
    assert np.sqrt(np.nanmean(error**2)) < 0.03
    assert 0.5 < cube.valid[0].mean() < 1
    assert cube.wavelengths.tolist() == ground.WAVELENGTHS.tolist()
    assert (cube.crs, cube.units, cube.attributes["sensor"]) == ("EPSG:32633", "reflectance", "HYPSO-2")
    assert cube.history[0]["product"] == "HYPSO top-of-atmosphere reflectance"


def test_hypso_radiance_and_its_attitude(tmp_path):
    path = write_hypso(tmp_path / "scene.nc", level="l1b", indirect=False)
    with pytest.warns(HyperfuseWarning, match="placed by the attitude of the satellite alone"):
        cube = read(path)
    assert (cube.units, cube.history[0]["product"]) == ("W/m^2/micrometer/sr", "HYPSO radiance")
    assert np.nanmedian(cube.data) > 5
    with pytest.raises(InputError, match="needs a cloud mask, which HYPSO products do not have"):
        read(path, quality="clear")


def test_hypso_that_holds_radiance_under_the_name_of_reflectance(tmp_path):
    path = write_hypso(tmp_path / "hypso2_scene_l1d.nc")
    with h5py.File(path, "r+") as file:
        file["products/rhot"][...] *= 100
    with pytest.raises(InputError, match="holds radiance under that name"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["products/rhot"]
    with pytest.raises(InputError, match="holds no products/rhot or products/Lt of HYPSO"):
        read(path)


def test_pace_at_the_top_of_the_atmosphere(tmp_path, assert_windows):
    path = write_pace(tmp_path / L1B)
    cube = assert_windows(path)
    assert (cube.crs, cube.bands, cube.resolution) == ("EPSG:32633", 11, (1200, 1200))
    with h5py.File(path) as file:
        stored = file["observation_data/rhot_red"][0]
    assert np.allclose(np.sort(cube.data[4][cube.valid[4]]), np.sort(stored[stored > 0]))
    assert cube.wavelengths[8:].tolist() == [1250, 1250, 1618]
    assert cube.fwhm.tolist() == [5] * 8 + [30, 30, 75]
    assert np.flatnonzero(~cube.good_bands).tolist() == [9]
    assert cube.attributes["quantity"] == "top-of-atmosphere reflectance"
    with pytest.raises(InputError, match="needs flags of clouds, which PACE OCI L1B does not have"):
        read(path, quality="clear")


def test_pace_at_the_surface(tmp_path, assert_windows):
    path = write_pace(tmp_path / L2)
    cube, clear = assert_windows(path), read(path, quality="clear")
    assert np.count_nonzero(cube.valid[0]) == 9 * 8 - 1
    assert np.count_nonzero(clear.valid[0]) == 9 * 8 - 2
    assert np.nanmedian(np.abs(cube.data[0] - cube.data[1])) > 1e-4
    expected = ground.averaged(*ground.positions(9, 8, 60.0), 60.0)[3]
    assert np.nanmax(cube.data[3]) == pytest.approx(expected.max(), abs=1e-4)
    path.rename(tmp_path / "scene.nc")
    assert read(tmp_path / "scene.nc").history[0]["product"] == "PACE OCI L2 SFREFL"


def test_other_products_of_oci(tmp_path):
    path = tmp_path / "PACE_OCI.20250501T100000.L2.OC_AOP.V3_0.nc"
    with h5py.File(path, "w") as file:
        file["geophysical_data/Rrs"] = np.ones((3, 4))
    with pytest.raises(InputError, match="holds neither rhot nor rhos of OCI; take L1B or L2 SFREFL"):
        read(path)
