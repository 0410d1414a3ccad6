"""A description of a cube for ``hyperfuse info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, six_numbers

# Sides of the part of a product that describes its values.
OVERVIEW_SIDE = 512


def summary(cube: Cube) -> dict[str, Any]:
    """Describe a cube in values that JSON can hold; what the cube does not have is None. Bands are counted from 1.

    Of an overview of a product (``overview`` of ``ReadOptions``) size and position are those of the whole, the
    values those of the pixels that were read.

    Returns:
        ``bands``, ``rows``, ``cols``, ``dtype``; ``crs``, ``crs_units``, ``resolution`` (y, x), ``transform``,
        ``bounds`` (west, south, east, north); ``wavelength_range_nm``, ``wavelengths_nm``, ``fwhm_nm``,
        ``band_names``; ``empty_bands`` and ``bad_bands`` (lists); ``gap_fraction`` of the values outside empty bands
        and ``empty_pixel_fraction``; ``value_range``, ``mean``, ``units``, ``nodata``, ``scale``, ``offset``;
        ``every`` (each how many-th pixel the values are of, along an axis), ``attributes``, ``history``.

    Example:
        >>> import numpy as np
        >>> summary(Cube(data=np.ones((3, 4, 5)), wavelengths=[450, 650, 550]))["wavelength_range_nm"]
        [450.0, 650.0]
    """
    from hyperfuse.cube.crs import crs_units, parse_crs

    whole, every = whole_header(cube)
    known = None if cube.wavelengths is None else cube.wavelengths[np.isfinite(cube.wavelengths)]
    values = cube.data if cube.valid is None else cube.data[cube.valid]
    filled = ~cube.empty_bands
    gaps = 0.0 if cube.valid is None or not filled.any() else float(np.mean(~cube.valid[filled]))
    nodata = None if cube.nodata is None else cube.nodata if np.isfinite(cube.nodata) else str(cube.nodata)
    return {
        "bands": cube.bands,
        "rows": whole.rows,
        "cols": whole.cols,
        "dtype": cube.data.dtype.name,
        "crs": cube.crs,
        "crs_units": None if cube.crs is None else crs_units(parse_crs(cube.crs)),
        "resolution": None if whole.resolution is None else list(whole.resolution),
        "transform": None if whole.transform is None else list(six_numbers(whole.transform)),
        "bounds": _bounds(whole),
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
        "every": every,
        "attributes": dict(cube.attributes),
        "history": [dict(step) for step in cube.history],
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]] | None) -> list[float | None] | None:
    return None if values is None else [float(value) if np.isfinite(value) else None for value in values]


def whole_header(cube: Cube) -> tuple[CubeHeader, int]:
    """Return the header of the image that a cube is an overview of, and of how many pixels it has one."""
    read = cube.history[-1].get("overview") if cube.history else None
    if not isinstance(read, Mapping):
        return cube.header, 1
    rows, cols = int(read["rows"]), int(read["cols"])
    transform = cube.transform
    if transform is not None:
        transform @= Affine.scale(cube.cols / cols, cube.rows / rows)
    return cube.header.replace(shape=(cube.bands, rows, cols), transform=transform), int(read["step"])


def _bounds(cube: CubeHeader) -> list[float] | None:
    if cube.transform is None:
        return None
    corners = [cube.transform @ (col, row) for col in (0, cube.cols) for row in (0, cube.rows)]
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]
