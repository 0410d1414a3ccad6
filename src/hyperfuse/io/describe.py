"""A description of a cube for ``hyperfuse info``."""

from __future__ import annotations

from typing import Any

import numpy as np

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import six_numbers


def summary(cube: Cube) -> dict[str, Any]:
    """Describe a cube in values that JSON can hold; what the cube does not have is None. Bands are counted from 1.

    Returns:
        ``bands``, ``rows``, ``cols``, ``dtype``; ``crs``, ``crs_units``, ``resolution`` (y, x), ``transform``,
        ``bounds`` (west, south, east, north); ``wavelength_range_nm``, ``wavelengths_nm``, ``fwhm_nm``,
        ``band_names``; ``empty_bands`` and ``bad_bands`` (lists); ``gap_fraction`` of the values outside empty bands
        and ``empty_pixel_fraction``; ``value_range``, ``mean``, ``units``, ``nodata``, ``scale``, ``offset``;
        ``attributes``, ``history``.

    Example:
        >>> import numpy as np
        >>> summary(Cube(data=np.ones((3, 4, 5)), wavelengths=[450, 650, 550]))["wavelength_range_nm"]
        [450.0, 650.0]
    """
    from hyperfuse.cube.crs import crs_units, parse_crs

    known = None if cube.wavelengths is None else cube.wavelengths[np.isfinite(cube.wavelengths)]
    values = cube.data if cube.valid is None else cube.data[cube.valid]
    filled = ~cube.empty_bands
    gaps = 0.0 if cube.valid is None or not filled.any() else float(np.mean(~cube.valid[filled]))
    nodata = None if cube.nodata is None else cube.nodata if np.isfinite(cube.nodata) else str(cube.nodata)
    return {
        "bands": cube.bands,
        "rows": cube.rows,
        "cols": cube.cols,
        "dtype": cube.data.dtype.name,
        "crs": cube.crs,
        "crs_units": None if cube.crs is None else crs_units(parse_crs(cube.crs)),
        "resolution": None if cube.resolution is None else list(cube.resolution),
        "transform": None if cube.transform is None else list(six_numbers(cube.transform)),
        "bounds": _bounds(cube),
        "wavelength_range_nm": None if known is None or not known.size else [float(known.min()), float(known.max())],
        "wavelengths_nm": _numbers(cube.wavelengths),
        "fwhm_nm": _numbers(cube.fwhm),
        "band_names": None if cube.band_names is None else list(cube.band_names),
        "empty_bands": (np.flatnonzero(cube.empty_bands) + 1).tolist(),
        "bad_bands": [] if cube.good_bands is None else (np.flatnonzero(~cube.good_bands) + 1).tolist(),
        "gap_fraction": gaps,
        "empty_pixel_fraction": float(np.mean(cube.empty_pixels)),
        "value_range": [float(values.min()), float(values.max())] if values.size else None,
        "mean": float(values.mean(dtype=np.float64)) if values.size else None,
        "units": cube.units,
        "nodata": nodata,
        "scale": cube.scale,
        "offset": cube.offset,
        "attributes": dict(cube.attributes),
        "history": [dict(step) for step in cube.history],
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]] | None) -> list[float | None] | None:
    return None if values is None else [float(value) if np.isfinite(value) else None for value in values]


def _bounds(cube: Cube) -> list[float] | None:
    if cube.transform is None:
        return None
    corners = [cube.transform @ (col, row) for col in (0, cube.cols) for row in (0, cube.rows)]
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]
