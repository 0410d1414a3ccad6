"""EMIT L2A RFL: surface reflectance of EMIT on the ISS in sensor geometry, netCDF-4, placed by latitude and longitude.

Format: NASA LP DAAC / JPL, "EMIT L2A Estimated Surface Reflectance and Uncertainty and Masks 60 m" (EMITL2ARFL) User
Guide, with the geometry lookup table (GLT) of its group ``location``; the MASK file is of the same product.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text, parse_crs
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.geometry.glt import place_by_table
from hyperfuse.io.geometry.placement import PixelMap
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBands, FlagDataset, cube_bands, spectral_bands
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Source, match
from hyperfuse.io.products.names import EMIT_RADIANCE, EMIT_REFLECTANCE
from hyperfuse.io.products.reflectance import check_size

_VALUES = "reflectance"
_LOCATION = "location"
_BANDS = "sensor_band_parameters"
_FILL = -9999.0
_PIXEL = 60.0
_INTERPOLATED = "band_mask"
_NOT_CLEAR = ("cloud flag", "cirrus flag")


def is_emit(path: Path) -> bool:
    """Return whether a file is EMIT reflectance with its lookup table."""
    return hdf5.recognised(path, lambda file: hdf5.holds(file, _VALUES, f"{_LOCATION}/glt_x", f"{_BANDS}/wavelengths"))


def open_emit(source: Source, options: ReadOptions) -> Located:
    """Open an EMIT L2A reflectance file: in sensor geometry with latitude and longitude, else on its own map grid.

    Gaps are the fill value; with ``quality="clear"`` also what the MASK file next to it flags as cloud, dilated cloud
    or cirrus, and values that it flags as interpolated. ``good_wavelengths`` are the good bands. A file without
    latitudes and longitudes is put on the grid of its lookup table (GLT, nearest pixel), in degrees.

    Raises:
        InputError: another level, a damaged file, a lookup table that leaves the image, or no MASK file where needed.
    """
    path = _file(source)
    with hdf5.kept_open(path) as file:
        if not hdf5.holds(file, _VALUES) and hdf5.holds(file, "radiance"):
            raise InputError("is EMIT L1B (radiance at the sensor); take EMIT_L2A_RFL, which holds reflectance")
        item = hdf5.dataset(file, _VALUES, 3)
        rows, cols, count = item.shape
        bands = _bands(file, count, _fill_value(item), path.name)
        clear = options.quality == "clear"
        flags = _not_clear(path, source, item.shape) if clear else []
        stored = DatasetBands(file, cube_bands(item, "rcb"), flags, [flag.dataset.file for flag in flags])
        about = About(
            "EMIT L2A",
            path.stem,
            ["no data", *(("cloud", "cirrus") if clear else ()), *(["interpolated"] if len(flags) > 1 else [])],
            {
                "sensor": "EMIT",
                "start_time": hdf5.text(file, "time_coverage_start"),
                "stop_time": hdf5.text(file, "time_coverage_end"),
            },
        )
        image = ProductImage(Grid(rows, cols, None, None), bands, stored, options, about)
        return Located(image, lambda: _locate(file, (rows, cols)), _PIXEL)


def _locate(file: h5py.File, size: tuple[int, int]) -> LatLon | PixelMap:
    if hdf5.holds(file, f"{_LOCATION}/lat", f"{_LOCATION}/lon"):
        latitude, longitude = (hdf5.stored(hdf5.dataset(file, f"{_LOCATION}/{name}", 2)) for name in ("lat", "lon"))
        return latitude, longitude
    sample, line = (_lookup(file, name) for name in ("glt_x", "glt_y"))
    transform, crs = _placement(file)
    return place_by_table(sample, line, size, Grid(sample.shape[0], sample.shape[1], transform, crs))


def _file(source: Source) -> Path:
    radiance = source.members.find(EMIT_RADIANCE)
    if source.chosen is None and radiance and not source.members.find(EMIT_REFLECTANCE):
        return source.members.root / radiance[0]
    return source.path(EMIT_REFLECTANCE, "EMIT_L2A_RFL_*.nc")


def _lookup(file: h5py.File, name: str) -> NDArray[np.int64]:
    item = hdf5.dataset(file, f"{_LOCATION}/{name}", 2)
    check_size(*item.shape)
    if item.dtype.kind not in "iu":
        raise InputError(f"{_LOCATION}/{name} holds {item.dtype}, not whole numbers")
    return hdf5.stored(item).astype(np.int64)


def _fill_value(item: h5py.Dataset) -> float:
    stated = np.asarray(hdf5.attribute(item, "_FillValue")).ravel()
    return float(stated[0]) if stated.size and stated.dtype.kind in "fiu" else _FILL


def _bands(file: h5py.File, count: int, fill: float, where: str) -> list[ProductBand]:
    def column(name: str) -> NDArray[Any] | None:
        if not hdf5.holds(file, f"{_BANDS}/{name}"):
            return None
        values = hdf5.stored(hdf5.dataset(file, f"{_BANDS}/{name}", 1))
        if values.size != count:
            raise InputError(f"{_BANDS}/{name} has {values.size} entries for {count} bands")
        return values

    unit = hdf5.attribute(hdf5.dataset(file, f"{_BANDS}/wavelengths", 1), "units")
    columns = (column("wavelengths"), column("fwhm"), column("good_wavelengths"))
    return spectral_bands(columns, hdf5.plain_text("nm" if unit is None else unit), count, where, (fill,))


def _placement(file: h5py.File) -> tuple[Affine, str | None]:
    values = hdf5.numbers(file, "geotransform")
    if values.size != 6 or values[1] * values[5] == values[2] * values[4]:
        raise InputError(f"its attribute geotransform holds {values.tolist()}, not the six numbers of a grid")
    c, a, b, f, d, e = (float(value) for value in values)
    crs = hdf5.text(file, "spatial_ref")
    return Affine(a, b, c, d, e, f), crs_text(parse_crs(crs or "EPSG:4326"))


def _not_clear(path: Path, source: Source, shape: tuple[int, ...]) -> list[FlagDataset]:
    """Return the flags of the MASK file next to a reflectance file, in sensor geometry.

    They are those of clouds and cirrus, and where the file has them of values that are interpolated between bands.
    """
    named = match(EMIT_REFLECTANCE, path.name)
    scene = named["scene"] if named else None
    pattern = rf"EMIT_L2A_MASK_\d+_{'.+' if scene is None else re.escape(scene)}\.nc"
    mask = source.members.find_one(pattern, f"EMIT_L2A_MASK_*_{scene or '*'}.nc (quality='clear' needs it)")
    with hdf5.kept_open(source.members.root / mask) as file:
        item = hdf5.dataset(file, "mask", 3)
        labels = hdf5.optional(file, f"{_BANDS}/mask_bands")
        with damage_reported(f"{mask} {hdf5.DAMAGED}"):
            texts = [] if labels is None else [hdf5.plain_text(text) for text in np.asarray(labels[()]).ravel()]
        flags = [index for index, text in enumerate(texts) if any(flag in text.lower() for flag in _NOT_CLEAR)]
        if not flags or max(flags) >= item.shape[2]:
            raise InputError(f"{mask} names no flags of clouds ({_BANDS}/mask_bands)")
        rows, cols, bands = shape
        if item.shape[:2] != (rows, cols):
            raise InputError(f"{mask} has {item.shape[0]} x {item.shape[1]} pixels, not {rows} x {cols}")
        clouds = FlagDataset(item, lambda values: (values[..., flags] == 1).any(axis=-1))
        packed = hdf5.optional(file, _INTERPOLATED)
        if packed is None:
            return [clouds]
        if packed.shape != (rows, cols, -(-bands // 8)) or packed.dtype != np.uint8:
            raise InputError(f"{mask}: {_INTERPOLATED} holds {packed.dtype} {packed.shape}, not a bit for each value")
        # A bit for each band, the first one the highest of its byte.
        return [clouds, FlagDataset(packed, lambda values: np.unpackbits(values, axis=-1).astype(np.bool_), True)]
