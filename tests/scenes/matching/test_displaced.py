"""A displacement that one fusion found is that of another: of the same pair, a part of it, or another method."""

import numpy as np
import pytest
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io import write
from hyperfuse.scenes.fuse import fuse, fuse_tiles
from hyperfuse.scenes.simulate import simulate
from hyperfuse.sensor.displacement import Displacement
from hyperfuse.sensor.displacement_map import DisplacementMap
from scenes import patches_of_materials

NORTH_UP = Affine(10.0, 0.0, 364000.0, 0.0, -10.0, 5810000.0)


@pytest.fixture(scope="module")
def made():
    field = Displacement(np.random.default_rng(2).normal(0, 1.2, (2, 3, 3)), spacing=(16.0, 16.0), origin=(-4.0, -4.0))
    image = patches_of_materials(20, 96, 96).astype(np.float32)
    truth = Cube(data=image, wavelengths=np.linspace(430, 890, 20), transform=NORTH_UP, crs="EPSG:32633")
    return simulate(truth, ratio=3, srf="gaussian:480/60,560/60,660/60,840/80", displacement=field)


def test_a_given_map_is_used_as_the_sensor_is(made):
    hsi = made.hsi
    grid = Grid(hsi.rows, hsi.cols, hsi.transform, hsi.crs)
    given = DisplacementMap(grid=grid, ratio=(3.0, 3.0), displacement=made.sensor.displacement)
    options = {"method": "local-regression", "psf": made.sensor.psf}
    expected = fuse(hsi, made.msi, sensor=made.sensor, method="local-regression")
    fusion = fuse(hsi, made.msi, **options, displacement=given, return_details=True)
    assert any("lie where the displacement says" in note for note in fusion.notes)
    np.testing.assert_allclose(fusion.displacement.vectors, given.vectors, atol=1e-9)
    truth, match = made.reference, fusion.match

    def error(image, row, col):
        inside = image.data[:, 12 - row : 84 - row, 12 - col : 84 - col]
        return float(np.sqrt(np.mean((inside - truth.data[:, 12:84, 12:84]) ** 2)))

    assert error(fusion.image, match.msi.row, match.msi.col) == pytest.approx(error(expected, 0, 0), rel=0.02)
    alone = fuse(hsi, made.msi, **options, align=False)
    assert error(expected, 0, 0) < error(alone, 0, 0) / 2


def test_it_is_used_again_exactly(made, tmp_path):
    write(tmp_path / "hsi.tif", made.hsi)
    write(tmp_path / "msi.tif", made.msi)
    options = {"method": "regression", "psf": "mtf:0.3"}
    first = fuse_tiles(tmp_path / "hsi.tif", tmp_path / "msi.tif", tmp_path / "a.tif", **options)
    first.displacement.write(tmp_path / "map.tif")
    again = fuse(made.hsi, made.msi, **options, displacement=tmp_path / "map.tif", return_details=True)
    np.testing.assert_allclose(again.displacement.vectors, first.displacement.vectors, atol=1e-9)
    half = fuse(
        made.hsi.crop(0, 0, 16, 32), made.msi, **options, displacement=tmp_path / "map.tif", return_details=True
    )
    np.testing.assert_allclose(half.displacement.vectors, first.displacement.vectors[:, :16], atol=1e-9)
    far = [image.replace(transform=NORTH_UP.translation(5000, 0) @ image.transform) for image in (made.hsi, made.msi)]
    with pytest.raises(InputError, match="elsewhere"):
        fuse(*far, **options, displacement=tmp_path / "map.tif")
