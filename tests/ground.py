"""A piece of ground whose spectra are known everywhere, for files of products that see it from any geometry."""

import numpy as np
from rasterio.warp import transform

CRS = "EPSG:32633"
WEST, NORTH = 364_000.0, 5_810_000.0
WAVELENGTHS = np.array([450.0, 500.0, 550.0, 600.0, 660.0, 720.0, 800.0, 870.0])


def spectra(x, y, wavelengths=WAVELENGTHS):
    """Return reflectance at positions in UTM 33N, (bands, *x.shape): four materials, mixed in patches of some 200 m."""
    u, v = (np.asarray(x) - WEST) / 1000, (np.asarray(y) - NORTH) / 1000
    weights = [np.sin(9 * u + 4 * v) + np.cos(11 * v - 3 * u), np.sin(17 * u - 7 * v), np.cos(13 * u + 15 * v), 0 * u]
    weights = np.exp(np.stack(weights))
    weights /= weights.sum(axis=0)
    t = (np.asarray(wavelengths) - 400) / 500
    materials = np.stack([0.05 + 0.3 * t, 0.4 - 0.2 * t, 0.2 + 0.15 * np.sin(5 * t), 0.1 + 0.1 * t**2])
    return np.einsum("mb,m...->b...", materials, weights)


def positions(rows, cols, pixel, turn=0.0, start=(0, 0)):
    """Return x and y of pixels of a grid rotated counterclockwise by ``turn`` degrees about the ground's corner."""
    line, sample = np.meshgrid(np.arange(rows) + 0.5 + start[0], np.arange(cols) + 0.5 + start[1], indexing="ij")
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    across, along = pixel * sample, -pixel * line
    return WEST + cos * across - sin * along, NORTH + sin * across + cos * along


def averaged(x, y, pixel, wavelengths=WAVELENGTHS):
    """Return the mean reflectance of square pixels around positions."""
    steps = (np.arange(5) - 2) / 5 * pixel
    parts = [spectra(x + dx, y + dy, wavelengths) for dx in steps for dy in steps]
    return np.mean(parts, axis=0)


def lat_lon(x, y):
    """Return latitude and longitude of positions."""
    lon, lat = transform(CRS, "EPSG:4326", np.ravel(x), np.ravel(y))
    return np.reshape(lat, np.shape(x)), np.reshape(lon, np.shape(x))


def centres(header):
    """Return x and y of the centres of the pixels of an image."""
    assert header.transform.b == header.transform.d == 0
    x = header.transform.c + header.transform.a * (np.arange(header.cols) + 0.5)
    y = header.transform.f + header.transform.e * (np.arange(header.rows) + 0.5)
    return np.broadcast_arrays(x[None, :], y[:, None])
