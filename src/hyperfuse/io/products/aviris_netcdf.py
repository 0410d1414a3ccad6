"""AVIRIS-NG, -3 and -5 as netCDF: reflectance or radiance, on a north-up grid or in sensor geometry with its GLT.

Format: ORNL DAAC and JPL, user guides of the AVIRIS-3 and AVIRIS-5 L1B and L2A products, and of BioSCape: a group with
the cube, wavelengths and widths; eastings, northings and projection; the group geolocation_lookup_table.
"""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.geometry.glt import place_by_table
from hyperfuse.io.geometry.placement import PixelMap
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBands, cube_bands, spectral_bands
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import Located
from hyperfuse.io.products.members import Source, match
from hyperfuse.io.products.names import AVIRIS_NETCDF

_UNITS = {"reflectance": "reflectance", "radiance": "uW cm-2 sr-1 nm-1"}
_SENSORS = {"ang": "AVIRIS-NG", "av3": "AVIRIS-3", "av5": "AVIRIS-5", "f": "AVIRIS Classic"}
_TABLE = "geolocation_lookup_table"
_PROJECTIONS = ("transverse_mercator", "projection")
_FILL = -9999.0
# Coordinates may be off an even spacing, or the stated transform, by this fraction of a pixel.
_TOLERANCE = 0.02


def open_aviris_netcdf(source: Source, options: ReadOptions) -> ProductImage | Located:
    """Open a netCDF file of AVIRIS, all bands: on its grid, or by its lookup table.

    Gaps are the fill value. The file has no list of bad bands.

    Raises:
        InputError: a damaged file, a grid that is not even, no position, ``quality="clear"``.
    """
    path = source.path(AVIRIS_NETCDF, "*_RFL_ORT.nc")
    if options.quality == "clear":
        raise InputError("quality='clear' needs a cloud mask, which AVIRIS does not have; leave it out")
    named = match(AVIRIS_NETCDF, path.name)
    granule = named["granule"] if named else path.stem
    with hdf5.kept_open(path) as file:
        quantity = next((name for name in _UNITS if hdf5.holds(file, f"{name}/{name}")), None)
        if quantity is None:
            raise InputError("has neither reflectance/reflectance nor radiance/radiance; it is of another format")
        cube = hdf5.dataset(file, f"{quantity}/{quantity}", 3)
        wavelengths = hdf5.dataset(file, f"{quantity}/wavelength", 1)
        axes = _axes(cube.shape, wavelengths.shape[0])
        size = (cube.shape[axes.index("r")], cube.shape[axes.index("c")])
        bands = _bands(file, cube, wavelengths, quantity, path.name)
        sensor = next((text for start, text in _SENSORS.items() if granule.lower().startswith(start)), "AVIRIS")
        others = source.members.find(rf"{re.escape(granule)} \w* _unc (?: _\w*)? \.nc")
        about = About(
            f"{sensor} {quantity}",
            granule,
            attributes={"sensor": sensor, "uncertainty": ", ".join(others)},
            units=_UNITS[quantity],
        )
        stored = DatasetBands(file, cube_bands(cube, axes))
        grid = _grid(file)
        if (grid.rows, grid.cols) == size:
            return ProductImage(grid, bands, stored, options, about)
        image = ProductImage(Grid(*size, None, None), bands, stored, options, about)
        return Located(image, lambda: _placement(file, size, grid))


def _axes(shape: tuple[int, ...], bands: int) -> str:
    """Return the axes of a cube, of which the bands are known by their number, rows come before columns."""
    found = [axis for axis, size in enumerate(shape) if size == bands]
    if len(found) != 1:
        raise InputError(f"which axis of its cube {shape} holds the {bands} bands is not clear")
    letters = ["r", "c"]
    letters.insert(found[0], "b")
    return "".join(letters)


def _bands(
    file: h5py.File, cube: h5py.Dataset, wavelengths: h5py.Dataset, quantity: str, where: str
) -> list[ProductBand]:
    widths = hdf5.optional(file, f"{quantity}/fwhm")
    fill = hdf5.attribute(cube, "_FillValue")
    columns = (hdf5.stored(wavelengths), None if widths is None else hdf5.stored(widths), None)
    nodata = _FILL if fill is None else float(np.ravel(fill)[0])
    unit = hdf5.text(wavelengths, "units") or "nm"
    return spectral_bands(columns, unit, wavelengths.shape[0], where, tuple(dict.fromkeys((nodata, _FILL))))


def _grid(file: h5py.File) -> Grid:
    """Return the grid of eastings and northings, which are those of the centres of pixels."""
    x, y = (_even(file, name) for name in ("easting", "northing"))
    width, height = float((x[-1] - x[0]) / (x.size - 1)), float((y[-1] - y[0]) / (y.size - 1))
    transform = Affine(width, 0.0, float(x[0]) - width / 2, 0.0, height, float(y[0]) - height / 2)
    projection = next((item for name in _PROJECTIONS if (item := _item(file, name)) is not None), None)
    crs = None if projection is None else hdf5.text(projection, "spatial_ref") or hdf5.text(projection, "crs_wkt")
    if projection is None or crs is None:
        raise InputError(f"names no coordinate system ({' or '.join(_PROJECTIONS)}, spatial_ref or crs_wkt)")
    stated = hdf5.text(projection, "GeoTransform")
    if stated is not None:
        _check_transform(stated, transform)
    return Grid(y.size, x.size, transform, crs_text(parse_crs(crs)))


def _item(file: h5py.File, name: str) -> Any:
    return file[name] if hdf5.holds(file, name) else None


def _even(file: h5py.File, name: str) -> NDArray[np.float64]:
    values = hdf5.stored(hdf5.dataset(file, name, 1)).astype(float)
    steps = np.diff(values)
    if values.size < 2 or not np.isfinite(values).all() or not steps.mean():
        raise InputError(f"{name} holds no coordinates of a grid")
    if np.abs(steps / steps.mean() - 1).max() > _TOLERANCE:
        raise InputError(f"{name} is not evenly spaced")
    return values


def _check_transform(text: str, found: Affine) -> None:
    try:
        c, a, b, f, d, e = (float(part) for part in re.split(r"[\s,]+", text.strip()))
    except ValueError:
        raise InputError(f"its GeoTransform is {text!r}, not six numbers") from None
    away = max(abs(c - found.c), abs(f - found.f)) / abs(found.a)
    if b or d or abs(a / found.a - 1) > _TOLERANCE or abs(e / found.e - 1) > _TOLERANCE or away > _TOLERANCE:
        raise InputError(f"its GeoTransform ({text}) is not that of its eastings and northings ({found[:6]})")


def _placement(file: h5py.File, size: tuple[int, int], grid: Grid) -> PixelMap:
    if not hdf5.holds(file, f"{_TABLE}/sample", f"{_TABLE}/line"):
        raise InputError(
            f"its cube of {size[0]} x {size[1]} pixels is not on its grid of {grid.rows} x {grid.cols}, and it has no"
            f" {_TABLE}"
        )
    sample, line = (hdf5.stored(hdf5.dataset(file, f"{_TABLE}/{name}", 2)) for name in ("sample", "line"))
    return place_by_table(sample, line, size, grid)
