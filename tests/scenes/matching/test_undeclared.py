"""Pixels that nothing declares as gaps and that would spoil a scene: found, reported, left out of fits."""

import numpy as np
import pytest

from hyperfuse import fuse, fuse_tiles, simulate
from hyperfuse.cube.cube import Cube
from hyperfuse.io import read, write

RATIO, SIDE, ROWS, UTM = 4, 96, 12, (10.0, 0.0, 600000.0, 0.0, -10.0, 4e6)
REST = np.s_[:, ROWS + 8 :]  # not at the border of the collar, where a declared gap costs too


@pytest.fixture(scope="module")
def pair():
    """Materials over waves and a checkerboard, brighter than 0; values of 16 bits."""
    generator = np.random.default_rng(4)
    y, x = np.mgrid[:SIDE, :SIDE]
    maps = [1 + np.sin(x / 5 + y / 9), 1 + np.cos(y / 4 - x / 11), ((x // 7 + y // 5) % 3).astype(float)]
    spectra = np.cumsum(generator.uniform(0, 1, (3, 20)), axis=1)
    data = np.einsum("kb,krc->brc", spectra / spectra.max(), np.array(maps)) + 0.3
    scene = Cube(
        data=np.rint(8000 * data), wavelengths=np.linspace(400, 780, 20), transform=UTM, crs="EPSG:32633", nodata=None
    )
    return simulate(scene, ratio=RATIO, srf="boxes:4")


def with_collar(cube, value, rows):
    data = cube.data.copy()
    data[:, :rows] = value
    valid = np.ones(data.shape, bool)
    valid[:, :rows] = False
    return cube.replace(data=data), cube.replace(data=data, valid=valid)


KNOWN = {"psf": "mtf:0.3", "align": False, "method": "gsa"}
CASES = [(image, value, KNOWN) for image in ("hsi", "msi") for value in (0, -9999, 65535)]
CASES += [("hsi", 0, {"method": "regression"}), ("msi", 0, {"settings": {"steps": 0}})]


@pytest.mark.parametrize(("image", "value", "options"), CASES)
def test_the_rest_of_the_scene_is_as_good_as_with_declared_gaps(pair, image, value, options):
    rows = ROWS if image == "msi" else ROWS // RATIO
    silent, declared = with_collar(getattr(pair, image), value, rows)
    options = {"return_details": True, **options}
    images = {"hsi": pair.hsi, "msi": pair.msi}
    right = fuse(**images | {image: declared}, **options)
    found = fuse(**images | {image: silent}, **options)
    assert np.array_equal(found.image.data[REST], right.image.data[REST])
    assert np.isfinite(found.image.data).all()
    (note,) = (note for note in found.notes if "a gap?" in note)
    name, option = image.upper(), "nodata" if image == "hsi" else "msi_nodata"
    assert note.startswith(f"12 % of the {name}'s pixels are {value} in all bands: a gap? {option}={value} declares it")
    assert "a gap?" not in " ".join(right.notes)


@pytest.mark.parametrize("value", [0, -9999, 65535])
@pytest.mark.parametrize("rows", [4, 6])
def test_a_collar_that_the_psf_mixes_with_the_scene_everywhere(pair, value, rows):
    silent, declared = with_collar(pair.msi, value, rows)
    found = fuse(pair.hsi, silent, return_details=True, **KNOWN)
    assert found.match.undeclared.msi == (float(value),) * 4
    assert np.array_equal(found.image.data[REST], fuse(pair.hsi, declared, **KNOWN).data[REST])


@pytest.mark.parametrize("psf", ["mtf:0.3", "sigma:1.5", "sigma:3"])
@pytest.mark.parametrize("area", [np.s_[:, :6], np.s_[:, 40:46], np.s_[:, 30:36, 20:60]])
def test_a_narrow_black_area_is_data(pair, area, psf):
    scene = pair.reference.data.copy()
    scene[area] = 0
    dark = simulate(pair.reference.replace(data=scene), ratio=RATIO, srf="boxes:4")
    found = fuse(dark.hsi, dark.msi, return_details=True, **KNOWN | {"psf": psf})
    assert found.match.undeclared == (None, None)


def test_a_collar_in_both_is_a_gap_where_neither_image_shows_anything(pair):
    hsi, _ = with_collar(pair.hsi, 0, ROWS // RATIO)
    msi = pair.msi.data.copy()
    msi[:, :, :ROWS] = 0
    fused = fuse(hsi, pair.msi.replace(data=msi), **KNOWN)
    gaps = np.isnan(fused.data).all(axis=0)
    assert gaps[:ROWS, :ROWS].all()
    assert gaps.sum() == ROWS**2


def test_a_black_background_is_data(pair):
    """The HSI is dark there too: nothing is left out, and a note asks."""
    scene = pair.reference.data.copy()
    scene[:, :30, :40] = 0
    dark = simulate(pair.reference.replace(data=scene), ratio=RATIO, srf="boxes:4")
    found = fuse(dark.hsi, dark.msi, return_details=True, **KNOWN)
    assert found.match.undeclared == (None, None)
    assert [note for note in found.notes if "a gap?" in note] == [
        "8 % of the HSI's pixels are 0 in all bands: a gap? nodata=0 declares it",
        "13 % of the MSI's pixels are 0 in all bands: a gap? msi_nodata=0 declares it",
    ]
    assert np.isfinite(found.image.data).all()


def test_a_saturated_area_is_data(pair):
    msi = np.minimum(pair.msi.data, np.quantile(pair.msi.data, 0.6)).astype(np.float32)
    found = fuse(pair.hsi, pair.msi.replace(data=msi), return_details=True, **KNOWN)
    assert found.match.undeclared == (None, None)


def test_codings_are_named_by_their_stored_value(pair):
    coded = pair.msi.replace(data=pair.msi.data * 1e-4 - 0.1, scale=1e-4, offset=-0.1)
    silent, _ = with_collar(coded, np.float32(-0.1), ROWS)
    hsi = pair.hsi.replace(data=pair.hsi.data * 1e-4 - 0.1)
    notes = fuse(hsi, silent, return_details=True, **KNOWN).notes
    assert any("are 0 in all bands: a gap? msi_nodata=0" in note for note in notes)
    high, _ = with_collar(coded, np.float32(65535e-4 - 0.1), ROWS)
    notes = fuse(hsi, high, return_details=True, **KNOWN).notes
    assert any("are 65535 in all bands: a gap? msi_nodata=65535 " in note for note in notes)


@pytest.mark.parametrize("value", [np.finfo(np.float32).min, -0.1234567])
def test_a_value_is_named_in_all_its_digits(pair, value):
    silent, _ = with_collar(pair.msi, np.float32(value), ROWS)
    notes = fuse(pair.hsi, silent, return_details=True, **KNOWN).notes
    named = next(note for note in notes if "a gap?" in note).split("msi_nodata=")[1].split()[0]
    assert np.float32(named) == np.float32(value)


def test_in_tiles_and_on_another_grid(pair, tmp_path):
    silent, declared = with_collar(pair.msi, 0, ROWS)
    for name, cube in (("hsi", pair.hsi), ("silent", silent), ("declared", declared.replace(nodata=0.0))):
        write(tmp_path / f"{name}.tif", cube)
    images = {}
    for name in ("silent", "declared"):
        fusion = fuse_tiles(
            tmp_path / "hsi.tif", tmp_path / f"{name}.tif", tmp_path / f"{name}-fused.tif",
            tile=48, memory_gb=0.001, **KNOWN,
        )  # fmt: skip
        images[name] = read(tmp_path / f"{name}-fused.tif")
        assert ("a gap?" in " ".join(fusion.notes)) == (name == "silent")
    assert np.allclose(images["silent"].data[REST], images["declared"].data[REST], rtol=1e-4)
    # Rotated by a little: the MSI is resampled, which mixes the zeros into the pixels next to them.
    turned = pair.msi.transform @ type(pair.msi.transform).rotation(1.0)
    rotated = [
        fuse(pair.hsi, cube.replace(transform=turned), return_details=True, **KNOWN) for cube in (silent, declared)
    ]
    assert [fusion.match.undeclared.msi for fusion in rotated] == [(0.0, 0.0, 0.0, 0.0), None]
    one, other = (fusion.image.data[:, 30:-12, 12:-12] for fusion in rotated)
    assert np.sqrt(np.mean((one - other) ** 2)) < 0.02 * other.mean()
