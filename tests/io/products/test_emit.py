"""EMIT L2A files of 4 x 3 sensor pixels with a lookup table, and granules with a latitude and longitude each."""

import h5py
import numpy as np
import pytest

import emit_files
import ground
from emit_files import GEOTRANSFORM, SCENE, write_emit
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io import read, read_mosaic, write
from hyperfuse.io.windows.open import open_windows
from hyperfuse.scenes.fuse import fuse, fuse_tiles

NAME = f"EMIT_L2A_RFL_001_{SCENE}"
WAVELENGTHS = [381.0, 388.4, 1401.2, 2492.9]
GLT_X = np.array(
    [[0, 0, 1, 1, 2, 0], [0, 1, 1, 2, 3, 0], [1, 1, 2, 3, 3, 3], [0, 1, 2, 2, 3, 0], [0, 0, 2, 3, 0, 0]], np.int32
)
GLT_Y = np.array(
    [[0, 0, 1, 1, 1, 0], [0, 1, 2, 2, 1, 0], [2, 2, 3, 2, 2, 1], [0, 3, 3, 4, 3, 0], [0, 0, 4, 4, 0, 0]], np.int32
)


@pytest.fixture
def reflectance():
    values = np.random.default_rng(6).uniform(0.01, 0.6, (4, 3, 4)).astype(np.float32)
    values[3, 2] = -9999
    return values


@pytest.fixture
def file(tmp_path, reflectance):
    path = write_emit(tmp_path / f"{NAME}.nc", reflectance, WAVELENGTHS, tables=(GLT_X, GLT_Y), good=[1, 1, 0, 1])
    with h5py.File(path, "r+") as target:
        target["sensor_band_parameters/fwhm"][2] = 8.8
    return path


@pytest.fixture
def mask(file):
    names = ["Cloud flag", "Cirrus flag", "Water flag", "Spacecraft Flag", "Dilated Cloud Flag", "AOD550"]
    values = np.zeros((4, 3, 6), np.float32)
    values[0, 0, 0] = values[1, 1, 1] = values[2, 2, 4] = 1
    values[:, :, 2] = 1  # water is clear
    values[:, :, 5] = 0.3
    path = file.with_name(f"EMIT_L2A_MASK_001_{SCENE}.nc")
    with h5py.File(path, "w") as target:
        target["mask"] = values
        target["sensor_band_parameters/mask_bands"] = np.array(names, dtype=object)
    return path


def by_hand(values):
    """Put sensor pixels (rows, cols, bands) on the grid, cell by cell."""
    grid = np.full((values.shape[2], *GLT_X.shape), np.nan)
    for row in range(GLT_X.shape[0]):
        for col in range(GLT_X.shape[1]):
            if GLT_X[row, col] > 0:
                grid[:, row, col] = values[GLT_Y[row, col] - 1, GLT_X[row, col] - 1]
    return grid


def test_values_wavelengths_and_position(file, reflectance, centres):
    cube = read(file)
    expected = by_hand(np.where(reflectance == -9999, np.nan, reflectance))
    assert np.array_equal(cube.data, expected.astype(np.float32), equal_nan=True)
    assert np.array_equal(cube.valid, ~np.isnan(expected))
    assert np.isnan(expected).any(axis=0).sum() == (GLT_X == 0).sum() + ((GLT_X == 3) & (GLT_Y == 4)).sum()
    assert cube.wavelengths.tolist() == pytest.approx(WAVELENGTHS)
    assert cube.fwhm[2] == pytest.approx(8.8)
    assert cube.good_bands.tolist() == [True, True, False, True]
    assert (cube.crs, cube.units, cube.nodata) == ("EPSG:4326", "reflectance", -9999.0)
    x, y = centres(cube)
    step = GEOTRANSFORM[1]
    assert np.allclose(x, 13.0 + step * (np.arange(6) + 0.5), rtol=0, atol=1e-12)
    assert np.allclose(y, 52.45 - step * (np.arange(5) + 0.5), rtol=0, atol=1e-12)
    assert cube.attributes["start_time"] == "2023-03-16T04:51:33+0000"
    assert cube.history[0]["orthorectified"] == "GLT, nearest pixel"


def test_known_by_its_content_and_by_its_folder(file, mask, assert_same):
    cube = read(file)
    assert_same(read(file.parent), cube)
    other = file.with_name("scene.nc")
    file.rename(other)
    assert np.array_equal(read(other).data, cube.data, equal_nan=True)


def test_bands_in_any_order(file):
    cube, some = read(file), read(file, bands="4,1-2")
    assert np.array_equal(some.data, cube.data[[3, 0, 1]], equal_nan=True)
    assert some.wavelengths.tolist() == cube.wavelengths[[3, 0, 1]].tolist()
    apart = read(file, bands="4,2")
    assert np.array_equal(apart.data, cube.data[[3, 1]], equal_nan=True)


