"""Registration alone: the MSI where the HSI says that its pixels lie, from cubes and files, other grids and parts."""

import numpy as np
import pytest
from affine import Affine

from hyperfuse import align
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io import read, write
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.warped import WarpedSource
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap
from scenes import patches_of_materials

NORTH_UP = Affine(10.0, 0.0, 364000.0, 0.0, -10.0, 5810000.0)


@pytest.fixture(scope="module")
def made():
    field = Displacement(np.random.default_rng(2).normal(0, 1.2, (2, 3, 3)), spacing=(16.0, 16.0), origin=(-4.0, -4.0))
    image = patches_of_materials(12, 96, 96).astype(np.float32)
    truth = Cube(data=image, wavelengths=np.linspace(450, 900, 12), transform=NORTH_UP, crs="EPSG:32633")
    pair = simulate(truth, ratio=3, srf="gaussian:480/60,560/60,660/60,840/80", displacement=field)
    grid = Grid(pair.hsi.rows, pair.hsi.cols, pair.hsi.transform, pair.hsi.crs)
    return pair, DisplacementMap(grid=grid, ratio=(3.0, 3.0), displacement=field)


def test_the_msi_lies_where_the_hsi_says(made):
    pair, given = made
    found = align(pair.hsi, pair.msi, psf="box", displacement=given)
    moved = found.msi()
    assert moved.transform == pair.msi.transform
    # Seen by the HSI where its header says, the moved MSI agrees with it; the MSI as it is does not.
    regular = pair.sensor.replace(displacement=None)
    expected = pair.sensor.respond(pair.hsi.data)
    inside = np.s_[:, 4:-4, 4:-4]
    error, before = (
        float((regular.degrade(np.nan_to_num(image.data)) - expected)[inside].square().mean().sqrt())
        for image in (moved, pair.msi)
    )
    assert error < before / 5
    assert found.evidence.model == "field"
    assert found.evidence.to_dict()["displacement"]["hr_pixels"]["max"] > 1


def test_files_give_the_same_as_cubes(made, tmp_path):
    pair, given = made
    write(tmp_path / "hsi.tif", pair.hsi)
    write(tmp_path / "msi.tif", pair.msi)
    given.write(tmp_path / "map.tif")
    expected = align(pair.hsi, pair.msi, displacement=given).msi()
    found = align(tmp_path / "hsi.tif", str(tmp_path / "msi.tif"), displacement=tmp_path / "map.tif")
    assert np.array_equal(found.msi().data, expected.data, equal_nan=True)
    found.write(tmp_path / "out.tif")
    found.write(tmp_path / "out.npz")
    for name in ("out.tif", "out.npz"):
        image = read(tmp_path / name)
        assert np.array_equal(image.data, expected.data, equal_nan=True)
        assert image.history[-1]["resampling"] == "cubic convolution"
    with pytest.raises(InputError, match="exists already"):
        found.write(tmp_path / "out.tif")
    found.close()
    with pytest.raises(InputError, match="reading and msi_reading are of files"):
        align(pair.hsi, pair.msi, reading=found_options())


def found_options():
    from hyperfuse import ReadOptions

    return ReadOptions(nodata=0)


def test_an_msi_on_another_grid_is_resampled_once(made):
    pair, given = made
    # The same MSI, rotated by 20 degrees about its centre.
    there = Grid(160, 160, NORTH_UP @ Affine.translation(48, 48) @ Affine.rotation(20) @ Affine.translation(-80, -80),
                 "EPSG:32633")  # fmt: skip
    turned = WarpedSource(MemorySource(pair.msi), there).read(Window(0, 0, 160, 160))
    expected = align(pair.hsi, pair.msi, psf="box", displacement=given).msi()
    found = align(pair.hsi, turned, psf="box", displacement=given).msi()
    assert found.resolution == pytest.approx((10.0, 10.0))
    col, row = ~found.transform @ (NORTH_UP.c, NORTH_UP.f)
    assert (row, col) == pytest.approx((round(row), round(col)), abs=1e-6)
    window = Window(round(row) + 20, round(col) + 20, 56, 56)
    difference = found.crop(*window).data - expected.crop(20, 20, 56, 56).data
    assert np.sqrt(np.nanmean(difference**2)) < 0.02
