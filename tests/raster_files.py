"""Rasters for tests, written by rasterio alone."""

import rasterio


def save(file, values, colours=(), **profile):
    """Write (bands, rows, cols) as GeoTIFF, or with the given profile, and return the file."""
    bands, rows, cols = values.shape
    profile = {"driver": "GTiff", "count": bands, "height": rows, "width": cols, "dtype": values.dtype.name, **profile}
    with rasterio.open(file, "w", **profile) as target:
        if colours:
            target.colorinterp = colours
        target.write(values)
    return file