def test_more_bands_than_are_read_at_once(file, reflectance):
    with h5py.File(file, "r+") as target:
        del target["reflectance"]
        target["reflectance"] = np.concatenate([reflectance + number for number in range(10)], axis=2)
        for name in ("wavelengths", "fwhm", "good_wavelengths"):
            values = np.concatenate([target[f"sensor_band_parameters/{name}"][()]] * 10)
            del target[f"sensor_band_parameters/{name}"]
            target[f"sensor_band_parameters/{name}"] = values
    cube = read(file)
    assert cube.bands == 40
    good = cube.valid[0]
    assert np.allclose(cube.data[36:, good], cube.data[:4, good] + 9, atol=1e-6)


def test_clear_takes_clouds_and_cirrus_of_the_mask_file(file, mask):
    standard, clear = read(file), read(file, quality="clear")
    cloudy = np.zeros((4, 3, 1))
    cloudy[0, 0] = cloudy[1, 1] = cloudy[2, 2] = 1
    assert np.array_equal(clear.valid[0], standard.valid[0] & (by_hand(cloudy)[0] != 1))
    mask.unlink()
    with pytest.raises(InputError, match=rf"EMIT_L2A_MASK_\*_{SCENE}\.nc .* is missing in"):
        read(file, quality="clear")


def test_clear_takes_interpolated_values(file, mask):
    bits = np.zeros((4, 3, 8), np.uint8)
    bits[1, 0, 2] = bits[0, 1, 0] = 1
    with h5py.File(mask, "r+") as target:
        target["band_mask"] = np.packbits(bits, axis=-1)
    clear = read(file, quality="clear", bands="3,1")
    standard = read(file, bands="3,1")
    lost = [np.argwhere(by_hand(bits[..., [band]])[0] == 1).tolist() for band in (2, 0)]
    cloudy = np.zeros((4, 3, 1))
    cloudy[0, 0] = cloudy[1, 1] = cloudy[2, 2] = 1
    for band, places in enumerate(lost):
        expected = standard.valid[band] & (by_hand(cloudy)[0] != 1)
        expected[tuple(np.transpose(places))] = False
        assert np.array_equal(clear.valid[band], expected)
    assert clear.history[0]["gaps"] == ["no data", "cloud", "cirrus", "interpolated"]
    replaced(mask, "band_mask", np.zeros((4, 3, 2), np.uint8))
    with pytest.raises(InputError, match=r"band_mask holds uint8 \(4, 3, 2\), not a bit for each value"):
        read(file, quality="clear")


def test_a_product_is_written_and_read_again(file, tmp_path, assert_same):
    cube = read(file)
    write(tmp_path / "map.tif", cube)
    assert_same(read(tmp_path / "map.tif"), cube)


def test_radiance_is_another_level(file):
    other = file.with_name(f"EMIT_L1B_RAD_001_{SCENE}.nc")
    with h5py.File(file, "r+") as target:
        target.move("reflectance", "radiance")
    file.rename(other)
    for path in (other, other.parent):
        with pytest.raises(InputError, match=r"is EMIT L1B \(radiance at the sensor\); take EMIT_L2A_RFL"):
            read(path)


@pytest.mark.parametrize("fraction", [0.9, 0.3, 0.001])
def test_cut_off(file, fraction):
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * fraction)])
    with pytest.raises(InputError, match="cut off or damaged"):
        read(file)


def replaced(path, name, values):
    with h5py.File(path, "r+") as target:
        del target[name]
        if values is not None:
            target[name] = values
    return path


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("location/glt_x", GLT_X + 3, "its lookup table leaves the image of 4 x 3 pixels"),
        ("location/glt_x", -GLT_X - 3, "its lookup table leaves the image"),
        ("location/glt_x", GLT_X * 0, "its lookup table places no pixel"),
        ("location/glt_x", GLT_X[:3], r"its lookup tables have other shapes: \(3, 6\) and \(5, 6\)"),
        ("location/glt_x", GLT_X * 1.0, "location/glt_x holds float64, not whole numbers"),
        ("location/glt_y", None, "has no location/glt_y"),
        ("reflectance", np.zeros((4, 3)), r"reflectance holds float64 \(4, 3\), not numbers in 3 dimensions"),
        ("sensor_band_parameters/fwhm", np.zeros(3), "sensor_band_parameters/fwhm has 3 entries for 4 bands"),
    ],
)
def test_damaged_parts(file, name, values, message):
    with pytest.raises(InputError, match=message) as caught:
        read(replaced(file, name, values))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [[1.0, 2.0], [0.0] * 6, "none"])
def test_damaged_geotransform(file, value):
    with h5py.File(file, "r+") as target:
        target.attrs["geotransform"] = value
    with pytest.raises(InputError, match="its attribute geotransform holds"):
        read(file)


def test_a_crs_that_is_no_text(file):
    with h5py.File(file, "r+") as target:
        target.attrs.create("spatial_ref", b"GEOGCS\xff\xfe", dtype=h5py.string_dtype("utf-8"))
    with pytest.raises(InputError, match=r"the CRS 'GEOGCS.*' is not understood"):
        read(file)


