"""Windows of files hold what the whole files hold, and files written by windows what was written whole."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseError, InputError
from hyperfuse.io import read, write
from hyperfuse.io.windows.open import open_windows
from hyperfuse.io.windows.write import writing_windows

ROWS, COLS = 300, 280
FORMATS = [
    ("out.tif", {}),
    ("out.tif", {"compress": "deflate", "interleave": "pixel"}),
    ("out.tif", {"cog": True}),
    ("out.img", {}),
    ("out.bip", {}),
    ("out.zarr", {}),
]


def cube(gaps=True, bands=3):
    rng = np.random.default_rng(1)
    valid = np.ones((bands, ROWS, COLS), bool)
    if gaps:
        valid[:, 256:, :256] = False
        valid[1, :10, :10] = False
    return Cube(
        data=rng.integers(1, 900, (bands, ROWS, COLS)).astype(np.float32) / 1024,
        valid=valid,
        nodata=-1.0 if gaps else None,
        wavelengths=np.linspace(500, 700, bands),
        fwhm=np.full(bands, 10.0),
        band_names=[f"band {i}" for i in range(bands)],
        transform=(10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0),
        crs="EPSG:32633",
        units="reflectance",
        history=({"step": "made"},),
    )


def by_windows(path, image, **options):
    with writing_windows(path, image.header, **options) as target:
        for row in range(0, image.rows, 256):
            for col in range(0, image.cols, 256):
                part = image.crop(row, col, min(256, image.rows - row), min(256, image.cols - col))
                if not part.empty_pixels.all():
                    target.write(Window(row, col, part.rows, part.cols), part)


def same(one, other):
    np.testing.assert_array_equal(one.data, other.data)
    for name in ("wavelengths", "fwhm", "good_bands", "valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("band_names", "transform", "crs", "units", "history", "scale", "offset"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.nodata == other.nodata or (np.isnan(one.nodata) and np.isnan(other.nodata))


@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_written_by_windows_is_read_back_as_written_whole(tmp_path, name, options, gaps):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    image = cube(gaps)
    by_windows(tmp_path / name, image, **options)
    write(tmp_path / f"whole_{name}", image, **options)
    same(read(tmp_path / name), read(tmp_path / f"whole_{name}"))
    assert not list(tmp_path.glob(".*"))


def test_integers_are_coded_as_when_written_whole(tmp_path):
    image = cube().replace(scale=1 / 1024, nodata=0.0)
    by_windows(tmp_path / "out.tif", image, dtype="uint16")
    same(read(tmp_path / "out.tif"), image.replace(data=read(tmp_path / "out.tif").data))
    np.testing.assert_allclose(read(tmp_path / "out.tif").data, image.data)


def test_a_failure_leaves_nothing(tmp_path):
    image = cube()
    with pytest.raises(ZeroDivisionError), writing_windows(tmp_path / "out.tif", image.header):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_gap_where_none_was_declared_is_an_error(tmp_path):
    with (
        pytest.raises(HyperfuseError, match="declared to have none"),
        writing_windows(tmp_path / "out.tif", cube(gaps=False).header) as target,
    ):
        target.write(Window(0, 0, 20, 20), cube().crop(0, 0, 20, 20))


@pytest.mark.parametrize(("name", "options"), FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_window_is_that_part_of_the_whole(tmp_path, name, options, data):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    path = tmp_path / name
    if not path.exists():
        write(path, cube(), **options)
    row, col = data.draw(st.integers(0, ROWS - 1)), data.draw(st.integers(0, COLS - 1))
    rows, cols = data.draw(st.integers(1, ROWS - row)), data.draw(st.integers(1, COLS - col))
    bands = data.draw(st.sampled_from([None, "3,1"]))
    source = open_windows(path, bands=bands)
    whole = read(path, bands=bands)
    assert source.header.shape == whole.data.shape
    part = source.read(Window(row, col, rows, cols))
    expected = whole.crop(row, col, rows, cols)
    np.testing.assert_allclose(part.transform, expected.transform, rtol=1e-12)
    same(part.replace(transform=expected.transform), expected)
    source.close()


def test_a_window_outside_is_refused(tmp_path):
    write(tmp_path / "a.tif", cube())
    source = open_windows(tmp_path / "a.tif")
    for window in (Window(-1, 0, 5, 5), Window(0, 0, 0, 5), Window(ROWS - 4, 0, 5, 5)):
        with pytest.raises(InputError, match="leaves the image"):
            source.read(window)


def test_nan_that_nothing_declares_is_refused_where_it_is_met(tmp_path):
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", dtype="float32", count=1, height=8, width=8) as file:
        file.write(np.where(np.eye(8) > 0, np.nan, 1).astype(np.float32), 1)
    with pytest.raises(InputError, match="nodata=nan"):
        open_windows(tmp_path / "a.tif").read(Window(0, 0, 8, 8))
    part = open_windows(tmp_path / "a.tif", nodata=float("nan")).read(Window(0, 0, 8, 8))
    np.testing.assert_array_equal(part.valid[0], ~np.eye(8, dtype=bool))


@pytest.mark.parametrize("name", ["a.npy", "a.mat", "a.nc"])
def test_formats_that_are_read_whole_are_named(tmp_path, name):
    write(tmp_path / name, Cube(data=np.ones((2, 4, 5))))
    with pytest.raises(InputError, match=r"read whole; windows are read of GeoTIFF, COG, ENVI, Zarr and products"):
        open_windows(tmp_path / name)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    write(tmp_path / "a.tif", cube())
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.tif: .*(cut off|damaged)"):
        open_windows(tmp_path / "a.tif").read(Window(0, 0, ROWS, COLS))


def test_absent_blocks_are_known_without_reading(tmp_path):
    image = cube()
    by_windows(tmp_path / "a.tif", image)
    source = open_windows(tmp_path / "a.tif")
    assert source.may_hold_data(Window(0, 0, 300, 10))
    assert not source.may_hold_data(Window(256, 0, 44, 256))
    assert source.may_hold_data(Window(250, 0, 44, 256))
    # Where nothing says that zeros are gaps, absent blocks are zeros.
    with rasterio.open(
        tmp_path / "b.tif", "w", driver="GTiff", dtype="float32", count=1, height=64, width=64, sparse_ok=True
    ):
        pass
    assert open_windows(tmp_path / "b.tif").may_hold_data(Window(0, 0, 64, 64))
    assert not open_windows(tmp_path / "b.tif", nodata=0.0).may_hold_data(Window(0, 0, 64, 64))
