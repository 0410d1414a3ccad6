"""Tanager-1: radiance at the sensor or surface reflectance, HDF-EOS5, orthorectified or in sensor geometry (basic).

Format: Planet, "Tanager Product Specification": the fields of HDFEOS/GRIDS/HYP (ortho) and HDFEOS/SWATHS/HYP (basic).
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
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products import hdf5
from hyperfuse.io.products.datasets import DatasetBands, FlagDataset, cube_bands, spectral_bands
from hyperfuse.io.products.image import About, ProductBand, ProductImage
from hyperfuse.io.products.located import LatLon, Located
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.names import TANAGER_FILE
from hyperfuse.io.products.reflectance import warn

_ORTHO, _BASIC = "HDFEOS/GRIDS/HYP", "HDFEOS/SWATHS/HYP"
_METADATA = "HDFEOS INFORMATION/StructMetadata.0"
_QUANTITIES = {"surface_reflectance": "reflectance", "toa_radiance": "W m-2 sr-1 um-1"}
_NO_DATA, _NOT_CLEAR = "nodata_pixels", {"cloud": "beta_cloud_mask", "cirrus": "beta_cirrus_mask"}
_UNCERTAINTY = "uncertainty"
_FILL = -9999.0
_PIXEL = 30.0
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"


def is_tanager(path: Path) -> bool:
    """Return whether a file holds a cube of Tanager."""
    return hdf5.recognised(path, lambda file: _cube(file) is not None)


def open_tanager(source: Source, options: ReadOptions) -> ProductImage | Located:
    """Open a file of Tanager: on its grid (ortho), or in sensor geometry with latitude and longitude (basic).

    Gaps are the fill value and ``nodata_pixels``; with ``quality="clear"`` also the cloud and cirrus masks. Bands that
    ``good_wavelengths`` leaves out are bad bands. ``FILE:uncertainty`` is the uncertainty of the reflectance.

    Raises:
        InputError: a damaged file, or masks, grid or wavelengths that do not fit the cube.
    """
    path = source.path(TANAGER_FILE, "*_sr_hdf5.h5 or *_radiance_hdf5.h5")
    with hdf5.kept_open(path) as file:
        found = _cube(file)
        if found is None:
            raise InputError("holds no surface_reflectance or toa_radiance of Tanager")
        group, quantity = found
        fields = f"{group}/Data Fields"
        cube = hdf5.dataset(file, f"{fields}/{quantity}", 3)
        name = f"{quantity}_{_UNCERTAINTY}"
        shown = hdf5.optional(file, f"{fields}/{name}")
        if source.part == _UNCERTAINTY and (shown is None or shown.shape != cube.shape):
            raise InputError(f"holds no {name} of the shape of its {quantity}")
        size = (cube.shape[1], cube.shape[2])
        bands = _bands(cube, path.name)
        masks = {"no data": _NO_DATA, **(_NOT_CLEAR if options.quality == "clear" else {})}
        flags = {reason: _mask(file, f"{fields}/{mask}", size, reason) for reason, mask in masks.items()}
        used = [flag for flag in flags.values() if flag is not None]
        values = shown if source.part == _UNCERTAINTY and shown is not None else cube
        about = About(
            f"Tanager {'ortho' if group == _ORTHO else 'basic'} {quantity.replace('_', ' ')}",
            path.stem,
            list(flags),
            {
                "sensor": "Tanager-1",
                "quantity": f"{quantity.replace('_', ' ')}{' uncertainty (1 sigma)' if values is shown else ''}",
                "uncertainty": None if shown is None or values is shown else f"{name} ({path.name}:{_UNCERTAINTY})",
                "start_time": _time(path.name),
            },
            units=hdf5.text(cube, "Unit") or _QUANTITIES[quantity] if quantity == "toa_radiance" else "reflectance",
        )
        stored = DatasetBands(file, cube_bands(values, "brc"), used)
        if group == _ORTHO:
            return ProductImage(_grid(file, size), bands, stored, options, about)
        image = ProductImage(Grid(*size, None, None), bands, stored, options, about)
        return Located(image, lambda: _positions(file), _PIXEL)


def _cube(file: h5py.File) -> tuple[str, str] | None:
    """Return the group of the image and the name of its cube, or None where there is none."""
    return next(
        (
            (group, quantity)
            for group in (_ORTHO, _BASIC)
            for quantity in _QUANTITIES
            if hdf5.holds(file, f"{group}/Data Fields/{quantity}")
        ),
        None,
    )


def _bands(cube: h5py.Dataset, where: str) -> list[ProductBand]:
    def column(name: str) -> NDArray[Any] | None:
        found = hdf5.attribute(cube, name)
        return None if found is None else np.asarray(found, np.float64).ravel()

    fill = column("_FillValue")
    unit = hdf5.text(cube, "wavelengths_units") or "nm"
    columns = (column("wavelengths"), column("fwhm"), column("good_wavelengths"))
    return spectral_bands(columns, unit, cube.shape[0], where, (_FILL if fill is None else float(fill[0]),))


def _mask(file: h5py.File, name: str, size: tuple[int, int], reason: str) -> FlagDataset | None:
    found = hdf5.optional(file, name)
    if found is None:
        if reason != "no data":
            raise InputError(f"has no {name.rsplit('/', 1)[1]}, which quality='clear' needs")
        warn(f"{Path(file.filename).name}: {_NO_DATA} is missing; only the fill value marks gaps")
        return None
    if found.shape != size:
        raise InputError(f"{name} has the shape {found.shape}, its cube {size[0]} x {size[1]} pixels")
    return FlagDataset(found, lambda values: values != 0)


def _positions(file: h5py.File) -> LatLon:
    fields = f"{_BASIC}/Geolocation Fields"
    latitude, longitude = (hdf5.stored(hdf5.dataset(file, f"{fields}/{name}", 2)) for name in ("Latitude", "Longitude"))
    return latitude, longitude


def _grid(file: h5py.File, size: tuple[int, int]) -> Grid:
    """Return the grid that the structural metadata state: the corners are the outer edges of the image."""
    item = hdf5.optional(file, _METADATA)
    text = "" if item is None else hdf5.plain_text(np.asarray(item[()]).ravel()[0])

    def numbers(name: str, count: int) -> list[float]:
        values = ",".join([rf"\s*({_NUMBER})\s*"] * count)
        found = re.search(rf"\b{name}\s*=\s*\(?{values}\)?", text)
        if found is None:
            raise InputError(f"its {_METADATA} states no {name}; it is cut off or of another format")
        return [float(value) for value in found.groups()]

    cols, rows = (int(numbers(name, 1)[0]) for name in ("XDim", "YDim"))
    (west, north), (east, south) = numbers("UpperLeftPointMtrs", 2), numbers("LowerRightMtrs", 2)
    if (rows, cols) != size or not (east > west and north > south):
        raise InputError(f"its {_METADATA} states {rows} x {cols} pixels, its cube has {size[0]} x {size[1]}")
    (zone,) = numbers("ZoneCode", 1)
    expected = (32600 if zone > 0 else 32700) + abs(int(zone))
    stated = hdf5.attribute(file[_ORTHO], "epsg_code")
    code = expected if stated is None else int(np.ravel(stated)[0])
    if code != expected and code in range(32601, 32800):
        raise InputError(f"its epsg_code is {code}, but the ZoneCode of its grid is {zone:g}")
    transform = Affine((east - west) / cols, 0.0, west, 0.0, (south - north) / rows, north)
    return Grid(rows, cols, transform, crs_text(parse_crs(f"EPSG:{code}")))


def _time(name: str) -> str | None:
    """Return the time of acquisition that a file name starts with."""
    found = re.match(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", name)
    return None if found is None else "{}-{}-{}T{}:{}:{}Z".format(*found.groups())