def test_nan_that_nothing_declares_is_refused_unless_declared(file, reflectance):
    reflectance[0, 0, 0] = np.nan
    replaced(file, "reflectance", reflectance)
    with pytest.raises(InputError, match="declare them with nodata=nan"):
        read(file)
    assert np.isnan(read(file, nodata=np.nan).data[0, 0, 2])


def test_flipped_bytes_are_reported_or_harmless(file):
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    for seed in range(80):
        rng = np.random.default_rng(seed)
        raw = whole.copy()
        raw[rng.integers(0, raw.size, 6)] = rng.integers(0, 256, 6)
        file.write_bytes(raw.tobytes())
        message = ""
        try:
            read(file)
        except (InputError, HyperfuseWarning) as error:
            message = str(error)
        assert "\n" not in message


def granules(folder):
    """Two granules of one overpass, which abut."""
    names = [f"EMIT_L2A_RFL_001_20230316T045133_2307503_{number:03}.nc" for number in (5, 6)]
    return [
        emit_files.granule(folder / names[0], rows=22),
        emit_files.granule(folder / names[1], rows=18, start=(22, 0)),
    ]


@pytest.fixture
def msi(tmp_path):
    """An MSI of 10 m of the same ground, whose corner is on no round number."""
    x, y = ground.positions(330, 300, 10.0)
    srf = np.kron(np.eye(4), [[0.5, 0.5]])
    values = np.einsum("mb,byx->myx", srf, ground.averaged(x + 3, y - 4, 10.0))
    transform = (10, 0, ground.WEST + 3, 0, -10, ground.NORTH - 4)
    write(tmp_path / "msi.tif", Cube(data=values.astype(np.float32), crs=ground.CRS, transform=transform))
    return tmp_path / "msi.tif"


def test_a_granule_is_put_on_utm(tmp_path):
    path = emit_files.granule(tmp_path / f"{NAME}.nc")
    cube = read(path)
    assert (cube.crs, cube.resolution) == ("EPSG:32633", (60, 60))
    x, y = ground.centres(cube)
    expected = ground.averaged(x, y, 60.0)
    # Half a diagonal of a pixel at most lies between a sample and the centre of the pixel that shows it.
    assert np.abs(cube.data - expected)[cube.valid].max() < 0.06
    assert np.sqrt(np.mean((cube.data - expected)[cube.valid] ** 2)) < 0.015
    step = cube.history[0]
    assert step["orthorectified"].startswith("by latitude and longitude, nearest sample within 45 m")
    assert step["grid"] == "EPSG:32633, pixels of 60 m"
    assert 20 < step["residual_rms_m"] < 26
    low = read(path, overview=20)
    assert max(low.rows, low.cols) <= 20


def test_windows_of_a_granule(tmp_path, assert_same):
    path = emit_files.granule(tmp_path / f"{NAME}.nc")
    cube, source = read(path), open_windows(path)
    assert source.header.shape == cube.shape
    assert_same(source.read(Window(10, 12, 20, 15)), cube.crop(10, 12, 20, 15))


def test_granules_are_one_image(tmp_path):
    (tmp_path / "one").mkdir()
    whole = read(emit_files.granule(tmp_path / "one" / f"{NAME}.nc"))
    paths = granules(tmp_path)
    assert np.allclose(read_mosaic(paths).data, whole.data, equal_nan=True)
    source = open_windows(paths)
    assert source.header.transform == whole.transform


@pytest.mark.parametrize("tile", [None, 96])
def test_granules_are_fused_on_the_grid_of_the_msi(tmp_path, msi, tile):
    out = tmp_path / "out.tif"
    fusion = fuse_tiles(granules(tmp_path), msi, out, method="local-regression", tile=tile, align=False, psf="box")
    fused = read(out)
    assert not [note for note in fusion.notes if "resampled" in note or "copy" in note]
    assert fused.history[-1]["sensor"]["displacement"]["offsets_of_samples"]["largest"] <= 4.5
    x, y = ground.centres(fused)
    truth = ground.averaged(x, y, 10.0)
    error = np.sqrt(np.nanmean((fused.data - truth) ** 2))
    assert error < 0.002
    steps = [step for step in fused.history if step["step"] == "read"]
    assert steps[0]["grid"] == "EPSG:32633, pixels of 60 m on the corners of the other image"


def test_cubes_are_fused_where_the_samples_are(tmp_path, msi):
    path = emit_files.granule(tmp_path / f"{NAME}.nc")
    fused = fuse(path, msi, method="regression", align=False, psf="box")
    step = fused.history[-1]
    assert step["sensor"]["displacement"]["offsets_of_samples"]["rms"] == pytest.approx(2.45, abs=0.1)
    assert not any("no longer states where" in note for note in step["notes"])


def test_a_cube_that_lost_the_positions_of_its_samples_is_noted(tmp_path, msi):
    cube = read(emit_files.granule(tmp_path / f"{NAME}.nc"), like=read(msi))
    notes = fuse(cube, msi, method="bicubic", align=False, psf="box").history[-1]["notes"]
    assert sum("its cube no longer states where in its pixels the samples lie (2" in note for note in notes) == 1
