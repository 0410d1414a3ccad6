"""A description of a cube for ``hyperfuse info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import colour_bands
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
        ``band_names``, ``rgb_bands`` (nearest to 650, 560 and 470 nm, or None); ``empty_bands`` and ``bad_bands``
        (lists); ``gap_fraction`` of the values outside empty bands and ``empty_pixel_fraction``; ``value_range``,
        ``mean``, ``units``, ``nodata``, ``scale``, ``offset``; ``every`` (each how many-th pixel the values are of,
        along an axis), ``attributes``, ``history``.

    Example:
        >>> import numpy as np
        >>> summary(Cube(data=np.ones((3, 4, 5)), wavelengths=[450, 650, 550]))["wavelength_range_nm"]
        [450.0, 650.0]
    """
    whole, every = whole_header(cube)
    values = cube.data if cube.valid is None else cube.data[cube.valid]
    filled = ~cube.empty_bands
    return header_summary(whole) | {
        "dtype": cube.data.dtype.name,
        "empty_bands": (np.flatnonzero(cube.empty_bands) + 1).tolist(),
        "gap_fraction": 0.0 if cube.valid is None or not filled.any() else float(np.mean(~cube.valid[filled])),
        "empty_pixel_fraction": float(np.mean(cube.empty_pixels)),
        "value_range": [float(values.min()), float(values.max())] if values.size else None,
        "mean": float(values.mean(dtype=np.float64)) if values.size else None,
        "every": every,
    }


def header_summary(header: CubeHeader) -> dict[str, Any]:
    """Describe a header like a cube, see :func:`summary`; what the values would show is None.

    Example:
        >>> header_summary(CubeHeader(shape=(3, 4, 5), wavelengths=[470, 650, 550]))["rgb_bands"]
        [2, 3, 1]
    """
    from hyperfuse.cube.crs import crs_units, parse_crs

    known = None if header.wavelengths is None else header.wavelengths[np.isfinite(header.wavelengths)]
    coding, colours = header.coding, colour_bands(header.wavelengths, header.good_bands)
    nodata = None if coding.nodata is None else coding.nodata if np.isfinite(coding.nodata) else str(coding.nodata)
    return {
        "bands": header.bands,
        "rows": header.rows,
        "cols": header.cols,
        "dtype": None,
        "crs": header.crs,
        "crs_units": None if header.crs is None else crs_units(parse_crs(header.crs)),
        "resolution": None if header.resolution is None else list(header.resolution),
        "transform": None if header.transform is None else list(six_numbers(header.transform)),
        "bounds": _bounds(header),
        "wavelength_range_nm": None if known is None or not known.size else [float(known.min()), float(known.max())],
        "wavelengths_nm": _numbers(header.wavelengths),
        "fwhm_nm": _numbers(header.fwhm),
        "band_names": None if header.band_names is None else list(header.band_names),
        "rgb_bands": None if colours is None else [band + 1 for band in colours],
        "empty_bands": None,
        "bad_bands": [] if header.good_bands is None else (np.flatnonzero(~header.good_bands) + 1).tolist(),
        "gap_fraction": None,
        "empty_pixel_fraction": None,
        "value_range": None,
        "mean": None,
        "units": coding.units,
        "nodata": nodata,
        "scale": coding.scale,
        "offset": coding.offset,
        "every": None,
        "attributes": dict(header.attributes),
        "history": [dict(step) for step in header.history],
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
