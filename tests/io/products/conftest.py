"""Georeferenced rasters of a few pixels for the products in the tests."""

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from hyperfuse.cube.window import Window
from hyperfuse.io import read, summary
from hyperfuse.io.windows.open import open_windows

CRS = "EPSG:32633"


@pytest.fixture
def raster():
    """Write a raster: GeoTIFF, or lossless JPEG 2000 for ``.jp2``, by default in UTM 33N."""

    def write(path, values, *, pixel=30, west=364095, north=5809965, nodata=None, crs=CRS):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.atleast_3d(values) if values.ndim == 3 else values[None]
        lossless = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
        driver = {"driver": "JP2OpenJPEG", **lossless} if path.suffix == ".jp2" else {"driver": "GTiff"}
        bands, rows, cols = values.shape
        profile = {**driver, "count": bands, "height": rows, "width": cols, "dtype": values.dtype, "nodata": nodata}
        transform = Affine(pixel, 0, west, 0, -pixel, north)
        with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
            file.write(values)
        return path

    return write


@pytest.fixture
def centres():
    """Return x of the columns and y of the rows of a cube at the centres of its pixels."""

    def of(cube):
        a, b, c, d, e, f = tuple(cube.transform)[:6]
        assert b == d == 0
        return c + a * (np.arange(cube.cols) + 0.5), f + e * (np.arange(cube.rows) + 0.5)

    return of


@pytest.fixture
def assert_overview():
    """Check that an overview of a product holds every n-th pixel, and is described as the whole."""

    def compare(path, side, *, step, exact=True, **options):
        whole, low = read(path, **options), read(path, overview=side, **options)
        sizes = [(full, -(-full // step)) for full in (whole.rows, whole.cols)]
        rows, cols = (((np.arange(few) + 0.5) * full / few).astype(int) for full, few in sizes)
        picked = whole.data[:, rows[:, None], cols]
        assert low.data.shape == picked.shape
        assert max(low.rows, low.cols) <= side
        if exact:
            assert np.array_equal(low.data, picked, equal_nan=True)
        about = {key: value for key, value in summary(whole).items() if key in ("rows", "cols", "crs", "bands")}
        found = summary(low)
        assert {key: found[key] for key in about} == about
        assert np.allclose(found["transform"], whole.transform[:6])
        assert np.allclose(found["bounds"], summary(whole)["bounds"])
        assert (found["every"], summary(whole)["every"]) == (step, 1)
        return low

    return compare


@pytest.fixture
def assert_windows():
    """Check that windows of a product hold the values of the whole, and that their header is that of the whole."""

    def compare(path, **options):
        whole = read(path, **options)
        source = open_windows(path, **options)
        assert source.header.shape == whole.shape
        assert (repr(source.header.coding), source.header.history) == (repr(whole.header.coding), whole.history)
        middle = Window(1, 2, max(1, whole.rows - 3), max(1, whole.cols - 3))
        corner = Window(whole.rows - 2, whole.cols - 1, 2, 1)
        for window in (middle, corner, Window(0, 0, 1, whole.cols), Window(0, 0, *whole.shape[1:])):
            part, expected = source.read(window), whole.crop(*window)
            assert np.array_equal(part.data, expected.data, equal_nan=True)
            assert part.transform == expected.transform
        source.close()
        return whole

    return compare
