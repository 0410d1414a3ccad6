"""Pairs of which one image is a product as it is delivered, fused by the command."""

import numpy as np
import pytest
from rasterio.warp import transform

import ground
import product_files
import swath_files
from hyperfuse.cli import main
from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write

JOB = ("--method", "local-regression", "--psf", "box", "--no-align", "--threads", "1", "--quiet")


def plain(path, side, pixel, wavelengths=ground.WAVELENGTHS, *, scale=1.0):
    """Write a GeoTIFF of the ground."""
    values = (scale * product_files.seen(side, pixel, wavelengths)).astype(np.float32)
    place = {"crs": ground.CRS, "transform": (pixel, 0, ground.WEST, 0, -pixel, ground.NORTH)}
    write(path, Cube(data=values, wavelengths=wavelengths, **place))
    return path


def fused(hsi, msi, folder, *more):
    """Fuse two images, and return the result."""
    out = folder / "fused.tif"
    assert main(["fuse", str(hsi), str(msi), str(out), *JOB, *more, "--overwrite"]) == 0
    image = read(out)
    assert image.history[-1]["step"] == "fuse"
    return image


def rmse(image, wavelengths, pixel, scale=1.0):
    """Return the error of an image of the ground, relative to the mean of what is there."""
    x, y = ground.centres(image)
    if image.crs == "EPSG:4326":
        found = transform(image.crs, ground.CRS, x.ravel(), y.ravel())
        x, y = (np.reshape(values, x.shape) for values in found)
    good = image.usable_bands
    expected = scale * ground.averaged(x, y, pixel, np.asarray(wavelengths, float)[good])
    return float(np.sqrt(np.nanmean((image.data[good] - expected) ** 2)) / expected.mean())


MSI = [470.0, 560.0, 660.0, 830.0]


@pytest.mark.parametrize(
    ("product", "fine", "scale"),
    [("neon", 2.0, 1.0), ("desis", 10.0, 1.0), ("wyvern", 2.0, 100.0)],
)
def test_a_product_as_the_hsi(tmp_path, product, fine, scale):
    hsi = getattr(product_files, f"write_{product}")(tmp_path)
    msi = plain(tmp_path / "msi.tif", 96 if product != "desis" else 72, fine, MSI)
    image = fused(hsi, msi, tmp_path, *(("--tile", "64") if product == "neon" else ()))
    assert rmse(image, ground.WAVELENGTHS, fine, scale) < 1e-3
    assert not np.isfinite(image.data[~image.usable_bands]).any()


def test_radiance_of_hyperion(tmp_path):
    hsi = product_files.write_hyperion(tmp_path)
    msi = plain(tmp_path / "msi.tif", 72, 10.0, MSI)
    image = fused(hsi, msi, tmp_path, "--bands", "1,10,20,30,40")
    centres = np.linspace(430, 900, 198)[[0, 9, 19, 29, 39]]
    assert rmse(image, centres, 10.0, 200.0) < 1e-3
    assert image.units == "W m-2 sr-1 um-1"


def test_swaths_of_hypso_and_pace(tmp_path):
    hypso = swath_files.write_hypso(tmp_path / "hypso2_scene_l1d.nc")
    image = fused(hypso, plain(tmp_path / "msi.tif", 72, 20.0, MSI), tmp_path)
    # Each sample is shown up to half a pixel off, which the positions of the samples do not undo here.
    assert rmse(image, ground.WAVELENGTHS, 20.0) < 0.06
    pace = swath_files.write_pace(tmp_path / "PACE_OCI.20250501T100000.L2.SFREFL.V3_0.nc", 24, 24)
    values = product_files.seen(72, 20.0, MSI).astype(np.float32)
    corner = [value - value % 1200 for value in (ground.WEST, ground.NORTH)]
    write(tmp_path / "coarse.tif", Cube(data=values, crs=ground.CRS, transform=(400, 0, corner[0], 0, -400, corner[1])))
    image = fused(pace, tmp_path / "coarse.tif", tmp_path)
    expected = product_files.seen(72, 20.0)
    assert image.data.shape == expected.shape
    assert np.sqrt(np.nanmean((image.data - expected) ** 2)) < 0.02


@pytest.mark.parametrize(
    ("product", "coarse", "fine"), [("planetscope", 12.0, 3.0), ("worldview", 8.0, 2.0), ("sentinel2_l1c", 30.0, 10.0)]
)
def test_a_product_as_the_msi(tmp_path, product, coarse, fine):
    msi = getattr(product_files, f"write_{product}")(tmp_path)
    side = read(msi, bands="1").cols
    wavelengths = np.linspace(430, 900, 24)
    hsi = plain(tmp_path / "hsi.tif", round(side * fine / coarse), coarse, wavelengths)
    image = fused(hsi, msi, tmp_path, *(("--tile", "64") if product == "sentinel2_l1c" else ()))
    assert rmse(image, wavelengths, fine) < 1e-3


def test_responses_of_a_product_are_taken_without_being_named(tmp_path):
    msi = product_files.write_planetscope(tmp_path)
    hsi = plain(tmp_path / "hsi.tif", 30, 12.0, np.linspace(430, 900, 24))
    job = ("--method", "cnmf", "--psf", "box", "--no-align", "--threads", "1", "--quiet")
    assert main(["fuse", str(hsi), str(msi), str(tmp_path / "out.tif"), *job]) == 0
    step = read(tmp_path / "out.tif").history[-1]
    name = "planetscope-superdove (nominal centres and widths, flat-topped)"
    assert step["sensor"]["srf"].startswith(name)
    assert any(note.startswith(f"spectral responses of {name}") for note in step["notes"])
